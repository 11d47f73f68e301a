"""What a run costs before it is run: its jobs, how long each takes, and what it writes.

The seconds of a job are its amount of work times what a unit of such work took in a measured run
(configs/costs.csv, written by workflow/scripts/write_costs.py). Work that passes images through a
model is counted in the seconds that one training image takes that model, so that a method that
was measured on one architecture is predicted on another. Seconds are those of one thread; a job of
several is taken to share them out.
"""

from __future__ import annotations

import csv
import dataclasses
import graphlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning import grid, hyperparameters, methods
from unlearning.config import Experiment, RunConfig, Variant
from unlearning.data.catalogue import DatasetInfo
from unlearning.methods import ORIGINALS
from unlearning.models import PRETRAINED
from unlearning.plan import resolved

FILE = "configs/costs.csv"
TRAIN = "train"
BYTES = 4  # of a logit
PASSES = ("unlearn", "evaluate", "probe", "examine", "map", "explain", "shortcut")
"""Stages whose work is images through models."""

FORWARD = 1 / 3
"""A forward pass, in training steps."""

Speed = Callable[[str, DatasetInfo, str], float]
"""Seconds of a training image: of an architecture, on images of a data set, in a precision."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One job. name: its log's below the run's logs, without ending. kind: the row of the table
    that its cost stands in. work: how much of that. needs: names of jobs. gpu: how many it holds.
    writes: bytes of weights and outputs. part: the first part of the config that wants it.
    threads: that the job shares its seconds between. folder: of a model or cell, below the run's.
    """

    rule: str
    name: str
    kind: str
    work: float
    needs: tuple[str, ...] = ()
    gpu: int = 0
    writes: float = 0.0
    part: str = ""
    threads: int = 1
    folder: str = ""


def shape(info: DatasetInfo) -> str:
    """`1x28x28`."""
    return f"{info.channels}x{info.size}x{info.size}"


def train_kind(arch: str, info: DatasetInfo, precision: str) -> str:
    """The row of training an architecture on images of a shape: seconds an image and epoch."""
    ending = "" if precision == "float32" else f" {precision}"
    return f"{TRAIN} {arch} {shape(info)}{ending}"


def epochs_of_full_size(experiment: Experiment, info: DatasetInfo) -> float:
    """A recipe's epochs, one on smaller images counted as its share of the pixels."""
    recipe = experiment.training
    sizes = (recipe.size_in(epoch) or info.size for epoch in range(recipe.epochs))
    return sum((size / info.size) ** 2 for size in sizes)


def jobs(
    config: RunConfig,
    datasets: Mapping[str, DatasetInfo],
    speed: Speed,
    weights: Callable[[str, DatasetInfo], float],
    figures: Iterable[str],
    folder: str | Path = hyperparameters.FOLDER,
) -> list[Job]:
    """Every job of `snakemake all` on a config whose methods all run; no search.

    weights: bytes of an architecture's weights. figures: those that are drawn.
    """
    planned = _Planned(config, datasets, speed, weights, folder)
    made = planned.measured()
    studies = bool(grid.study_cells(config))
    return list(planned.jobs.values()) + _report(config, made, figures, studies)


