"""snapshot: write the CSV files and tables of what a run has finished so far.

It reads results and takes no lock, so the run may go on.
"""

from __future__ import annotations

from pathlib import Path

from unlearning.config.parsing import read_config
from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import catalogue
from unlearning.files import write_json
from unlearning.plan import grid
from unlearning.plan.checks import plan
from unlearning.results import collected, earlier, findings
from unlearning.runtime.options import asked
from unlearning.tables.layouts import tabulate


def main(argv: list[str]) -> None:
    """Write config.json, runs.csv, manifest.csv and what else a partial run has, and its tables.

    Cells that were not run or not scored yet are rows of the status `missing`.
    """
    options = asked(
        argv,
        __doc__,
        "methods",
        "out",
        config="the run's config (YAML)",
        root={"help": "the run's folder; without it results/RUN"},
        earlier={"help": "an earlier snapshot, whose rows stand in for models that are lost"},
    )
    config, _ = plan(read_yaml(options.config), options.config, catalogue(), options.methods)
    config = config.model_copy(update={"partial": True})
    root, out = Path(options.root or f"results/{config.run}"), Path(options.out)
    if options.earlier and Path(options.earlier).resolve() == out.resolve():
        raise ValueError(f"{out} would be written over before it is read: give a copy to --earlier")
    write_json(out / "config.json", config.model_dump())
    config = read_config(out / "config.json")
    collected.write(config, root, out, options.methods)
    if grid.study_cells(config):
        findings.write(config, root, out, options.methods)
    if options.earlier:
        taken = earlier.keep(config, Path(options.earlier), out)
        print(f"{taken} rows of {options.earlier}, whose models this run does not have")
    tabulate(out / "runs.csv", out / "tables", out / "ensembles.csv")
