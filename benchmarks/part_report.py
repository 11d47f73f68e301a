"""All tables and figures from the committed reference run, as the rules of report.smk do."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alternatives import in_turn
from here import ROOT, library

from unlearning.results.shown import SOURCES

REFERENCE = ROOT / "paper/reference/mini"


def commands(out: Path) -> dict[str, list[str]]:
    """Command lines by name; a figure whose input the reference run lacks is not among them."""
    runs, ensembles = REFERENCE / "runs.csv", REFERENCE / "ensembles.csv"
    files = ["--runs", str(runs), "--ensembles", str(ensembles), "--out", str(out / "tables")]
    found = {"all tables": ["-m", "unlearning", "tabulate", *files]}
    for figure, source in SOURCES.items():
        if (REFERENCE / f"{source}.csv").exists():
            drawn = ["--runs", str(REFERENCE / f"{source}.csv"), "--out", str(out / figure)]
            found[figure] = [f"figures/{figure}.py", *drawn]
    return found


def seconds_of(arguments: list[str]) -> float:
    """Seconds of one command in a process of its own."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=library(), check=True)
    return time.perf_counter() - begun


def all_seconds(todo: dict[str, list[str]], at_once: int) -> dict[str, float]:
    """Seconds of each command, `at_once` of them at a time, and of all: `total`."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        each = dict(zip(todo, threads.map(seconds_of, todo.values()), strict=True))
    return {**each, "total": time.perf_counter() - begun}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Two at a time against one after the other."""
    with tempfile.TemporaryDirectory() as name:
        todo = commands(Path(name))
        ways = {"2 at a time": 2, "one after the other": 1}
        runs = {
            way: lambda at_once=count: all_seconds(todo, at_once) for way, count in ways.items()
        }
        found = in_turn(runs, options.repetitions)
    singly = found["one after the other"]
    lines = [
        f"{name}: {statistics.median(one[name] for one in singly):.2f} s alone, "
        f"{min(one[name] for one in singly):.2f} – {max(one[name] for one in singly):.2f} s"
        for name in todo
    ]
    return [
        {
            "title": "all tables and figures of the reference run",
            "unit": "s",
            "values": {way: [one["total"] for one in samples] for way, samples in found.items()},
            "lines": lines,
        }
    ]
