"""tabulate_studies: write the studies' tables as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.metrics.names import STUDY_TABLES as NAMES
from unlearning.results.study_files import IDENTITIES, read_studies, read_tidy
from unlearning.tables.render import write
from unlearning.tables.study_layouts import LAYOUTS, TABLES, sections


def main(argv: list[str]) -> None:
    """Write the tables NAMES of the studies of one run into a folder."""
    parser = argparse.ArgumentParser(prog="unlearning tabulate_studies", description=__doc__)
    parser.add_argument("--studies", required=True, help="studies.csv, one row a cell")
    for kind in IDENTITIES:
        parser.add_argument(f"--{kind}", required=True, help=f"{kind}.csv")
    parser.add_argument("--out", required=True, help="folder for the tables")
    options = vars(parser.parse_args(argv))
    files = {kind: read_tidy(options[kind], kind) for kind in IDENTITIES}
    files["studies"] = read_studies(options["studies"])
    for name in NAMES:
        frame_of, source = TABLES[name]
        table, layout = frame_of(files[source]), LAYOUTS[name]
        found = sections(table, layout)
        write(Path(options["out"]) / name, table, found, layout.title, layout.nothing)
