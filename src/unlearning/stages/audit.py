"""audit: compare every reported number and every claim of the paper with a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from unlearning.audit.orders import orders
from unlearning.audit.pages import documents
from unlearning.audit.reported import own_method, read_reported
from unlearning.audit.rows import audit
from unlearning.claims.pages import section
from unlearning.claims.statements import read_claims
from unlearning.claims.verdicts import judge
from unlearning.config.parsing import parse, read_config
from unlearning.config.yaml_files import read_yaml
from unlearning.files import PROJECT, name_in_checkout, write_text
from unlearning.results.manifest import read_manifest, recorded_settings
from unlearning.results.runs import read_runs
from unlearning.runtime.options import asked
from unlearning.tables.render import markdown


def main(argv: list[str]) -> None:
    """Write audit.csv, .md, .tex and .html, orders.csv, and claims.csv."""
    options = asked(
        argv,
        __doc__,
        *("methods", "out"),
        source="the run: runs.csv, config.json, studies",
        reported={"default": PROJECT / "paper/reported.csv", "help": "the table"},
        claims={"default": PROJECT / "paper/claims.yaml", "help": "the claims"},
        paper_grid={"default": PROJECT / "configs/paper.yaml", "help": "a config"},
        extended_grid={
            "default": PROJECT / "configs/paper_extended.yaml",
            "help": "the same with more methods",
        },
    )
    source, out = Path(options.source), Path(options.out)
    ours = read_config(source / "config.json")
    paper = parse(read_yaml(options.paper_grid), str(options.paper_grid))
    reported, runs = read_reported(options.reported), read_runs(source / "runs.csv")
    recorded = recorded_settings(source)
    command = _command(options.paper_grid)
    numbers = audit(reported, runs, ours, paper, command, recorded, options.methods)
    run = {v.name for e in paper.experiments if e.study is None for v in e.variants}
    beyond = (numbers["command"] != "") & ~numbers["method"].map(own_method).isin(run)
    numbers.loc[beyond, "command"] = _command(options.extended_grid)
    made = source / "manifest.csv"
    machines = read_manifest(made) if made.exists() else None
    ordered = orders(reported, runs, ours, paper, recorded, machines, options.methods)
    judged = judge(read_claims(options.claims), source)
    write_text(out / "claims.csv", judged.to_csv(index=False, lineterminator="\n"))
    write_text(out / "audit.csv", numbers.to_csv(index=False, lineterminator="\n"))
    write_text(out / "orders.csv", ordered.to_csv(index=False, lineterminator="\n"))
    claims = section(judged)
    write_text(out / "claims.md", markdown(claims, "No claim"))
    for ending, text in documents(claims, numbers, ordered).items():
        write_text(out / f"audit.{ending}", text)


def _command(grid: str | Path) -> str:
    """What runs a grid and audits it."""
    name = shlex.quote(name_in_checkout(grid))
    return f"snakemake audit --configfile {name} --cores 16 --resources gpu=1"
