"""The manifest of a run: what made each cell, a row a cell, taken from the records.

A number in a table is a mean over rows of runs.csv; the manifest's row of the same identity says
which record that is, with its hash, the hashes of data, forget set, start and the pretrained
weights behind it, the commit, the software and the command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.files import canonical_json, sha256_file
from unlearning.frames import Schema, read_table
from unlearning.plan.grid import Cell
from unlearning.records.record import input_paths, options_of, read_record
from unlearning.results.keys import IDENTITY

INPUTS = ("data", "split", "start")
COLUMNS = [
    *(*IDENTITY, "status"),
    *("record", "record_sha256"),
    *(f"{role}_sha256" for role in INPUTS),
    *("settings_sha256", "code_sha256", "commit", "dirty"),
    *("device", "machine", "software", "started", "seconds", "command"),
    *("cpu", "deterministic", "model_sha256", "pretrained_sha256"),
    *("adopted_from", "adopting_code_sha256"),
    *("version", "settings", *(f"{role}_path" for role in INPUTS)),
    "ended",
]
LATER = COLUMNS[COLUMNS.index("cpu") :]
"""Columns added later; empty in older runs."""
VERSION = 1
"""Of the form of the file (CHANGELOG.md)."""


def manifest(
    cells: Iterable[Cell], rows: Iterable[Mapping[str, Any]], root: Path
) -> list[dict[str, Any]]:
    """One row a cell, with the columns COLUMNS.

    rows: the cells' rows of runs.csv, in the same order. root: the run's folder. `record` is a path
    below it; `settings` are as JSON; `data_path` and so on are those that the job had.
    `status` is the record's: whether the model was made, scored or not. `seconds`: of unlearning,
    of the oracle its training. A cell that did not run has its identity and status alone. Of one
    that was taken of another run, `code_sha256` is the code that made it there, `adopted_from` the
    run's name and `adopting_code_sha256` the code that would have made it here.
    """
    return [
        dict.fromkeys(COLUMNS)
        | {key: row[key] for key in (*IDENTITY, "status")}
        | _made(cell, root)
        for cell, row in zip(cells, rows, strict=True)
    ]


def _made(cell: Cell, root: Path) -> dict[str, Any]:
    file = f"{cell.folder}/record.json"
    if not (root / file).exists():
        return {}
    record = read_record(root / file)
    adopted = record.get("adopted", {})
    return {
        "status": record["status"],
        "record": file,
        "record_sha256": sha256_file(root / file),
        **{f"{role}_sha256": record["inputs"][role] for role in INPUTS},
        **{key: record[key] for key in ("settings_sha256", "code_sha256", "started", "device")},
        **{key: record["git"][key] for key in ("commit", "dirty")},
        "machine": record["host"]["machine"],
        "cpu": record["host"].get("cpu"),
        "deterministic": record["host"].get("deterministic"),
        "ended": record.get("ended"),
        "model_sha256": record.get("outputs", {}).get("model"),
        "pretrained_sha256": record.get("pretrained_sha256"),
        "adopted_from": adopted.get("run"),
        "adopting_code_sha256": adopted.get("code_sha256"),
        "software": canonical_json(record["software"]),
        "seconds": record["unlearning_seconds"],
        "command": record["command"],
        "version": VERSION,
        "settings": canonical_json(record["settings"]),
        **{f"{role}_path": path for role, path in input_paths(record).items() if role in INPUTS},
    }


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read manifest.csv: text ("" where empty), but `seconds` as floats (NaN where empty).

    A file without one of the columns LATER is read as if that column were empty; settings and paths
    of one from before they had columns are those in its commands.
    Raises ValueError, naming the file, for a missing column and for seconds that are no number.
    """
    found = read_table(path, Schema(COLUMNS, numbers=["seconds"], later=LATER))
    old = found["version"] == ""
    for row in found.index[old & (found["command"] != "")]:
        options = options_of(found.at[row, "command"])
        found.at[row, "settings"] = options.get("settings", "")
        for role in INPUTS:
            found.at[row, f"{role}_path"] = options.get(role, "")
    return found


def recorded_settings(source: str | Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The settings that each method ran with, by experiment, scenario and method.

    From manifest.csv and study_manifest.csv of the folder, where they are there.
    """
    found = {}
    for path in (Path(source) / "manifest.csv", Path(source) / "study_manifest.csv"):
        for row in read_manifest(path).to_dict("records") if path.exists() else []:
            if row["settings"]:
                key = row["experiment"], row["scenario"], row["method"]
                found[key] = json.loads(row["settings"])["hyperparameters"]
    return found


def trace_id(experiment: str, scenario: str, method: str) -> str:
    """The id of the cells of a method: `trace-EXPERIMENT-SCENARIO-METHOD`.

    A character that is no letter, digit, `_`, `.` or `-` becomes `~` and its code.
    """
    names = "-".join((experiment, scenario, method))
    return "trace-" + re.sub(r"[^A-Za-z0-9_.-]", lambda m: f"~{ord(m[0]):x}", names)
