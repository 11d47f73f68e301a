"""Find or download a data set, verify it, pack it as safetensors.

`configs/datasets.csv` names every file with its size and SHA-256. No archive is read or
unpacked before both are right, and every problem is a `DataError` that says what to do.
A new data set is one row there and, if its format is new, one reader in `readers.py`; a folder of
one's own images is described in the config instead (own_images.py).
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.data.catalogue import (
    ChecksumError,
    DataError,
    DatasetInfo,
    FileInfo,
    FormatError,
)
from unlearning.data.download import download, expanded, verify
from unlearning.data.folders import content_hashes, read_folder, sought
from unlearning.data.own_images import read_own
from unlearning.data.readers import READERS, Content
from unlearning.data.superclasses import finer, subclasses, superclassed
from unlearning.files import save_tensors, sha256_file, write_json

if TYPE_CHECKING:
    import torch

SYSTEM_FOLDERS = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}
"""Where a system package may have put a data set (Debian: dataset-fashion-mnist)."""

log = logging.getLogger(__name__)


def fetch(
    info: DatasetInfo,
    out_dir: str | Path,
    folder: str | Path | None = None,
    retries: int = 4,
    backoff: float = 2.0,
) -> None:
    """Write `out_dir/NAME.safetensors` and, last, `out_dir/NAME.json`.

    Tensors: uint8 `train_images` and `test_images` [N, C, H, W], int64 `train_labels` and
    `test_labels` [N] in [0, classes), and uint8 `train_names` and `test_names` where the source
    has names (see readers.Content): the same bytes whatever source they come from. Where the
    source knows the official order of the training images, the facts have it as `train_order`.

    Each file is taken from the first of: the copy inside this package, `folder`, the system's
    folder, the cache `out_dir/downloads/NAME`, its address. A `folder` without any of the files
    may hold the unpacked archive or a folder of images instead (folders.py); `~` and $VARIABLES
    in it are expanded. A download is tried `retries` more times after a server error (5xx, 429)
    or a broken connection, first after `backoff` seconds, then after twice as long each time.

    Raises DataError (ChecksumError, DownloadError, UnsafeArchive, FormatError); the outputs
    then do not appear. A download that fails its checksum is not kept; a file that was there
    before is left as it is until a verified one replaces it.
    """
    out = Path(out_dir)
    folder = None if folder is None else _expanded(info, folder)
    if info.own:
        content, checksums = read_own(info, _named_folder(info, folder))
    else:
        read = finer(info)
        found = _unpacked(read, folder)
        content, checksums = found or _official(read, out, folder, retries, backoff)
        content = superclassed(info, content)
    _check(info, content)
    if info.contents and dict(info.contents) != content_hashes(content):
        # A folder of images has been refused by now; a verified archive is what was published.
        log.warning("%s: its content is not that of configs/contents.csv", info.name)
    mean, std = (info.mean, info.std) if info.mean else measure(content.tensors["train_images"])
    packed = out / f"{info.name}.safetensors"
    save_tensors(packed, content.tensors)
    facts = {
        "name": info.name,
        "version": info.version,
        "licence": info.licence,
        "class_names": content.class_names,
        "classes": info.classes,
        "channels": info.channels,
        "size": info.size,
        "mean": list(mean),
        "std": list(std),
        "sha256": sha256_file(packed),
        "files": checksums,
    }
    if info.own:
        facts["own"] = dataclasses.asdict(info.own)
    if fine := subclasses(info.name):
        facts["subclass_names"] = fine
    if content.train_order is not None:
        facts["train_order"] = content.train_order
    write_json(packed.with_suffix(".json"), facts)
    log.info("%s: packed %d + %d images into %s", info.name, info.train, info.test, packed)


def _expanded(info: DatasetInfo, folder: str | Path) -> Path:
    """The folder that the config names, with `~` and $VARIABLES expanded."""
    path = expanded(folder)
    if not path.is_dir():
        raise DataError(
            f"{path} is not a folder: name the one that holds {info.name} in the config, as "
            f"{_key(info)}"
        )
    return path


def _named_folder(info: DatasetInfo, folder: Path | None) -> Path:
    if folder is None:
        raise DataError(
            f"{info.name} is of your own: name its folder in the config, as {_key(info)}"
        )
    return folder


def _key(info: DatasetInfo) -> str:
    return f"sources: {{{info.name}: FOLDER}}"


def _unpacked(info: DatasetInfo, folder: Path | None) -> tuple[Content, dict[str, str]] | None:
    """What `folder` holds in place of the publisher's files; None if these come first."""
    if folder is None or _packaged(info).is_dir():
        return None
    if any(_named(info, file, folder) for file in info.files):
        return None
    return read_folder(info, folder)


