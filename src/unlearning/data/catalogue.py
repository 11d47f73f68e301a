"""Read `configs/datasets.csv` and `configs/weights.csv` as checked, typed rows.

`contents.csv` next to them holds the content hashes that prove a folder of images.
Snakemake reads it while it parses the rules, so nothing here imports torch, NumPy or a reader.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearning.files import PROJECT, canonical_json

_IDENTITY = ["name", "version", "file", "checksum", "bytes", "url", "licence", "reader"]
_SHAPE = ["classes", "train", "test", "channels", "size", "mean", "std"]
COLUMNS = [*_IDENTITY, *_SHAPE]
_DIGEST = r"sha256:[0-9a-f]{64}"
CONTENT_COLUMNS = ["name", "part", "images", "labels"]
WEIGHTS_COLUMNS = ["name", "file", "checksum", "bytes", "url", "licence", "source"]
READER_NAMES = ("idx", "cifar10", "cifar100", "tiny_imagenet")
"""What the column `reader` may say; `unlearning.data.readers.READERS` has a function for each."""

_NAME = (r"[a-z0-9_]+", "lower-case letters, digits and _")
_FILE = (r"[A-Za-z0-9][\w.-]*", "a plain file name")
_URL = (r"(https?://\S+)?", "an http(s) address or nothing")
_LICENCE = (r".+", "the licence, or that none is stated")
_OF_WEIGHTS = {
    "name": _NAME,
    "file": _FILE,
    "checksum": (_DIGEST, "sha256:HEX"),
    "bytes": (r"[1-9][0-9]*", "the size in bytes"),
    "url": _URL,
    "licence": _LICENCE,
    "source": (r".+", "who published them"),
}


class DataError(RuntimeError):
    """A data set or pretrained weights could not be had; the message says why and what to do."""


class ChecksumError(DataError):
    """A file is not the one that the catalogue describes."""


class FormatError(DataError):
    """A verified file does not contain what its row promises."""


class CatalogueError(DataError, ValueError):
    """A row of the catalogue is malformed."""


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """One file: its name, `sha256:HEX`, size in bytes and address (empty: not on the net).

    `also` holds (checksum, bytes) of known repackagings of the same content.
    """

    file: str
    checksum: str
    bytes: int
    url: str = ""
    also: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class OwnImages:
    """How a folder of one's own images becomes a data set (data.own_images).

    resize: `crop` or `stretch`. checksum: of the names and bytes of its images. test_share, seed:
    the share of each class that becomes the test part, and its draw; None: train/ and test/ exist.
    """

    resize: str
    checksum: str
    test_share: float | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """One data set: `train` and `test` images of `channels` x `size` x `size`.

    `mean` and `std` are per channel in units of 0..1; None means: measure them on the
    training images. `contents` holds (tensor, `sha256:HEX` of its raw bytes) of the packed
    images and labels; empty where nobody has published them. `own`: of one's own images.
    """

    name: str
    version: str
    licence: str
    reader: str
    classes: int
    train: int
    test: int
    channels: int
    size: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    files: tuple[FileInfo, ...]
    contents: tuple[tuple[str, str], ...] = ()
    own: OwnImages | None = None

    def as_json(self) -> str:
        """One line of canonical JSON; `from_json` gives an equal object back."""
        found = dataclasses.asdict(self)
        if self.own is None:
            del found["own"]  # the line of a data set of the catalogue is older than this field
        return canonical_json(found)

    @classmethod
    def from_json(cls, text: str) -> DatasetInfo:
        """The data set that `as_json` wrote. Raises CatalogueError for anything else."""
        try:
            value = json.loads(text)
            value["files"] = tuple(
                FileInfo(**{**file, "also": tuple((c, b) for c, b in file["also"])})
                for file in value["files"]
            )
            value["contents"] = tuple((name, digest) for name, digest in value["contents"])
            if "own" in value:
                value["own"] = OwnImages(**value["own"])
            for key in ("mean", "std"):
                value[key] = None if value[key] is None else tuple(value[key])
            return cls(**value)
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(f"not the JSON of a data set ({error!r}): {text[:200]}") from error


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """Pretrained weights: those of the network that torchvision calls `name`.

    source: who published them, as torchvision's enum says it.
    """

    name: str
    licence: str
    source: str
    file: FileInfo

    def as_json(self) -> str:
        """One line of canonical JSON; `from_json` gives an equal object back."""
        return canonical_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WeightsInfo:
        """The weights that `as_json` wrote. Raises CatalogueError for anything else."""
        try:
            value = json.loads(text)
            file = FileInfo(**{**value["file"], "also": ()})
            return cls(**{**value, "file": file})
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(f"not the JSON of weights ({error!r}): {text[:200]}") from error


def catalogue(path: str | Path = PROJECT / "configs/datasets.csv") -> dict[str, DatasetInfo]:
    """Every data set of the table at `path`, by name, in the table's order.

    A row is one file; the rows of one data set repeat its other columns. Raises
    CatalogueError (a ValueError) that names the file, line and column of the first mistake.
    """
    described: dict[str, dict[str, Any]] = {}
    files: dict[str, list[FileInfo]] = {}
    for row, where in _rows(path, COLUMNS):
        value = _parse_row(row, where)
        name, file = value["name"], value.pop("file")
        _agree(described.setdefault(name, value), value, where)
        if any(file.file == other.file for other in files.setdefault(name, [])):
            raise CatalogueError(f"{where}, column file: {file.file} is listed twice")
        files[name].append(file)
    contents = _contents(Path(path).with_name("contents.csv"))
    return {
        name: DatasetInfo(
            **described[name], files=tuple(files[name]), contents=contents.get(name, ())
        )
        for name in described
    }


def weights_catalogue(path: str | Path = PROJECT / "configs/weights.csv") -> dict[str, WeightsInfo]:
    """Every file of pretrained weights of the table at `path`, by name, in the table's order.

    Raises CatalogueError (a ValueError) that names the file, line and column of the first mistake.
    """
    found: dict[str, WeightsInfo] = {}
    for row, where in _rows(path, WEIGHTS_COLUMNS):
        for column, (pattern, expected) in _OF_WEIGHTS.items():
            if not re.fullmatch(pattern, row[column]):
                raise CatalogueError(
                    f"{where}, column {column}: expected {expected}, found {row[column]!r}"
                )
        if row["name"] in found:
            raise CatalogueError(f"{where}, column name: {row['name']} is listed twice")
        file = FileInfo(row["file"], row["checksum"], int(row["bytes"]), row["url"])
        found[row["name"]] = WeightsInfo(row["name"], row["licence"], row["source"], file)
    return found


def _rows(path: str | Path, columns: list[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Each row of a table with exactly these columns, and where it stands."""
    with open(path, newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if reader.fieldnames != columns:
            raise CatalogueError(f"{path}, line 1: the columns must be {','.join(columns)}")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise CatalogueError(f"{where}: expected {len(columns)} columns")
            yield row, where


def _contents(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """(tensor, checksum) of each data set in the table of content hashes, by name."""
    hashes: dict[str, dict[str, str]] = {}
    for row, where in _rows(path, CONTENT_COLUMNS) if path.is_file() else ():
        if row["part"] not in ("train", "test"):
            expected = f"train or test, found {row['part']!r}"
            raise CatalogueError(f"{where}, column part: expected {expected}")
        for column in ("images", "labels"):
            if not re.fullmatch(_DIGEST, row[column]):
                expected = f"sha256:HEX, found {row[column]!r}"
                raise CatalogueError(f"{where}, column {column}: expected {expected}")
            tensor = f"{row['part']}_{column}"
            if tensor in hashes.setdefault(row["name"], {}):
                raise CatalogueError(f"{where}: the {row['part']} part is listed twice")
            hashes[row["name"]][tensor] = row[column]
    return {name: tuple(found.items()) for name, found in hashes.items()}


def _parse_row(row: Mapping[str, str], where: str) -> dict[str, Any]:
    def fail(column: str, expected: str) -> CatalogueError:
        found = row[column]
        return CatalogueError(f"{where}, column {column}: expected {expected}, found {found!r}")

    def text(column: str, pattern: str, expected: str) -> str:
        if not re.fullmatch(pattern, row[column]):
            raise fail(column, expected)
        return row[column]

    def numbers(column: str, kind: type, expected: str) -> tuple:
        try:
            values = tuple(kind(word) for word in row[column].split())
        except ValueError:
            raise fail(column, expected) from None
        if any(not 0 < value < float("inf") for value in values):
            raise fail(column, expected)
        return values

    def positive(column: str) -> int:
        values = numbers(column, int, "one whole number above 0")
        if len(values) != 1:
            raise fail(column, "one whole number above 0")
        return values[0]

    def per_channel(column: str) -> tuple[float, ...] | None:
        expected = "one number above 0 a channel, or nothing"
        values = numbers(column, float, expected)
        if len(values) not in (0, positive("channels")):
            raise fail(column, expected)
        return values or None

    checksums = text("checksum", rf"{_DIGEST}( {_DIGEST})*", "sha256:HEX").split()
    sizes = numbers("bytes", int, "one size above 0 a checksum")
    if len(sizes) != len(checksums):
        raise fail("bytes", "one size above 0 a checksum")
    if row["reader"] not in READER_NAMES:
        raise fail("reader", f"one of {', '.join(READER_NAMES)}")
    mean, std = per_channel("mean"), per_channel("std")
    if (mean is None) != (std is None):
        raise fail("std", "a value wherever mean has one, and only there")
    return {
        "name": text("name", *_NAME),
        "version": text("version", r".+", "a version"),
        "licence": text("licence", *_LICENCE),
        "reader": row["reader"],
        **{key: positive(key) for key in ("classes", "train", "test", "channels", "size")},
        "mean": mean,
        "std": std,
        "file": FileInfo(
            file=text("file", *_FILE),
            checksum=checksums[0],
            bytes=sizes[0],
            url=text("url", *_URL),
            also=tuple(zip(checksums[1:], sizes[1:], strict=True)),
        ),
    }


def _agree(first: Mapping[str, Any], value: Mapping[str, Any], where: str) -> None:
    for column in value:
        if value[column] != first[column]:
            raise CatalogueError(
                f"{where}, column {column}: {value[column]!r} contradicts {first[column]!r} "
                f"in an earlier row of {value['name']}"
            )
