"""What of a run stands beside a reported number: cells, grade, and settings that are not its own.

Of the experiments of a run that have the number's cells the one of the best grade counts, the
first of those in the config; two never share a mean.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from unlearning.audit import grades, quantities
from unlearning.audit import reported as names
from unlearning.audit.quantities import Movement, Quantity
from unlearning.audit.reported import Metric, Reported
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.files import METHODS
from unlearning.results.runs import status_note


@dataclass(frozen=True)
class Run:
    """A run and what it is put beside.

    runs: `runs.read_runs` of the run that `ours` describes. paper: the paper's grid. recorded:
    the settings that cells ran with (`manifest.recorded_settings`); what it lacks has those that
    the files in `folder` give now.
    """

    runs: pd.DataFrame
    ours: RunConfig
    paper: RunConfig
    recorded: grades.Recorded = field(default_factory=dict)
    folder: str | Path = METHODS

    @property
    def experiments(self) -> list[Experiment]:
        """Those in runs.csv."""
        return [one for one in self.ours.experiments if one.study is None]

    @property
    def datasets(self) -> set[str]:
        """The data sets of both grids."""
        return {one.dataset for one in (*self.ours.experiments, *self.paper.experiments)}

    def wanted(self, dataset: str) -> Experiment | None:
        """The paper's experiment on a data set."""
        found = (e for e in self.paper.experiments if e.dataset == dataset and e.study is None)
        return next(found, None)

    def cells(self, experiment: Experiment, scenario: str, method: str) -> pd.DataFrame:
        """The rows of a method that forget one class or a random share."""
        return self._cells.get((experiment.label, scenario, method), self.runs.iloc[:0])

    @functools.cached_property
    def _cells(self) -> dict[tuple, pd.DataFrame]:
        keys = ["experiment", "scenario", "method"]
        return dict(list(quantities.single(self.runs).groupby(keys, sort=False)))

    def originals(self, scenario: str) -> pd.DataFrame:
        """The rows of plain originals."""
        runs = self.runs
        return runs[(runs["method"] == "original") & (runs["scenario"] == scenario)]


@dataclass(frozen=True)
class Absent:
    """Why nothing of ours stands beside a reported number."""

    verdict: str
    reason: str
    grade: str = ""
    runnable: bool = False


@dataclass(frozen=True)
class Beside:
    """What of ours stands beside a reported number.

    cells: all of the method in one experiment, with `value` in the reported unit. why: the reason
    of grade B or C. other: settings that are not the published ones. unstated: settings that the
    source does not give. stand_ins: settings that stand in for what cannot be had.
    """

    experiment: Experiment
    dataset: str
    scenario: str
    method: str
    metric: Metric
    grade: str
    why: str
    other: list[str]
    unstated: list[str]
    stand_ins: list[str]
    cells: pd.DataFrame

    @property
    def done(self) -> pd.DataFrame:
        """The cells that have the number."""
        return _done(self.cells)

    @property
    def published(self) -> bool:
        """Whether it is the published method, with its settings."""
        return not (self.other or self.stand_ins)

    @property
    def settings(self) -> list[str]:
        """The reasons that lie in the method's settings."""
        found = {"stand_ins": self.stand_ins, "other_settings": self.other}
        found["settings_unstated"] = self.unstated
        return [f"{code}: {', '.join(keys)}" for code, keys in found.items() if keys]