class _Planned:
    """The jobs of a config up to its measurements, by name; each once, for who wants it first."""

    def __init__(self, config, datasets, speed, weights, folder) -> None:
        self.config, self.datasets, self.folder = config, datasets, folder
        self.speed, self.weights = speed, weights
        self.experiments = {e.label: e for e in config.experiments}
        self.variants = {(e.label, v.name): v for e in config.experiments for v in e.variants}
        self.splits = {
            (e.label, s.scenario, s.key): s for e in config.experiments for s in grid.splits(e)
        }
        self.ensembles: dict[str, list[str]] = {}
        self.jobs: dict[str, Job] = {}
        self.part = ""

    def add(self, *fields: Any, experiment: Experiment | None = None, **more: Any) -> str:
        """Add a job, unless it is there; experiment: whose GPUs and threads it holds."""
        held = {}
        if experiment is not None:
            held = {"gpu": experiment.resources.gpu, "threads": experiment.resources.threads}
        job = Job(*fields, part=self.part, **held, **more)
        return self.jobs.setdefault(job.name, job).name

    def measured(self) -> list[str]:
        """Plan the trainings, cells and measurements; the names of all that is collected."""
        cells = [*grid.cells(self.config), *grid.study_cells(self.config)]
        ranks = grid.ranks(self.config)
        parts = {}
        for e in self.config.experiments:
            parts |= {cell: e.listed[n].name for cell, n in grid.parts_of(e).items()}
        cells.sort(key=lambda cell: ranks[cell.experiment, parts[cell]])
        made, groups, collected = {}, {}, []
        for cell in cells:
            method = self.variant(cell).method
            if hyperparameters.defined(method, cell.scenario, self.folder):
                self.part = parts[cell] or cell.experiment
                made[cell] = self.unlearn(cell)
                if cell.unlearn_seed == self.experiments[cell.experiment].unlearn_seeds[0]:
                    self.ensembles.setdefault(cell.ensemble, []).append(made[cell])
                key = cell.experiment, cell.scenario, cell.split, cell.train_seed
                groups.setdefault(key, []).append(cell)
        for experiment in self.config.experiments:
            if experiment.study != "shortcut":
                collected += self.scores(experiment, made, parts)
        for group in groups.values():
            self.part = parts[group[-1]] or group[-1].experiment
            collected += self.looks(group, made)
        return [*collected, *made.values()]

    def variant(self, cell: grid.Cell) -> Variant:
        return self.variants[cell.experiment, cell.method]

    def data(self, experiment: Experiment) -> str:
        fetched = self.add("fetch_dataset", f"data/{experiment.dataset}", "fetch_dataset", 1)
        if not experiment.poisoned:
            return fetched
        return self.add("poison", f"poison/{experiment.label}", "poison", 1, (fetched,))

    def train(self, experiment: Experiment, rule: str, name: str, arch: str, share: float, *needs):
        """An original, oracle or shadow model on a share of the training images."""
        kind, label, rest = name.split("/", 2)
        kind = kind if kind.startswith("originals") else f"{kind}s"
        info = self.datasets[experiment.dataset]
        images = share * (info.train + (info.test if rule == "train_shadow" else 0))
        outputs = BYTES * info.classes * (info.train + info.test)
        if experiment.pretrained:
            weights = f"data/weights/{PRETRAINED[experiment.arch]}"
            needs = (*needs, self.add("fetch_weights", weights, "fetch_weights", 1))
        return self.add(
            rule,
            name,
            train_kind(arch, info, experiment.precision),
            images * epochs_of_full_size(experiment, info),
            (self.data(experiment), *needs),
            experiment=experiment,
            writes=outputs if rule == "train_shadow" else self.weights(arch, info),
            folder=f"{label}/{kind}/{rest}",
        )

    def unlearn(self, cell: grid.Cell) -> str:
        """One cell, with the training that it starts from."""
        experiment, variant = self.experiments[cell.experiment], self.variant(cell)
        home = self.experiments[experiment.models_of or cell.experiment]
        info, method = self.datasets[experiment.dataset], variant.method
        drawn = f"split/{home.label}/{cell.scenario}/{cell.split}"
        drawn = self.add("make_split", drawn, "make_split", 1, (self.data(home),))
        ending = hyperparameters.original_of(method, self.folder).removeprefix("original")
        arch = home.arch + ending
        c = self.speed(arch, info, experiment.precision)
        name = f"originals{ending}/{home.label}/train-{cell.train_seed}"
        start = self.train(home, "train_original", name, arch, 1)
        split = self.splits[cell.experiment, cell.scenario, cell.split]
        forget = _forgotten(split, info) * info.train
        retain = info.train - forget
        if method == "oracle":
            name = f"oracle/{home.label}/{cell.group}"
            start = self.train(home, "train_oracle", name, home.arch, retain / info.train, drawn)
        rows = forget + min(retain, experiment.retain_evaluated or retain) + info.test
        if method in ORIGINALS:
            everything = FORWARD * c * (info.train + info.test)
            needs = (start, self.data(home))
            folder = f"{self.jobs[start].folder}/evaluated"
            look = ("evaluate", f"evaluate/{name}", "evaluate", everything, needs)
            start = self.add(*look, experiment=home, folder=folder)
            work = rows * info.classes
        else:
            settings = resolved(experiment, variant, cell.scenario, self.folder)
            share = int(experiment.given[2:]) if experiment.given else 1
            sizes = round(forget / share), round(retain / share)
            passed = methods.images(method, settings, *sizes)
            work = c * (passed + FORWARD * rows)
        return self.add(
            "unlearn",
            f"unlearn/{cell.experiment}/{cell.group}/{cell.method}-{cell.unlearn_seed}",
            f"unlearn {method} {cell.scenario}",
            work,
            (start, drawn),
            experiment=experiment,
            writes=self.weights(arch, info) + BYTES * info.classes * rows,
            folder=cell.folder,
        )

    def scores(self, experiment: Experiment, made: Mapping, parts: Mapping) -> list[str]:
        """The files of scores of an experiment, a group and part each."""
        info, found = self.datasets[experiment.dataset], []
        for file, members in grid.scored(experiment).items():
            cells = [cell for cell in members if cell in made]
            if cells:
                self.part = parts[cells[0]] or experiment.label
                arrays = len(cells) * (info.train + info.test) * info.classes
                name = file.removesuffix(".json").replace("/scores/", "/", 1)
                needs = tuple(made[cell] for cell in cells)
                found.append(self.add("score", f"score/{name}", "score", arrays, needs))
        return found

    def looks(self, cells: list[grid.Cell], made: Mapping) -> list[str]:
        """Everything else that is measured of a group: attacks, probes, ensembles, studies."""
        first = cells[0]
        experiment = self.experiments[first.experiment]
        info, needs = self.datasets[experiment.dataset], tuple(made[cell] for cell in cells)
        place = f"{first.experiment}/{first.group}"
        arrays = len(cells) * (info.train + info.test) * info.classes
        c = self.speed(experiment.arch, info, experiment.precision)
        passes = len(cells) * info.train * c
        oracle = any(self.variant(cell).method == "oracle" for cell in cells)
        found = []
        if experiment.attacks:
            pool = tuple(
                self.train(experiment, "train_shadow", f"shadow/{name}", experiment.arch, 0.5)
                for name in (f"{first.experiment}/{k}" for k in range(experiment.attacks.shadows))
            )
            found.append(self.add("attack", f"attack/{place}", "attack", arrays, (*needs, *pool)))
        if not experiment.study and oracle:
            probe = ("probe", f"probe/{place}", "probe", passes, needs)
            found.append(self.add(*probe, experiment=experiment))
            if len(experiment.train_seeds) >= grid.FEWEST_SEEDS:
                name = f"ensemble/{first.experiment}/{first.scenario}/{first.split}"
                members = tuple(self.ensembles[first.ensemble])
                work = arrays * len(experiment.train_seeds)
                found.append(self.add("ensemble", name, "ensemble", work, members))
        for stage in _looks(experiment, first.scenario, first.split, first.train_seed):
            asked = experiment.attributions
            work = passes
            if stage == "explain":
                work = len(cells) * asked.images * asked.evaluations * c
            look = (stage, f"{stage}/{place}", stage, work, needs)
            found.append(self.add(*look, experiment=experiment))
        return found


