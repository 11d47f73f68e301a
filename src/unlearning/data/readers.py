"""From verified files to tensors: archives read safely in memory, one reader a format.

A checksum says that a file is the published one, not that it is harmless: archives are
scanned before a member is read and never extracted to disk, and pickles may hold plain
arrays only. A new format is one function here and its name in `READERS` and in
`unlearning.data.catalogue.READER_NAMES`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import lzma
import os
import pickle
import pickletools
import posixpath
import re
import stat
import struct
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.data.catalogue import DataError, DatasetInfo, FileInfo, FormatError
from unlearning.files import STORAGE
from unlearning.runtime.vision import torchvision

if TYPE_CHECKING:
    import numpy as np
    import torch

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
BOMB_RATIO, BOMB_FLOOR = 20, 64 * 2**20
"""An archive may unpack to this many times its size, or to the floor if that is more."""


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


class UnsafeArchive(DataError):
    """An archive holds something that no honest copy of the data set holds."""


# --- archives ---


DAMAGE = (
    OSError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,  # what a damaged size asks for
    RuntimeError,
    SyntaxError,  # Pillow's word for a broken PNG
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What libraries raise on damaged content."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the readers raise on damaged content into a FormatError naming `path`."""
    try:
        yield
    except DataError:
        raise
    except DAMAGE as error:
        why = error if getattr(error, "filename", None) else repr(error)
        raise FormatError(f"{path}: cannot be read ({why})") from error


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
            (".." in parts, "leaves its folder"),
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
        raise FormatError(f"{path}: has no member {missing[0]!r}")
    return content


def _zip_is_plain(member: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


# --- readers: (info, paths by file name) -> content ---


def _read_idx(info: DatasetInfo, paths: Mapping[str, Path]) -> Content:
    """The four IDX files of Fashion-MNIST (grey images), gzipped or not."""
    mnist = torchvision().datasets.mnist
    files = {file.file: file for file in info.files}
    if set(files) != set(IDX_FILES.values()):
        raise FormatError(f"{info.name}: its files must be {', '.join(IDX_FILES.values())}")
    tensors = {}
    for key, name in IDX_FILES.items():
        with reading(paths[name]), _gunzipped(paths[name], files[name]) as plain:
            if key.endswith("images"):
                tensors[key] = mnist.read_image_file(str(plain)).unsqueeze(1)
            else:
                tensors[key] = mnist.read_label_file(str(plain))
    return Content(tensors, list(mnist.FashionMNIST.classes))


@contextlib.contextmanager
def _gunzipped(path: Path, file: FileInfo) -> Iterator[Path]:
    """A temporary plain copy, since torchvision reads plain files only; or the plain file."""
    with open(path, "rb") as handle:
        gzipped = handle.read(2) == b"\x1f\x8b"
    if not gzipped:
        yield path
        return
    bound, size = _bound(file), 0
    with tempfile.TemporaryDirectory() as folder, gzip.open(path) as packed:
        plain = Path(folder) / path.stem
        try:
            with open(plain, "wb") as handle:
                while chunk := packed.read(2**20):
                    size += len(chunk)
                    if size > bound:
                        raise UnsafeArchive(f"{path}: unpacks to more than {bound} bytes")
                    handle.write(chunk)
        except OSError as error:
            if error.errno not in STORAGE:
                raise
            raise DataError(
                f"{folder}: {os.strerror(error.errno)}; set TMPDIR to a folder with room for "
                f"{path}, unpacked"
            ) from error
        yield plain


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
        content = _tar_members(path, file, set(names.values()))
        return unpickle_cifar(info, {n: content.pop(m) for n, m in names.items()}, path)


def unpickle_cifar(info: DatasetInfo, members: Mapping[str, bytes], path: Path) -> Content:
    """The images of a CIFAR archive's members, sorted by (class, file name).

    members: content of each of `Batches.members`, from the archive or folder `path`.
    """
    import numpy as np
    import torch

    batches = CIFAR[info.reader]
    values = {
        name: _unpickle(content, f"{path}: member '{batches.folder}/{name}'")
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


TINY = "tiny-imagenet-200"


def _read_tiny_imagenet(info: DatasetInfo, paths: Mapping[str, Path]) -> Content:
    """The zip of Tiny ImageNet."""
    (file,) = info.files
    path = paths[file.file]
    with reading(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _scan(path, file, ((m.filename, m.file_size, _zip_is_plain(m)) for m in members))
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


# --- images ---


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


READERS: dict[str, Callable[[DatasetInfo, Mapping[str, Path]], Content]] = {
    "idx": _read_idx,
    "cifar10": _read_cifar,
    "cifar100": _read_cifar,
    "tiny_imagenet": _read_tiny_imagenet,
}
