"""collect: write the records and metrics of a run's cells to runs.csv, one row each.

Beside it manifest.csv, roc.csv and ensembles.csv (results.collected).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.config import hyperparameters
from unlearning.config.parsing import parse
from unlearning.files import read_json
from unlearning.results.collected import write


def main(argv: list[str]) -> None:
    """Write the files; every cell is a row.

    One without results has the status `missing` or `not_defined`; of one that is `ok`, `reason`
    says which metrics could not be measured and why.
    """
    parser = argparse.ArgumentParser(prog="unlearning collect", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's resolved config (JSON)")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True, help="folder for the files")
    options = parser.parse_args(argv)
    config = parse(read_json(options.config), options.config)
    write(config, Path(options.root), Path(options.out), options.methods)
