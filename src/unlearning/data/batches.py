"""The data set as one uint8 tensor on the device, and shuffled, augmented batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unlearning.files import check_hash, load_tensors, read_json
from unlearning.recipe import VALIDATION_SHARE
from unlearning.seeds import seed_for


@dataclass(frozen=True)
class Images:
    """Images and labels that stay on one device.

    images: uint8 [N, C, H, W]; labels: int64 [N]; mean, std: float32 [C] in 0..1 units.
    """

    images: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the images are, and where `batch` gives them."""
        return self.images.device

    @property
    def shape(self) -> torch.Size:
        """Of one image: [C, H, W]."""
        return self.images.shape[1:]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [B, C, H, W] to normalised float32 of the same shape, channels-last in memory."""
        scale = (255 * self.std).view(-1, 1, 1)
        shift = (255 * self.mean).view(-1, 1, 1)
        return images.contiguous(memory_format=torch.channels_last).float().sub_(shift).div_(scale)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images [B, C, H, W] and labels [B] at `indices` [B], without augmentation."""
        return self.normalise(self.images[indices]), self.labels[indices]

    def batches(
        self, chunks: Iterable[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`batch` of each of some `indices`, one after the other."""
        return map(self.batch, chunks)


@dataclass(frozen=True)
class Dataset:
    """A data set's training and test part, its number of classes and the hash of its file."""

    train: Images
    test: Images
    classes: int
    sha256: str


def load_dataset(
    path: str | Path,
    evaluation: str = "test",
    device: str = "cpu",
    sha256: str | None = None,
    normalisation: Mapping[str, list[float]] | None = None,
) -> Dataset:
    """Load a packed data set; `path` is the safetensors file, its facts lie beside it as JSON.

    evaluation: `test` gives the official parts. `validation` cuts a class-balanced
    fifth out of the training part and puts it in the place of the test part, so that
    settings can be chosen while the test part stays unseen. sha256: the file's own, where the
    caller has taken it already. normalisation: `mean` and `std` [C] in place of the facts'.
    Raises DamagedFile if the file is not the one that the facts state, and ValueError for a
    normalisation of other channels.
    """
    facts, arrays = load_packed(path, sha256)
    train = arrays["train_images"], arrays["train_labels"]
    test = arrays["test_images"], arrays["test_labels"]
    if evaluation == "validation":
        held_out = _validation_mask(train[1], facts["name"])
        test = train[0][held_out], train[1][held_out]
        train = train[0][~held_out], train[1][~held_out]
    elif evaluation != "test":
        raise ValueError(f"evaluation must be 'test' or 'validation', not {evaluation!r}")
    moments, channels = normalisation or facts, train[0].shape[1]
    if normalisation and len(moments["mean"]) != channels:
        given = len(moments["mean"])
        raise ValueError(f"mean and std have {given} values, the images {channels} channels")
    mean, std = (torch.tensor(moments[key], device=device) for key in ("mean", "std"))
    parts = (Images(x.to(device), y.to(device), mean, std) for x, y in (train, test))
    return Dataset(*parts, classes=facts["classes"], sha256=facts["sha256"])


def recorded_dataset(record: Mapping[str, Any], device: str) -> Dataset:
    """The data set that a new record states, in the form that its settings ask for."""
    settings = record["settings"]
    return load_dataset(
        record["paths"]["data"],
        settings["evaluation"],
        device,
        record["inputs"]["data"],
        settings.get("normalisation"),
    )


def load_packed(
    path: str | Path, sha256: str | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The facts and the tensors of a packed data set or weights, checked as in `load_dataset`."""
    beside = Path(path).with_suffix(".json")
    facts = read_json(beside)
    check_hash(path, facts["sha256"], str(beside), sha256)
    return facts, load_tensors(path)


def _validation_mask(labels: torch.Tensor, name: str) -> torch.Tensor:
    """True for a fifth of each class, drawn with a seed that depends on the data set alone."""
    generator = torch.Generator().manual_seed(seed_for("validation", name))
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        mask[members[order[: int(VALIDATION_SHARE * len(members))]]] = True
    return mask


def index_batches(
    count: int, batch_size: int, generator: torch.Generator | None = None
) -> list[torch.Tensor]:
    """Positions 0..count-1 in chunks of `batch_size`, the last one shorter; shuffled if a
    generator is given. A last chunk of one joins the one before: BatchNorm cannot train on it.
    """
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    chunks = list(order.split(batch_size))
    if len(chunks) > 1 and len(chunks[-1]) == 1 < batch_size:
        chunks[-2:] = [torch.cat(chunks[-2:])]
    return chunks


def augment(
    images: torch.Tensor,
    flip: bool,
    crop: int,
    generator: torch.Generator,
    padding: str = "zeros",
) -> torch.Tensor:
    """Random horizontal flip and random crop after padding, for a whole batch at once.

    images: uint8 [B, C, H, W]; crop: pixels of padding (0 = none); padding: `zeros` or
    `reflect` (mirrored without repeating the edge). One gather does both, per sample; the
    result is channels-last in memory, as the convolutions want it.
    """
    count, _, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * crop + 1, (2, count, 1), generator=generator).to(device)
    flipped = (torch.rand(count, 1, generator=generator) < (0.5 if flip else 0.0)).to(device)
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flipped, columns.flip(1), columns) + offsets[0]
    rows = torch.arange(height, device=device) + offsets[1]
    sample = torch.arange(count, device=device)[:, None, None]
    if padding == "reflect":
        rows, columns = mirrored(rows - crop, height), mirrored(columns - crop, width)
    else:
        images = torch.nn.functional.pad(images, (crop, crop, crop, crop))
    found = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2)


def mirrored(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions in -size < p < 2 size - 1 folded into 0..size-1 at both edges."""
    return size - 1 - (size - 1 - positions.abs()).abs()


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """float32 images [B, C, H, W] as [B, C, size, size]: bilinear, antialiased, channels-last."""
    if images.shape[-2:] == (size, size):
        return images
    found = torch.nn.functional.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True
    )
    return found.contiguous(memory_format=torch.channels_last)
