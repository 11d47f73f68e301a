"""The space that `snakemake tune` searches for a method, and the points of it that are tried.

A space has a dimension a setting, each written as one of
    {decades: 3}           log-uniform over so many decades around the published value;
    {log: [low, high]}     log-uniform;
    {linear: [low, high]}  uniform over all values that make sense;
    {share: [low, high]}   a share `1/K` (methods.in_images), K log-uniform;
    [one, other]           either, equally often.
Every method has the dimensions of COMMON that it has as settings, and declares at most as many of
its own as fit OWN. The points are those of one scrambled Sobol sequence, the same for all methods:
candidate k has the same place in the first dimension, the learning rate, whatever the method.
"""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping
from typing import Any

from unlearning.files import PROJECT

MOST_EPOCHS = 10
"""More passes are near what retraining takes: no round tries them."""
COMMON = {"lr": {"decades": 3}, "epochs": {"log": [1, MOST_EPOCHS]}}
"""Of every method that trains."""
OWN = 2
"""Most dimensions beside the learning rate, epochs among them; a choice does not count."""
KINDS = ("decades", "log", "linear", "share")
SEQUENCE = PROJECT / "configs/search_points.csv"
"""A Sobol sequence of more dimensions than any space has: scipy.stats.qmc.Sobol(5, rng=2312)."""
EDGE = 1 / 16
"""So much of a dimension at either end is its edge."""

Space = Mapping[str, Any]


def points(space: Space, published: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The first `count` points of a space, as settings.

    published: the settings that `decades` are around; their types are those of the points.
    """
    return [
        {
            key: _value(space[key], published.get(key), place)
            for key, place in zip(space, row, strict=False)
        }
        for row in _sobol()[:count]
    ]


def places(space: Space, published: Mapping[str, Any], point: Mapping[str, Any]) -> dict:
    """Where a point lies in each dimension that has ends, 0 to 1; a choice has none."""
    found = {}
    for key, dimension in space.items():
        if isinstance(dimension, dict):
            low, high = _ends(dimension, published.get(key))
            at = _number(point[key])
            if "linear" not in dimension:
                low, high, at = (math.log(value) for value in (low, high, at))
            found[key] = (at - low) / (high - low)
    return found


def at_edge(space: Space, published: Mapping[str, Any], point: Mapping[str, Any]) -> list[str]:
    """The dimensions in whose outermost sixteenth a point lies, and beyond which there is more.

    There is nothing beyond a linear dimension, an integer of 1 or a share of the whole. Of epochs
    there may be more, but `around` looks for no more than MOST_EPOCHS.
    """
    found = []
    for key, place in places(space, published, point).items():
        beyond = "linear" not in space[key]
        low_ends = (isinstance(point[key], int) and point[key] <= 1) or point[key] == "1/1"
        if beyond and (place > 1 - EDGE or (place < EDGE and not low_ends)):
            found.append(key)
    return found


def around(space: Space, published: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """The space of a second round: around a point, as wide where it is at an edge, else half."""
    edges, found = at_edge(space, published, point), {}
    for key, dimension in space.items():
        if not isinstance(dimension, dict):
            found[key] = dimension
            continue
        low, high = _ends(dimension, published.get(key))
        at, least = _number(point[key]), 1 if _whole(dimension, point[key]) else 0
        if "linear" in dimension:
            half = (high - low) / 4
            ends = max(low, at - half), min(high, at + half)
            found[key] = {"linear": [_rounded(end) for end in ends]}
            continue
        factor = (high / low) ** (1 / 2 if key in edges else 1 / 4)
        most = MOST_EPOCHS if key == "epochs" else math.inf
        ends = [_rounded(max(at / factor, least)), _rounded(min(at * factor, most))]
        found[key] = {"share" if "share" in dimension else "log": ends}
    return found


def check(space: Any, defaults: Mapping[str, Any]) -> str:
    """What is wrong with a space, "" if nothing: its own dimensions, before COMMON joins them.

    defaults: the method's settings, of which each dimension must be one.
    """
    if not isinstance(space, dict):
        return f"should be a mapping of settings to ranges, got {space!r}"
    for key, dimension in space.items():
        if key not in defaults:
            return f"{key}: unknown setting; known here: {', '.join(defaults)}"
        if isinstance(dimension, list) and len(dimension) > 1:
            continue
        if not isinstance(dimension, dict) or len(dimension) != 1 or set(dimension) - {*KINDS}:
            return f"{key}: should be a list of values or one of {{{'|'.join(KINDS)}: …}}"
        kind, ends = next(iter(dimension.items()))
        if kind == "decades":
            if not _positive(ends) or not _positive(defaults[key]):
                return f"{key}: decades should be a number, around a published one above 0"
            continue
        pair = isinstance(ends, list) and len(ends) == 2
        if not pair or not all(map(_is_number, ends)) or not ends[0] < ends[1]:
            return f"{key}: {kind} should be [low, high], got {ends!r}"
        if kind in ("log", "share") and not ends[0] > 0:
            return f"{key}: {kind} needs a low end above 0, got {ends!r}"
    own = [k for k, d in space.items() if isinstance(d, dict) and k != "lr"]
    most = OWN - ("epochs" in defaults and "epochs" not in own)
    if "lr" not in defaults:
        most += 1
    if len(own) > most:
        return f"{', '.join(own)}: at most {most} beside the learning rate and epochs"
    return ""


def whole(space: Space, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A method's own dimensions after those of COMMON that it has."""
    common = {key: dimension for key, dimension in COMMON.items() if key in defaults}
    return common | dict(space)


@functools.cache
def _sobol() -> list[list[float]]:
    """The points of the sequence, kept because SciPy takes a second to import at each plan."""
    with open(SEQUENCE, newline="", encoding="utf-8-sig") as handle:
        _, *rows = csv.reader(handle)
    return [[float(place) for place in row] for row in rows]


def _value(dimension: Any, published: Any, place: float) -> Any:
    if isinstance(dimension, list):
        return dimension[int(place * len(dimension))]
    low, high = _ends(dimension, published)
    at = low + place * (high - low) if "linear" in dimension else low * (high / low) ** place
    if "share" in dimension:
        return f"1/{max(1, round(at))}"
    return max(1, round(at)) if isinstance(published, int) else _rounded(at)


def _ends(dimension: Mapping[str, Any], published: Any) -> tuple[float, float]:
    kind, ends = next(iter(dimension.items()))
    if kind == "decades":
        return published * 10 ** (-ends / 2), published * 10 ** (ends / 2)
    return ends[0], ends[1]


def _whole(dimension: Mapping[str, Any], value: Any) -> bool:
    return "share" in dimension or isinstance(value, int)


def _number(value: Any) -> float:
    return int(re.sub("^1/", "", value)) if isinstance(value, str) else value


def _rounded(value: float) -> float:
    """To three digits: what a person would write."""
    return float(f"{value:.3g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _is_number(value) and value > 0
