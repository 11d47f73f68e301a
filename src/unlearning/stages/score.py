"""score: accuracies, AUS and distance to the oracle of all cells of one group.

A group is one forget set and training seed. From stored logits, with no model and no torch:
a new metric reruns this stage and nothing before it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split
from unlearning.files import read_json, write_sealed
from unlearning.metrics.accuracy import accuracies, by_part
from unlearning.metrics.aus import class_removal_aus, homogeneous_removal_aus
from unlearning.metrics.oracle_distance import (
    accuracy_gap,
    agreement,
    jensen_shannon,
    l2_distance,
)
from unlearning.provenance import code_hash
from unlearning.records import RECORD, load_outputs, read_record


def main(argv: list[str]) -> None:
    """Write the metrics of each cell as JSON; of a cell that is not ok, they are null."""
    parser = argparse.ArgumentParser(prog="unlearning score", description=__doc__)
    parser.add_argument("--folder", required=True, help="the folder in which the cells lie")
    parser.add_argument(
        "--cells", required=True, help="each cell and the original it is compared with, as JSON"
    )
    parser.add_argument("--oracle", help="the cell of the oracle; without it no distance to it")
    parser.add_argument("--split", required=True, help="the split (JSON)")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    split = read_json(options.split)
    check_split(split, options.split)
    folder = Path(options.folder)
    oracle = folder / options.oracle if options.oracle else None
    found = {
        cell: score_cell(folder / cell, folder / original, oracle, split)
        for cell, original in json.loads(options.cells).items()
    }
    code = code_hash(["unlearning.stages.score"])
    write_sealed(options.out, {"cells": found, "code_sha256": code})


def score_cell(
    cell: Path, original: Path, oracle: Path | None, split: Mapping[str, Any]
) -> dict[str, Any]:
    """Metrics of the cell in one folder beside others' original and oracle, and inputs' hashes."""
    folders = {"outputs": cell, "original": original} | ({"oracle": oracle} if oracle else {})
    records = {role: read_record(folder / RECORD) for role, folder in folders.items()}
    arrays = {r: load_outputs(f / "outputs.safetensors") for r, f in folders.items()}
    metrics = score(arrays["outputs"], arrays["original"], split)
    if oracle:
        metrics |= distances(arrays["outputs"], arrays["oracle"], split)
    if records["outputs"]["status"] != "ok":
        metrics = dict.fromkeys(metrics)
    inputs = {role: record["outputs"]["outputs"] for role, record in records.items()}
    return {"metrics": metrics, "inputs": inputs}


def score(
    outputs: Mapping[str, np.ndarray],
    original: Mapping[str, np.ndarray],
    split: Mapping[str, Any],
) -> dict[str, float | None]:
    """Accuracies and AUS of one model beside its original; arrays as in `accuracies`."""
    found, before = accuracies(outputs, split), accuracies(original, split)
    if split["settings"]["scenario"] == "class_removal":
        value = class_removal_aus(
            found["retain_test_accuracy"],
            before["retain_test_accuracy"],
            found["forget_test_accuracy"],
        )
    else:
        value = homogeneous_removal_aus(
            found["test_accuracy"], before["test_accuracy"], found["forget_train_accuracy"]
        )
    return found | {"aus": value}


def distances(
    outputs: Mapping[str, np.ndarray], oracle: Mapping[str, np.ndarray], split: Mapping[str, Any]
) -> dict[str, float | None]:
    """How far one model's outputs are from its oracle's, on D_f, D_r and the test images."""
    removal = split["settings"]["scenario"] == "class_removal"
    test = ("retain_test_accuracy", "forget_test_accuracy") if removal else ("test_accuracy",)
    names = ("retain_train_accuracy", "forget_train_accuracy", *test)
    gap = accuracy_gap(accuracies(outputs, split), accuracies(oracle, split), names)
    found = {"accuracy_gap": gap}
    theirs = by_part(oracle, split)
    for part, (logits, _) in by_part(outputs, split).items():
        pair = logits, theirs[part][0]
        found[f"js_{part}"] = jensen_shannon(*pair)
        found[f"l2_{part}"] = l2_distance(*pair)
        found[f"agreement_{part}"] = agreement(*pair)
    return found
