"""attack: run membership inference on all cells of one forget set and training seed.

Reads stored logits only: no model, no torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split, forgotten_kind
from unlearning.files import read_json, write_sealed
from unlearning.metrics import measure, membership, roc, tell
from unlearning.metrics.evaluated import train_rows
from unlearning.records.provenance import code_hash
from unlearning.records.record import RECORD, load_outputs, read_record
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for

FALSE_POSITIVE_RATES = np.logspace(-3, 0, 61)
"""Where the ROC curve is kept, for the figure."""


@dataclass(frozen=True)
class Candidates:
    """The images that are attacked: D_f, and images of the same kind that no model has seen.

    members: positions in the training part; others: in the test part (class removal: the
    removed classes' test images, homogeneous removal: the evaluated half). shadows,
    released: the shadow models' logit-scaled confidences [S, n + m], stably and as the released
    code computes them, trained_on: what each shadow model has seen, bool [S, n + m].
    """

    members: np.ndarray
    others: np.ndarray
    shadows: np.ndarray
    released: np.ndarray
    trained_on: np.ndarray
    variance: str

    def of(self, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """One model's logits [n + m, K] on the candidates and their labels [n + m]."""
        parts = (("train", train_rows(outputs, self.members)), ("test", self.others))
        return tuple(
            np.concatenate([outputs[f"{part}_{kind}"][chosen] for part, chosen in parts])
            for kind in ("logits", "labels")
        )


def main(argv: list[str]) -> None:
    """Write each cell's attack metrics and ROC as JSON; of a cell that is not ok, none."""
    pool = {"required": True, "nargs": "+", "help": "outputs of the shadow models"}
    own = {"shadows": pool, "variance": "of LiRA: per_example or global"}
    options = asked(argv, __doc__, "folder", "cells", "split", "out", **own)
    split = read_json(options.split)
    check_split(split, options.split)
    cells = [Path(options.folder) / cell for cell in json.loads(options.cells)]
    first = load_outputs(cells[0] / "outputs.safetensors")
    candidates = load_candidates(first, split, options.shadows, options.variance)
    found = {
        name: attack_cell(cell, candidates)
        for name, cell in zip(json.loads(options.cells), cells, strict=True)
    }
    code = code_hash(["unlearning.stages.attack"])
    rates = FALSE_POSITIVE_RATES.tolist()
    write_sealed(options.out, {"cells": found, "false_positive_rates": rates, "code_sha256": code})


def load_candidates(
    outputs: Mapping[str, np.ndarray],
    split: Mapping[str, Any],
    shadows: Sequence[str | Path],
    variance: str,
) -> Candidates:
    """The candidates of a split and what the shadow models say of them.

    outputs: any cell's, for labels. shadows: files of the stage `shadow`, of all images.
    """
    members, others = np.asarray(split["forget"]), _never_seen(outputs, split)
    pool = [load_outputs(path) for path in shadows]
    count = len(pool[0]["logits"]) - len(outputs["test_labels"])
    chosen = np.concatenate([members, count + others])
    own = outputs["train_labels"][train_rows(outputs, members)]
    labels = np.concatenate([own, outputs["test_labels"][others]])
    logits = [model["logits"][chosen] for model in pool]
    return Candidates(
        members,
        others,
        np.stack([membership.logit_confidence(one, labels) for one in logits]),
        np.stack([membership.released_confidence(one, labels) for one in logits]),
        np.stack([model["trained_on"][chosen] for model in pool]),
        variance,
    )


def _never_seen(outputs: Mapping[str, np.ndarray], split: Mapping[str, Any]) -> np.ndarray:
    """Positions in the test part of the images that D_f is compared with."""
    if split["test"] is not None:
        return np.asarray(split["test"])
    return np.flatnonzero(forgotten_kind(outputs["test_labels"], split))


def attack_cell(cell: Path, candidates: Candidates) -> dict[str, Any]:
    """Metrics of all attacks on the cell in one folder, and LiRA's ROC curve."""
    record = read_record(cell / RECORD)
    if record["status"] != "ok":
        return {"metrics": {}, "roc": None}
    settings = record["settings"]
    keys = ("dataset", "arch", "scenario", "split", "train_seed", "method", "unlearn_seed")
    seed = seed_for("svc", *(settings[key] for key in keys))
    found = attack(load_outputs(cell / "outputs.safetensors"), candidates, seed)
    tell(str(cell), found["unmeasured"])
    return found


def attack(outputs: Mapping[str, np.ndarray], candidates: Candidates, seed: int) -> dict[str, Any]:
    """Every attack on one model; `outputs` as in `metrics.accuracy`, `seed` for the SVC.

    An attack that the candidates do not allow leaves its metrics null and its reason in
    `unmeasured`, by metric; the others stand.
    """
    logits, labels = candidates.of(outputs)
    count, gaps = len(candidates.members), {}
    pool = (candidates.shadows, candidates.trained_on, candidates.variance)
    confidence = membership.logit_confidence(logits, labels)

    @functools.cache
    def online() -> tuple[np.ndarray, np.ndarray]:
        return _halves(membership.lira(confidence, *pool), count)

    @functools.cache
    def rates() -> list[float | None]:
        return roc.true_positive_rates(*online(), [0.01, 0.001, *FALSE_POSITIVE_RATES])

    @functools.cache
    def svc() -> dict[str, float]:
        sides = logits[:count], labels[:count], logits[count:], labels[count:]
        return membership.svc_attack(*sides, seed=seed)

    def offline() -> float:
        return roc.roc_auc(*_halves(membership.lira_offline(confidence, *pool), count))

    def released() -> float:
        own = membership.released_confidence(logits, labels)
        scores = membership.released_attack(own, candidates.released, candidates.trained_on)
        return roc.roc_auc(*_halves(scores, count))

    attacks = {
        "lira_auc": lambda: roc.roc_auc(*online()),
        "lira_auc_error": lambda: roc.roc_auc_error(*online()),
        "lira_balanced_accuracy": lambda: roc.balanced_accuracy(*online()),
        "lira_tpr_at_1_percent": lambda: rates()[0],
        "lira_tpr_at_01_percent": lambda: rates()[1],
        "lira_offline_auc": offline,
        "released_attack_auc": released,
        "svc_f1": lambda: svc()["f1"],
        "svc_chance_distance": lambda: svc()["chance_distance"],
        "shadow_models": lambda: len(candidates.shadows),
    }
    metrics = {name: measure(gaps, name, function) for name, function in attacks.items()}
    curve = measure(gaps, "roc", lambda: rates()[2:])
    return {"metrics": metrics, "unmeasured": gaps, "roc": curve}


def _halves(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n + m] of the n = `count` members and of the m others."""
    return scores[:count], scores[count:]
