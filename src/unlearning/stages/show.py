"""show: print the tables of the scenarios at the width of the terminal."""

from __future__ import annotations

import argparse
import shutil

from unlearning.metrics.aus import shown_scenarios
from unlearning.results.runs import read_runs
from unlearning.tables.layouts import shown


def main(argv: list[str]) -> None:
    """Print them from the runs.csv of a run."""
    parser = argparse.ArgumentParser(prog="unlearning show", description=__doc__)
    parser.add_argument("--runs", required=True, help="runs.csv")
    parser.add_argument("--width", type=int, help="characters a line; without it the terminal's")
    options = parser.parse_args(argv)
    width = options.width or shutil.get_terminal_size().columns
    scenarios = shown_scenarios(set(read_runs(options.runs)["scenario"]))
    print("\n".join(shown(options.runs, scenario, width) for scenario in scenarios))