def beside(number: Reported, run: Run) -> Beside | Absent:
    """Our cells of a reported number and their grade, or why there are none."""
    identity = {
        "data set": names.own_dataset(number.dataset, run.datasets),
        "scenario": names.own_scenario(number.scenario),
        "method": names.own_method(number.method),
        "metric": names.METRICS.get(number.metric),
    }
    absent = [what for what, name in identity.items() if name is None]
    if absent:
        return Absent("not comparable", f"no_counterpart: {', '.join(absent)}")
    dataset, scenario, method, metric = identity.values()
    wanted = run.wanted(dataset)
    there = [one for one in run.experiments if one.dataset == dataset]
    if not there and wanted is None:
        return Absent("ours not run", "no_config")
    graded = [(one, *grades.grade(one, wanted)) for one in there or run.experiments]
    found = []
    for one, grade, why in sorted(graded, key=lambda each: each[1]):
        cells = run.cells(one, scenario, method)
        cells = cells.assign(value=quantities.values(cells, metric))
        if len(cells):
            found.append((one, grade, why, cells))
    done = [each for each in found if len(_done(each[-1]))]
    if not done:
        best = min(grade for _, grade, _ in graded) if there else ""
        lacks = _nothing(found[0][-1]) if found and there else Absent("ours not run", "not_in_run")
        return dataclasses.replace(
            lacks, grade=best, runnable=lacks.verdict == "ours not run" and wanted is not None
        )
    one, grade, why, cells = done[0]
    named = _settings(one, wanted, method, scenario, cells, run, grade)
    return Beside(one, dataset, scenario, method, metric, grade, why, *named, cells)


def _done(cells: pd.DataFrame) -> pd.DataFrame:
    return cells[(cells["status"] == "ok") & cells["value"].notna()]


def _nothing(cells: pd.DataFrame) -> Absent:
    """Why no cell has the number."""
    statuses = set(cells["status"])
    if "ok" in statuses:
        return Absent("ours not run", "not_measured")
    note = f"none_ok: {status_note(cells)}"
    if statuses <= {"missing"}:
        return Absent("ours not run", f"not_in_run; {note}")
    return Absent("not comparable", note)


def _settings(
    one: Experiment,
    wanted: Experiment | None,
    method: str,
    scenario: str,
    cells: pd.DataFrame,
    run: Run,
    grade: str,
) -> tuple[list[str], list[str], list[str]]:
    """Settings that are not the published ones, that the source does not give, and stand-ins.

    In grade C none is asked: the settings are of other data or another network.
    """
    if grade == "C":
        return [], [], []
    published = grades.settings(wanted, method, scenario, {}, run.folder)
    ours = grades.settings(one, method, scenario, run.recorded, run.folder)
    ok = cells[cells["status"] == "ok"]
    unstated = grades.unstated(wanted, method, scenario, run.folder)
    standing = grades.stand_ins(one, method, run.folder)
    other = [key for key in grades.other_settings(ours, published, ok) if key not in standing]
    return other, unstated, standing


def movement(quantity: Quantity, found: Beside, run: Run) -> Movement | None:
    """How much a quantity of the method moves with the original, on this data set or another.

    Measured where the run has the method, with one choice of settings, on originals of two recipes
    at least on one data set and network: on the number's own, else on the first other one.
    """
    systems = dict.fromkeys((one.dataset, one.arch) for one in run.experiments)
    own = found.experiment.dataset, found.experiment.arch
    for system in (own, *(each for each in systems if each != own)):
        moves = quantities.movement(quantity, _by_recipe(system, found, run), run.runs)
        if moves:
            return moves
    return None


def _by_recipe(system: tuple[str, str], found: Beside, run: Run) -> list[pd.DataFrame]:
    """The method's ok cells on each recipe of a data set and network, with the first's settings."""
    groups: list[pd.DataFrame] = []
    recipes, settings = [], None
    for one in run.experiments:
        if (one.dataset, one.arch) != system or one.evaluation != "test":
            continue
        cells = run.cells(one, found.scenario, found.method)
        cells = cells[cells["status"] == "ok"]
        if cells.empty or grades.recipe(one) in recipes:
            continue
        own = grades.settings(one, found.method, found.scenario, run.recorded, run.folder)
        settings = own if settings is None else settings
        if not grades.differing(own, settings):
            recipes.append(grades.recipe(one))
            groups.append(cells)
    return groups
