"""What a run costs before it is run: its jobs, how long each takes, and what it writes.

The seconds of a job are its amount of work times what a unit of such work took in a measured run
(configs/costs.csv, written by workflow/scripts/write_costs.py). Work that passes images through a
model is counted in the seconds that one training image takes that model, so that a method that
was measured on one architecture is predicted on another.
"""

from __future__ import annotations

import csv
import dataclasses
import graphlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from unlearning import grid, hyperparameters
from unlearning.config import Experiment, RunConfig
from unlearning.data.catalogue import DatasetInfo
from unlearning.plan import resolved

FILE = "configs/costs.csv"
TRAIN = "train"
BYTES = 4  # of a logit
PASSES = ("probe", "examine", "map", "explain", "shortcut")
"""Stages whose work is images through models."""

Speed = Callable[[str, DatasetInfo], float]
"""Seconds that one training image takes an architecture in one epoch, on images of a data set."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One job. name: its log's below the run's logs, without ending. kind: the row of the table
    that its cost stands in. work: how much of that. needs: names of jobs. gpu: how many it holds.
    writes: bytes of weights and outputs."""

    rule: str
    name: str
    kind: str
    work: float
    needs: tuple[str, ...] = ()
    gpu: int = 0
    writes: float = 0.0


def shape(info: DatasetInfo) -> str:
    """`1x28x28`."""
    return f"{info.channels}x{info.size}x{info.size}"


def train_kind(arch: str, info: DatasetInfo) -> str:
    """The row of training an architecture on images of a shape: seconds an image and epoch."""
    return f"{TRAIN} {arch} {shape(info)}"


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
    experiments = {e.label: e for e in config.experiments}
    found: dict[str, Job] = {}

    def add(job: Job) -> str:
        found.setdefault(job.name, job)
        return job.name

    def data(experiment: Experiment) -> str:
        fetched = add(Job("fetch_dataset", f"data/{experiment.dataset}", "fetch_dataset", 1))
        if not experiment.scenarios.shortcut_removal:
            return fetched
        return add(Job("poison", f"poison/{experiment.label}", "poison", 1, (fetched,)))

    def train(experiment: Experiment, rule: str, name: str, arch: str, share: float, *needs) -> str:
        info = datasets[experiment.dataset]
        images = share * (info.train + (info.test if rule == "train_shadow" else 0))
        outputs = BYTES * info.classes * (info.train + info.test)
        return add(
            Job(
                rule,
                name,
                train_kind(arch, info),
                images * experiment.training.epochs,
                (data(experiment), *needs),
                experiment.resources.gpu,
                outputs if rule == "train_shadow" else weights(arch, info),
            )
        )

    groups: dict[tuple, list[grid.Cell]] = {}
    for cell in [*grid.cells(config), *grid.study_cells(config)]:
        experiment = experiments[cell.experiment]
        variant = next(v for v in experiment.variants if v.name == cell.method)
        if hyperparameters.defined(variant.method, cell.scenario, folder):
            key = cell.experiment, cell.scenario, cell.split, cell.train_seed
            groups.setdefault(key, []).append(cell)
    everything = []
    for (label, scenario, split, seed), cells in groups.items():
        experiment = experiments[label]
        home, info = experiments[experiment.models_of or label], datasets[experiment.dataset]
        c, gpu, count = speed(experiment.arch, info), experiment.resources.gpu, len(cells)
        drawn = f"split/{home.label}/{scenario}/{split}"
        drawn = add(Job("make_split", drawn, "make_split", 1, (data(home),)))
        made = []
        for cell in cells:
            variant = next(v for v in experiment.variants if v.name == cell.method)
            needed = hyperparameters.original_of(variant.method, folder)
            ending = needed.removeprefix("original")
            name = f"originals{ending}/{home.label}/train-{seed}"
            start = train(home, "train_original", name, home.arch + ending, 1)
            if variant.method == "oracle":
                name = f"oracle/{home.label}/{scenario}/{split}/train-{seed}"
                share = 1 - _forgotten(cell, experiment, info)
                start = train(home, "train_oracle", name, home.arch, share, drawn)
            epochs = resolved(experiment, variant, scenario, folder).get("epochs", 1)
            made.append(
                add(
                    Job(
                        "unlearn",
                        f"unlearn/{label}/{cell.group}/{cell.method}-{cell.unlearn_seed}",
                        f"unlearn {variant.method} {scenario}",
                        info.train * c * epochs,
                        (start, drawn),
                        gpu,
                        weights(experiment.arch + ending, info)
                        + BYTES * info.classes * (info.train + info.test),
                    )
                )
            )
        place = f"{label}/{scenario}/{split}/train-{seed}"
        arrays = count * (info.train + info.test) * info.classes
        passes = count * info.train * c
        if experiment.study != "shortcut":
            everything.append(add(Job("score", f"score/{place}", "score", arrays, tuple(made))))
        if experiment.attacks:
            pool = [
                train(experiment, "train_shadow", f"shadow/{label}/{k}", experiment.arch, 0.5)
                for k in range(experiment.attacks.shadows)
            ]
            needs = (*made, *pool)
            everything.append(add(Job("attack", f"attack/{place}", "attack", arrays, needs)))
        if not experiment.study:
            everything.append(
                add(Job("probe", f"probe/{place}", "probe", passes, tuple(made), gpu))
            )
            if len(experiment.train_seeds) >= grid.FEWEST_SEEDS:
                name = f"ensemble/{label}/{scenario}/{split}"
                needs = tuple(
                    f"unlearn/{label}/{scenario}/{split}/train-{s}/{c.method}-{c.unlearn_seed}"
                    for s in experiment.train_seeds
                    for c in cells
                    if c.unlearn_seed == experiment.unlearn_seeds[0]
                )
                work = arrays * len(experiment.train_seeds)
                everything.append(add(Job("ensemble", name, "ensemble", work, needs)))
        for stage in _looks(experiment, scenario, split, seed):
            asked = experiment.attributions
            work = passes
            if stage == "explain":
                work = count * asked.images * asked.evaluations * c
            everything.append(add(Job(stage, f"{stage}/{place}", stage, work, tuple(made), gpu)))
        everything += made
    return list(found.values()) + _report(
        config, everything, figures, bool(grid.study_cells(config))
    )


def _forgotten(cell: grid.Cell, experiment: Experiment, info: DatasetInfo) -> float:
    """The share of the training images that a forget set holds."""
    settings = grid.split_of(experiment, cell).settings
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
    with open(path, newline="", encoding="utf-8") as handle:
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
