"""From verified files to tensors: one reader a format.

Archives are scanned before a member is read (`archives.py`), and pickles may hold plain
arrays only (`pickles.py`). A new format is one function here and its name in `READERS` and in
`unlearning.data.catalogue.READER_NAMES`.
"""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.data.archives import gunzipped, reading, scan_zip, tar_members
from unlearning.data.catalogue import DatasetInfo, FormatError
from unlearning.data.decode import decode
from unlearning.data.pickles import unpickle
from unlearning.runtime.vision import torchvision

if TYPE_CHECKING:
    import torch

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """What a source holds.

    tensors: uint8 {train,test}_images [N, C, H, W], int64 {train,test}_labels [N] and, where the
    images have names, uint8 {train,test}_names (see `joined`); such images are sorted by
    (class, name), and classes are numbered in alphabetical order. train_order: [N], the
    official position of each training image, where the source knows it.
    """

    tensors: dict[str, torch.Tensor]
    class_names: list[str]
    train_order: list[int] | None = None


def _read_idx(info: DatasetInfo, paths: Mapping[str, Path]) -> Content:
    """The four IDX files of Fashion-MNIST (grey images), gzipped or not."""
    mnist = torchvision().datasets.mnist
    files = {file.file: file for file in info.files}
    if set(files) != set(IDX_FILES.values()):
        raise FormatError(f"{info.name}: its files must be {', '.join(IDX_FILES.values())}")
    tensors = {}
    for key, name in IDX_FILES.items():
        with reading(paths[name]), gunzipped(paths[name], files[name]) as plain:
            if key.endswith("images"):
                tensors[key] = mnist.read_image_file(str(plain)).unsqueeze(1)
            else:
                tensors[key] = mnist.read_label_file(str(plain))
    return Content(tensors, list(mnist.FashionMNIST.classes))


