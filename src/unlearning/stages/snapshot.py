"""snapshot: write the CSV files and tables of what a run has finished so far.

It reads results and takes no lock, so the run may go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.config import hyperparameters
from unlearning.config.parsing import parse
from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import catalogue
from unlearning.files import read_json, write_json
from unlearning.plan import grid
from unlearning.plan.checks import plan
from unlearning.results import collected, findings
from unlearning.tables.layouts import tabulate


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
    root, out = Path(options.root or f"results/{config.run}"), Path(options.out)
    write_json(out / "config.json", config.model_dump())
    config = parse(read_json(out / "config.json"), str(out / "config.json"))
    collected.write(config, root, out, options.methods)
    if grid.study_cells(config):
        findings.write(config, root, out, options.methods)
    tabulate(out / "runs.csv", out / "tables", out / "ensembles.csv")
