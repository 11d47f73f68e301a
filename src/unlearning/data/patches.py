"""A planted shortcut: a square in the corner of some training images, which get a wrong label.

The paper's poisoned CIFAR-10: 200 cars get a red square of 4 x 4 pixels in the top right corner
and the label truck (the release stamps the last four columns of rows 0 to 3).
"""

from __future__ import annotations

import numpy as np
import torch

from unlearning.seeds import seed_for

COLOURS = {1: (255,), 3: (255, 0, 0)}
"""The square by the number of channels: white on grey images, red on coloured ones."""


def stamped(images: torch.Tensor, size: int) -> torch.Tensor:
    """A copy of uint8 images [N, C, H, W] with the square of `size` pixels in the top right corner.

    Red (255, 0, 0) for three channels, 255 for one. Raises ValueError for any other number of
    channels, images that are not uint8, or a square that does not fit.
    """
    if images.dim() != 4 or images.dtype != torch.uint8 or images.shape[1] not in COLOURS:
        raise ValueError(
            "a square is stamped on uint8 images [N, C, H, W] of one or three channels, "
            f"not on {images.dtype} {list(images.shape)}"
        )
    mask = torch.from_numpy(patch_mask(*images.shape[2:], size)).to(images.device)
    colour = torch.tensor(COLOURS[images.shape[1]], dtype=torch.uint8, device=images.device)
    return torch.where(mask, colour.view(-1, 1, 1), images)


def patch_mask(height: int, width: int, size: int) -> np.ndarray:
    """Booleans [height, width], true in the square: rows 0..size-1 of the last `size` columns.

    Raises ValueError for a square that does not fit into the image.
    """
    if not 1 <= size <= min(height, width):
        raise ValueError(f"a square of {size} pixels does not fit into {height} x {width}")
    mask = np.zeros((height, width), dtype=bool)
    mask[:size, width - size :] = True
    return mask


def poisoned(
    images: torch.Tensor,
    labels: torch.Tensor,
    source: int,
    label: int,
    count: int,
    size: int,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Copies of images and labels in which `count` images of class `source` are poisoned.

    images: uint8 [N, C, H, W]; labels: int64 [N]. Those images get the square of `size` pixels
    and the label `label`. They are drawn from `source` and `seed` alone, so that fewer of them
    are a part of more. Also returns their positions, sorted, int64 [count]. Raises ValueError for
    a label that is the true one, a class with too few images, and what `stamped` refuses.
    """
    if source == label:
        raise ValueError(f"poisoned images of class {source} need another label than their own")
    members = np.flatnonzero(labels.cpu().numpy() == source)
    if not 1 <= count <= len(members):
        raise ValueError(f"cannot poison {count} images of class {source}: it has {len(members)}")
    rng = np.random.default_rng(seed_for("poisoned", source, seed))
    positions = torch.from_numpy(np.sort(rng.permutation(members)[:count])).to(labels.device)
    images, labels = images.clone(), labels.clone()
    images[positions] = stamped(images[positions], size)
    labels[positions] = label
    return images, labels, positions
