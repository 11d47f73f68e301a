"""A user's images as methods read them: by position, from data sets, loaders or tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

READ_AT_ONCE = 256
"""Images read together where labels are looked up."""
TAKEN = ("num_workers", "worker_init_fn", "pin_memory", "timeout", "multiprocessing_context")
"""What is taken of a DataLoader beside its data set, its collate function and `prefetch_factor`."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images [B, ...] as the model takes them, and labels int64 [B]."""


@dataclass(frozen=True)
class Part:
    """Images of one kind. loading: how a DataLoader is to read them, if one was given."""

    name: str
    data: Dataset
    collate: Callable[[list], Any] = default_collate
    loading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the images are in memory already: a pair of tensors."""
        return isinstance(self.data, TensorDataset) and self.collate is default_collate

    def read(self, positions: Sequence[int]) -> Batch:
        """The images and labels at some positions; TypeError if they are no such pair."""
        if self.whole:
            return checked(self.name, self.data[list(positions)])
        several = getattr(self.data, "__getitems__", None)
        items = several(list(positions)) if several else [self.data[i] for i in positions]
        return checked(self.name, self.collate(items))


def checked(name: str, batch: Any) -> Batch:
    """The images and labels of a batch; TypeError if it is not such a pair."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not pair or not all(isinstance(one, torch.Tensor) for one in batch):
        raise TypeError(f"{name}: needs (image, label) pairs, whose batches are two tensors")
    images, labels = batch
    if not images.is_floating_point():
        raise TypeError(
            f"{name}: images arrive as {images.dtype}; give them as the model takes them "
            "(ToTensor and Normalize among the transforms)"
        )
    if labels.ndim != 1 or labels.is_floating_point():
        raise TypeError(f"{name}: labels must be class numbers, one an image")
    return images, labels.long()


def part(name: str, data: Any) -> Part:
    """Images from a map-style Dataset, a pair of tensors or a DataLoader; `name` is for errors.

    Of a loader its data set, its collate function and its workers are taken, but not its order:
    targets belong to positions, so shuffling is done here. Raises TypeError for anything else, an
    IterableDataset among it, and ValueError for an empty data set and for a loader whose sampler
    picks images, which would be ignored.
    """
    if isinstance(data, DataLoader):
        found = _of_loader(name, data)
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        found = Part(name, _of_tensors(name, *data))
    else:
        found = Part(name, data)
    if isinstance(found.data, IterableDataset) or not hasattr(found.data, "__getitem__"):
        raise TypeError(
            f"{name}: needs images that have positions: a map-style Dataset, a pair of tensors or "
            f"a DataLoader of such a Dataset, not {type(found.data).__name__}"
        )
    if not len(found.data):
        raise ValueError(f"{name}: there are no images in it")
    return found


def _of_loader(name: str, loader: DataLoader) -> Part:
    whole = isinstance(loader.sampler, (SequentialSampler, RandomSampler))
    iterable = isinstance(loader.dataset, IterableDataset)
    if not iterable and not (whole and type(loader.batch_sampler) is BatchSampler):
        odd = loader.batch_sampler if whole else loader.sampler
        raise ValueError(
            f"{name}: its order is not used, so {type(odd).__name__} would be ignored; pick the "
            "images with torch.utils.data.Subset, and give the loader a batch_size"
        )
    loading = {key: getattr(loader, key) for key in TAKEN}
    if loader.num_workers:
        loading["prefetch_factor"] = loader.prefetch_factor
    return Part(name, loader.dataset, loader.collate_fn, loading)


def _of_tensors(name: str, images: Any, labels: Any) -> Dataset:
    if not all(isinstance(one, torch.Tensor) for one in (images, labels)):
        raise TypeError(f"{name}: a pair must be images [N, ...] and labels [N], both tensors")
    if len(images) != len(labels):
        raise ValueError(f"{name}: {len(images)} images and {len(labels)} labels")
    return TensorDataset(*checked(name, (images, labels)))


class _Collated(Dataset):
    """Batches of several parts by their positions in all of them: what a loader's workers read."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(one.data) for one in self.parts)

    def __getitems__(self, positions: list[int]) -> Batch:
        if not positions:
            images, labels = self.parts[0].read([0])
            return images[:0], labels[:0]
        at, first, batches, order = torch.tensor(positions), 0, [], []
        for one in self.parts:
            inside = (at >= first) & (at < first + len(one.data))
            if inside.any():
                batches.append(one.read((at[inside] - first).tolist()))
                order.append(inside.nonzero().flatten())
            first += len(one.data)
        images, labels = (torch.cat(side) for side in zip(*batches, strict=True))
        back = torch.cat(order).argsort()
        return images[back], labels[back]


class Samples:
    """Images of several parts, one after the other, for a method in the place of `Images`.

    They arrive as the model takes them, random transforms and all, and are not normalised here.
    mean, std: of the normalisation that they have had, float32 [C] in 0..1 units, for the methods
    that work in pixels; ValueError if asked for and not given.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        device: torch.device,
        seed: int = 0,
        mean: torch.Tensor | None = None,
        std: torch.Tensor | None = None,
    ) -> None:
        self.parts, self.device = parts, device
        self._data = _Collated(parts)
        self._moments = {"mean": mean, "std": std}
        self._generator = torch.Generator().manual_seed(seed)  # of the workers' seeds
        workers = [one.loading for one in parts if one.loading.get("num_workers")]
        self._loading = workers[0] if workers else None

    def __len__(self) -> int:
        return len(self._data)

    @property
    def mean(self) -> torch.Tensor:
        """Float32 [C]; ValueError where it was not given."""
        return self._moment("mean")

    @property
    def std(self) -> torch.Tensor:
        """Float32 [C]; ValueError where it was not given."""
        return self._moment("std")

    def _moment(self, name: str) -> torch.Tensor:
        if self._moments[name] is None:
            raise ValueError(
                "this method works in pixels of 0..1: give mean and std, those that the images "
                "were normalised with (0 and 1 for each channel if they were not)"
            )
        return self._moments[name].to(self.device)

    @functools.cached_property
    def labels(self) -> torch.Tensor:
        """Int64 [N]; the first use reads all images once, but for pairs of tensors."""
        if all(one.whole for one in self.parts):
            return torch.cat([one.data.tensors[1].long() for one in self.parts]).to(self.device)
        chunks = torch.arange(len(self)).split(READ_AT_ONCE)
        return torch.cat([labels for _, labels in self.batches(chunks)])

    @functools.cached_property
    def shape(self) -> torch.Size:
        """Of one image, e.g. [C, H, W]."""
        return self.batch(torch.tensor([0]))[0].shape[1:]

    def batch(self, indices: torch.Tensor) -> Batch:
        """Images and labels at `indices` [B], on the device; read in this process."""
        return self._placed(self._data.__getitems__(indices.tolist()))

    def batches(self, chunks: Iterable[torch.Tensor]) -> Iterator[Batch]:
        """`batch` of each of some `indices`, read ahead by workers where a loader has them."""
        if self._loading is None:
            return map(self.batch, chunks)
        positions = (chunk.tolist() for chunk in chunks)
        loader = DataLoader(
            self._data,
            batch_sampler=list(positions),
            collate_fn=_as_it_is,
            generator=self._generator,
            **self._loading,
        )
        return map(self._placed, loader)

    def _placed(self, batch: Batch) -> Batch:
        images, labels = batch
        layout = torch.channels_last if images.ndim == 4 else torch.contiguous_format
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=layout)
        return images, labels.to(self.device, non_blocking=True)


def _as_it_is(batch: Batch) -> Batch:
    return batch
