"""A folder of one's own images: any size, grey or colour, as one data set of one size.

    FOLDER/{train,test}/CLASS/NAME.ext     parts as they are
    FOLDER/CLASS/NAME.ext                  a share of each class, drawn by a seed, is the test part

PNG, JPEG and WebP. An image is turned as its EXIF data say. `crop` cuts the largest square out of
its middle and resizes that, `stretch` resizes both sides, both bicubic and antialiased (Pillow). In
a data set of 3 channels a grey image has its grey three times.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearning.data.archives import DAMAGE
from unlearning.data.catalogue import ChecksumError, DataError, DatasetInfo, FormatError, OwnImages
from unlearning.data.folders import PARTS, SUFFIXES, kind_of, small_file, visible
from unlearning.data.readers import Content, joined
from unlearning.files import sha256_file
from unlearning.seeds import seed_for

if TYPE_CHECKING:
    from PIL import Image

Found = dict[str, dict[str, list[Path]]]
"""The images of each part and class, sorted by name."""
GREY = ("1", "L", "LA")
COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")


def find(folder: Path, own: OwnImages) -> Found:
    """The images in a folder, cut into two parts if it has none.

    Raises FormatError that names the file or folder that does not fit: a stray file, fewer than two
    classes, a class without images or in one part only, one of both parts missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds the images")
    here = [part for part in PARTS if (folder / part).is_dir()]
    if len(here) == 1:
        raise FormatError(
            f"{folder}: {here[0]}/ is there and the other of train/ and test/ is not; add it, or "
            f"put the class folders into {folder} itself"
        )
    if here and own.test_share is not None:
        raise FormatError(f"{folder}: it has train/ and test/, so drop test_share and seed")
    if not here and own.test_share is None:
        raise FormatError(
            f"{folder}: no train/ and test/ in it; state test_share, the share of each class that "
            "becomes the test part"
        )
    if not here:
        return _cut(_classes(folder), own.test_share, own.seed)
    found = {part: _classes(folder / part) for part in PARTS}
    for part, other in (PARTS, PARTS[::-1]):
        for name in sorted(found[part].keys() - found[other].keys()):
            raise FormatError(f"{folder / other}: no folder of class {name!r}, {part} has one")
    return found


def _classes(folder: Path) -> dict[str, list[Path]]:
    found = {}
    for path in visible(folder):
        if not path.is_dir():
            raise FormatError(f"{path}: a stray file; {folder} must hold one folder a class only")
        images = visible(path)
        for image in images:
            if image.suffix.lower() not in SUFFIXES or image.is_dir():
                kinds = ", ".join(SUFFIXES)
                raise FormatError(
                    f"{image}: a stray {kind_of(image)}; images end in {kinds}: convert or move it"
                )
        if not images:
            raise FormatError(f"{path}: no image of this class; add some, or remove the folder")
        found[path.name] = images
    if len(found) < 2:
        names = ", ".join(found) or "none"
        raise FormatError(f"{folder}: at least two class folders are needed, found {names}")
    return found


def _cut(classes: Mapping[str, list[Path]], share: float, seed: int) -> Found:
    """Of each class a share, at least one image and not all, becomes the test part."""
    found: Found = {part: {} for part in PARTS}
    for name, images in classes.items():
        if len(images) < 2:
            raise FormatError(f"{images[0]}: the only image of its class; both parts need one")
        count = min(max(round(share * len(images)), 1), len(images) - 1)
        rng = np.random.default_rng(seed_for("own test part", name, seed))
        held_out = {*rng.choice(len(images), count, replace=False).tolist()}
        found["test"][name] = [path for k, path in enumerate(images) if k in held_out]
        found["train"][name] = [path for k, path in enumerate(images) if k not in held_out]
    return found


def paths_of(found: Found) -> list[Path]:
    """All images, sorted by path."""
    return sorted(
        path for classes in found.values() for images in classes.values() for path in images
    )


