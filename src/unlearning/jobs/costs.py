"""Estimate a run before it starts: its jobs, their seconds, and the size of its files.

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
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from unlearning import methods
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.data.catalogue import DatasetInfo
from unlearning.data.superclasses import subclasses
from unlearning.files import METHODS, PROJECT
from unlearning.jobs import job as planning
from unlearning.jobs.job import walk
from unlearning.jobs.run import Jobs
from unlearning.methods import ORIGINALS
from unlearning.plan import grid

FILE = PROJECT / "configs/costs.csv"
TRAIN = "train"
BYTES = 4  # of a logit
TRAININGS = ("train_original", "train_oracle", "train_shadow")
MEASURING = ("score", "attack", "ensemble", "probe", "examine", "map", "explain", "shortcut")
TAKING = ("take_original", "take_unlearned")
PASSES = ("unlearn", "evaluate", *TAKING, "probe", "examine", "map", "explain", "shortcut")
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
    folder: str | Path = METHODS,
) -> list[Job]:
    """Every job of `snakemake all` on a config whose methods all run; no search.

    weights: bytes of an architecture's weights. figures: those that are drawn.
    """
    planned = Jobs(config.model_copy(update={"partial": False}), datasets, methods=folder)
    works = _Works(planned, datasets, speed, weights)
    found: dict[str, Job] = {}
    made = []
    for part, wanted in planned.by_part():
        made.append(wanted.name)
        for job in walk([wanted]):
            if job.name not in found:
                found[job.name] = works.job(job, part)
    return list(found.values()) + _report(config, made, figures, bool(planned.study_cells))


@dataclasses.dataclass(frozen=True)
class _Works:
    """How much work jobs are."""

    planned: Jobs
    datasets: Mapping[str, DatasetInfo]
    speed: Speed
    weights: Callable[[str, DatasetInfo], float]

    def job(self, job: planning.Job, part: str) -> Job:
        """The job with its work, and what it writes."""
        kind, work, writes = job.rule, 1.0, 0.0
        if job.rule in TRAININGS:
            kind, work, writes = self._training(job)
        elif job.rule == "unlearn":
            kind = f"unlearn {job.settings['base_method']} {job.wildcards['scenario']}"
            work, writes = self._unlearning(job)
        elif job.rule in ("evaluate", *TAKING):
            kind, info = "evaluate", self._info(job)
            work = FORWARD * self._speed(job) * (info.train + info.test)
        elif job.rule in MEASURING:
            work = self._measuring(job)
        held = {}
        if job.rule in (*TRAININGS, *PASSES):
            resources = job.experiment.resources
            held = {"gpu": resources.gpu, "threads": resources.threads}
        needs = tuple(need.name for need in job.needs)
        fields = {"needs": needs, "writes": writes, "part": part, "folder": job.folder}
        return Job(job.rule, job.name, kind, work, **fields, **held)

    def _info(self, job: planning.Job) -> DatasetInfo:
        return self.datasets[job.experiment.dataset]

    def _speed(self, job: planning.Job) -> float:
        """Seconds of a training image of the model that a job starts from."""
        arch = (job.settings or {}).get("start_arch") or (job.settings or {}).get("arch")
        experiment = job.experiment
        return self.speed(arch or experiment.arch, self._info(job), experiment.precision)

    def _training(self, job: planning.Job) -> tuple[str, float, float]:
        """Of an original, oracle or shadow model: kind, images times epochs, bytes written."""
        info, arch = self._info(job), job.settings["arch"]
        images: float = info.train
        writes = self.weights(arch, info)
        if job.rule == "train_oracle":
            images -= self._forgotten(job)
        if job.rule == "train_shadow":
            images = 0.5 * (info.train + info.test)
            writes = BYTES * info.classes * (info.train + info.test)
        kind = train_kind(arch, info, job.experiment.precision)
        return kind, images * epochs_of_full_size(job.experiment, info), writes

    def _forgotten(self, job: planning.Job) -> float:
        """Training images in the forget set of a job."""
        info = self._info(job)
        settings = self.planned.split_of(job).settings
        if settings["scenario"] == "class_removal":
            return info.train * len(settings["classes"]) / info.classes
        if settings["scenario"] == "subclass_removal":
            return info.train / len(subclasses(info.name))
        if settings["scenario"] in ("shortcut_removal", "sample_removal"):
            return settings["images"]
        tenth = info.train * (settings["fraction"] or 0.1)  # the release's own indices are a tenth
        return settings["count"] or tenth

    def _unlearning(self, job: planning.Job) -> tuple[float, float]:
        """Of a cell: its images through the model in seconds, and bytes written."""
        info, experiment = self._info(job), job.experiment
        forget = self._forgotten(job)
        retain = info.train - forget
        rows = forget + min(retain, experiment.retain_evaluated or retain) + info.test
        arch = job.settings["start_arch"]
        kept = self.weights(arch, info) if self.planned.config.keep == "all" else 0.0
        writes = kept + BYTES * info.classes * rows
        method = job.settings["base_method"]
        if method in ORIGINALS:
            return rows * info.classes, writes
        share = int(experiment.given[2:]) if experiment.given else 1
        sizes = round(forget / share), round(retain / share)
        passed = methods.images(method, job.settings["hyperparameters"], *sizes)
        return self._speed(job) * (passed + FORWARD * rows), writes

    def _measuring(self, job: planning.Job) -> float:
        """Of what is measured of cells: numbers of their logits, or images through their models."""
        info = self._info(job)
        cells = sum(need.rule == "unlearn" for need in job.needs)
        if job.rule in ("score", "attack", "ensemble"):
            return cells * (info.train + info.test) * info.classes
        seconds = self.speed(job.experiment.arch, info, job.experiment.precision)
        if job.rule == "explain":
            asked = job.experiment.attributions
            return cells * asked.images * asked.evaluations * seconds
        return cells * info.train * seconds


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
    about_duck = "duck" in {c.method for c in grid.cells(config)} and config.has_paper
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


def memory_mb(table: Mapping[str, Cost], rule: str) -> float:
    """What a job of a rule may need: half as much again as its measured peak, or 2000."""
    peaks = [1.5 * c.memory_mb for kind, c in table.items() if kind.split()[0] == rule]
    return max((mb for mb in peaks if not math.isnan(mb)), default=2000)


def counts(found: Iterable[Job]) -> Counter[str]:
    """How many jobs each rule has."""
    return Counter(job.rule for job in found)
