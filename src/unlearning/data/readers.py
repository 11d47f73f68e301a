"""From verified files to tensors: archives read safely in memory, one reader a format.

A checksum says that a file is the published one, not that it is harmless: archives are
scanned before a member is read and never extracted to disk, and pickles may hold plain
arrays only. A new format is one function here and its name in `READERS` and in
`unlearning.data.catalogue.READER_NAMES`.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import lzma
import pickle
import pickletools
import posixpath
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.data.catalogue import DataError, DatasetInfo, FileInfo
from unlearning.vision import torchvision

if TYPE_CHECKING:
    import torch

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
BOMB_RATIO, BOMB_FLOOR = 20, 64 * 2**20
"""An archive may unpack to this many times its size, or to the floor if that is more."""


class UnsafeArchive(DataError):
    """An archive holds something that no honest copy of the data set holds."""


class FormatError(DataError):
    """A verified file does not contain what its row promises."""


# --- archives ---


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the readers raise on damaged content into a FormatError naming `path`."""
    damage = (
        OSError,
        EOFError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,  # what a damaged size asks for
        RuntimeError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
    )
    try:
        yield
    except DataError:
        raise
    except damage as error:
        raise FormatError(f"{path}: cannot be read as its row says ({error!r})") from error


def _bound(file: FileInfo) -> int:
    return max(BOMB_FLOOR, BOMB_RATIO * file.bytes)


def _scan(path: Path, file: FileInfo, members: Iterable[tuple[str, int, bool]]) -> None:
    """Look at every (name, unpacked size, is a plain file or folder) before any is read.

    Raises UnsafeArchive for an absolute path, `..`, a link or device, a name that occurs
    twice, or more than max(BOMB_FLOOR, BOMB_RATIO x archive) bytes in all.
    """
    seen, total, bound = set(), 0, _bound(file)
    for name, size, plain in members:
        parts = re.split(r"[/\\]", name)
        total += size
        for wrong, fault in (
            (not parts[0] or re.match(r"[A-Za-z]:", name), "has an absolute path"),
            (".." in parts, "climbs out of its folder"),
            (not plain, "is a link or a device"),
            (posixpath.normpath(name) in seen, "occurs twice"),
            (total > bound, f"brings the unpacked size to {total} bytes (at most {bound})"),
        ):
            if wrong:
                raise UnsafeArchive(f"{path}: member {name!r} {fault}. Do not use this archive.")
        seen.add(posixpath.normpath(name))