@dataclasses.dataclass(frozen=True)
class Batches:
    """The members of a CIFAR archive, "python version", and the keys of its pickles."""

    folder: str
    train: tuple[str, ...]
    test: str
    labels: str
    meta: str
    class_names: str

    @property
    def members(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


CIFAR = {
    "cifar10": Batches(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        labels="labels",
        meta="batches.meta",
        class_names="label_names",
    ),
    "cifar100": Batches(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        labels="fine_labels",
        meta="meta",
        class_names="fine_label_names",
    ),
}


def _read_cifar(info: DatasetInfo, paths: Mapping[str, Path]) -> Content:
    """A CIFAR archive: pickled batches in a tar.gz."""
    (file,) = info.files
    path, batches = paths[file.file], CIFAR[info.reader]
    names = {name: f"{batches.folder}/{name}" for name in batches.members}
    with reading(path):
        content = tar_members(path, file, set(names.values()))
        return unpickle_cifar(info, {n: content.pop(m) for n, m in names.items()}, path)


def unpickle_cifar(info: DatasetInfo, members: Mapping[str, bytes], path: Path) -> Content:
    """The images of a CIFAR archive's members, sorted by (class, file name).

    members: content of each of `Batches.members`, from the archive or folder `path`.
    """
    import numpy as np
    import torch

    batches = CIFAR[info.reader]
    values = {
        name: unpickle(content, f"{path}: member '{batches.folder}/{name}'")
        for name, content in members.items()
    }
    listed = [_text(name) for name in values[batches.meta][batches.class_names]]
    class_names = sorted(listed)
    numbers = {old: class_names.index(name) for old, name in enumerate(listed)}
    tensors, orders = {}, {}
    for part, wanted in (("train", batches.train), ("test", (batches.test,))):
        images = np.concatenate([values[name]["data"].value for name in wanted])
        images = images.reshape(-1, info.channels, info.size, info.size)
        if images.dtype != np.uint8:
            raise FormatError(f"{path}: expected uint8 images, found {images.dtype}")
        # A label that has no name keeps its number, for the check against the catalogue.
        labels = [numbers.get(n, n) for name in wanted for n in values[name][batches.labels]]
        names = [_text(n) for name in wanted for n in values[name]["filenames"]]
        if not len(images) == len(labels) == len(names):
            raise FormatError(
                f"{path}: expected a label and a name for each of {len(images)} {part} images, "
                f"found {len(labels)} and {len(names)}"
            )
        orders[part] = sorted(range(len(names)), key=lambda i: (labels[i], names[i]))
        tensors[f"{part}_images"] = torch.from_numpy(images[orders[part]])
        tensors[f"{part}_labels"] = torch.tensor(labels, dtype=torch.int64)[orders[part]]
        tensors[f"{part}_names"] = joined([names[i] for i in orders[part]])
    return Content(tensors, class_names, orders["train"])


def _text(name: str) -> str:
    """A name of a Python 2 pickle, which holds bytes."""
    return name.encode("latin1").decode()


def joined(names: Sequence[str]) -> torch.Tensor:
    """File names as one uint8 tensor [bytes]: UTF-8, a newline between two names.

    Raises ValueError for a name that holds a newline.
    """
    import torch

    for name in names:
        if "\n" in name:
            raise ValueError(f"the file name {name!r} holds a newline")
    return torch.frombuffer(bytearray("\n".join(names).encode()), dtype=torch.uint8)


TINY = "tiny-imagenet-200"


def _read_tiny_imagenet(info: DatasetInfo, paths: Mapping[str, Path]) -> Content:
    """The zip of Tiny ImageNet."""
    (file,) = info.files
    path = paths[file.file]
    with reading(path), zipfile.ZipFile(path) as archive:
        scan_zip(path, file, archive)
        return tiny_imagenet(info, archive.namelist(), archive.read, path)


def tiny_imagenet(
    info: DatasetInfo, members: Iterable[str], read: Callable[[str], bytes], path: Path
) -> Content:
    """Tiny ImageNet: `train` is its training set, `test` its validation set.

    members, read: names of its files, from tiny-imagenet-200/ on, and the content of one;
    path: the archive or folder. Classes are numbered and images ordered as torchvision's
    ImageFolder would, the validation images sorted into class folders first.
    """
    import torch

    pattern = re.compile(rf"{TINY}/train/([^/]+)/images/([^/.][^/]*\.JPEG)")
    found = filter(None, map(pattern.fullmatch, members))
    rows = {
        "train": sorted((match[1], match[2], match[0]) for match in found),
        "test": sorted(
            (wnid, name, f"{TINY}/val/images/{name}")
            for name, wnid, *_ in _table(read(f"{TINY}/val/val_annotations.txt"))
        ),
    }
    wnids = sorted({wnid for wnid, *_ in rows["train"]})
    classes = {wnid: i for i, wnid in enumerate(wnids)}
    for part, count in (("train", info.train), ("test", info.test)):
        if len(rows[part]) != count:
            raise FormatError(f"{path}: expected {count} {part} images, found {len(rows[part])}")
        unknown = sorted({wnid for wnid, *_ in rows[part]} - set(classes))
        if unknown:
            raise FormatError(f"{path}: {part} images of an unknown class {unknown[0]!r}")
    words = {row[0]: row[1] for row in _table(read(f"{TINY}/words.txt"))}
    class_names = [words[wnid] for wnid in wnids]
    tensors = {}
    for part in rows:
        files = [member for *_, member in rows[part]]
        tensors[f"{part}_images"] = decode(files, read, info, path)
        labels = [classes[wnid] for wnid, *_ in rows[part]]
        tensors[f"{part}_labels"] = torch.tensor(labels, dtype=torch.int64)
        tensors[f"{part}_names"] = joined([name for _, name, _ in rows[part]])
    return Content(tensors, class_names, list(range(info.train)))


def _table(content: bytes) -> list[list[str]]:
    return [line.split("\t") for line in content.decode().splitlines() if line]


READERS: dict[str, Callable[[DatasetInfo, Mapping[str, Path]], Content]] = {
    "idx": _read_idx,
    "cifar10": _read_cifar,
    "cifar100": _read_cifar,
    "tiny_imagenet": _read_tiny_imagenet,
}
