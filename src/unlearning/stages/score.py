"""score: the metrics of one cell from its stored logits; no model, no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.data.splits import check_split
from unlearning.files import load_arrays, read_json, sha256_file, write_json
from unlearning.metrics.accuracy import accuracies
from unlearning.metrics.aus import class_removal_aus, homogeneous_removal_aus
from unlearning.provenance import code_hash


def main(argv: list[str]) -> None:
    """Write the metrics of one cell as JSON; of a cell that is not ok, they are null."""
    parser = argparse.ArgumentParser(prog="unlearning score", description=__doc__)
    parser.add_argument("--record", required=True, help="the cell's record (JSON)")
    parser.add_argument("--outputs", required=True, help="the cell's logits (safetensors)")
    parser.add_argument("--original", required=True, help="the original's logits (safetensors)")
    parser.add_argument("--split", required=True, help="the split (JSON)")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    split = read_json(options.split)
    check_split(split, options.split)
    metrics = score(load_arrays(options.outputs), load_arrays(options.original), split)
    if read_json(options.record)["status"] != "ok":
        metrics = dict.fromkeys(metrics)
    inputs = {name: sha256_file(getattr(options, name)) for name in ("outputs", "original")}
    code = code_hash(["unlearning.stages.score"])
    write_json(options.out, {"metrics": metrics, "inputs": inputs, "code_sha256": code})


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