def _official(
    info: DatasetInfo, out: Path, folder: Path | None, retries: int, backoff: float
) -> tuple[Content, dict[str, str]]:
    """The content of the publisher's files, and the checksum of each."""
    paths, checksums = {}, {}
    for file in info.files:
        path, checksum = _obtain(info, file, out, folder, retries, backoff)
        log.info("%s: verified %s (%s)", info.name, path, checksum)
        paths[file.file], checksums[file.file] = path, checksum
    return READERS[info.reader](info, paths), checksums


def _packaged(info: DatasetInfo) -> Path:
    return Path(__file__).parent / info.name


def _named(info: DatasetInfo, file: FileInfo, folder: Path) -> Path | None:
    """The file in `folder`; Fashion-MNIST's also as torchvision has it, or un-gzipped."""
    places = [folder / file.file]
    if info.reader == "idx":
        plain = file.file.removesuffix(".gz")
        inside = [folder, folder / "FashionMNIST" / "raw", folder / "raw"]
        places = [place / name for place in inside for name in (file.file, plain)]
    return next((place for place in places if place.is_file()), None)


def _obtain(
    info: DatasetInfo,
    file: FileInfo,
    out: Path,
    folder: Path | None,
    retries: int,
    backoff: float,
) -> tuple[Path, str]:
    """The verified file and its checksum, from the first place that has it."""
    packaged = _packaged(info) / file.file
    if packaged.is_file():
        return packaged, verify(packaged, file, "It belongs to this package: install it afresh.")
    if folder is not None:
        named = _named(info, file, folder)
        if named:
            advice = "The file was not changed: replace it, or name another folder."
            return named, verify(named, file, advice)
        log.warning("%s is not in %s (nor %s); looking elsewhere", file.file, folder, sought(info))
    if info.name in SYSTEM_FOLDERS:
        system = SYSTEM_FOLDERS[info.name] / file.file
        if system.is_file():
            # Another release of the system's package must not stop someone who cannot mend it.
            try:
                return system, verify(system, file, "Not used.")
            except ChecksumError as error:
                log.warning("%s", error)
    cached = out / "downloads" / info.name / file.file
    if cached.is_file():
        # It stays until a verified one replaces it: the catalogue may be what is wrong.
        try:
            return cached, verify(cached, file, "Downloading it again.")
        except ChecksumError as error:
            log.warning("%s", error)
    by_hand = (
        f"Or put {file.file} ({file.checksum}), or its unpacked content, into a folder and name "
        f"that folder in the config: {_key(info)}."
    )
    return cached, download(file, cached, by_hand, retries, backoff)


def _check(info: DatasetInfo, content: Content) -> None:
    """Raise FormatError unless shapes, labels and class names are those of the catalogue."""
    tensors, class_names = content.tensors, content.class_names
    for part, count in (("train", info.train), ("test", info.test)):
        images, labels = tensors[f"{part}_images"], tensors[f"{part}_labels"]
        expected = (count, info.channels, info.size, info.size)
        if tuple(images.shape) != expected or tuple(labels.shape) != (count,):
            raise FormatError(
                f"{info.name}: expected {part} images {expected} with {count} labels, "
                f"found {tuple(images.shape)} with {tuple(labels.shape)}"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= info.classes:
            raise FormatError(
                f"{info.name}: {part} labels must lie in 0..{info.classes - 1}, found {low}..{high}"
            )
    if len(class_names) != info.classes:
        raise FormatError(
            f"{info.name}: expected {info.classes} class names, found {len(class_names)}"
        )
    counts = tensors["train_labels"].bincount(minlength=info.classes).tolist()
    if 0 in counts:
        raise FormatError(f"{info.name}: train has no image of class {counts.index(0)}")


def measure(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation per channel, exact sums over uint8 counts."""
    means, deviations = [], []
    for channel in images.unbind(1):
        counts = channel.flatten().bincount(minlength=256).tolist()
        n = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        means.append(total / n / 255)
        deviations.append((n * squares - total * total) ** 0.5 / n / 255)
    return tuple(means), tuple(deviations)
