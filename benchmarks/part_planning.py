"""Planning alone: what `snakemake -n` takes as the DAG grows."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from here import ROOT, library

METHODS = [
    "fine_tuning",
    "negative_gradient",
    "random_labels",
    "boundary_expanding",
    "boundary_shrink",
    "scrub",
    "duck",
    "duck_released",
    "original_erm",
    "erm_ktp",
]
SIZES = ((1, 19), (1, 63), (3, 63))
"""Experiments, and classes that each removes: about 3,000, 10,000 and 30,000 jobs."""

WATCHED = """
import resource, subprocess, sys
with open(sys.argv[1], "w") as out:
    subprocess.run(sys.argv[2:], stdout=out, stderr=out, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command and prints its CPU seconds and peak KiB.

A process of its own: the peak of a child counts what its parent holds as it starts, here torch.
"""


def grid(experiments: int, classes: int) -> dict[str, Any]:
    """A config whose every experiment removes `classes` classes with ten training seeds each."""
    one = {
        "dataset": "cifar100",
        "arch": "strided_cnn",
        "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
        "train_seeds": list(range(10)),
        "scenarios": {"class_removal": {"forget": list(range(classes))}},
        "methods": METHODS,
        "attacks": {"shadows": 16},
    }
    named = [{"name": f"copy-{number}"} | one for number in range(experiments)]
    return {"run": "planning", "experiments": named}


def planned(config: dict[str, Any]) -> dict[str, float]:
    """Jobs, CPU seconds and peak memory (MB) of a dry run of a config in this checkout."""
    with tempfile.TemporaryDirectory() as name:
        file, shown = Path(name, "config.yaml"), Path(name, "plan.txt")
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        plan = ["-m", "snakemake", "-n", "--nolock", "--configfile", str(file)]
        command = [sys.executable, "-c", WATCHED, str(shown), sys.executable, *plan]
        done = subprocess.run(
            command, cwd=ROOT, env=library(), stdout=subprocess.PIPE, encoding="utf-8", check=True
        )
        text = shown.read_text(encoding="utf-8")
    jobs = int(re.search(r"^total\s+(\d+)$", text, re.M)[1])
    cpu, kib = map(float, done.stdout.split())
    return {"jobs": jobs, "cpu": cpu, "mb": kib / 1024}


def account(each: list[dict[str, float]], before: dict[str, float]) -> str:
    """What a job of a grid takes, once what a plan of `before` takes is taken off."""
    jobs, cpu, mb = (min(one[key] for one in each) for key in ("jobs", "cpu", "mb"))
    a_job = 1000 * (cpu - before["cpu"]) / (jobs - before["jobs"])
    kb = 1000 * (mb - before["mb"]) / (jobs - before["jobs"])
    return f"{jobs:,} jobs: {a_job:.1f} ms of CPU and {kb:.0f} kB a job, {mb:.0f} MB at the peak"


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """CPU seconds of a dry run by jobs; linear if a job takes the same in every grid."""
    smallest = planned(grid(1, 1))
    start = f"{smallest['jobs']} jobs: {smallest['cpu']:.1f} s, {smallest['mb']:.0f} MB"
    values = {}
    lines = [f"above those of a small plan ({start}), the least of the repetitions:"]
    for experiments, classes in SIZES:
        config = grid(experiments, max(2, round(options.scale * classes)))
        each = [planned(config) for _ in range(options.repetitions)]
        values[f"{each[0]['jobs']:,} jobs"] = [one["cpu"] for one in each]
        lines.append(account(each, smallest))
    return [
        {
            "title": "snakemake -n, CPU seconds by the number of jobs",
            "unit": "s",
            "values": values,
            "lines": lines,
        }
    ]
