"""Every cell of a run as a row, from its record and from what was measured of it.

runs.csv has them, manifest.csv what made each, roc.csv LiRA's ROC curves, a row a point, and
ensembles.csv what takes the models of several training seeds, a row a method and forget set.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.config import hyperparameters
from unlearning.config.elsewhere import GIVEN, is_given
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.files import METHODS, read_sealed, write_text
from unlearning.metrics import listed, names
from unlearning.plan import grid
from unlearning.plan.checks import origin
from unlearning.records.record import RECORD, read_record
from unlearning.results.keys import IDENTITY, KEY
from unlearning.results.manifest import COLUMNS as MANIFEST
from unlearning.results.manifest import manifest

COLUMNS = [
    *("dataset", "arch", "scenario", "split", "method"),
    *("train_seed", "split_seed", "unlearn_seed", "status"),
    *(*names.ACCURACIES, "aus", *names.COSTS, *names.DISTANCES, *names.ATTACKS),
    *("validation_accuracy", "updates", "capped", "experiment", "base_method", "compared_with"),
    *("touches", "settings_from", "reason"),
    *("evaluation", "test_half", "device", "settings_sha256", "code_sha256", "commit"),
    *names.REWEIGHTED,
]
ROC_COLUMNS = [*IDENTITY, "false_positive_rate", "true_positive_rate", "shadow_models"]
ENSEMBLE_COLUMNS = [*KEY, "split", "method", "models", *names.ENSEMBLES]
MEASURED = ("scores", "attacks", "probes")
MAKING = ("start_code_sha256", "code_sha256")
MEASURING = tuple(f"{stage}_code_sha256" for stage in MEASURED)


def write(config: RunConfig, root: Path, out: Path, methods: str = METHODS) -> None:
    """Write runs.csv, manifest.csv, roc.csv and ensembles.csv of the run in `root`.

    Raises ValueError for cells of different code (`refuse_mixed_code`).
    """
    rows = collect(config, root, methods)
    refuse_mixed_code(rows, config)
    write_text(out / "runs.csv", as_csv(rows))
    made = manifest(grid.cells(config), rows, root)
    write_text(out / "manifest.csv", as_csv(made, MANIFEST))
    write_text(out / "roc.csv", as_csv(roc_points(config, root, rows), ROC_COLUMNS))
    write_text(out / "ensembles.csv", as_csv(ensembles(config, root, rows), ENSEMBLE_COLUMNS))


def collect(
    config: RunConfig,
    root: Path,
    methods: str = METHODS,
    cells: Iterable[grid.Cell] | None = None,
) -> list[dict]:
    """One row a cell of the run in `root`, with the columns COLUMNS and some more.

    cells: those asked for; without it those of runs.csv.
    """
    asked = grid.cells(config) if cells is None else cells
    return [_row(cell, config, root, methods) for cell in asked]


def roc_points(config: RunConfig, root: Path, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict]:
    """The points of every ok cell's ROC curve that could be resolved; rows as from `collect`."""
    for cell, row in zip(grid.cells(config), rows, strict=True):
        if row["status"] != "ok" or not row["shadow_models"]:
            continue
        found = read_sealed(root / cell.measured("attacks"))
        identity = {key: row[key] for key in (*IDENTITY, "shadow_models")}
        curve = found["cells"][cell.name]["roc"]
        if curve is None:
            continue
        for false, true in zip(found["false_positive_rates"], curve, strict=True):
            if true is not None:
                yield identity | {"false_positive_rate": false, "true_positive_rate": true}


