"""show: the tables of class and homogeneous removal as text, at the width of the terminal."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from unlearning import render
from unlearning.metrics.aus import SCENARIOS
from unlearning.stages.tabulate import sections
from unlearning.tables import nothing, read_runs, scenario_table

MOST_WANTED = [
    *("Method", "AUS", "A_f^t (%)", "A_r^t (%)", "A^t (%)", "Time (s)", "A_f (%)", "Flag", "n"),
    *("A_r (%)", "AUS of means", "Touches", "Settings"),
]
"""The columns of these tables: where the width is too small for all, the first of them stay."""


def main(argv: list[str]) -> None:
    """Print both tables from the runs.csv of a run."""
    parser = argparse.ArgumentParser(prog="unlearning show", description=__doc__)
    parser.add_argument("--runs", required=True, help="runs.csv")
    parser.add_argument("--width", type=int, help="characters a line; without it the terminal's")
    options = parser.parse_args(argv)
    width = options.width or shutil.get_terminal_size().columns
    print("\n".join(shown(options.runs, scenario, width) for scenario in SCENARIOS))


def shown(runs_csv: str | Path, scenario: str, width: int) -> str:
    """The tables of one scenario from runs.csv, lines of at most `width` where they can be."""
    found = sections(scenario_table(read_runs(runs_csv), scenario), scenario)
    return render.plain(found, nothing(scenario), width, MOST_WANTED)
