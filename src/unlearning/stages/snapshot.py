"""snapshot: what a run has finished so far, as the CSV files and tables of a partial run.

It reads results and takes no lock, so the run may go on meanwhile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning import grid, hyperparameters
from unlearning.data.catalogue import catalogue
from unlearning.files import write_json
from unlearning.plan import plan
from unlearning.stages import collect, gather, tabulate
from unlearning.yaml_files import read_yaml


def main(argv: list[str]) -> None:
    """Write config.json, runs.csv, manifest.csv and what else a partial run has, and its tables.

    Cells that were not run or not scored yet are rows of the status `missing`.
    """
    parser = argparse.ArgumentParser(prog="unlearning snapshot", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's config (YAML)")
    parser.add_argument("--root", help="the run's folder; without it results/RUN")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True, help="folder for the files")
    options = parser.parse_args(argv)
    config, _ = plan(read_yaml(options.config), options.config, catalogue(), options.methods)
    config = config.model_copy(update={"partial": True})
    root, out = options.root or f"results/{config.run}", Path(options.out)
    write_json(out / "config.json", config.model_dump())
    same = ["--config", str(out / "config.json"), "--root", root]
    same += ["--methods", options.methods, "--out", options.out]
    collect.main(same)
    if grid.study_cells(config):
        gather.main(same)
    tables = ["--runs", str(out / "runs.csv"), "--ensembles", str(out / "ensembles.csv")]
    tabulate.main([*tables, "--out", str(out / "tables")])
