"""A list of training images to forget, a CSV file of one's own.

    file                     index
    cat/0007.png             17
    cat/0031.png             40011

The header names one column `file`, CLASS/NAME as packed, or NAME where no other class has it; or
one column `index`, the position in the official order of the training images. Other columns are
not read. Every mistake is a ListError with the number of its line.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

COLUMNS = ("file", "index")
LARGEST = 2**28
"""Bytes: more is no list of images."""


class ListError(ValueError):
    """A list that cannot be used: the message names file and line and says what to do."""


@dataclasses.dataclass(frozen=True)
class ForgetList:
    """The rows of a list: what each names, and on which line it stands; and the file's hash.

    column: `file` or `index`, what the rows name.
    """

    path: str
    sha256: str
    column: str
    rows: tuple[tuple[int, str], ...]


def read_list(path: str | Path) -> ForgetList:
    """Read a list, in UTF-8 with or without a byte-order mark, and take its hash.

    Raises ListError for a file that cannot be read, another header, an empty list, an empty row
    and a row that is given twice.
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ListError(f"{path}: more than {LARGEST} bytes: not a list of images")
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        table = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise ListError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    header = [name.strip() for name in table[0][1]] if table else []
    named = [name for name in header if name in COLUMNS]
    if len(named) != 1:
        raise ListError(
            f"{path}, line 1: the header must name one column file, with CLASS/NAME of an image a "
            "row, or one column index, with its position in the official order"
        )
    rows = _rows(path, table[1:], header.index(named[0]))
    return ForgetList(str(path), hashlib.sha256(content).hexdigest(), named[0], rows)


def _rows(
    path: str | Path, table: Sequence[tuple[int, list[str]]], at: int
) -> tuple[tuple[int, str], ...]:
    """(line, value) of each row; `at`: the column."""
    seen: dict[str, int] = {}
    for line, row in table:
        value = row[at].strip() if at < len(row) else ""
        if not value:
            raise ListError(f"{path}, line {line}: it names no image; remove the line")
        if value in seen:
            raise _twice(path, line, value, seen[value])
        seen[value] = line
    if not seen:
        raise ListError(f"{path}: it lists no image; add a line for each image to forget")
    return tuple((line, value) for value, line in seen.items())


def _twice(path: str | Path, line: int, value: str, earlier: int) -> ListError:
    return ListError(f"{path}, line {line}: {value} is on line {earlier} already; remove one")


def positions(
    listed: ForgetList, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> np.ndarray:
    """Where the listed images are in the packed training part: int64 [n], in the list's order.

    facts, tensors: of the packed data set (sources.fetch). Raises ListError for a row that is
    absent, a test image, ambiguous, the same image as an earlier row or the last one of a class,
    and for a list by `index` of data whose official order is not known, or by `file` without names.
    """
    labels = tensors["train_labels"].tolist()
    place = (_by_index if listed.column == "index" else _by_file)(listed, facts, tensors)
    remaining, lines = Counter(labels), {}
    wrong: list[tuple[int, str]] = []
    for line, value in listed.rows:
        try:
            at = place(value)
        except LookupError as error:
            wrong.append((line, error.args[0]))
            continue
        if at in lines:
            raise _twice(listed.path, line, value, lines[at])
        lines[at] = line
        remaining[labels[at]] -= 1
        if not remaining[labels[at]]:
            name = facts["class_names"][labels[at]]
            raise ListError(
                f"{listed.path}, line {line}: with it all training images of class {name!r} would "
                "be forgotten; leave one out, or forget the class with class_removal"
            )
    if wrong:
        raise _no_training_images(listed.path, wrong)
    return np.array(list(lines), dtype=np.int64)


def _no_training_images(path: str, wrong: Sequence[tuple[int, str]]) -> ListError:
    """wrong: (line, reason) of each row that names none; the first is explained, all are named."""
    (line, reason), *others = wrong
    also = ", ".join(str(other) for other, _ in others)
    more = f"; nor are these lines training images: {also}" if also else ""
    return ListError(f"{path}, line {line}: {reason}{more}")


class _ByIndex:
    """Finds images by their position in the official order."""

    def __init__(self, order: Sequence[int]) -> None:
        self.packed = np.argsort(order).tolist()

    def __call__(self, value: str) -> int:
        """The packed position; LookupError with the reason where there is none."""
        if not (value.isascii() and value.isdecimal()) or int(value) >= len(self.packed):
            raise LookupError(
                f"{value!r} is no training image; indices are whole numbers from 0 to "
                f"{len(self.packed) - 1}"
            )
        return self.packed[int(value)]


def _by_index(listed: ForgetList, facts: Mapping[str, Any], tensors: Mapping) -> _ByIndex:
    # Images without names are packed in the order of the publisher's file.
    count = len(tensors["train_labels"])
    order = facts.get("train_order") or (None if "train_names" in tensors else range(count))
    if order is None:
        raise ListError(
            f"{listed.path}: it lists images by index, but the official order of {facts['name']} "
            "is not known here; name them in a column file, as CLASS/NAME"
        )
    return _ByIndex(order)


class _ByFile:
    """Finds images by CLASS/NAME or NAME."""

    def __init__(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        self.train = _names(facts, tensors, "train")
        self.test = set(_names(facts, tensors, "test"))
        self.packed = {name: at for at, name in enumerate(self.train)}
        self.classes: dict[str, list[str]] = {}
        for name in self.train:
            self.classes.setdefault(name.rpartition("/")[2], []).append(name)
        self.test |= {name.rpartition("/")[2] for name in self.test}

    def __call__(self, value: str) -> int:
        """The packed position; LookupError with the reason where there is none."""
        name = value.replace("\\", "/").removeprefix("./").removeprefix("train/")
        if name in self.packed:
            return self.packed[name]
        same = self.classes.get(name, [])
        if len(same) > 1:
            raise LookupError(f"{value} may be {' or '.join(same[:2])}; write CLASS/NAME")
        if same:
            return self.packed[same[0]]
        if name.removeprefix("test/") in self.test:
            raise LookupError(
                f"{value} is a test image; only training images can be forgotten: remove the line"
            )
        raise LookupError(
            f"no training image is called {value!r}; names are like {self.train[0]!r}: correct "
            "or remove the line"
        )


def _by_file(listed: ForgetList, facts: Mapping[str, Any], tensors: Mapping) -> _ByFile:
    if "train_names" not in tensors:
        raise ListError(
            f"{listed.path}: it names files, but the images of {facts['name']} have no names; "
            "list them in a column index, by their position in the publisher's file"
        )
    return _ByFile(facts, tensors)


def _names(facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], part: str) -> list[str]:
    """CLASS/NAME of every image of a part, in the packed order."""
    names = bytes(tensors[f"{part}_names"].tolist()).decode().split("\n")
    kind = "subclass" if "subclass_names" in facts else "class"  # as the images' folders are
    classes = facts[f"{kind}_names"]
    labels = tensors[f"{part}_subclasses" if kind == "subclass" else f"{part}_labels"].tolist()
    return [f"{classes[k]}/{name}" for k, name in zip(labels, names, strict=True)]
