"""tabulate: runs.csv to tables, as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

import argparse

from unlearning.tables.layouts import tabulate


def main(argv: list[str]) -> None:
    """Write the tables of one run into a folder."""
    parser = argparse.ArgumentParser(prog="unlearning tabulate", description=__doc__)
    parser.add_argument("--runs", required=True, help="runs.csv, one row a cell")
    parser.add_argument("--ensembles", help="ensembles.csv, one row a method and forget set")
    parser.add_argument("--out", required=True, help="folder for the tables")
    options = parser.parse_args(argv)
    tabulate(options.runs, options.out, options.ensembles)
