"""What made the cells behind a number: records, inputs, models, and whether they are still so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.files import read_json, sha256_file
from unlearning.metrics.names import METRICS
from unlearning.records.record import RECORD, input_paths
from unlearning.results.collected import MEASURED
from unlearning.results.keys import IDENTITY
from unlearning.results.manifest import INPUTS
from unlearning.trace.run import Run, state

OUTPUTS = "outputs.safetensors"
"""The logits of a cell, beside its record."""


def cells(run: Run, values: pd.DataFrame) -> list[dict[str, Any]]:
    """The manifest's rows of the cells that the values are of, with what is here of them now."""
    names = [name for name in IDENTITY if name in values]
    if not len(values) or not len(run.manifest):
        return []
    wanted = values[names].fillna("").astype(str).drop_duplicates()
    wanted = wanted[[name for name in wanted if (wanted[name] != "").all()]]
    found = run.manifest.merge(wanted, on=list(wanted))
    return [_cell(run, row, values) for row in found.to_dict("records")]


def _cell(run: Run, row: dict[str, Any], values: pd.DataFrame) -> dict[str, Any]:
    row = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in row.items()}
    if not row["record"]:
        return row | {"here": {}, "measured": []}
    here = {"record": state(run.folder / row["record"], row["record_sha256"])}
    for role in INPUTS:
        file = row[f"{role}_path"]
        here[role] = state(run.here(file), row[f"{role}_sha256"]) if file else "not named"
    outputs = _outputs(run.folder / row["record"])
    if outputs:
        here["outputs"] = state(run.folder / row["record"].replace(RECORD, OUTPUTS), outputs)
    measured = list(_measured(run, row, values))
    return row | {"outputs_sha256": outputs, "here": here, "measured": measured}


def _outputs(record: Path) -> str | None:
    """The hash of a cell's logits as its record states it, if that is here and it has any."""
    return read_json(record)["outputs"].get("outputs") if record.is_file() else None


def _measured(run: Run, row: Mapping[str, Any], values: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """The cell's values beside those of the files that they were collected from, if here."""
    name = f"{row['method']}/unlearn-{row['unlearn_seed']}"
    group = row["record"].removesuffix(f"/{name}/record.json").replace("/runs/", "/{}/", 1)
    files = [run.folder / f"{group.format(stage)}.json" for stage in MEASURED]
    found = {}
    for path in filter(Path.is_file, files):
        metrics = read_json(path)["cells"].get(name, {"metrics": {}})["metrics"]
        found |= {metric: (path.as_posix(), value) for metric, value in metrics.items()}
    record = run.folder / row["record"]
    if record.is_file():
        made = read_json(record)
        found |= {key: (record.as_posix(), made[key]) for key in METRICS if key in made}
    names = [name for name in IDENTITY if name in values]
    own = values[(values[names].astype(str) == pd.Series({n: row[n] for n in names})).all(axis=1)]
    for value in own.to_dict("records"):
        if value["metric"] in found and "split" in names:
            file, there = found[value["metric"]]
            agrees = there == value["value"] or (there is None and math.isnan(value["value"]))
            yield {"metric": value["metric"], "file": file, "value": there, "agrees": agrees}


def models(run: Run, cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The originals and oracles that the cells start from or are measured against, once each."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if not cell["record"]:
            continue
        _add_model(run, found, cell, "start")
        peers = run.manifest[(run.manifest["method"] == "oracle") & (run.manifest["record"] != "")]
        keys = [name for name in IDENTITY if name not in ("method", "unlearn_seed")]
        for peer in peers[(peers[keys] == pd.Series(cell)[keys]).all(axis=1)].to_dict("records"):
            _add_model(run, found, peer, "oracle")
    return list(found.values())


def _add_model(run: Run, found: dict, cell: Mapping[str, Any], role: str) -> None:
    weights = cell["start_path"]
    record = Path(weights).with_name(RECORD).as_posix() if weights else ""
    if not record or record in found:
        return
    path = run.here(record)
    made = read_json(path) if path.is_file() else {}
    named = input_paths(made).get("pretrained") if made else None
    pretrained = cell.get("pretrained_sha256")
    found[record] = {
        "role": role,
        "pretrained": named,
        "pretrained_sha256": pretrained or None,
        "pretrained_here": state(run.here(named), pretrained) if named and pretrained else None,
        "record": record,
        "record_sha256": sha256_file(path) if made else "not here",
        "weights": weights,
        "weights_sha256": cell["start_sha256"],
        "weights_here": state(run.here(weights), cell["start_sha256"]),
        "command": made.get("command"),
    }
