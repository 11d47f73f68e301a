"""estimate: predict jobs, hours, storage and the longest chain of a run; runs nothing."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tabulate import tabulate

from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import parse
from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import DatasetInfo, catalogue, weights_catalogue
from unlearning.files import PROJECT, name_in_checkout
from unlearning.jobs import adoption, costs
from unlearning.jobs.pace import pace, size
from unlearning.jobs.run import Jobs
from unlearning.models import ERM, PRETRAINED
from unlearning.plan.checks import plan
from unlearning.runtime.options import asked

BACKWARD = 3  # a training step costs three forward passes
GPUS = PROJECT / "configs/gpus.csv"
ADOPTED = {
    "train_original": "adopt_model",
    "train_oracle": "adopt_model",
    "take_original": "adopt_model",
    "take_unlearned": "adopt_model",
    "evaluate": "adopt_outputs",
    "train_shadow": "adopt_outputs",
    "unlearn": "adopt_cell",
}
"""The rule that takes what a rule would make (workflow/rules/adopt.smk)."""
PRECISIONS = ("float32", "bfloat16")


def main(argv: list[str]) -> None:
    """Print the estimate."""
    options = asked(
        argv,
        __doc__,
        config="the config: a YAML file, or JSON",
        costs={"default": costs.FILE, "help": "the table of measured costs"},
        figures={"nargs": "*", "default": [], "help": "the figures that are drawn"},
        cores={"type": int, "default": 1, "help": "jobs that run at once"},
        gpu={"default": "a100", "help": f"the GPU, a row of {name_in_checkout(GPUS)}"},
    )
    config = _read(options.config)
    known = catalogue() | config.own_datasets
    needs = adoption.wanted(Jobs(config, known)) if config.models else {}
    given = adoption.given(config, needs, f"results/{config.run}", "--config")
    table = costs.read(options.costs)
    found = Estimate(config, table, options.figures, options.gpu, taken=given.taken)
    print(found.text(options.cores))
    if config.models:
        print(given.line())


def _read(given: str) -> RunConfig:
    """A config in a file, or one that was checked before as JSON, as the workflow gives it."""
    if given.startswith("{"):
        return parse(json.loads(given), "--config")
    return plan(read_yaml(given), given, catalogue())[0]


def stated_gpus(path: str | Path = GPUS) -> dict[str, dict[str, float]]:
    """Operations a second that each GPU is taken to sustain, by its name and the precision.

    float32 is TF32 in convolutions where the GPU has it, as torch sets it.
    """
    with open(path, newline="", encoding="utf-8-sig") as handle:
        return {
            row["name"]: {
                p: 1e12 * float(row[f"{p}_share"]) * float(row[f"{p}_tflops"]) for p in PRECISIONS
            }
            for row in csv.DictReader(handle)
        }


def stated_gpu(name: str, path: str | Path = GPUS) -> dict[str, float]:
    """The rates of one GPU (`stated_gpus`); ValueError if it is unknown."""
    known = stated_gpus(path)
    if name not in known:
        raise ValueError(f"{path}: unknown GPU {name!r}; known: {', '.join(known)}")
    return known[name]


class Estimate:
    """Jobs of a config with their seconds.

    factor: this machine's pace beside the table's. taken: folders of the models and cells that are
    taken of another run, which costs nothing.
    """

    def __init__(
        self,
        config: RunConfig,
        table: dict[str, costs.Cost],
        figures: list[str],
        gpu: str = "a100",
        factor: float | None = None,
        taken: Collection[str] = (),
    ) -> None:
        self.config, self.table = config, table
        self.gpu, self.rates = gpu, stated_gpu(gpu)
        self.factor = pace() / table["pace"].seconds if factor is None else factor
        self.scaled: dict[str, str] = {}
        self.datasets = catalogue() | config.own_datasets
        self.on_gpu = [e.precision for e in config.experiments if e.resources.gpu]
        planned = costs.jobs(config, self.datasets, self.speed, _weights, figures)
        self.jobs = [_adopted(job) if job.folder in taken else job for job in planned]
        self.seconds = {j.name: self._seconds(j) / (1 if j.gpu else j.threads) for j in self.jobs}

    def speed(self, arch: str, info: DatasetInfo, precision: str) -> float:
        """Seconds that one training image takes an architecture on one thread or on the GPU."""
        if self.on_gpu:
            return BACKWARD * size(arch, info)[0] / self.rates[precision]
        kind = costs.train_kind(arch, info, precision)
        if kind in self.table:
            return self.table[kind].seconds * self.factor
        operations = size(arch, info)[0]
        rows = [row for row in self._measured() if row[2] == precision] or self._measured()

        def unlike(row: tuple[str, float, str]) -> tuple[bool, float]:
            other = row[0].split()[1].removesuffix(ERM) != arch.removesuffix(ERM)
            return other, abs(math.log(row[1] / operations))

        name, theirs, own = min(rows, key=unlike)
        other = "" if own == precision else f", in {own}"
        self.scaled[kind] = f"from {name}{other}"
        return self.table[name].seconds / theirs * operations * self.factor

    def _measured(self) -> list[tuple[str, float, str]]:
        """The rows of trainings, with the operations of one image forwards and the precision."""
        by_shape = {costs.shape(info): info for info in self.datasets.values()}
        found = []
        for kind in self.table:
            if kind.startswith(costs.TRAIN):
                _, arch, shape, *ending = kind.split()
                operations = size(arch, by_shape[shape])[0]
                found.append((kind, operations, ending[0] if ending else "float32"))
        return found

    def _seconds(self, job: costs.Job) -> float:
        """Seconds of a job on one thread."""
        if not job.work:
            return 0.0
        if job.kind.startswith(costs.TRAIN):
            _, arch, wanted, *ending = job.kind.split()
            info = next(i for i in self.datasets.values() if costs.shape(i) == wanted)
            return job.work * self.speed(arch, info, ending[0] if ending else "float32")
        kind = self._stand_in(job.kind)
        if kind is None:
            return 0.0
        # Work that is counted in training images holds the machine's pace already.
        return job.work * self.table[kind].seconds * (1 if _passes_images(job) else self.factor)

    def _stand_in(self, kind: str) -> str | None:
        """The row of a kind, or of the kind that is taken for it; None without any."""
        if kind in self.table:
            return kind
        method = kind.rpartition(" ")[0]
        same = [k for k in self.table if method and k.startswith(f"{method} ")]
        other = {"duck_ablated": "duck"}.get(kind.split()[1] if " " in kind else "", "")
        same += [k for k in self.table if other and k.startswith(f"unlearn {other} ")]
        same += [k for k in self.table if k.split()[0] == kind.split()[0]]
        self.scaled[kind] = f"from {same[0]}" if same else "left out"
        return same[0] if same else None

    def by_part(self) -> list[list[Any]]:
        """A row a part, in the order in which they run: name, jobs and their hours."""
        found: dict[str, list[Any]] = {}
        for job in self.jobs:
            row = found.setdefault(job.part or "(tables, figures, page)", [0, 0.0])
            row[0] += 1
            row[1] += self.seconds[job.name] / 3600
        return [[name, count, _brief(hours)] for name, (count, hours) in found.items()]

    def by_gpu(self) -> list[list[str]]:
        """A row a GPU of the table: the run's GPU hours on it in each of PRECISIONS.

        Empty without a GPU, or if experiments differ in precision.
        """
        if len(set(self.on_gpu)) != 1:
            return []
        scaled, fixed = 0.0, 0.0  # the latter reads logits: no work of the GPU
        for job in self.jobs:
            if _passes_images(job):
                scaled += job.gpu * self.seconds[job.name]
            else:
                fixed += job.gpu * self.seconds[job.name]
        work = scaled * self.rates[self.on_gpu[0]]
        return [
            [name, *(f"{(work / rates[p] + fixed) / 3600:.0f}" for p in PRECISIONS)]
            for name, rates in stated_gpus().items()
        ]

    def text(self, cores: int) -> str:
        """The estimate as it is printed."""
        rows = []
        hours = {job.name: self.seconds[job.name] / 3600 for job in self.jobs}
        for rule, count in costs.counts(self.jobs).items():
            own = [job for job in self.jobs if job.rule == rule]
            cpu = sum(hours[job.name] for job in own if not job.gpu)
            gpu = sum(hours[job.name] * job.gpu for job in own)
            rows.append([rule, count, _brief(cpu), _brief(gpu)])
        cpu = sum(hours[job.name] for job in self.jobs if not job.gpu)
        gpu = sum(hours[job.name] * job.gpu for job in self.jobs)
        rows.append(["all", len(self.jobs), _brief(cpu), _brief(gpu)])
        total, chain = costs.longest(self.jobs, self.seconds)
        storage = self.storage()
        held = sum(self.seconds[job.name] * min(job.threads, cores) for job in self.jobs)
        wall = max(total, held / cores) / 3600
        in_parts = any(e.parts for e in self.config.experiments)
        parts = tabulate(self.by_part(), ["part", "jobs", "hours"], "simple")
        gpus = tabulate(self.by_gpu(), ["GPU hours on", *PRECISIONS], "simple")
        return "\n".join(
            [
                f"Estimate of run {self.config.run}; nothing was run.",
                "",
                tabulate(rows, ["rule", "jobs", "CPU hours", "GPU hours"], "simple"),
                "",
                *([parts, ""] if in_parts else []),
                *([gpus, ""] if self.by_gpu() else []),
                f"longest chain: {total / 3600:.2f} h: {' -> '.join(chain)}",
                f"at least {wall:.2f} h with {cores} jobs at once, starts and queues left out",
                "storage: " + ", ".join(f"{name} {b / 1e9:.2f} GB" for name, b in storage.items()),
                *self._basis(),
            ]
        )

    def storage(self) -> dict[str, float]:
        """Bytes of models and outputs, of packed data, and of what is downloaded."""
        used = {self.datasets[e.dataset] for e in self.config.experiments}
        pixels = sum((i.train + i.test) * (i.channels * i.size**2 + 8) for i in used)
        files = [file for i in used for file in i.files]
        names = {PRETRAINED[e.arch] for e in self.config.experiments if e.pretrained}
        files += [info.file for name, info in weights_catalogue().items() if name in names]
        downloads = sum(file.bytes for file in files if file.url)
        models = sum(job.writes for job in self.jobs)
        return {"models and outputs": models, "data": pixels, "downloads": downloads}

    def _basis(self) -> list[str]:
        lines = [
            f"Measured costs: {name_in_checkout(costs.FILE)}; this machine takes "
            f"{self.factor:.2f} times as long as the one that they were measured on (20 "
            "training steps, timed now)."
        ]
        for precision in sorted(set(self.on_gpu)):
            lines.append(
                f"GPU: {self.gpu}, {precision}: {self.rates[precision]:.3g} "
                f"operations a second, stated in {name_in_checkout(GPUS)}, not measured here: "
                "convolutions of images of 224 pixels (float32: in TF32 where the GPU has it). "
                "Smaller images and ViT's products of matrices, which are no TF32, take longer; "
                "pretrained weights and start-up are not in it. Methods with a stop rule are "
                "counted to their last epoch."
            )
        for kind, source in sorted(self.scaled.items()):
            lines.append(f"not measured: {kind}: {source}")
        return lines


def _adopted(job: costs.Job) -> costs.Job:
    """The job that takes what another run made, instead of making it."""
    return dataclasses.replace(job, rule=ADOPTED[job.rule], work=0, writes=0, gpu=0, threads=1)


def _passes_images(job: costs.Job) -> bool:
    """Whether its work is counted in images through a model."""
    counted = job.rule in costs.PASSES and not job.kind.startswith("unlearn original")
    return counted or job.kind.startswith(costs.TRAIN)


def _weights(arch: str, info: DatasetInfo) -> float:
    return size(arch, info)[1]


def _brief(hours: float) -> str:
    return f"{hours:.3f}" if hours else "-"
