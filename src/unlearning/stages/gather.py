"""gather: what the studies of a run found, as tidy CSV files, one for each kind of finding."""

from __future__ import annotations

from pathlib import Path

from unlearning.config.parsing import read_config
from unlearning.results.findings import write
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write the files; a cell without results is a row with its status, as in runs.csv."""
    options = asked(argv, __doc__, "config", "root", "methods", "out")
    config = read_config(options.config)
    write(config, Path(options.root), Path(options.out), options.methods)
