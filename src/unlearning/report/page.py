"""The report: one HTML page with a run's answer, claims, audit, figures, tables, provenance.

It is made from files alone and shows what they print; a template lays it out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.audit.words import sentence, tally
from unlearning.claims.pages import CAPTION
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.files import read_json
from unlearning.frames import Schema, read_table
from unlearning.report import judged, rulegraph, sheets
from unlearning.report.answer import answer
from unlearning.report.checks import checks
from unlearning.report.drawings import as_uri, figures, present
from unlearning.report.plot import LEGEND, drawing
from unlearning.report.points import facets, panels, twin
from unlearning.report.sheets import TRACED, counts, in_words
from unlearning.results.manifest import read_manifest, trace_id
from unlearning.results.runs import read_runs


def report(template: Path, source: Path, made: Path, dot: Path) -> str:
    """The page as text.

    source: the run's folder with config.json, runs.csv, manifest.csv and, if it has studies,
    study_manifest.csv. made: the folder with claims.csv, audit.csv, tables/ and figures/. dot: the
    text of `snakemake --rulegraph`. Raises ValueError, naming the file and what is wrong, for a
    file that is missing or not as it should be.
    """
    needed = [source / name for name in ("config.json", "runs.csv", "manifest.csv")]
    for path in (*needed, template, dot):
        present(path)
    config = read_json(source / "config.json")
    grid = read_manifest(source / "manifest.csv")
    beside = source / "study_manifest.csv"
    manifest = pd.concat([grid, read_manifest(beside)]) if beside.is_file() else grid
    claims = _read(made / "claims.csv", CLAIMS)
    audit = _read(made / "audit.csv", AUDIT)
    traced = set(manifest[TRACED].itertuples(index=False, name=None))
    facts = run_facts(config, grid, manifest)
    checked = checks(config, grid, manifest, claims, audit, traced)
    plotted = panels(read_runs(source / "runs.csv"))
    try:
        graph = dot.read_text(encoding="utf-8")
        needs = rulegraph.needs(graph)
    except ValueError as error:
        raise ValueError(f"{dot}: {error}") from error
    graph_drawing = rulegraph.drawing(graph).encode()
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(
        run=facts,
        answer=answer(facts, claims, audit, checked, source),
        checks=checked,
        plots=[
            {"panel": panel, "svg": drawing(panel, traced), "twin": twin(panel, traced)}
            for panel in plotted
        ],
        facets=facets(plotted),
        legend=LEGEND,
        claims=judged.claims_sheets(claims, traced),
        claims_caption=CAPTION,
        audit=judged.audit_sheet(audit, traced),
        audit_tally=f"{sentence(tally(audit))}." if len(audit) else "",
        audit_counts=judged.counts_sheet(audit),
        results=sheets.results(made / "tables", traced),
        figures=figures(made / "figures"),
        drawing=as_uri(graph_drawing, "image/svg+xml") if graph_drawing else "",
        needs=needs,
        times=sheets.times_sheet(manifest),
        software=sheets.software_sheet(manifest),
        groups=trace_groups(manifest, trace_words(source, made)),
    )


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file as text, "" where empty."""
    present(path)
    return read_table(path, Schema(columns))


def run_facts(config: dict[str, Any], grid: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, Any]:
    """What the first paragraph and the list of seeds and commits say.

    grid: the manifest's rows of runs.csv; manifest: with those of the studies.
    """
    ran = manifest[manifest["record"] != ""]
    systems = grid[["dataset", "arch"]].drop_duplicates().itertuples(index=False, name=None)
    studies = dict.fromkeys(e["study"] for e in config["experiments"] if e.get("study"))
    return {
        "name": config["run"],
        "partial": bool(config.get("partial")),
        "mixed_code": bool(config.get("mixed_code")),
        "taken": ran.loc[ran["adopted_from"] != "", "adopted_from"].value_counts().to_dict(),
        "systems": list(systems),
        "scenarios": _distinct(grid["scenario"]),
        "methods": grid["method"].nunique(),
        "cells": len(grid),
        "study_cells": len(manifest) - len(grid),
        "statuses": counts(grid, ["status"]),
        "studies": [in_words(name) for name in studies],
        "splits": _distinct(grid["split"]),
        "train_seeds": _distinct(grid["train_seed"]),
        "unlearn_seeds": _distinct(grid["unlearn_seed"]),
        "ran": len(ran),
        "commits": counts(ran, ["commit"]),
        "dirty": int((ran["dirty"] == "True").sum()),
        "data": counts(ran, ["dataset", "data_sha256"]),
        "devices": counts(ran, ["device", "machine"]),
        "days": sorted(set(ran["started"].str[:10])),
        "seconds": duration(ran["seconds"].sum()),
    }


def _distinct(column: pd.Series) -> list[str]:
    """The values of a column, "" left out, in natural order: 2 before 10."""

    def natural(text: str) -> list:
        return [(part.isdigit(), part.zfill(20)) for part in re.split(r"(\d+)", text)]

    return sorted(set(column) - {""}, key=natural)


def duration(s: float) -> str:
    """Seconds as `1 h 02 min`, `2 min 05 s` or `7.3 s`."""
    if s < 60:
        return f"{s:.1f} s"
    minutes, rest = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def trace_words(source: Path, made: Path) -> Callable[[tuple[str, str, str]], str]:
    """The `python -m unlearning trace` command for a key of TRACED: of its AUS, or its strength.

    What is inside of models has no row of its own a method: there the command lists the rows.
    """
    experiments = read_json(source / "config.json")["experiments"]
    studies = {one.get("name"): one.get("study") for one in experiments}
    other = [] if made == source else ["--made", made.as_posix()]

    def command(key: tuple[str, str, str]) -> str:
        experiment, scenario, method = key
        study = studies.get(experiment)
        words = [study or scenario, f"experiment={experiment}"]
        if study in ("multiple_classes", "ablation", "architectures", None):
            words += [f"scenario={scenario}", f"method={method}", "aus"]
        elif study == "shortcut":
            words += [f"method={method}", "strength"]
        words = [source.as_posix(), *words, *other]
        return shlex.join(["python", "-m", "unlearning", "trace", *words])

    return command


def trace_groups(
    manifest: pd.DataFrame, command: Callable[[tuple[str, str, str]], str]
) -> list[dict[str, Any]]:
    """The cells of each experiment, scenario and method, in the manifest's order."""
    return [
        {
            "id": trace_id(*key),
            "key": key,
            "cells": cells.to_dict("records"),
            "command": command(key),
        }
        for key, cells in manifest.groupby(TRACED, sort=False)
    ]
