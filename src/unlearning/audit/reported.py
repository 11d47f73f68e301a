"""paper/reported.csv, typed: the numbers that the paper, its release and others report.

A row is one number as its source prints it, with the paper's names. The tables below turn them
into this project's; the project's own names may stand in the file as well.
"""

from __future__ import annotations

import csv
import io
import math
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unlearning import methods
from unlearning.metrics import names
from unlearning.metrics.aus import SCENARIOS as OWN_SCENARIOS

COLUMNS = [
    *("source", "version", "table_or_figure", "dataset", "scenario", "method", "metric"),
    *("mean", "spread", "spread_over", "exactness", "note"),
]
NEEDED = ("source", "dataset", "scenario", "method", "metric")
"""Columns of text that may not be empty."""
EXACT = ("text", "code constant", "code comment", "notebook output", "secondary table")
READ = re.compile(r"(?:read off a plot|derived) ± (?P<error>\d+(?:\.\d+)?)(?P<percent> %)?")

DATASETS = {
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "TinyImageNet": "tiny_imagenet",
    "FashionMNIST": "fashion_mnist",
}
SCENARIOS = {
    "CR": "class_removal",
    "CR (single class)": "class_removal",
    "HR": "homogeneous_removal",
    "HR (10%)": "homogeneous_removal",
}
METHODS = {
    "Original": "original",
    "Original (ResNet18)": "original",
    "Retrained": "oracle",
    "FT": "fine_tuning",
    "NG": "negative_gradient",
    "RL": "random_labels",
    "BE": "boundary_expanding",
    "BS": "boundary_shrink",
    "ERM": "erm_ktp",
    "SCRUB": "scrub",
    "SCAR": "scar",
    "DUCK": "duck",
}
OWN_METHODS = {module.name for module in pkgutil.iter_modules(methods.__path__)} - {"base"}


@dataclass(frozen=True)
class Metric:
    """A reported metric: column of runs.csv (or GAP), times `factor` in the reported unit."""

    column: str
    factor: float = 1.0


GAP = "forget_gap"
"""|A_f - A^t| of a cell: no column of runs.csv, but of two of them."""
UNCOMPARED = ("relearn_steps", "shadow_models", "lira_auc_error")
METRICS = {name: Metric(name) for name in names.METRICS if name not in UNCOMPARED} | {
    "A_r (%)": Metric("retain_train_accuracy", 100),
    "A_f (%)": Metric("forget_train_accuracy", 100),
    "A_r^t (%)": Metric("retain_test_accuracy", 100),
    "A_f^t (%)": Metric("forget_test_accuracy", 100),
    "A^t (%)": Metric("test_accuracy", 100),
    "|A_f - A^t| (pp)": Metric(GAP, 100),
    "AUS": Metric("aus"),
    "UT (s)": Metric("unlearning_seconds"),
}


@dataclass(frozen=True)
class Reported:
    """One reported number: what is printed where, and how far it may be off.

    row: line in the file, the header being line 1. printed: `mean` as it stands there. spread:
    NaN if none is reported. error: the reading error, or half a unit of the last digit that is
    printed; in the row's unit.
    """

    row: int
    source: str
    version: str
    table_or_figure: str
    dataset: str
    scenario: str
    method: str
    metric: str
    printed: str
    mean: float
    spread: float
    spread_over: str
    exactness: str
    error: float
    note: str


def own_dataset(printed: str, known: Iterable[str]) -> str | None:
    """The project's name of a data set, itself one of `known` or of DATASETS; None if neither."""
    return _own(printed, DATASETS, known)


def own_scenario(printed: str) -> str | None:
    """The project's name of a scenario, None if it has none."""
    return _own(printed, SCENARIOS, OWN_SCENARIOS)


def own_method(printed: str) -> str | None:
    """The project's name of a method, None if it has none."""
    return _own(printed, METHODS, OWN_METHODS)


def _own(printed: str, table: dict[str, str], known: Iterable[str]) -> str | None:
    own = table.get(printed, printed)
    return own if own in {*table.values(), *known} else None


def read_reported(path: str | Path) -> list[Reported]:
    """Read reported.csv, one entry a row.

    Raises ValueError, naming file, line and reason, for other columns, a row of another length,
    an empty name, a number that is none, a spread that is negative or does not say over what,
    an unknown exactness, and a row that is given twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error})") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    if next(reader, None) != COLUMNS:
        raise ValueError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}")
    found, seen = [], {}
    for values in filter(None, reader):
        try:
            found.append(_typed(reader.line_num, values))
            first = seen.setdefault(tuple(values), reader.line_num)
            if first != reader.line_num:
                raise ValueError(f"the same row as line {first}")
        except ValueError as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    return found


def _typed(row: int, values: list[str]) -> Reported:
    if len(values) != len(COLUMNS):
        raise ValueError(f"{len(values)} values for {len(COLUMNS)} columns")
    given = dict(zip(COLUMNS, values, strict=True))
    empty = [name for name in NEEDED if not given[name].strip()]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    printed = given.pop("mean")
    mean = _number("mean", printed)
    spread = _number("spread", given["spread"]) if given["spread"] else math.nan
    if spread < 0:
        raise ValueError(f"spread {given['spread']} is negative")
    if bool(given["spread"]) != bool(given["spread_over"]):
        raise ValueError("spread and spread_over need each other: over what does it run?")
    error = _error(given["exactness"], printed, mean)
    return Reported(row=row, printed=printed, mean=mean, error=error, **given | {"spread": spread})


def _number(column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column} {text!r} is not a number")
    return number


def _error(exactness: str, printed: str, mean: float) -> float:
    """How far the number may be off: as `exactness` says, or by rounding."""
    if exactness in EXACT:
        digits, _, exponent = printed.lower().partition("e")
        return 0.5 * 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    read = READ.fullmatch(exactness)
    if not read:
        allowed = ", ".join([*EXACT, "read off a plot ± ERROR", "derived ± ERROR"])
        raise ValueError(
            f"exactness {exactness!r} is none of {allowed} (ERROR: a number in the row's unit, "
            "or of the value, like 1 %)"
        )
    error = float(read["error"])
    return error / 100 * abs(mean) if read["percent"] else error
