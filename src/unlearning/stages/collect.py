"""collect: write the records and metrics of a run's cells to runs.csv, one row each.

Beside it manifest.csv, roc.csv and ensembles.csv (results.collected).
"""

from __future__ import annotations

from pathlib import Path

from unlearning.config.parsing import read_config
from unlearning.results.collected import write
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write the files; every cell is a row.

    One without results has the status `missing` or `not_defined`; of one that is `ok`, `reason`
    says which metrics could not be measured and why.
    """
    options = asked(argv, __doc__, "config", "root", "methods", "out")
    config = read_config(options.config)
    write(config, Path(options.root), Path(options.out), options.methods)
