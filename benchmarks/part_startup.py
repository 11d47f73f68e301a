"""Seconds from the start of a process to its first training step."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alternatives import JOB, in_turn
from here import ROOT, embedded_data, library

from unlearning.files import canonical_json, read_json
from unlearning.records.entry import stage_modules
from unlearning.runtime import forkserver

FOLDER = forkserver.FOLDER
SETTINGS = {
    "dataset": "fashion_mnist_mini",
    "arch": "strided_cnn",
    "pretrained": False,
    "head_dropout": 0.0,
    "precision": "float32",
    "evaluation": "test",
    "training": {"epochs": 1, "batch_size": 128, "lr": 0.1},
    "threads": 1,
    "train_seed": 0,
}


def commands(folder: Path) -> dict[str, tuple[list[str], Mapping[str, str]]]:
    """The alternatives, the reference last: a command line and what it adds to the environment.

    Each prints a line at its first step, or after its first epoch if it writes a record into
    `folder`, whose seconds of training are then taken off.
    """
    files = {"model": folder / "model.safetensors", "record": folder / "record.json"}
    options = {"data": embedded_data(), "settings": canonical_json(SETTINGS), **files}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    job = ["-m", "unlearning", "train", *words]
    return {
        "ours in the DAG: the same command, forked": (job, JOB | {FOLDER: os.environ[FOLDER]}),
        "ours: python -m unlearning train": (job, JOB),
        "ordinary script": ([str(ROOT / "benchmarks" / "ordinary_start.py")], {}),
    }


def seconds_to_first_step(
    arguments: list[str], added: Mapping[str, str], folder: Path
) -> Callable[[], float]:
    """A repetition of one alternative, measured from outside."""

    def run() -> float:
        record = folder / "record.json"
        record.unlink(missing_ok=True)
        plain = {name: value for name, value in library().items() if name != FOLDER}
        begun = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**plain, **added, "UNLEARNING_DEVICE": "cpu"},
            stdout=subprocess.PIPE,
        ) as process:
            line = process.stdout.readline()
            seconds = time.perf_counter() - begun
            process.stdout.read()
        if process.returncode != 0 or not line:
            raise RuntimeError(f"a start failed with exit status {process.returncode}")
        return seconds - (read_json(record)["training_seconds"] if record.exists() else 0)

    return run


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """The server that Snakemake starts, ready for jobs."""
    server = forkserver.start(stage_modules("train", "strided_cnn"))
    asked = [sys.executable, "-m", "unlearning", "score", "--help"]
    subprocess.run(asked, stdout=subprocess.DEVNULL, check=True)  # waits until it is ready
    yield
    server.communicate()
    del os.environ[FOLDER]


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One comparison of all commands."""
    with tempfile.TemporaryDirectory() as name, _server():
        folder = Path(name)
        runs = {
            name: seconds_to_first_step(*command, folder)
            for name, command in commands(folder).items()
        }
        values = in_turn(runs, options.repetitions)
    title = "from process start to the first training step, one process at a time"
    return [{"title": title, "unit": "s", "values": values}]
