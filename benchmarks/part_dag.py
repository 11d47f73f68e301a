"""The whole DAG in a fresh clone against the work of its jobs."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from here import CORES, ROOT, library

WORKED = re.compile(r"worked (\d+\.\d+) s, (\d+\.\d+) s of CPU, \d+ MB")


def work_of(log: str) -> tuple[float, float] | None:
    """Seconds and CPU seconds from a job's last line; None where it says nothing of the kind."""
    lines = log.rstrip("\n").splitlines()
    found = WORKED.fullmatch(lines[-1]) if lines else None
    return (float(found[1]), float(found[2])) if found else None


def jobs_of(root: Path, run: str) -> dict[str, tuple[float, float] | None]:
    """What each job's log below `root` says of its work, by the log's path."""
    folders = {"fetch": root / "data/logs", "": root / f"results/{run}/logs"}
    return {
        str(Path(verb) / log.relative_to(folder)): work_of(log.read_text(encoding="utf-8"))
        for verb, folder in folders.items()
        for log in sorted(folder.rglob("*.log"))
    }


def accounts(jobs: dict[str, tuple[float, float] | None], wall: float, cores: int) -> list[str]:
    """The run's sums as sentences."""
    measured = {log: work for log, work in jobs.items() if work}
    by_verb = defaultdict(list)
    for log, work in measured.items():
        by_verb[Path(log).parts[0].removesuffix(".log")].append(work)
    work, cpu = (sum(each[k] for each in measured.values()) for k in (0, 1))
    lines = [
        f"cores x wall: {cores} x {wall:.1f} s = {cores * wall:.1f} s",
        f"work of {len(measured)} of {len(jobs)} jobs: {work:.1f} s, {cpu:.1f} s of CPU",
    ]
    if measured:
        idle = 1 - work / (cores * wall)
        lines.append(f"scheduling, start-up and idle: {idle:.0%} of cores x wall")
    for verb, each in by_verb.items():
        seconds, spent = (sum(one[k] for one in each) for k in (0, 1))
        lines.append(f"{verb}: {len(each)} jobs, {seconds:.1f} s, {spent:.1f} s of CPU")
    lines += [f"unmeasured: {log}" for log, found in jobs.items() if not found]
    return lines


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One run and a second one; the commit is measured, not what has changed since."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        config = f"configs/{Path(options.config).name}"
        if not (clone / config).exists():
            shutil.copy(ROOT / options.config, clone / config)
        run = yaml.safe_load((clone / config).read_text(encoding="utf-8"))["run"]
        wall, again = (_snakemake(clone, config) for _ in range(2))
        jobs = jobs_of(clone, run)
    work = sum(found[0] for found in jobs.values() if found)
    values = {"a second run, with nothing to do": [again]}
    if work:
        values["the jobs' work, shared by all cores"] = [work / CORES]
    values["the run"] = [wall]
    return [
        {
            "title": f"snakemake --configfile {options.config}, {len(jobs)} jobs, {CORES} cores",
            "unit": "s",
            "values": values,
            "lines": accounts(jobs, wall, CORES),
        }
    ]


def _snakemake(clone: Path, config: str) -> float:
    """Seconds of Snakemake in the clone, with the clone's library."""
    options = f"-m snakemake --cores {CORES} --configfile {config} --quiet all"
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *options.split()], cwd=clone, env=library(clone), check=True, timeout=7200
    )
    return time.perf_counter() - begun