def _tar_members(path: Path, file: FileInfo, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted members' content, after a scan of all; nothing is written to disk."""
    with tarfile.open(path, "r:gz") as archive:
        _scan(path, file, ((m.name, m.size, m.isreg() or m.isdir()) for m in archive))
        # In the archive's order, because going back in a gzip stream starts it afresh.
        content = {}
        for member in archive.getmembers():
            if member.name in wanted and member.isreg():
                content[member.name] = archive.extractfile(member).read()
    missing = sorted(set(wanted) - set(content))
    if missing:
        raise FormatError(f"{path}: there is no member {missing[0]!r}")
    return content


def _zip_is_plain(member: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


# --- readers: (info, paths by file name) -> tensors, class names ---


def _read_idx(info: DatasetInfo, paths: Mapping[str, Path]) -> tuple[dict, list[str]]:
    """The four gzipped IDX files of Fashion-MNIST (grey images)."""
    mnist = torchvision().datasets.mnist
    files = {file.file: file for file in info.files}
    if set(files) != set(IDX_FILES.values()):
        raise FormatError(f"{info.name}: its files must be {', '.join(IDX_FILES.values())}")
    tensors = {}
    for key, name in IDX_FILES.items():
        with _reading(paths[name]), _gunzipped(paths[name], files[name]) as plain:
            if key.endswith("images"):
                tensors[key] = mnist.read_image_file(str(plain)).unsqueeze(1)
            else:
                tensors[key] = mnist.read_label_file(str(plain))
    return tensors, list(mnist.FashionMNIST.classes)


@contextlib.contextmanager
def _gunzipped(path: Path, file: FileInfo) -> Iterator[Path]:
    """A temporary plain copy, since torchvision reads plain files only."""
    bound, size = _bound(file), 0
    with tempfile.TemporaryDirectory() as folder, gzip.open(path) as packed:
        plain = Path(folder) / path.stem
        with open(plain, "wb") as handle:
            while chunk := packed.read(2**20):
                size += len(chunk)
                if size > bound:
                    raise UnsafeArchive(f"{path}: unpacks to more than {bound} bytes")
                handle.write(chunk)
        yield plain


def _read_cifar(
    info: DatasetInfo,
    paths: Mapping[str, Path],
    folder: str,
    train: tuple[str, ...],
    test: str,
    labels: str,
    meta: tuple[str, str],
) -> tuple[dict, list[str]]:
    """A CIFAR archive, "python version": pickled batches in a tar.gz."""
    import numpy as np
    import torch

    (file,) = info.files
    path = paths[file.file]
    names = {name: f"{folder}/{name}" for name in (*train, test, meta[0])}
    with _reading(path):
        content = _tar_members(path, file, set(names.values()))
        batches = {
            name: _unpickle(content.pop(member), f"{path}: member {member!r}")
            for name, member in names.items()
        }
        tensors = {}
        for part, members in (("train", train), ("test", (test,))):
            images = np.concatenate([batches[name]["data"].value for name in members])
            images = images.reshape(-1, info.channels, info.size, info.size)
            if images.dtype != np.uint8:
                raise FormatError(f"{path}: expected uint8 images, found {images.dtype}")
            classes = [label for name in members for label in batches[name][labels]]
            tensors[f"{part}_images"] = torch.from_numpy(images)
            tensors[f"{part}_labels"] = torch.tensor(classes, dtype=torch.int64)
        return tensors, list(batches[meta[0]][meta[1]])


class _Array:
    """What stands in for a pickled array: NumPy's own restoring crashes on a damaged state."""

    value = None

    def __setstate__(self, state: tuple) -> None:
        import numpy as np

        _, size, kind, by_columns, raw = state
        if kind.code not in ("u1", "uint8") or by_columns:
            raise FormatError(f"expected rows of uint8, found {kind.code!r}")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        self.value = np.frombuffer(content, np.uint8).reshape(size)


class _Kind:
    """What stands in for a pickled NumPy type."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        """Byte order and the like, which one byte has none of."""


class _ArraysOnly(pickle.Unpickler):
    """Loads the uint8 arrays of Python 2 pickles, and no object of another kind.

    Nothing that a pickle names is ever called: arrays and their types are stand-ins of our own.
    """

    def __init__(self, content: bytes, where: str):
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Kind,
        }
        if (module, name) not in allowed:
            raise UnsafeArchive(
                f"{self.where} is a pickle that asks for {module}.{name}; only plain arrays "
                "are allowed. Nothing was run. Do not use this archive."
            )
        return allowed[module, name]


def _unpickle(content: bytes, where: str) -> dict:
    # The unpickler's memo is as long as the largest number in it: 16 bytes each, up to 64 GiB.
    numbers = (arg for code, arg, _ in pickletools.genops(content) if code.name.endswith("PUT"))
    largest = max(numbers, default=0)
    if largest > len(content):
        raise UnsafeArchive(
            f"{where} is a pickle that numbers its object {largest}, of {len(content)} bytes. "
            "Do not use this archive."
        )
    value = _ArraysOnly(content, where).load()
    if not isinstance(value, dict):
        raise FormatError(f"{where} holds a {type(value).__name__}, not a dict")
    return value


def _read_tiny_imagenet(info: DatasetInfo, paths: Mapping[str, Path]) -> tuple[dict, list[str]]:
    """The zip of Tiny ImageNet: `train` is its training set, `test` its validation set.

    Classes are numbered and images ordered as torchvision's ImageFolder would, the
    validation images sorted into class folders first.
    """
    import torch

    (file,) = info.files
    path, top = paths[file.file], "tiny-imagenet-200"
    with _reading(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _scan(path, file, ((m.filename, m.file_size, _zip_is_plain(m)) for m in members))
        pattern = re.compile(rf"{top}/train/([^/]+)/images/([^/]+\.JPEG)")
        found = filter(None, (pattern.fullmatch(member.filename) for member in members))
        train = sorted((match[1], match[2], match[0]) for match in found)
        classes = {wnid: i for i, wnid in enumerate(sorted({wnid for wnid, *_ in train}))}
        test = sorted(
            (wnid, name, f"{top}/val/images/{name}")
            for name, wnid, *_ in _table(archive, f"{top}/val/val_annotations.txt")
        )
        tensors = {}
        for part, rows in (("train", train), ("test", test)):
            unknown = sorted({wnid for wnid, *_ in rows} - set(classes))
            if unknown:
                raise FormatError(f"{path}: {part} images of an unknown class {unknown[0]!r}")
            tensors[f"{part}_images"] = _decode(archive, [member for *_, member in rows], info)
            tensors[f"{part}_labels"] = torch.tensor(
                [classes[wnid] for wnid, *_ in rows], dtype=torch.int64
            )
        words = {row[0]: row[1] for row in _table(archive, f"{top}/words.txt")}
        return tensors, [words[wnid] for wnid in classes]


def _table(archive: zipfile.ZipFile, member: str) -> list[list[str]]:
    return [line.split("\t") for line in archive.read(member).decode().splitlines() if line]


def _decode(archive: zipfile.ZipFile, members: list[str], info: DatasetInfo) -> torch.Tensor:
    """The members' images as RGB, uint8 [N, 3, size, size]."""
    import numpy as np
    import torch
    from PIL import Image

    images = np.empty((len(members), 3, info.size, info.size), dtype=np.uint8)
    for i, member in enumerate(members):
        try:
            with Image.open(io.BytesIO(archive.read(member))) as image:
                if image.size != (info.size, info.size):
                    raise ValueError(f"expected {info.size} x {info.size} pixels, not {image.size}")
                images[i] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise FormatError(f"{archive.filename}: image {member!r}: {error}") from error
    return torch.from_numpy(images)


READERS: dict[str, Callable[[DatasetInfo, Mapping[str, Path]], tuple[dict, list[str]]]] = {
    "idx": _read_idx,
    "cifar10": functools.partial(
        _read_cifar,
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        labels="labels",
        meta=("batches.meta", "label_names"),
    ),
    "cifar100": functools.partial(
        _read_cifar,
        folder="cifar-100-python",
        train=("train",),
        test="test",
        labels="fine_labels",
        meta=("meta", "fine_label_names"),
    ),
    "tiny_imagenet": _read_tiny_imagenet,
}
