"""Images of another kind than the data set's, for methods that stand on no retained data.

    dead_leaves   random overlapping discs, radius density ~ r^-3 (Lee, Mumford and Huang,
                  IJCV 2001; as training images: Baradad et al., NeurIPS 2021)
    noise         every pixel uniform in 0..255
    packed:NAME   training images of the packed data set data/NAME.safetensors, resized

The first two need no files and are made from the seed alone. All have the shape of the
data set's own images, are normalised like them and carry zeros for labels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import interpolate

from unlearning.data.batches import Images, load_packed

FOLDER = Path("data")
PACKED = "packed:"
LEAVES = 100
"""Discs an image; what none of them covers (3 % of the pixels) shows one more colour."""
RADII = 1 / 16, 1 / 2
"""Smallest and largest radius, as shares of the image's shorter side."""
CHUNK = 32
"""Images painted at once, few enough for the processor's cache."""


def surrogate(name: str, count: int, like: Images, seed: int) -> Images:
    """`count` images [count, C, H, W] of the set `name`, in the shape and on the device of `like`.

    Raises ValueError for an unknown name, a count that the set does not have or images that
    do not fit, and FileNotFoundError for a packed data set that is not there.
    """
    if count < 1:
        raise ValueError(f"a surrogate set needs at least one image, not {count}")
    shape = tuple(like.shape)
    generator = torch.Generator().manual_seed(seed)
    if name == "dead_leaves":
        images = dead_leaves(count, shape, generator)
    elif name == "noise":
        images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    elif name.startswith(PACKED):
        images = fit(_packed(name.removeprefix(PACKED), count, generator), shape)
    else:
        raise ValueError(
            f"unknown surrogate set {name!r}; known: dead_leaves, noise, {PACKED}NAME "
            f"(the training images of {FOLDER}/NAME.safetensors)"
        )
    device = like.device
    labels = torch.zeros(count, dtype=torch.int64, device=device)
    return Images(images.to(device), labels, like.mean, like.std)


def radii(uniform: torch.Tensor, smallest: float, largest: float) -> torch.Tensor:
    """Radii with density ~ r^-3 on [smallest, largest] from uniform numbers, of the same shape.

    The inverse of the distribution function (a - r^-2) / (a - b), a = smallest^-2, b = largest^-2.
    """
    a, b = smallest**-2, largest**-2
    return (a - uniform * (a - b)).rsqrt()


def dead_leaves(
    count: int, shape: tuple[int, int, int], generator: torch.Generator
) -> torch.Tensor:
    """uint8 images [count, C, H, W]: `LEAVES` discs in a heap, the first one on top.

    Centres are uniform over the image, colours uniform and independent for each channel.
    """
    channels, height, width = shape
    side = min(height, width)
    places = torch.rand(2, count, LEAVES, generator=generator)
    x, y = places[0] * width, places[1] * height
    uniform = torch.rand(count, LEAVES, generator=generator)
    r = radii(uniform, *(share * side for share in RADII))
    size = (count, channels, LEAVES + 1)
    colours = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    images = torch.empty(count, channels, height * width, dtype=torch.uint8)
    for part in torch.arange(count).split(CHUNK):
        top = _top_leaf(x[part], y[part], r[part], height, width)
        images[part] = colours[part].gather(2, top[:, None].expand(-1, channels, -1))
    return images.view(count, *shape)


def _top_leaf(
    x: torch.Tensor, y: torch.Tensor, r: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Number of the first disc over each pixel [B, H * W], LEAVES where there is none.

    x, y, r: [B, LEAVES] in pixels. A pixel p lies in a disc (c, r) if
    |p|² - 2 p·c + |c|² - r² < 0: one product of matrices for all pixels and discs.
    """
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    v, u = (grid.flatten() for grid in torch.meshgrid(rows, columns, indexing="ij"))
    pixels = torch.stack([u * u + v * v, u, v, torch.ones_like(u)])
    discs = torch.stack([torch.ones_like(r), -2 * x, -2 * y, x * x + y * y - r * r], -1)
    rank = torch.arange(LEAVES, 0, -1, dtype=torch.uint8)[:, None]
    return LEAVES - ((discs @ pixels < 0) * rank).amax(1).long()


def fit(images: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """uint8 images [N, c, h, w] as uint8 [N, C, H, W] of `shape`.

    Grey is the mean of the colours, colours are grey repeated; the size changes by
    antialiased bilinear interpolation. Raises ValueError for other numbers of channels.
    """
    channels, *size = shape
    result = images.float()
    if images.shape[1] != channels and channels == 1:
        result = result.mean(1, keepdim=True)
    elif images.shape[1] == 1:
        result = result.expand(-1, channels, -1, -1)
    elif images.shape[1] != channels:
        raise ValueError(f"images of {images.shape[1]} channels cannot become {channels}")
    if list(images.shape[2:]) != size:
        result = interpolate(result, size=size, mode="bilinear", antialias=True)
    return result.round().clamp(0, 255).to(torch.uint8)


def _packed(name: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """The first `count` training images [count, c, h, w] of a packed data set, shuffled."""
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"surrogate set {PACKED}{name} needs the packed data set {path}, which is not there; "
            f"make it with: snakemake {path}"
        )
    images = load_packed(path)[1].get("train_images")
    if images is None or images.dtype != torch.uint8 or images.dim() != 4:
        raise ValueError(f"{path}: no tensor train_images of uint8 [N, C, H, W] to take from")
    if len(images) < count:
        raise ValueError(f"{path} has {len(images)} training images, {count} were asked for")
    return images[torch.randperm(len(images), generator=generator)[:count]]