def _forgotten(split: grid.Split, info: DatasetInfo) -> float:
    """The share of the training images that a forget set holds."""
    settings = split.settings
    if settings["scenario"] == "class_removal":
        return len(settings["classes"]) / info.classes
    if settings["scenario"] == "shortcut_removal":
        return settings["images"] / info.train
    count = settings["count"] / info.train if settings["count"] else None
    return count or settings["fraction"] or 0.1  # the release's own indices are a tenth


def _looks(experiment: Experiment, scenario: str, split: str, seed: int) -> list[str]:
    """The stages that look into the models of a group (as `looked_into` of studies.smk)."""
    if experiment.study == "shortcut":
        return ["shortcut"]
    if experiment.study != "feature_space" or scenario != "class_removal":
        return []
    first = grid.splits(experiment)[0].key == split and experiment.train_seeds[0] == seed
    explained = ["explain"] if experiment.attributions else []
    return ["examine", *explained, *(["map"] if first else [])]


def _report(config: RunConfig, made: list[str], figures: Iterable[str], studies: bool) -> list[Job]:
    """From the collection of everything to the page."""
    found = [
        Job("resolve_config", "config", "resolve_config", 1),
        Job("rulegraph", "rulegraph", "rulegraph", 1, ("config",)),
        Job("collect", "collect", "collect", 1, ("config", *made)),
        Job("tabulate", "tabulate", "tabulate", 1, ("collect",)),
    ]
    needs = ["collect", "tabulate"]
    first = tuple(name for name in made if _of_first_table(name, config))
    if first:
        found.append(Job("first_table", "first_table", "first_table", 1, ("config", *first)))
    if studies:
        found.append(Job("gather", "gather", "gather", 1, ("config", *made)))
        found.append(
            Job("tabulate_studies", "tabulate_studies", "tabulate_studies", 1, ("gather",))
        )
        needs += ["gather", "tabulate_studies"]
    for name in figures:
        ready = ("gather", "collect") if studies else ("collect",)
        found.append(Job("plot", f"figures/{name}", f"plot {name}", 1, ready))
        needs.append(f"figures/{name}")
    found.append(Job("audit", "audit", "audit", 1, tuple(needs)))
    about_duck = "duck" in {c.method for c in grid.cells(config)} and not config.partial
    if about_duck:
        found.append(Job("paper", "paper", "paper", 1, ("audit",)))
    found.append(Job("report", "report", "report", 1, ("audit", "rulegraph")))
    return found


