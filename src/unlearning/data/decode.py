"""PNG, JPEG and WebP images as one tensor, each checked before it is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.data.archives import DAMAGE
from unlearning.data.catalogue import DatasetInfo, FormatError

if TYPE_CHECKING:
    import numpy as np
    import torch


def decode(
    names: Sequence[str], read: Callable[[str], bytes], info: DatasetInfo, path: Path
) -> torch.Tensor:
    """PNG, JPEG or WebP images as uint8 [N, channels, size, size].

    names, read: the images and the content of one; path: the archive or folder that has them.
    Raises FormatError, naming the image, for one that is damaged or of another size or kind.
    """
    import numpy as np
    import torch
    from PIL import Image

    images = np.empty((len(names), info.channels, info.size, info.size), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        bombs = Image.DecompressionBombWarning, Image.DecompressionBombError
        for i, name in enumerate(names):
            try:
                images[i] = _pixels(read(name), info)
            except (*DAMAGE, *bombs) as error:
                raise FormatError(f"{path}: image {name!r}: {error}") from error
    return torch.from_numpy(images)


_MODES = {1: ("L", "grey, 8 bits"), 3: ("RGB", "RGB, 8 bits a channel")}


def _pixels(content: bytes, info: DatasetInfo) -> np.ndarray:
    """One image as uint8 [channels, size, size]; its header is checked before it is decoded."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    mode, words = _MODES[info.channels]
    try:
        opened = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
    except UnidentifiedImageError:  # its words hold an address in memory
        raise ValueError("not a complete PNG, JPEG or WebP image") from None
    with opened as image:
        if image.size != (info.size, info.size):
            found = " x ".join(map(str, image.size))
            raise ValueError(f"expected {info.size} x {info.size} pixels, found {found}")
        # Tiny ImageNet has grey photographs among the coloured ones.
        grey = info.reader == "tiny_imagenet" and image.mode == "L"
        if image.mode != mode and not grey:
            raise ValueError(f"expected an image of mode {mode} ({words}), found {image.mode}")
        if image.format == "PNG" and content[24] > 8:  # Pillow would drop the lower 8 bits
            raise ValueError(f"expected 8 bits a channel, found {content[24]}")
        if "transparency" in image.info:
            raise ValueError("an image with transparent pixels; save it without transparency")
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"expected one image, found {image.n_frames} frames")
        pixels = np.asarray(image.convert(mode) if grey else image)
    return pixels.transpose(2, 0, 1) if info.channels == 3 else pixels[None]
