"""show: print the tables of the scenarios at the width of the terminal."""

from __future__ import annotations

import shutil

from unlearning.metrics.aus import shown_scenarios
from unlearning.results.runs import read_runs
from unlearning.runtime.options import asked
from unlearning.tables.layouts import shown


def main(argv: list[str]) -> None:
    """Print them from the runs.csv of a run."""
    width = {"type": int, "help": "characters a line; without it the terminal's"}
    options = asked(argv, __doc__, "runs", width=width)
    width = options.width or shutil.get_terminal_size().columns
    scenarios = shown_scenarios(set(read_runs(options.runs)["scenario"]))
    print("\n".join(shown(options.runs, scenario, width) for scenario in scenarios))
