"""score: compute accuracies, AUS and distance to the oracle of all cells of one group.

A group is one forget set and training seed. Reads stored logits only, no model and no torch: a new
metric reruns this stage and nothing before it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split, half_of_test
from unlearning.files import read_json, write_sealed
from unlearning.metrics import Unmeasurable, measure, names, tell
from unlearning.metrics.accuracy import accuracies, beside_mix, by_part
from unlearning.metrics.aus import (
    BY_CLASS,
    class_removal_aus,
    homogeneous_removal_aus,
    subclass_removal_aus,
)
from unlearning.metrics.evaluated import check_same_images
from unlearning.metrics.oracle_distance import accuracy_gap, agreement, jensen_shannon, l2_distance
from unlearning.records.provenance import code_hash
from unlearning.records.record import RECORD, load_outputs, read_record
from unlearning.runtime.options import asked

PAIRWISE = {"js": jensen_shannon, "l2": l2_distance, "agreement": agreement}
PARTS = ("forget", "retain", "test")
FORGET = ("forget_train_accuracy", "forget_test_accuracy")
AUS = {
    "class_removal": (class_removal_aus, FORGET[1:]),
    "homogeneous_removal": (homogeneous_removal_aus, FORGET[:1]),
    "sample_removal": (homogeneous_removal_aus, FORGET[:1]),
    "subclass_removal": (subclass_removal_aus, FORGET),
}
"""The score of each scenario, and the accuracies on what is forgotten that it takes."""
HALVES = ("first", "second")
DISTANCES = ("accuracy_gap", *(f"{kind}_{part}" for kind in PAIRWISE for part in PARTS))


def main(argv: list[str]) -> None:
    """Write the metrics of each cell as JSON; of a cell that is not ok, they are null."""
    half = {"choices": HALVES, "help": "the test images that count, if half"}
    shared = ("folder", "cells", "oracle", "split", "out")
    options = asked(argv, __doc__, *shared, test_half=half)
    split = read_json(options.split)
    check_split(split, options.split)
    folder = Path(options.folder)
    oracle = folder / options.oracle if options.oracle else None
    found = {
        cell: score_cell(folder / cell, folder / original, oracle, split, options.test_half)
        for cell, original in json.loads(options.cells).items()
    }
    code = code_hash(["unlearning.stages.score"])
    write_sealed(options.out, {"cells": found, "code_sha256": code})


def score_cell(
    cell: Path,
    original: Path,
    oracle: Path | None,
    split: Mapping[str, Any],
    half: str | None = None,
) -> dict[str, Any]:
    """Metrics of the cell in one folder beside others' original and oracle, and inputs' hashes.

    half: `first` or `second`, if only that fixed half of the test images counts.
    `unmeasured`: the reason for each metric that could not be measured and is null.
    """
    folders = {"outputs": cell, "original": original} | ({"oracle": oracle} if oracle else {})
    records = {role: read_record(folder / RECORD) for role, folder in folders.items()}
    arrays = {
        role: load_outputs(folders[role] / "outputs.safetensors")
        for role, record in records.items()
        if record["status"] == "ok"
    }
    if half:
        cut = {role: half_of_test(found, split, half) for role, found in arrays.items()}
        arrays = {role: found for role, (found, _) in cut.items()}
        split = next((inside for _, inside in cut.values()), split)
    wanted = [*names.ACCURACIES, "validation_accuracy", "aus", *(DISTANCES if oracle else ())]
    listed = split["settings"]["scenario"] == "sample_removal"
    metrics, gaps = dict.fromkeys([*wanted, *(names.REWEIGHTED if listed else ())]), {}
    if "outputs" in arrays:
        metrics |= score(arrays["outputs"], arrays.get("original"), split, gaps)
        metrics |= beside_mix(arrays["outputs"], split) if listed else {}
        if oracle:
            metrics |= distances(arrays["outputs"], arrays.get("oracle"), split, gaps)
    tell(str(cell), gaps)
    inputs = {role: record["outputs"]["outputs"] for role, record in records.items()}
    return {"metrics": metrics, "unmeasured": gaps, "inputs": inputs}


def score(
    outputs: Mapping[str, np.ndarray],
    original: Mapping[str, np.ndarray] | None,
    split: Mapping[str, Any],
    gaps: dict[str, str] | None = None,
) -> dict[str, float | None]:
    """Accuracies and AUS of one model beside its original; arrays as in `accuracies`.

    original: None if its cell is not ok. gaps: takes the reason for each metric without a value.
    """
    gaps = {} if gaps is None else gaps
    found = accuracies(outputs, split)
    return found | {"aus": measure(gaps, "aus", lambda: _aus(found, original, split))}


def _aus(
    found: Mapping[str, float | None],
    original: Mapping[str, np.ndarray] | None,
    split: Mapping[str, Any],
) -> float:
    if original is None:
        raise Unmeasurable("the original's cell is not ok")
    before = accuracies(original, split)
    scenario = split["settings"]["scenario"]
    test = "retain_test_accuracy" if scenario in BY_CLASS else "test_accuracy"
    aus, forget = AUS[scenario]
    for name in (test, *forget):
        if found[name] is None:
            raise Unmeasurable(f"there is no image for the {name.replace('_', ' ')}")
    return aus(found[test], before[test], *(found[name] for name in forget))


def distances(
    outputs: Mapping[str, np.ndarray],
    oracle: Mapping[str, np.ndarray] | None,
    split: Mapping[str, Any],
    gaps: dict[str, str] | None = None,
) -> dict[str, float | None]:
    """How far one model's outputs are from its oracle's, on D_f, D_r and the test images.

    oracle: None if its cell is not ok. gaps: takes the reason for each distance without a value.
    Raises ValueError if the two were evaluated on different training images.
    """
    gaps = {} if gaps is None else gaps
    if oracle is None:
        gaps |= dict.fromkeys(DISTANCES, "the oracle's cell is not ok")
        return dict.fromkeys(DISTANCES)
    check_same_images(outputs, oracle)
    removal = split["settings"]["scenario"] in BY_CLASS
    test = ("retain_test_accuracy", "forget_test_accuracy") if removal else ("test_accuracy",)
    compared = ("retain_train_accuracy", "forget_train_accuracy", *test)
    sides = accuracies(outputs, split), accuracies(oracle, split)
    gap = measure(gaps, "accuracy_gap", lambda: accuracy_gap(*sides, compared))
    found, ours, theirs = {"accuracy_gap": gap}, by_part(outputs, split), by_part(oracle, split)
    for kind, distance in PAIRWISE.items():
        for part in ours:
            pair = ours[part][0], theirs[part][0]
            name = f"{kind}_{part}"
            found[name] = measure(gaps, name, functools.partial(distance, *pair))
    return found
