"""Metrics as pure functions on arrays, and what happens where one cannot be measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


class Unmeasurable(ValueError):
    """The data do not allow the measurement: too few images, or values that are not finite."""


def measure(gaps: dict[str, str], name: str, function: Callable[[], Value]) -> Value | None:
    """`function()`; None, with the reason in `gaps[name]`, where it cannot be measured.

    That is where it raises Unmeasurable or gives a number that is not finite, which JSON does
    not have. Any other error is one of the code and is not caught.
    """
    try:
        value = function()
    except Unmeasurable as error:
        gaps[name] = " ".join(str(error).split())
        return None
    if isinstance(value, float) and not math.isfinite(value):
        gaps[name] = f"its value is {value}"
        return None
    return value


def listed(gaps: Mapping[str, str]) -> str:
    """Each reason in `gaps` once, behind the names that it holds for; "" for none."""
    named: dict[str, list[str]] = {}
    for name, reason in gaps.items():
        named.setdefault(reason, []).append(name)
    parts = [f"{', '.join(names)}: {reason}" for reason, names in named.items()]
    return f"not measured: {'; '.join(parts)}" if parts else ""


def tell(where: str, gaps: Mapping[str, str]) -> None:
    """Print what could not be measured and why, if there is any."""
    if gaps:
        print(f"{where}: {listed(gaps)}", flush=True)
