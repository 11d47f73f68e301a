"""trace: print the cells behind a number and what made them; check every file on the way."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.audit import quantities, reported, rows
from unlearning.claims import pages, verdicts
from unlearning.claims.statements import FILES, read_claims
from unlearning.config.parsing import parse
from unlearning.config.yaml_files import read_yaml
from unlearning.files import read_json
from unlearning.metrics.aus import SCENARIOS
from unlearning.results.manifest import INPUTS, recorded_settings
from unlearning.results.runs import scenario_table
from unlearning.tables import evaluation, removal, study_layouts
from unlearning.tables.study_layouts import LAYOUTS as STUDIES
from unlearning.trace import numbers as tracing
from unlearning.trace.numbers import NotFound, Run, Table

SHOWN = 24
"""Maximum number of values printed without --json."""
INSIDE = {
    "feature_space": tracing.feature_values,
    "attributions": tracing.attribution_values,
    "shortcut": tracing.shortcut_values,
}


def tables(paper: Path, grid: Path) -> dict[str, Table]:
    """Every table by name. paper: the folder of reported.csv and claims.yaml; grid: paper.yaml."""
    found = {
        name: Table(
            lambda run, name=name: scenario_table(run.runs, name),
            lambda frame, name=name: removal.sections(frame, name),
            lambda run, row, column: tracing.scenario_values(run.runs, row, column),
            f"tables/{name}",
        )
        for name in SCENARIOS
    }
    for name, layout in evaluation.LAYOUTS.items():
        found[name] = Table(
            lambda run, layout=layout: layout.table(run.runs, run.ensembles),
            functools.partial(_printed, layout),
            functools.partial(_evaluated, name),
            f"tables/{name}",
        )
    for name, layout in STUDIES.items():
        frame_of, source = study_layouts.TABLES[name]
        found[name] = Table(
            functools.partial(_study_frame, frame_of, source),
            lambda frame, layout=layout: study_layouts.sections(frame, layout),
            INSIDE.get(name) or functools.partial(tracing.study_values, study=name),
            f"tables/{name}",
        )
    found["audit"] = Table(
        functools.partial(_audit, paper, grid),
        None,
        functools.partial(_audited, paper),
        "audit",
    )
    found["claims"] = Table(
        lambda run: verdicts.judge(read_claims(paper / "claims.yaml"), run.folder),
        pages.section,
        functools.partial(_claimed, paper),
        "claims",
    )
    return found


def _printed(layout: evaluation.Layout, frame: pd.DataFrame) -> list[evaluation.Section]:
    return evaluation.sections(frame, layout)


def _study_frame(frame_of: Any, source: str, run: Run) -> pd.DataFrame:
    return frame_of(run.studies if source == "studies" else run.tidy(source))


def _evaluated(name: str, run: Run, row: dict, column: str) -> pd.DataFrame:
    if name == "statistics":
        return tracing.statistics_values(run, row, column)
    if name == "ensembles":
        return tracing.ensemble_values(run, row, column)
    metrics = ["aus"] if name == "variance" else tracing.metrics_of(column)
    return tracing.run_values(run.runs, row, [row["method"]], metrics)


def _audit(paper: Path, grid: Path, run: Run) -> pd.DataFrame:
    ours = run.folder / "config.json"
    whole = parse(read_yaml(grid), str(grid))
    numbers = reported.read_reported(paper / "reported.csv")
    recorded = recorded_settings(run.folder)
    return rows.audit(numbers, run.runs, parse(read_json(ours), str(ours)), whole, "", recorded)


def _audited(paper: Path, run: Run, row: dict, column: str) -> pd.DataFrame:
    metric = reported.METRICS.get(row["metric"])
    if metric is None:
        return pd.DataFrame()
    values = functools.partial(quantities.values, metric=metric)
    name = metric.column if metric.factor == 1 else f"{metric.factor:g} x {metric.column}"
    return tracing.traced_values(run.runs, row["trace"], values, name)


def _claimed(paper: Path, run: Run, row: dict, column: str) -> pd.DataFrame:
    """The cells' values of what the claim is about."""
    claim = next(one for one in read_claims(paper / "claims.yaml") if one.claim == row["claim"])
    file = FILES[claim.table]
    frame = {"runs": lambda: run.runs, "studies": lambda: run.studies}.get(
        file, lambda: run.tidy(file)
    )()
    cells = verdicts.asked_cells(claim, frame)
    place = [name for name in verdicts.KEY if row[name]]
    cells = cells[(cells[place] == pd.Series(row)[place]).all(axis=1)]
    if column.startswith("control") and not isinstance(claim.control, str):
        claim = claim.control
    cells = cells[cells["method"].isin(claim.compared)]
    found = cells.assign(metric=claim.measured)
    if file in ("features", "attributions"):  # there a method is a part and model, or a pair
        found["metric"] = found["method"] + " " + claim.metric
        parts = found["method"].str.split("[ ~]", regex=True)
        found["method"] = parts.str[0 if file == "attributions" else 1]
    return found


