"""Alternatives measured in turn, A B A B …, each in processes of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from here import matmul_peak, synchronise

Sample = TypeVar("Sample")
JOB = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""What workflow/rules/common.smk puts into the environment of each job."""


@dataclass(frozen=True)
class Alternative:
    """`make(**arguments)` gives a repetition: a function that returns the units it has done.

    It runs in `processes` at once, each with `threads` and with `environment` from its start.
    """

    name: str
    make: Callable[..., Callable[[], float]]
    arguments: Mapping[str, Any]
    processes: int = 1
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


def in_turn(runs: Mapping[str, Callable[[], Sample]], repetitions: int) -> dict[str, list[Sample]]:
    """What each run returned in every round; a round before the first warms up and is dropped."""
    rounds = [{name: run() for name, run in runs.items()} for _ in range(1 + repetitions)]
    return {name: [found[name] for found in rounds[1:]] for name in runs}


def compare(
    title: str,
    alternatives: list[Alternative],
    repetitions: int,
    unit: str,
    device: str = "cpu",
    **floor: float,
) -> dict[str, Any]:
    """A comparison as `results_file` prints it; the last alternative is the reference.

    unit: `images/s`, or `s` for the seconds a unit. floor: `flops` a unit, and `step`, the
    units in a step; with `flops` each repetition is followed by the matrix-multiply peak of
    the same processes and threads.
    """
    with contextlib.ExitStack() as stack:
        groups = {a.name: stack.enter_context(_started(a, device)) for a in alternatives}
        runs = {name: _repetition(group, bool(floor)) for name, group in groups.items()}
        found = in_turn(runs, repetitions)
    rates = {name: [s["rate"] for s in samples] for name, samples in found.items()}
    if unit == "s":
        rates = {name: [1 / rate for rate in values] for name, values in rates.items()}
    comparison = {"title": title, "unit": unit, "values": rates, **floor}
    if floor:
        comparison["peaks"] = {n: max(s["peak"] for s in found[n]) for n in found}
        comparison["processes"] = {a.name: a.processes for a in alternatives}
    return comparison


def _repetition(group: list, with_peak: bool) -> Callable[[], dict[str, float]]:
    def all_at_once(order: str) -> list[dict[str, float]]:
        for connection in group:
            connection.send(order)
        return [connection.recv() for connection in group]

    def run() -> dict[str, float]:
        done = all_at_once("work")
        rate = sum(d["units"] for d in done) / max(d["seconds"] for d in done)
        peak = sum(d["peak"] for d in all_at_once("peak")) if with_peak else None
        return {"rate": rate, "peak": peak}

    return run


@contextlib.contextmanager
def _started(alternative: Alternative, device: str) -> Iterator[list]:
    """Connections to the processes of one alternative, which end with the block."""
    spawn = multiprocessing.get_context("spawn")
    threads = {"OMP_NUM_THREADS": str(alternative.threads)}
    group = []
    with _environment(alternative.environment | threads):
        for _ in range(alternative.processes):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs, alternative, device))
            process.start()
            theirs.close()  # so that a process that dies is an EOFError here
            group.append((ours, process))
    try:
        yield [connection for connection, _ in group]
    finally:
        for connection, process in group:
            connection.close()
            process.join()


@contextlib.contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(connection: Any, alternative: Alternative, device: str) -> None:
    """One process of an alternative: does what it is told until nobody tells it anything."""
    torch.set_num_threads(alternative.threads)
    repetition = alternative.make(**alternative.arguments)
    with contextlib.suppress(EOFError):
        while order := connection.recv():
            if order == "peak":
                connection.send({"peak": matmul_peak(device)})
                continue
            start = time.perf_counter()
            units = repetition()
            synchronise(device)
            connection.send({"units": units, "seconds": time.perf_counter() - start})
