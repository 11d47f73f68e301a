"""tabulate_studies: write the studies' tables as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

import argparse

from unlearning.results.study_files import IDENTITIES
from unlearning.tables.layouts import tabulate_studies


def main(argv: list[str]) -> None:
    """Write the tables of the studies of one run into a folder."""
    parser = argparse.ArgumentParser(prog="unlearning tabulate_studies", description=__doc__)
    parser.add_argument("--studies", required=True, help="studies.csv, one row a cell")
    for kind in IDENTITIES:
        parser.add_argument(f"--{kind}", required=True, help=f"{kind}.csv")
    parser.add_argument("--out", required=True, help="folder for the tables")
    paths = vars(parser.parse_args(argv))
    tabulate_studies(paths, paths.pop("out"))
