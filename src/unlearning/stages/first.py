"""first: write the table of class removal as text before the rest of the run is done."""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.config import hyperparameters
from unlearning.config.parsing import parse
from unlearning.files import read_json, write_text
from unlearning.plan import grid
from unlearning.results.collected import as_csv, collect
from unlearning.tables.layouts import shown

WIDTH = 100


def main(argv: list[str]) -> None:
    """Write the cells' rows (runs.csv) and their table (class_removal.txt)."""
    parser = argparse.ArgumentParser(prog="unlearning first", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's resolved config (JSON)")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True, help="folder for the two files")
    options = parser.parse_args(argv)
    config = parse(read_json(options.config), options.config)
    cells = [c for c in grid.cells(config) if c.scenario == "class_removal"]
    rows = collect(config, Path(options.root), options.methods, cells)
    out = Path(options.out)
    write_text(out / "runs.csv", as_csv(rows))
    write_text(out / "class_removal.txt", shown(out / "runs.csv", "class_removal", WIDTH))
