"""gather: what the studies of a run found, as tidy CSV files, one for each kind of finding."""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.config import hyperparameters
from unlearning.config.parsing import parse
from unlearning.files import read_json
from unlearning.results.findings import write


def main(argv: list[str]) -> None:
    """Write the files; a cell without results is a row with its status, as in runs.csv."""
    parser = argparse.ArgumentParser(prog="unlearning gather", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's resolved config (JSON)")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True, help="folder for the files")
    options = parser.parse_args(argv)
    config = parse(read_json(options.config), options.config)
    write(config, Path(options.root), Path(options.out), options.methods)