def checksum(folder: Path, found: Found) -> str:
    """`sha256:HEX` over the SHA-256 and the path below the folder of each image."""
    digest = hashlib.sha256()
    for path in paths_of(found):
        digest.update(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def read_own(info: DatasetInfo, folder: Path) -> tuple[Content, dict[str, str]]:
    """The data set in a folder, and the checksum of its files.

    Raises FormatError, naming the file, for what does not fit, and ChecksumError if the images are
    not those of `info`.
    """
    found = find(folder, info.own)
    again = f"run `python -m unlearning describe {folder}` and copy its lines into the config"
    classes = sorted(found["train"])
    counts = {part: sum(map(len, found[part].values())) for part in PARTS}
    stated = {"classes": info.classes, "train": info.train, "test": info.test}
    for key, count in {"classes": len(classes), **counts}.items():
        if count != stated[key]:
            raise FormatError(f"{folder}: {key}: expected {stated[key]}, found {count}; {again}")
    made = checksum(folder, found)
    if made != info.own.checksum:
        raise ChecksumError(
            f"{folder}: its images have {made}, not {info.own.checksum}: some changed; put them "
            f"back, or {again}"
        )
    return pack(info, found), {"images": made}


def pack(info: DatasetInfo, found: Found) -> Content:
    """The images as tensors, sorted by (class, name)."""
    import torch

    classes, tensors = sorted(found["train"]), {}
    for part in PARTS:
        rows = [(label, p) for label, name in enumerate(classes) for p in found[part][name]]
        images = np.empty((len(rows), info.channels, info.size, info.size), dtype=np.uint8)
        for place, (_, path) in enumerate(rows):
            images[place] = pixels(path, info)
        tensors[f"{part}_images"] = torch.from_numpy(images)
        tensors[f"{part}_labels"] = torch.tensor([n for n, _ in rows], dtype=torch.int64)
        tensors[f"{part}_names"] = joined([path.name for _, path in rows])
    return Content(tensors, classes)


def pixels(path: Path, info: DatasetInfo) -> np.ndarray:
    """One image as uint8 [channels, size, size]; FormatError, naming it, if that cannot be."""
    from PIL import Image, ImageOps

    with opened(path) as image:
        if info.channels == 1 and image.mode not in GREY:
            raise FormatError(f"{path}: a colour image among grey ones; state channels: 3")
        turned = ImageOps.exif_transpose(image).convert("L" if info.channels == 1 else "RGB")
        side = (info.size, info.size)
        if info.own.resize == "crop":
            turned = ImageOps.fit(turned, side, Image.Resampling.BICUBIC)
        else:
            turned = turned.resize(side, Image.Resampling.BICUBIC)
        found = np.asarray(turned)
    return found.transpose(2, 0, 1) if info.channels == 3 else found[None]


class opened:
    """An image file, decoded and of a kind that can be packed; FormatError that names it if not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Image.Image:
        from PIL import Image

        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            bombs = Image.DecompressionBombWarning, Image.DecompressionBombError
            try:
                content = small_file(self.path)
                self.image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
                self.image.load()
            except (*DAMAGE, *bombs) as error:
                why = "not a complete PNG, JPEG or WebP image"
                why = f"{why} ({error})" if isinstance(error, bombs) else why
                raise FormatError(f"{self.path}: {why}; replace it, or move it away") from None
        for wrong in _wrong(self.image, content):
            raise FormatError(f"{self.path}: {wrong}")
        return self.image

    def __exit__(self, *_: object) -> None:
        self.image.close()


def _wrong(image: Image.Image, content: bytes) -> Iterator[str]:
    if getattr(image, "n_frames", 1) > 1:
        yield f"{image.n_frames} frames; save one of them as an image"
    deep = image.format == "PNG" and content[24] > 8  # Pillow would drop the lower 8 bits
    if deep or image.mode not in (*GREY, *COLOUR):
        yield f"more than 8 bits a channel (mode {image.mode}); save it with 8"
    elif image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        yield "transparent pixels; save it without transparency"
