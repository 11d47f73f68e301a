"""Read a data set from its unpacked archive, or from a folder of images a class.

    FOLDER/cifar-10-batches-py/...      what torchvision and tar leave; members checked by MD5
    FOLDER/tiny-imagenet-200/...        the unpacked zip; checked by counts, classes and sizes
    FOLDER/{train,test}/CLASS/NAME.png  PNG, JPEG or WebP; checked by the content hashes

Both give the tensors that the publisher's archive gives.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unlearning.data.archives import BOMB_FLOOR, reading
from unlearning.data.catalogue import ChecksumError, DatasetInfo, FormatError
from unlearning.data.decode import decode
from unlearning.data.readers import (
    CIFAR,
    TINY,
    Content,
    joined,
    tiny_imagenet,
    unpickle_cifar,
)
from unlearning.runtime.vision import torchvision

PARTS = ("train", "test")
ORDERS = ("train_order.txt", "train_order.txt.gz")
"""Where a folder of images may list its training images in the official order."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PASSED_OVER = ("Thumbs.db", "desktop.ini", "__MACOSX")

log = logging.getLogger(__name__)


def read_folder(info: DatasetInfo, folder: Path) -> tuple[Content, dict[str, str]] | None:
    """The data set in `folder` and the checksums of what was read; None if it is not there.

    Looks for the unpacked archive, then for a folder of images. Raises DataError where one of
    them is there but wrong.
    """
    unpacked = _unpacked(info, folder)
    if unpacked:
        log.info("%s: reading the unpacked archive %s", info.name, unpacked)
        return (_read_batches if info.reader in CIFAR else _read_tiny)(info, unpacked)
    if any((folder / part).is_dir() for part in PARTS):
        log.info("%s: reading the folder of images %s", info.name, folder)
        return read_images(info, folder)
    return None


def sought(info: DatasetInfo) -> str:
    """What `read_folder` looks for, in words."""
    unpacked = {**{name: b.folder for name, b in CIFAR.items()}, "tiny_imagenet": TINY}
    also = f"{unpacked[info.reader]}/, " if info.reader in unpacked else ""
    return f"{also}train/ and test/ with a folder of images a class"


# --- unpacked archives ---


def _unpacked(info: DatasetInfo, folder: Path) -> Path | None:
    """The folder of the unpacked archive: in `folder`, or `folder` itself."""
    if info.reader in CIFAR:
        name, sign = CIFAR[info.reader].folder, CIFAR[info.reader].meta
    elif info.reader == "tiny_imagenet":
        name, sign = TINY, "val/val_annotations.txt"
    else:
        return None
    if (folder / name).is_dir():
        return folder / name
    return folder if folder.name == name or (folder / sign).is_file() else None


def published_members(reader: str) -> dict[str, str]:
    """MD5 of each member of the unpacked CIFAR archive, as torchvision lists them."""
    datasets = torchvision().datasets
    listed = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[reader]
    meta = listed.meta
    return {**dict(listed.train_list), **dict(listed.test_list), meta["filename"]: meta["md5"]}


def _read_batches(info: DatasetInfo, folder: Path) -> tuple[Content, dict[str, str]]:
    known, members, checksums = published_members(info.reader), {}, {}
    batches = CIFAR[info.reader]
    for name in batches.members:
        path = folder / name
        if not path.is_file():
            raise FormatError(f"{path}: no such file; unpack the archive again, or put it there")
        with reading(path), open(path, "rb") as handle:
            found = hashlib.file_digest(handle, "md5").hexdigest()
            if found != known[name]:
                raise ChecksumError(
                    f"{path}: expected md5:{known[name]}, found md5:{found}. "
                    "The file was not changed: unpack the archive again, or name another folder."
                )
            handle.seek(0)
            members[name] = handle.read()
        checksums[f"{batches.folder}/{name}"] = f"md5:{found}"
    with reading(folder):
        return unpickle_cifar(info, members, folder), checksums


def _read_tiny(info: DatasetInfo, folder: Path) -> tuple[Content, dict[str, str]]:
    def read(name: str) -> bytes:
        return small_file(folder / name.removeprefix(f"{TINY}/"))

    with reading(folder):
        members = (path.relative_to(folder) for path in folder.glob("train/*/images/*"))
        names = [f"{TINY}/{member.as_posix()}" for member in members]
        content = tiny_imagenet(info, names, read, folder)
    return content, content_hashes(content)


def small_file(path: Path) -> bytes:
    if path.stat().st_size > BOMB_FLOOR:
        raise ValueError(f"{path.stat().st_size} bytes, at most {BOMB_FLOOR} are read")
    return path.read_bytes()


# --- a folder of images ---


def read_images(info: DatasetInfo, folder: Path) -> tuple[Content, dict[str, str]]:
    """FOLDER/train/CLASS/NAME.ext and FOLDER/test/CLASS/NAME.ext as the catalogue describes them.

    Labels come from the names of the class folders, in alphabetical order. Raises FormatError
    that names what is missing, stray, damaged or of another size, kind or number; ChecksumError
    if the catalogue has content hashes and these are not met.
    """
    import torch

    images = {part: _images(folder / part, info) for part in PARTS}
    classes = _class_names(info, folder, images)
    tensors = {}
    for part in PARTS:
        rows = sorted(
            (label, name, path)
            for label, class_name in enumerate(classes)
            for name, path in images[part][class_name].items()
        )
        paths = [path.relative_to(folder).as_posix() for *_, path in rows]
        tensors[f"{part}_images"] = decode(paths, lambda p: small_file(folder / p), info, folder)
        tensors[f"{part}_labels"] = torch.tensor([n for n, *_ in rows], dtype=torch.int64)
        tensors[f"{part}_names"] = joined([name for _, name, _ in rows])
        if part == "train":
            keys = [(classes[label], Path(name).stem) for label, name, _ in rows]
    order, listed = _train_order(info, folder, keys)
    content = Content(tensors, classes, order)
    return content, _prove(info, folder, content) | listed


def visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name, but for what systems and editors leave there."""
    with reading(folder):
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    shown = [p for p in paths if not p.name.startswith(".") and p.name not in PASSED_OVER]
    for path in shown:
        if not path.name.isprintable():  # newlines and bytes that are no UTF-8 among them
            raise FormatError(f"{folder}: rename {path.name!r}, which holds unprintable characters")
    return shown


def _images(part: Path, info: DatasetInfo) -> dict[str, dict[str, Path]]:
    """The images of a part: by class, then by the name that they are packed under."""
    if not part.is_dir():
        raise FormatError(f"{part}: no such folder; it must hold one folder of images a class")
    folders = visible(part)
    for path in folders:
        if not path.is_dir():
            raise FormatError(f"{path}: a stray file; {part} must hold one folder a class only")
    return {path.name: _class_images(path, info) for path in folders}


def _class_images(folder: Path, info: DatasetInfo) -> dict[str, Path]:
    images: dict[str, Path] = {}
    stems: dict[str, Path] = {}
    for path in visible(folder):
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            kinds = ", ".join(SUFFIXES)
            raise FormatError(f"{path}: a stray {kind_of(path)}; images end in {kinds}")
        if path.stem in stems:
            raise FormatError(f"{path}: the class has {stems[path.stem].name} already")
        stems[path.stem] = path
        # Under the publisher's names, which a lossless copy in another format gives back.
        images[f"{path.stem}.png" if info.contents else path.name] = path
    return images


def kind_of(path: Path) -> str:
    return "folder" if path.is_dir() else "file"


def _class_names(
    info: DatasetInfo, folder: Path, images: Mapping[str, Mapping[str, Mapping]]
) -> list[str]:
    """The classes in alphabetical order; FormatError unless both parts have all, with images."""
    for part, other in (PARTS, PARTS[::-1]):
        single = sorted(set(images[part]) - set(images[other]))
        if single:
            raise FormatError(f"{folder / other}: no folder of class {single[0]!r}, {part} has one")
    classes = sorted(images["train"])
    if len(classes) != info.classes:
        raise FormatError(
            f"{folder / 'train'}: expected {info.classes} class folders, found {len(classes)}"
        )
    for part, expected in (("train", info.train), ("test", info.test)):
        for name in classes:
            if not images[part][name]:
                raise FormatError(f"{folder / part / name}: {part} has no image of class {name!r}")
        found = sum(map(len, images[part].values()))
        if found != expected:
            raise FormatError(f"{folder / part}: expected {expected} images, found {found}")
    return classes


def content_hashes(content: Content) -> dict[str, str]:
    """`sha256:HEX` over the raw bytes of the images and labels of both parts."""
    return {
        key: f"sha256:{hashlib.sha256(content.tensors[key].numpy()).hexdigest()}"
        for key in (f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
    }


def _prove(info: DatasetInfo, folder: Path, content: Content) -> dict[str, str]:
    """The content hashes; ChecksumError unless they are those of the catalogue, if it has any."""
    found = content_hashes(content)
    for key, expected in info.contents:
        if found[key] != expected:
            raise ChecksumError(
                f"{folder}: the content of {key} is {found[key]}, expected {expected}: not the "
                f"unchanged images of {info.name} under their own names"
            )
    return found


def _train_order(
    info: DatasetInfo, folder: Path, keys: Sequence[tuple[str, str]]
) -> tuple[list[int] | None, dict[str, str]]:
    """The official position of each training image, and the checksum of the list that says so.

    keys: (class, stem) of the packed training images, so that a list of PNG files also fits
    a copy in another format.
    """
    if info.reader == "tiny_imagenet" and all(s.startswith(f"{wnid}_") for wnid, s in keys):
        return list(range(len(keys))), {}  # its official order is that of its own names
    path = next((folder / name for name in ORDERS if (folder / name).is_file()), None)
    if path is None:
        return None, {}
    with reading(path):
        content = _listing(path)
        lines = content.decode().split("\n")
    places = {key: i for i, key in enumerate(keys)}
    order: list[int | None] = [None] * len(keys)
    for position, line in enumerate(_without_last(lines)):
        where = f"{path}, line {position + 1}"
        class_name, _, name = line.strip().rpartition("/")
        place = places.get((class_name, Path(name).stem))
        if place is None:
            raise FormatError(f"{where}: train has no image {line.strip()!r}")
        if order[place] is not None:
            raise FormatError(f"{where}: {line.strip()} is line {order[place] + 1} already")
        order[place] = position
    if None in order:
        class_name, stem = keys[order.index(None)]
        raise FormatError(f"{path}, line {len(lines)}: it ends without {class_name}/{stem}")
    log.info("%s: took the official order from %s", info.name, path)
    return order, {path.name: f"sha256:{hashlib.sha256(content).hexdigest()}"}


def _listing(path: Path) -> bytes:
    if path.suffix != ".gz":
        return small_file(path)
    with gzip.open(path) as packed:
        content = packed.read(BOMB_FLOOR + 1)
    if len(content) > BOMB_FLOOR:
        raise ValueError(f"it unpacks to more than {BOMB_FLOOR} bytes")
    return content


def _without_last(lines: list[str]) -> Iterator[str]:
    """The lines but for the empty one after a final newline."""
    yield from lines[:-1] if lines[-1] == "" else lines
