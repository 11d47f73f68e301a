"""probe: measure how close each cell's embeddings are to its oracle's, and how fast it relearns.

For all cells of one forget set and training seed, from their stored models.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearning.data.batches import Dataset, load_dataset
from unlearning.data.splits import check_split
from unlearning.files import read_json, write_sealed
from unlearning.metrics import Unmeasurable, measure, tell
from unlearning.metrics.evaluated import train_rows
from unlearning.metrics.relearning import relearn_steps
from unlearning.metrics.representation import balanced_sample, linear_cka, linear_probe
from unlearning.models import ERM
from unlearning.models.base import Classifier
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import code_hash
from unlearning.records.record import RECORD, load_outputs, read_record
from unlearning.records.stored import cell_model, cell_settings
from unlearning.runtime.device import choose_device
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for
from unlearning.training.loop import embed

RELEARNED_WITHIN = 0.05
"""Relearned: the forget accuracy is the original's less five points."""


def main(argv: list[str]) -> None:
    """Write the metrics of each cell as JSON; of a cell that is not ok, there are none."""
    shared = ("data", "split", "folder", "cells", "oracle", "threads", "out")
    options = asked(argv, __doc__, *shared)
    device = choose_device(options.threads)
    split = read_json(options.split)
    check_split(split, options.split)
    folder, cells = Path(options.folder), json.loads(options.cells)
    settings = cell_settings(folder / next(iter(cells)))
    moments = settings.get("normalisation")
    dataset = load_dataset(options.data, split["settings"]["evaluation"], device, None, moments)
    oracle = None
    if options.oracle and _ok(folder / options.oracle):
        oracle = embeddings(cell_model(folder / options.oracle, dataset), dataset, split)
    found = {
        name: _probe(folder / name, folder / original, oracle, dataset, split)
        for name, original in cells.items()
    }
    modules = stage_modules("probe", settings["arch"] + ERM)
    write_sealed(options.out, {"cells": found, "code_sha256": code_hash(modules)})


def embeddings(
    model: Classifier, dataset: Dataset, split: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Embeddings [n, D] of D_f and of the test images."""
    forget = torch.tensor(split["forget"], device=dataset.train.images.device)
    found = {"forget": embed(model, dataset.train, forget), "test": embed(model, dataset.test)}
    return {part: values.cpu().numpy() for part, values in found.items()}


def _probe(
    cell: Path,
    original: Path,
    oracle: Mapping[str, np.ndarray] | None,
    dataset: Dataset,
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """Metrics of the cell in one folder beside its original in another.

    oracle: None without one whose cell is ok. `unmeasured`: the reason for each null metric.
    """
    if not _ok(cell):
        return {"metrics": {}, "unmeasured": {}}
    model = cell_model(cell, dataset)
    found = embeddings(model, dataset, split)
    probes = {
        f"cka_{part}": functools.partial(_cka, found, oracle, part) for part in ("forget", "test")
    }
    if split["classes"]:
        probes["probe_accuracy"] = lambda: probe_accuracy(model, found["test"], dataset, split)
    probes["relearn_steps"] = lambda: _relearn_steps(model, original, dataset, split)
    gaps: dict[str, str] = {}
    metrics = {name: measure(gaps, name, function) for name, function in probes.items()}
    tell(str(cell), gaps)
    return {"metrics": metrics, "unmeasured": gaps}


def _ok(cell: Path) -> bool:
    return read_record(cell / RECORD)["status"] == "ok"


def _cka(
    found: Mapping[str, np.ndarray], oracle: Mapping[str, np.ndarray] | None, part: str
) -> float | None:
    if oracle is None:
        raise Unmeasurable("there is no oracle whose cell is ok")
    return linear_cka(found[part], oracle[part])


def _relearn_steps(
    model: Classifier, original: Path, dataset: Dataset, split: Mapping[str, Any]
) -> int:
    if not _ok(original):
        raise Unmeasurable("the original's cell is not ok")
    return relearn_steps(
        model,
        dataset.train,
        torch.tensor(split["forget"], device=dataset.train.images.device),
        max(0.0, _forget_accuracy(original, split) - RELEARNED_WITHIN),
        seed_for("relearn", split["sha256"]),
    )


def probe_accuracy(
    model: Classifier, test: np.ndarray, dataset: Dataset, split: Mapping[str, Any]
) -> float:
    """Linear-probe accuracy on the removed classes' test images; test: embeddings of all [M, D].

    The probe is fitted on a balanced sample of the training images, D_f among them.
    """
    labels, wanted = (part.labels.cpu().numpy() for part in (dataset.train, dataset.test))
    chosen = balanced_sample(labels)
    train = embed(model, dataset.train, torch.from_numpy(chosen).to(dataset.train.images.device))
    removed = np.isin(wanted, split["classes"])
    return linear_probe(train.cpu().numpy(), labels[chosen], test[removed], wanted[removed])


def _forget_accuracy(cell: Path, split: Mapping[str, Any]) -> float:
    outputs = load_outputs(cell / "outputs.safetensors")
    rows = train_rows(outputs, split["forget"])
    right = outputs["train_logits"][rows].argmax(1) == outputs["train_labels"][rows]
    return float(right.mean())
