"""collect: the records and metrics of every cell of a run, one row each, in runs.csv."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning import grid, hyperparameters
from unlearning.config import Experiment, RunConfig, parse
from unlearning.files import read_json, write_text

COLUMNS = [
    *("dataset", "arch", "scenario", "split", "method"),
    *("train_seed", "split_seed", "unlearn_seed", "status"),
    *("retain_train_accuracy", "forget_train_accuracy"),
    *("retain_test_accuracy", "forget_test_accuracy", "test_accuracy", "aus"),
    *("unlearning_seconds", "official_seconds", "peak_memory_mb"),
    *("validation_accuracy", "updates", "experiment", "base_method", "compared_with"),
    *("touches", "reason"),
    *("evaluation", "device", "settings_sha256", "code_sha256", "commit"),
]


def main(argv: list[str]) -> None:
    """Write runs.csv; a cell without files is a row with status `missing` or `not_defined`."""
    parser = argparse.ArgumentParser(prog="unlearning collect", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's resolved config (JSON)")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    config = parse(read_json(options.config), options.config)
    rows = collect(config, Path(options.root), options.methods)
    if not config.mixed_code:
        refuse_mixed_code(rows)
    write_text(options.out, as_csv(rows))


def collect(config: RunConfig, root: Path, methods: str = hyperparameters.FOLDER) -> list[dict]:
    """One row a cell of the run in `root`, with the columns COLUMNS and some more."""
    return [_row(cell, config, root, methods) for cell in grid.cells(config)]


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV text with the columns COLUMNS; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def refuse_mixed_code(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError if two cells of one method and architecture ran different code.

    Compared are the code that trained the model it started from, unlearned and scored.
    """
    seen: dict[tuple, dict[str, str]] = {}
    for row in rows:
        cell = f"{row['experiment']} {row['split']} train seed {row['train_seed']}"
        for part in ("start_code_sha256", "code_sha256", "score_code_sha256"):
            if row["status"] not in ("missing", "not_defined"):
                key = row["arch"], row["base_method"], part.removesuffix("_sha256")
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
    folder, scores = root / cell.folder, root / cell.scores
    missing = row | {"status": "missing", "reason": "not run"}
    if not (folder / "record.json").exists() or not scores.exists():
        return missing
    record, scored = read_json(folder / "record.json"), read_json(scores)
    if cell.name not in scored["cells"]:
        return missing
    _check_identity(record["settings"], row, folder)
    row |= {key: value for key, value in record.items() if key in COLUMNS}
    row |= scored["cells"][cell.name]["metrics"]
    row["touches"] = " ".join(sorted(record["touches"], reverse=True))
    row["commit"] = record["git"]["commit"]
    row["start_code_sha256"] = record["start_code_sha256"]
    row["score_code_sha256"] = scored["code_sha256"]
    return row


def _check_identity(settings: Mapping[str, Any], row: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError if a record lies in another cell's folder."""
    for key in settings.keys() & row.keys():
        if settings[key] != row[key]:
            raise ValueError(
                f"{folder}/record.json: its {key} is {settings[key]!r}, this cell's {row[key]!r}; "
                "delete the folder and rerun"
            )


def _identity(cell: grid.Cell, experiment: Experiment, methods: str) -> dict[str, Any]:
    split = next(
        s for s in grid.splits(experiment) if (s.scenario, s.key) == (cell.scenario, cell.split)
    )
    variant = next(v for v in experiment.variants if v.name == cell.method)
    return {
        "dataset": experiment.dataset,
        "arch": experiment.arch,
        "evaluation": experiment.evaluation,
        "split_seed": split.settings.get("seed"),
        "base_method": variant.method,
        "compared_with": hyperparameters.original_of(variant.method, methods),
        **{key: getattr(cell, key) for key in cell.__dataclass_fields__},
    }
