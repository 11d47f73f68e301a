"""tabulate: runs.csv to tables, as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

from unlearning.runtime.options import asked
from unlearning.tables.layouts import tabulate


def main(argv: list[str]) -> None:
    """Write the tables of one run into a folder."""
    ensembles = {"help": "ensembles.csv, one row a method and forget set"}
    options = asked(argv, __doc__, "runs", "out", ensembles=ensembles)
    tabulate(options.runs, options.out, options.ensembles)
