"""Progress of a run: jobs done, what runs now, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from unlearning.config.experiment import RunConfig
from unlearning.data.catalogue import DatasetInfo
from unlearning.jobs import costs

UNKNOWN = 1.0
"""Seconds of a job that the table of costs does not know."""

expected: dict[str, float] = {}
"""Core-seconds of each job of the run that this process plans, by the ending of its log's path."""


def seconds(
    config: RunConfig,
    datasets: Mapping[str, DatasetInfo],
    table: Mapping[str, costs.Cost],
    figures: Iterable[str],
) -> dict[str, float]:
    """Core-seconds of each job on the machine of the table of costs, by `costs.Job.name`.

    Rougher than `estimate`, since it must not load a network: an architecture that was not
    measured is taken to cost what the nearest one does for a pixel.
    """

    def speed(arch: str, info: DatasetInfo, precision: str) -> float:
        kind = costs.train_kind(arch, info, precision)
        if kind in table:
            return table[kind].seconds
        rows = [row for row in table if row.startswith(costs.TRAIN)]
        alike = [row for row in rows if row.split()[1] == arch] or rows
        pixels = info.channels * info.size**2
        row = min(alike, key=lambda r: abs(_pixels(r) - pixels))
        return table[row].seconds * pixels / _pixels(row)

    def spent(job: costs.Job) -> float:
        if job.kind.startswith(costs.TRAIN):
            _, arch, wanted, *ending = job.kind.split()
            info = next(i for i in datasets.values() if costs.shape(i) == wanted)
            return job.work * speed(arch, info, ending[0] if ending else "float32")
        rows = [job.kind, *(r for r in table if r.split()[:2] == job.kind.split()[:2])]
        rows += [r for r in table if r.split()[0] == job.kind.split()[0]]
        found = next((table[row] for row in rows if row in table), None)
        return job.work * found.seconds if found else UNKNOWN

    planned = costs.jobs(config, datasets, speed, lambda arch, info: 0.0, figures)
    return {job.name: spent(job) for job in planned}


def _pixels(row: str) -> int:
    """`train strided_cnn 1x28x28`: 784."""
    channels, height, width = map(int, row.split()[2].split("x"))
    return channels * height * width


class Progress:
    """The state of a run, told by its events.

    total: jobs of the run. expected: core-seconds of jobs by name; a job of another name counts
    UNKNOWN. The time left is theirs over the cores, times the pace of what is done so far.
    """

    def __init__(self, total: int, cores: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.cores, self.clock = total, max(cores, 1), clock
        self.done = self.failed = 0
        self.running: dict[int, tuple[str, str, float]] = {}
        self.began = clock()
        self.worked = 0.0
        self.planned = 0.0
        self.left_over = dict(expected)

    def start(self, job: int, text: str, name: str) -> None:
        """A job has started. text: what it does; name: its log's path without ending."""
        self.running[job] = text, name, self.clock()

    def finish(self, job: int) -> tuple[str, float]:
        """A job has ended well: what it did and its seconds."""
        text, name, since = self.running.pop(job, ("", "", self.clock()))
        spent = self.clock() - since
        self.done += 1
        self.worked += spent
        self.planned += self.left_over.pop(name, UNKNOWN)
        return text, spent

    def fail(self, job: int) -> str:
        """A job has failed, and may be tried again: what it did."""
        self.failed += 1
        return self.running.pop(job, ("",))[0]

    def elapsed(self) -> float:
        """Seconds since the first job."""
        return self.clock() - self.began

    def left(self) -> float | None:
        """Seconds that the rest will take; None while there is nothing to judge the pace by."""
        jobs = self.total - self.done
        if not jobs:
            return 0.0
        if self.planned < UNKNOWN:
            return None
        waiting = sorted(self.left_over.values(), reverse=True)[:jobs]
        waiting += [UNKNOWN] * (jobs - len(waiting))
        begun = sum(self.clock() - since for *_, since in self.running.values())
        pace = self.worked / self.planned
        rest = max(sum(waiting) * pace - begun, 0.0)
        return rest / min(self.cores, jobs)

    def line(self, width: int | None = None) -> str:
        """`47 of 402, 1 failed | 2 min 10 s, about 4 min left | what runs`, cut to the width."""
        failed = f", {self.failed} failed" if self.failed else ""
        left = self.left()
        to_go = f", about {minutes(left)} left" if left is not None else ""
        now = "; ".join(text for text, *_ in self.running.values())
        text = f"{self.done} of {self.total}{failed} | {minutes(self.elapsed())}{to_go}"
        text += f" | {now}" if now else ""
        return text if width is None or len(text) < width else text[: width - 2] + "…"


def minutes(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