def _of_first_table(name: str, config: RunConfig) -> bool:
    """Whether a job's name is that of the scores of a class removal that `first_table` shows."""
    kind, label, scenario = (*name.split("/"), "", "")[:3]
    shown = config.order is None and not config.partial
    grids = {e.label for e in config.experiments if not e.study}
    return shown and kind == "score" and label in grids and scenario == "class_removal"


@dataclasses.dataclass(frozen=True)
class Cost:
    """A row of the table: seconds a unit of work, over all jobs and of the least and the most of
    them (NaN for one that was not taken from jobs); peak memory in MB; how many jobs."""

    seconds: float
    low: float
    high: float
    memory_mb: float
    n: int


def read(path: str | Path = FILE) -> dict[str, Cost]:
    """The table of measured costs, by kind. Raises ValueError, naming the file, if it is none."""
    with open(path, newline="", encoding="utf-8-sig") as handle:
        try:
            rows = {row.pop("kind"): row for row in csv.DictReader(handle)}
            return {
                kind: Cost(**{k: float(v or "nan") for k, v in row.items()} | {"n": int(row["n"])})
                for kind, row in rows.items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: no table of costs ({error!r})") from error


def longest(found: Iterable[Job], spent: Mapping[str, float]) -> tuple[float, list[str]]:
    """Seconds and jobs of the chain that takes longest, each job waiting for what it needs."""
    by_name = {job.name: job for job in found}
    done: dict[str, tuple[float, str | None]] = {}
    order = graphlib.TopologicalSorter({job.name: job.needs for job in by_name.values()})
    for name in order.static_order():
        ready = max(((done[n][0], n) for n in by_name[name].needs), default=(0, None))
        done[name] = ready[0] + spent[name], ready[1]
    last: str | None = max(done, key=lambda name: done[name][0])
    total, chain = done[last][0], []
    while last is not None:
        chain.append(last)
        last = done[last][1]
    return total, chain[::-1]


def counts(found: Iterable[Job]) -> Counter[str]:
    """How many jobs each rule has."""
    return Counter(job.rule for job in found)
