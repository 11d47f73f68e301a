"""score: the metrics of all cells of one forget set and training seed, from stored logits.

No model and no torch: a new metric reruns this stage and nothing before it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split
from unlearning.files import load_arrays, read_json, sha256_file, write_json
from unlearning.metrics.accuracy import accuracies
from unlearning.metrics.aus import class_removal_aus, homogeneous_removal_aus
from unlearning.provenance import code_hash


def main(argv: list[str]) -> None:
    """Write the metrics of each cell as JSON; of a cell that is not ok, they are null."""
    parser = argparse.ArgumentParser(prog="unlearning score", description=__doc__)
    parser.add_argument("--folder", required=True, help="the folder in which the cells lie")
    parser.add_argument(
        "--cells", required=True, help="each cell and the original it is compared with, as JSON"
    )
    parser.add_argument("--split", required=True, help="the split (JSON)")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    split = read_json(options.split)
    check_split(split, options.split)
    folder = Path(options.folder)
    found = {
        cell: score_cell(folder / cell, folder / original, split)
        for cell, original in json.loads(options.cells).items()
    }
    code = code_hash(["unlearning.stages.score"])
    write_json(options.out, {"cells": found, "code_sha256": code})


def score_cell(cell: Path, original: Path, split: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of the cell in one folder beside its original in another, and the inputs' hashes."""
    files = {"outputs": cell / "outputs.safetensors", "original": original / "outputs.safetensors"}
    metrics = score(load_arrays(files["outputs"]), load_arrays(files["original"]), split)
    if read_json(cell / "record.json")["status"] != "ok":
        metrics = dict.fromkeys(metrics)
    return {"metrics": metrics, "inputs": {n: sha256_file(f) for n, f in files.items()}}


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
