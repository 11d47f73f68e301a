"""estimate: what a run will cost: jobs, hours, storage and its longest chain; runs nothing."""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

from tabulate import tabulate

from unlearning import costs
from unlearning.config import RunConfig, parse
from unlearning.data.catalogue import DatasetInfo, catalogue
from unlearning.pace import pace, size

BACKWARD = 3  # a training step costs three forward passes
GPUS = "configs/gpus.csv"


def main(argv: list[str]) -> None:
    """Print the estimate."""
    parser = argparse.ArgumentParser(prog="unlearning estimate", description=__doc__)
    parser.add_argument("--config", required=True, help="the checked config as JSON")
    parser.add_argument("--costs", default=costs.FILE, help="the table of measured costs")
    parser.add_argument("--figures", nargs="*", default=[], help="the figures that are drawn")
    parser.add_argument("--cores", type=int, default=1, help="jobs that run at once")
    parser.add_argument("--gpu", default="a100", help=f"the GPU, a row of {GPUS}")
    options = parser.parse_args(argv)
    config = parse(json.loads(options.config), "--config")
    found = Estimate(config, costs.read(options.costs), options.figures, options.gpu)
    print(found.text(options.cores))


def stated_gpu(name: str, path: str | Path = GPUS) -> dict[str, float]:
    """Operations a second that a GPU is said to sustain, by precision; ValueError if unknown."""
    with open(path, newline="", encoding="utf-8") as handle:
        rows = {row["name"]: row for row in csv.DictReader(handle)}
    if name not in rows:
        raise ValueError(f"{path}: unknown GPU {name!r}; known: {', '.join(rows)}")
    share = float(rows[name]["share"])
    return {p: 1e12 * share * float(rows[name][f"{p}_tflops"]) for p in ("float32", "bfloat16")}


class Estimate:
    """Jobs of a config with their seconds. factor: this machine's pace beside the table's."""

    def __init__(
        self,
        config: RunConfig,
        table: dict[str, costs.Cost],
        figures: list[str],
        gpu: str = "a100",
        factor: float | None = None,
    ) -> None:
        self.config, self.table = config, table
        self.gpu, self.rates = gpu, stated_gpu(gpu)
        self.factor = pace() / table["pace"].seconds if factor is None else factor
        self.scaled: dict[str, str] = {}
        self.datasets = catalogue()
        on_gpu = [e for e in config.experiments if e.resources.gpu]
        self.precision = on_gpu[0].precision if on_gpu else None
        self.jobs = costs.jobs(config, self.datasets, self.speed, _weights, figures)
        self.seconds = {job.name: self._seconds(job) for job in self.jobs}

    def speed(self, arch: str, info: DatasetInfo) -> float:
        """Seconds that one training image takes an architecture, here or on the GPU."""
        if self.precision:
            return BACKWARD * size(arch, info)[0] / self.rates[self.precision]
        kind = costs.train_kind(arch, info)
        if kind in self.table:
            return self.table[kind].seconds * self.factor
        nearest = min(self._measured(), key=lambda row: abs(math.log(row[1] / size(arch, info)[0])))
        self.scaled[kind] = f"from {nearest[0]}"
        per_operation = self.table[nearest[0]].seconds / nearest[1]
        return per_operation * size(arch, info)[0] * self.factor

    def _measured(self) -> list[tuple[str, float]]:
        """The rows of trainings, with the operations of one image forwards."""
        by_shape = {costs.shape(info): info for info in self.datasets.values()}
        rows = [kind.split() for kind in self.table if kind.startswith(costs.TRAIN)]
        return [(" ".join(row), size(row[1], by_shape[row[2]])[0]) for row in rows]

    def _seconds(self, job: costs.Job) -> float:
        if job.kind.startswith(costs.TRAIN):
            _, arch, wanted = job.kind.split()
            info = next(i for i in self.datasets.values() if costs.shape(i) == wanted)
            return job.work * self.speed(arch, info)
        kind = self._stand_in(job.kind)
        if kind is None:
            return 0.0
        counted = job.kind.startswith("unlearn") or job.kind in costs.PASSES
        # Work that is counted in training images holds the machine's pace already.
        return job.work * self.table[kind].seconds * (1 if counted else self.factor)

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
        wall = max(total, sum(self.seconds.values()) / cores) / 3600
        return "\n".join(
            [
                f"Estimate of run {self.config.run}; nothing was run.",
                "",
                tabulate(rows, ["rule", "jobs", "CPU hours", "GPU hours"], "simple"),
                "",
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
        downloads = sum(file.bytes for i in used for file in i.files if file.url)
        models = sum(job.writes for job in self.jobs)
        return {"models and outputs": models, "data": pixels, "downloads": downloads}

    def _basis(self) -> list[str]:
        lines = [
            f"Measured costs: {costs.FILE}; this machine takes {self.factor:.2f} times as long as "
            "the one that they were measured on (20 training steps, timed now)."
        ]
        if self.precision:
            lines.append(
                f"GPU: {self.gpu}, {self.precision}: {self.rates[self.precision]:.3g} "
                f"operations a second, stated in {GPUS}, not measured. Pretrained weights, "
                "start-up and the filling of the GPU are not in it."
            )
        for kind, source in sorted(self.scaled.items()):
            lines.append(f"not measured: {kind}: {source}")
        return lines


def _weights(arch: str, info: DatasetInfo) -> float:
    return size(arch, info)[1]


def _brief(hours: float) -> str:
    return f"{hours:.3f}" if hours else "-"
