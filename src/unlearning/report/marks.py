"""Small plots for the rows of a table: an interval beside its bound, ours beside the reported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from unlearning.claims.statements import read_bound

WIDTH, HEIGHT = 120, 18  # CSS pixels
EDGE = 6  # on either side, for a mark that lies at the end


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, perhaps logarithmic, over the width of a plot."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], log: bool = False) -> Scale | None:
        """The axis that holds all finite `values` (of a log axis: that are more than 0)."""
        held = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        if not held:
            return None
        low, high = min(held), max(held)
        if low == high:
            return cls(low / 2, 2 * high, True) if log else cls(low - 1, high + 1)
        return cls(low, high, log)

    def at(self, value: float) -> float:
        """Where a value lies, in pixels; beyond the axis at its end."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * EDGE), 1)


def float_of(text: str) -> float:
    """The number that a text is; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def against_bound(row: Mapping[str, str], said: str) -> Markup:
    """Mean and interval of a row of claims.csv, with its bound and the side that is claimed.

    said: the same in words, for who does not see it. Without a value or a bound: nothing.
    """
    value, low, high = (float_of(row[name]) for name in ("value", "low", "high"))
    try:
        side, bound = read_bound(row["bound"])
    except ValueError:
        return Markup("")
    bounds = [-bound, bound] if side in ("within", "outside") else [bound]
    log = row["unit"] == "times"
    scale = Scale.around([value, low, high, *bounds], log)
    if scale is None or not math.isfinite(value) or (log and value <= 0):
        return Markup("")
    places = [scale.at(one) for one in bounds]
    parts = [_band(*ends) for ends in _claimed(side, places)]
    parts += [_line("bound", x, 1, x, HEIGHT - 1) for x in places]
    parts += _interval(scale, value, low, high)
    return _svg(parts, said)


def _claimed(side: str, places: list[float]) -> list[tuple[float, float]]:
    """The stretches of the axis on which the claim holds, from pixel to pixel."""
    return {
        "above": [(places[-1], WIDTH)],
        "below": [(0.0, places[0])],
        "within": [(places[0], places[-1])],
        "outside": [(0.0, places[0]), (places[-1], WIDTH)],
    }[side]


def beside_reported(row: Mapping[str, str], scale: Scale | None, said: str) -> Markup:
    """Ours with its interval, and the reported number, of a row of audit.csv."""
    reported, ours = float_of(row["reported"]), float_of(row["ours"])
    if scale is None or not math.isfinite(reported):
        return Markup("")
    x, middle = scale.at(reported), HEIGHT / 2
    diamond = (
        f"M{x - 5:g} {middle:g}L{x:g} {middle - 5:g}L{x + 5:g} {middle:g}L{x:g} {middle + 5:g}Z"
    )
    parts = [Markup('<path class="reported" d="{}"/>').format(diamond)]
    if math.isfinite(ours):
        parts += _interval(scale, ours, float_of(row["low"]), float_of(row["high"]))
    return _svg(parts, said)


def _interval(scale: Scale, value: float, low: float, high: float) -> list[Markup]:
    middle = HEIGHT / 2
    dot = '<circle cx="{:g}" cy="{:g}" r="3.2"/>'
    line = []
    if math.isfinite(low) and math.isfinite(high):
        line = [_line("interval", scale.at(low), middle, scale.at(high), middle)]
    return [*line, Markup(dot).format(scale.at(value), middle)]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    text = '<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>'
    return Markup(text).format(kind, x1, y1, x2, y2)


def _band(start: float, end: float) -> Markup:
    text = '<rect class="claimed" x="{:g}" width="{:g}" height="{}"/>'
    return Markup(text).format(start, max(end - start, 0), HEIGHT)


def _svg(parts: list[Markup], said: str) -> Markup:
    head = '<svg class="marks" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>'
    return Markup(head).format(said, WIDTH, HEIGHT, Markup("").join(parts))
