"""trace: print the cells behind a number and what made them; check every file on the way."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from unlearning.files import PROJECT
from unlearning.report.traced import Paper
from unlearning.results.manifest import INPUTS
from unlearning.runtime.options import verb_parser
from unlearning.trace.known import known_tables
from unlearning.trace.numbers import trace
from unlearning.trace.run import NotFound, Run

SHOWN = 24
"""Maximum number of values printed without --json."""


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
    return "\n".join([*lines, "", *_verdict(found["wrong"])])


def quote_text(found: dict[str, Any]) -> str:
    """What was found of a text of the paper, for a reader."""
    lines = [f"{found['quote']}: {found['text']}"]
    lines += [f"  from {one['file']}, SHA-256 {one['sha256']}" for one in found["files"]]
    for one in found["numbers"][:SHOWN]:
        words = shlex.join(["python", "-m", "unlearning", "trace", found["run"], *one["words"]])
        lines.append(f"  {one['value'] or 'no number'}: {words}")
    if len(found["numbers"]) > SHOWN:
        lines.append(f"  … and {len(found['numbers']) - SHOWN} more (--json has all)")
    if found["first"]:
        return "\n".join([*lines, "", text(found["first"] | {"wrong": found["wrong"]})])
    return "\n".join([*lines, *_verdict(found["wrong"])])


def _verdict(wrong: list[str]) -> list[str]:
    return [f"MISMATCH: {line}" for line in wrong] or ["All files that are here agree."]


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
    parser = verb_parser(__doc__)
    parser.epilog = "python -m unlearning trace results/mini class_removal duck aus"
    parser.add_argument("run", help="the run's folder: runs.csv, manifest.csv, config.json")
    parser.add_argument("table", help="class_removal, statistics, …, audit, claims, or paper")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="word",
        help="what names the row (a value, or column=value), and last the column; of paper a name",
    )
    parser.add_argument("--made", help="the folder with tables/ and audit.csv, if another")
    paper, grid = PROJECT / "paper", PROJECT / "configs/paper.yaml"
    parser.add_argument("--paper", default=paper, help="folder of reported.csv and claims.yaml")
    parser.add_argument("--paper-grid", default=grid, help="the paper's grid")
    parser.add_argument("--json", action="store_true", help="as JSON, with every value")
    options = parser.parse_args(argv)
    run = Run(Path(options.run), Path(options.made or options.run))
    known = known_tables(Path(options.paper), Path(options.paper_grid))
    try:
        if options.table == "paper":
            found, show = Paper(run, known).trace(" ".join(options.words)), quote_text
        else:
            found, show = trace(run, known, options.table, options.words), text
    except NotFound as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else show(found))
    sys.exit(1 if found["wrong"] else 0)