def text(found: dict[str, Any]) -> str:
    """What was found, for a reader."""
    row = ", ".join(f"{key} {value}" for key, value in found["row"].items())
    lines = [f"{found['table']}, {found['column']}: {found['value'] or 'no number'}", f"  {row}"]
    for copy in found["copies"]:
        same = "the same" if copy["agrees"] else "DIFFERS"
        lines.append(f"  {copy['file']}, {copy['column']}: {copy['found']}, {same}")
    if not found["copies"]:
        lines.append("  no table is here to compare with; made from the run's files")
    lines += ["", *_values(found), ""]
    for cell in found["cells"]:
        lines += _cell(cell)
    if found["values"] and not found["cells"]:
        lines.append("No manifest has a row for these cells, so what made them is unknown.")
    for model in found["models"]:
        lines += _model(model)
    lines += ["", *(f"MISMATCH: {line}" for line in found["wrong"])]
    if not found["wrong"]:
        lines.append("All files that are here agree.")
    return "\n".join(lines)


def _values(found: dict[str, Any]) -> list[str]:
    again, values = found["again"], found["values"]
    lines = []
    if again:
        lines.append(f"{again['part']} of {again['n']} values: {again['value']!r}")
    elif values:
        lines.append(f"No plain mean: the table was made again from these {len(values)} values")
    else:
        lines.append("No cell of this run is behind it")
    for value in values[:SHOWN]:
        names = ("method", "split", "train_seed", "unlearn_seed", "image")
        cell = ", ".join(f"{key} {value[key]}" for key in names if value.get(key))
        shown = value.get("status", "ok") if value["value"] is None else repr(value["value"])
        lines.append(f"  {cell}: {value['metric']} {shown}".rstrip())
    if len(values) > SHOWN:
        lines.append(f"  … and {len(values) - SHOWN} more (--json has all)")
    return lines


def _cell(cell: dict[str, Any]) -> list[str]:
    name = f"{cell['method']}, {cell['split']}, training seed {cell['train_seed']}"
    name += f", unlearning seed {cell['unlearn_seed']}" if cell["unlearn_seed"] else ""
    if not cell["record"]:
        return [f"{name}: {cell['status'].replace('_', ' ')}, no record"]
    here = cell["here"]
    dirty = " with uncommitted changes" if cell["dirty"] == "True" else ""
    seconds = "" if cell["seconds"] is None else f", {cell['seconds']:.3g} s"
    lines = [f"{name}", f"  record   {cell['record_sha256']} ({here['record']}) {cell['record']}"]
    for role in INPUTS:
        lines.append(f"  {role:8} {cell[f'{role}_sha256']} ({here[role]})")
    if cell["outputs_sha256"]:
        lines.append(f"  outputs  {cell['outputs_sha256']} ({here['outputs']})")
    lines += [
        f"  settings {cell['settings_sha256']}",
        f"  code     {cell['code_sha256']}",
        *([f"  taken of {cell['adopted_from']}, as given"] if cell["adopted_from"] else []),
        f"  commit   {cell['commit']}{dirty}",
        f"  on       {cell['device']}, {cell['machine']}, {cell['started']}{seconds}",
        f"  with     {cell['software']}",
    ]
    for one in cell["measured"]:
        same = "the same" if one["agrees"] else f"DIFFERS: {one['value']}"
        lines.append(f"  {one['metric']} in {one['file']}: {same}")
    return [*lines, f"  command  {cell['command']}"]


def _model(model: dict[str, Any]) -> list[str]:
    what = "starts from" if model["role"] == "start" else "oracle beside it"
    from_file = model["pretrained_here"] or "in its record, which is not here"
    pretrained = (
        f"  from     {model['pretrained_sha256']} ({from_file}) {model['pretrained'] or ''}"
    )
    return [
        f"{what}: {model['weights']}",
        f"  weights  {model['weights_sha256']} ({model['weights_here']})",
        *([pretrained.rstrip()] if model["pretrained_sha256"] else []),
        f"  record   {model['record_sha256']} {model['record']}",
        f"  command  {model['command'] or 'in its record, which is not here'}",
    ]


def main(argv: list[str]) -> None:
    """Print where a number is from; exit status 1 if anything does not agree, 2 if unknown."""
    parser = argparse.ArgumentParser(
        prog="unlearning trace",
        description=__doc__,
        epilog="python -m unlearning trace results/mini class_removal duck aus",
    )
    parser.add_argument("run", help="the run's folder: runs.csv, manifest.csv, config.json")
    parser.add_argument("table", help="class_removal, statistics, …, audit or claims")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="word",
        help="what names the row (a value, or column=value), and last the column",
    )
    parser.add_argument("--made", help="the folder with tables/ and audit.csv, if another")
    parser.add_argument("--paper", default="paper", help="folder of reported.csv and claims.yaml")
    parser.add_argument("--paper-grid", default="configs/paper.yaml", help="the paper's grid")
    parser.add_argument("--json", action="store_true", help="as JSON, with every value")
    options = parser.parse_args(argv)
    run = Run(Path(options.run), Path(options.made or options.run))
    known = tables(Path(options.paper), Path(options.paper_grid))
    try:
        found = tracing.trace(run, known, options.table, options.words)
    except NotFound as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else text(found))
    sys.exit(1 if found["wrong"] else 0)
