"""first: write the table of class removal as text before the rest of the run is done."""

from __future__ import annotations

from pathlib import Path

from unlearning.config.parsing import read_config
from unlearning.files import write_text
from unlearning.plan import grid
from unlearning.results.collected import as_csv, collect
from unlearning.runtime.options import asked
from unlearning.tables.layouts import shown

WIDTH = 100


def main(argv: list[str]) -> None:
    """Write the cells' rows (runs.csv) and their table (class_removal.txt)."""
    options = asked(argv, __doc__, "config", "root", "methods", "out")
    config = read_config(options.config)
    cells = [c for c in grid.cells(config) if c.scenario == "class_removal"]
    rows = collect(config, Path(options.root), options.methods, cells)
    out = Path(options.out)
    write_text(out / "runs.csv", as_csv(rows))
    write_text(out / "class_removal.txt", shown(out / "runs.csv", "class_removal", WIDTH))
