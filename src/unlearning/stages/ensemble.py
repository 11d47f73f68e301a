"""ensemble: what takes several models of one method and forget set: KLOM and U-LiRA.

One model a training seed, beside the oracles of the same seeds; from stored logits alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split
from unlearning.files import read_json, write_sealed
from unlearning.grid import FEWEST_SEEDS
from unlearning.metrics.accuracy import by_part
from unlearning.metrics.membership import (
    logit_confidence,
    roc_auc,
    u_lira,
    u_lira_worst_case,
)
from unlearning.metrics.oracle_distance import klom
from unlearning.provenance import code_hash
from unlearning.records import RECORD, load_outputs, read_record

KLOM_BINS = 20
"""As published, for a hundred models; with fewer, one bin for two models."""


def main(argv: list[str]) -> None:
    """Write the metrics of each method as JSON; of one with too few ok models, none."""
    parser = argparse.ArgumentParser(prog="unlearning ensemble", description=__doc__)
    parser.add_argument("--folder", required=True, help="the forget set's folder of runs")
    parser.add_argument(
        "--cells", required=True, help="each method and its cells below the folder, as JSON"
    )
    parser.add_argument("--split", required=True, help="the split (JSON)")
    parser.add_argument("--variance", required=True, help="of U-LiRA: per_example or global")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    split = read_json(options.split)
    check_split(split, options.split)
    cells = {
        method: [Path(options.folder) / name for name in names]
        for method, names in json.loads(options.cells).items()
    }
    oracles = _margins(cells["oracle"], split)
    found = {}
    for method, folders in cells.items():
        done = [read_record(folder / RECORD)["status"] == "ok" for folder in folders]
        metrics = {}
        if sum(done) >= FEWEST_SEEDS:
            own = _margins([f for f, ok in zip(folders, done, strict=True) if ok], split)
            beside = {part: values[done] for part, values in oracles.items()}
            metrics = ensemble(own, beside, options.variance)
        found[method] = {"models": sum(done), "metrics": metrics}
    code = code_hash(["unlearning.stages.ensemble"])
    write_sealed(options.out, {"methods": found, "code_sha256": code})


def ensemble(
    unlearned: Mapping[str, np.ndarray], oracles: Mapping[str, np.ndarray], variance: str
) -> dict[str, float]:
    """KLOM (mean over the images, nats) and U-LiRA's AUC; arguments: margins [S, n] by part.

    Row s of both is the same training seed. U-LiRA distinguishes, for the images of D_f,
    unlearned models from oracles; the worst case is the largest AUC of a single image.
    """
    bins = min(KLOM_BINS, len(unlearned["forget"]) // 2)
    found = {
        f"klom_{part}": float(klom(unlearned[part], oracles[part], bins).mean())
        for part in unlearned
    }
    scores = u_lira(unlearned["forget"], oracles["forget"], variance)
    return found | {
        "u_lira_auc": roc_auc(*(side.ravel() for side in scores)),
        "u_lira_worst_auc": u_lira_worst_case(*scores),
    }


def _margins(cells: Sequence[Path], split: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Margins [S, n] of the correct class on D_f, D_r and the test images, a row a cell."""
    rows = [by_part(load_outputs(cell / "outputs.safetensors"), split) for cell in cells]
    return {part: np.stack([logit_confidence(*row[part]) for row in rows]) for part in rows[0]}
