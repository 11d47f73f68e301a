"""What the plot of AUS against unlearning time shows: a point a method, panel by panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlearning.config.elsewhere import GIVEN
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.metrics.aus import shown_scenarios
from unlearning.report.sheets import Sheet, link
from unlearning.results.display import shown, system
from unlearning.results.keys import CELLS, GROUP
from unlearning.results.manifest import trace_id
from unlearning.results.runs import by_method
from unlearning.stats.crossed import Crossed, crossed
from unlearning.tables import render

KINDS = ("published", "searched")
"""Which settings the methods of a panel have; those of a run that did not record it have none."""


@dataclass(frozen=True)
class Point:
    """A method's mean AUS and seconds, with 95 % intervals over the cells that are ok.

    seconds: None for the original, which does nothing, and where no time is known. wanted: the
    cells that the run asked for. touches: the data that the method reads.
    """

    method: str
    aus: Crossed
    seconds: Crossed | None
    wanted: int
    touches: str
    settings: str
    key: tuple[str, str, str]

    @property
    def idle(self) -> bool:
        """Whether it is the original, whose unlearning takes no time as it does nothing."""
        return self.method == "original"

    @property
    def name(self) -> str:
        """The method as readers see it."""
        return shown(self.method)

    @property
    def time(self) -> str:
        """Its seconds in words."""
        if self.idle:
            return "no time: does nothing"
        return f"{ends(self.seconds, render.seconds)} s" if self.seconds else "time not known"

    @property
    def said(self) -> str:
        """All that the point stands for, as one line."""
        touches = f"; reads {self.touches} data" if self.touches else ""
        aus = ends(self.aus, render.score)
        return f"{self.name}: AUS {aus}; {self.time}; n = {self.aus.n}{touches}"


@dataclass(frozen=True)
class Panel:
    """One scenario of one experiment, with methods of one kind of settings."""

    id: str
    scenario: str
    place: str
    settings: str
    points: list[Point]

    @property
    def title(self) -> str:
        """What the panel is of."""
        return ", ".join(part for part in (self.scenario, self.place, self.settings) if part)


def ends(found: Crossed, show: Any) -> str:
    """`0.93 [0.91, 0.95]`; without an interval the mean."""
    mean = show(found.mean, float("nan"))
    if pd.isna(found.low):
        return mean
    return f"{mean} [{', '.join(show(end, float('nan')) for end in (found.low, found.high))}]"


def panels(runs: pd.DataFrame) -> list[Panel]:
    """A panel a scenario, experiment and kind of settings that has a point."""
    found = []
    for scenario in shown_scenarios(set(runs["scenario"])):
        cells = runs[runs["scenario"] == scenario]
        groups = list(cells.groupby(GROUP, sort=False))
        systems = [key[1:] for key, _ in groups]
        for (experiment, *where), group in groups:
            place = system(*where)
            if systems.count(tuple(where)) > 1:
                place = f"{place} ({experiment})"
            for kind, own in _by_settings(group):
                if points := _points(own):
                    number = f"points-{len(found) + 1}"
                    found.append(Panel(number, shown(scenario), place, kind, points))
    return found


def _by_settings(group: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The cells by kind of settings: references, and what has none, are in every part."""
    kind = group["settings_from"].map(kind_of)
    kinds = [name for name in KINDS if name in set(kind)]
    if not kinds:
        return [("", group)]
    return [(f"{name} settings", group[kind.isin((name, ""))]) for name in kinds]


def kind_of(origin: str) -> str:
    """`published`, `searched` or "", of what runs.csv says in settings_from.

    A method for which nothing was found by the search that was asked for stands with the searched.
    """
    if origin in ("", GIVEN):
        return ""
    return KINDS[0] if origin.startswith(KINDS[0]) else KINDS[1]


def _points(cells: pd.DataFrame) -> list[Point]:
    """A point a method with an AUS; of the originals the plain one."""
    others = set(ORIGINALS) - {"original"}
    made = [_point(name, own) for name, own in by_method(cells) if name not in others]
    return [point for point in made if point]


def _point(method: str, cells: pd.DataFrame) -> Point | None:
    done = cells[(cells["status"] == "ok") & cells["aus"].notna()]
    if done.empty:
        return None
    timed = done[done["unlearning_seconds"] > 0]
    first = cells.iloc[0]
    return Point(
        method=method,
        aus=_mean(done, "aus"),
        seconds=_mean(timed, "unlearning_seconds") if len(timed) and method != "original" else None,
        wanted=cells.groupby(CELLS).ngroups,
        touches=first["touches"],
        settings="" if method in REFERENCES else first["settings_from"],
        key=(first["experiment"], first["scenario"], method),
    )


def _mean(cells: pd.DataFrame, metric: str) -> Crossed:
    """Over forget sets and training seeds; unlearning seeds of a cell are averaged first."""
    return crossed(cells.groupby(CELLS)[metric].mean())


def twin(panel: Panel, traced: set[tuple]) -> Sheet:
    """The panel as a table."""
    rows = [
        [
            link(point.name, point.key, traced),
            ends(point.aus, render.score),
            ends(point.seconds, render.seconds) if point.seconds else point.time,
            f"{point.aus.n} of {point.wanted}",
            point.touches or "–",
            point.settings or "–",
        ]
        for point in panel.points
    ]
    headers = ["Method", "AUS [95 %]", "Time (s) [95 %]", "n", "Data read", "Settings"]
    return Sheet(f"{panel.id}-table", panel.title, headers, rows)


def facets(found: list[Panel]) -> Mapping[str, list[str]]:
    """What a reader may choose between: each name with its values, where there are several."""
    names = {"Scenario": "scenario", "Data": "place", "Settings": "settings"}
    values = {
        label: [*dict.fromkeys(getattr(p, name) for p in found)] for label, name in names.items()
    }
    return {label: each for label, each in values.items() if len(each) > 1}


def target(point: Point) -> str:
    """The id of the point's cells in the page."""
    return trace_id(*point.key)