def ensembles(config: RunConfig, root: Path, rows: Iterable[Mapping[str, Any]]) -> list[dict]:
    """One row a method and forget set of which an ensemble was measured."""
    seeds = {e.label: len(e.train_seeds) for e in config.experiments}
    found = {}
    for cell, row in zip(grid.cells(config), rows, strict=True):
        path = root / cell.ensemble
        key = cell.ensemble, cell.method
        wanted = key not in found and seeds[cell.experiment] >= grid.FEWEST_SEEDS
        if wanted and path.exists():
            measured = read_sealed(path)["methods"].get(cell.method, {"metrics": {}})
            identity = {name: row[name] for name in ENSEMBLE_COLUMNS[:6]}
            found[key] = identity | {"models": measured.get("models")} | measured["metrics"]
    return list(found.values())


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The rows as CSV text with the named columns; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def refuse_mixed_code(rows: Iterable[Mapping[str, Any]], config: RunConfig) -> None:
    """Raise ValueError if two cells of one method and architecture ran different code.

    Compared are the code that trained the model it started from, unlearned, and measured; in a
    run with the models of another one only the last. Nothing is with `mixed_code`.
    """
    if config.mixed_code:
        return
    codes = MEASURING if config.models else (*MAKING, *MEASURING)
    seen: dict[tuple, dict[str, str]] = {}
    for row in rows:
        cell = f"{row['experiment']} {row['split']} train seed {row['train_seed']}"
        for part in codes:
            if row.get(part):
                method = row["method" if row.get("settings_from") == GIVEN else "base_method"]
                key = row["arch"], method, part.removesuffix("_sha256")
                seen.setdefault(key, {}).setdefault(row[part], cell)
    for (arch, method, part), versions in seen.items():
        if len(versions) > 1:
            cells = "; ".join(f"{code[:12]} in {cell}" for code, cell in versions.items())
            raise ValueError(
                f"{method} on {arch}: cells of different {part} would share a table ({cells}). "
                "Delete the older cells, or set mixed_code: true in the config to allow it"
            )


def _row(cell: grid.Cell, config: RunConfig, root: Path, methods: str) -> dict[str, Any]:
    experiment = next(e for e in config.experiments if e.label == cell.experiment)
    row = dict.fromkeys(COLUMNS) | _identity(cell, experiment, methods)
    if not hyperparameters.defined(row["base_method"], cell.scenario, methods):
        reason = f"its paper does not define it for {cell.scenario.replace('_', ' ')}"
        return row | {"status": "not_defined", "reason": reason}
    folder, measured = root / cell.folder, _measured(cell, experiment, root)
    if not (folder / RECORD).exists():
        return row | {"status": "missing", "reason": _not_run(cell, experiment)}
    record = read_record(folder / RECORD)
    if record["status"] == "ok" and "scores" not in measured:
        return row | {"status": "missing", "reason": "not scored"}
    _check_identity(record["settings"], row, folder)
    row |= {key: value for key, value in record.items() if key in COLUMNS}
    gaps: dict[str, str] = {}
    for stage, found in measured.items():
        row |= found["cells"][cell.name]["metrics"]
        row[f"{stage}_code_sha256"] = found["code_sha256"]
        gaps |= found["cells"][cell.name].get("unmeasured", {})
    row["reason"] = row["reason"] or listed(gaps)
    row["touches"] = " ".join(sorted(record["touches"], reverse=True))
    row["commit"] = record["git"]["commit"]
    row["start_code_sha256"] = record["start_code_sha256"]
    return row


def _not_run(cell: grid.Cell, experiment: Experiment) -> str:
    theirs = experiment.unlearned.get(cell.method)
    file = theirs and theirs.file(cell.scenario, cell.split, cell.train_seed)
    return f"{file} is not there" if file and not file.exists() else "not run"


def _measured(cell: grid.Cell, experiment: Experiment, root: Path) -> dict[str, Any]:
    """What each stage of this run found of the cell, from the files that know it.

    Of several files of scores the last one stands: it was made beside the oracle.
    """
    files = [("scores", cell.scores(part.name)) for part in experiment.listed]
    files += [("attacks", cell.measured("attacks"))] if experiment.attacks else []
    files += [("probes", cell.measured("probes"))]
    found = {}
    for stage, file in files:
        content = read_sealed(root / file) if (root / file).exists() else {"cells": {}}
        if cell.name in content["cells"]:
            found[stage] = content
    return found


def _check_identity(settings: Mapping[str, Any], row: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError if a record lies in another cell's folder."""
    for key in settings.keys() & row.keys():
        if settings[key] != row[key]:
            raise ValueError(
                f"{folder}/record.json: its {key} is {settings[key]!r}, this cell's {row[key]!r}; "
                "delete the folder and rerun"
            )


def _identity(cell: grid.Cell, experiment: Experiment, methods: str) -> dict[str, Any]:
    variant = next(v for v in experiment.variants if v.name == cell.method)
    return {
        "dataset": experiment.dataset,
        "arch": experiment.arch,
        "evaluation": experiment.evaluation,
        "test_half": experiment.test_half,
        "split_seed": grid.split_of(experiment, cell).settings.get("seed"),
        "base_method": variant.method,
        "settings_from": GIVEN
        if is_given(experiment, cell.method)
        else origin(variant, experiment, cell.scenario, methods),
        "compared_with": hyperparameters.original_of(variant.method, methods),
        **{key: getattr(cell, key) for key in cell.__dataclass_fields__},
    }
