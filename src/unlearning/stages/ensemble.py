"""ensemble: measure KLOM and U-LiRA, which need several models of one method and forget set.

One model for each training seed, with the oracles of the same seeds; reads stored logits only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.splits import check_split
from unlearning.files import read_json, write_sealed
from unlearning.metrics import Unmeasurable, measure, tell
from unlearning.metrics.accuracy import by_part
from unlearning.metrics.evaluated import check_same_images
from unlearning.metrics.membership import logit_confidence, u_lira, u_lira_worst_case
from unlearning.metrics.oracle_distance import klom
from unlearning.metrics.roc import roc_auc
from unlearning.plan.grid import FEWEST_SEEDS
from unlearning.records.provenance import code_hash
from unlearning.records.record import RECORD, load_outputs, read_record
from unlearning.runtime.options import asked

KLOM_BINS = 20
"""As published, for a hundred models; with fewer, one bin for two models."""


def main(argv: list[str]) -> None:
    """Write the metrics of each method as JSON; of one with too few ok models, none."""
    variance = "of U-LiRA: per_example or global"
    options = asked(argv, __doc__, "folder", "cells", "split", "out", variance=variance)
    split = read_json(options.split)
    check_split(split, options.split)
    cells = {
        method: _by_seed(Path(options.folder), names)
        for method, names in json.loads(options.cells).items()
    }
    like = next((_outputs(cell) for cell in cells["oracle"].values()), {})
    oracles = {seed: _margins(cell, split, like) for seed, cell in cells["oracle"].items()}
    found = {}
    for method, own in cells.items():
        seeds = [seed for seed in own if seed in oracles]
        metrics, gaps = {}, {}
        if len(seeds) >= FEWEST_SEEDS:
            margins = {seed: _margins(own[seed], split, like) for seed in seeds}
            sides = (_stacked([side[seed] for seed in seeds]) for side in (margins, oracles))
            metrics = ensemble(*sides, options.variance, gaps)
        tell(method, gaps)
        found[method] = {"models": len(seeds), "metrics": metrics, "unmeasured": gaps}
    code = code_hash(["unlearning.stages.ensemble"])
    write_sealed(options.out, {"methods": found, "code_sha256": code})


def ensemble(
    unlearned: Mapping[str, np.ndarray],
    oracles: Mapping[str, np.ndarray],
    variance: str,
    gaps: dict[str, str] | None = None,
) -> dict[str, float | None]:
    """KLOM (mean over the images, nats) and U-LiRA's AUC; arguments: margins [S, n] by part.

    Row s of both is the same training seed. U-LiRA distinguishes, for the images of D_f,
    unlearned models from oracles; the worst case is the largest AUC of a single image.
    gaps: takes the reason for each metric without a value.
    """
    gaps = {} if gaps is None else gaps
    bins = min(KLOM_BINS, len(unlearned["forget"]) // 2)

    def klom_of(part: str) -> float:
        if not unlearned[part].shape[1]:
            raise Unmeasurable("there is no such image")
        return float(klom(unlearned[part], oracles[part], bins).mean())

    @functools.cache
    def scores() -> tuple[np.ndarray, np.ndarray]:
        return u_lira(unlearned["forget"], oracles["forget"], variance)

    found = {f"klom_{part}": functools.partial(klom_of, part) for part in unlearned}
    found["u_lira_auc"] = lambda: roc_auc(*(side.ravel() for side in scores()))
    found["u_lira_worst_auc"] = lambda: u_lira_worst_case(*scores())
    return {name: measure(gaps, name, function) for name, function in found.items()}


def _by_seed(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The folders of a method's ok cells by training seed, which is where a name begins."""
    cells = {name.split("/")[0]: folder / name for name in names}
    return {s: cell for s, cell in cells.items() if read_record(cell / RECORD)["status"] == "ok"}


def _outputs(cell: Path) -> dict[str, np.ndarray]:
    return load_outputs(cell / "outputs.safetensors")


def _margins(
    cell: Path, split: Mapping[str, Any], like: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Margins [n] of the correct class on D_f, D_r and the test images, of the cell in a folder.

    Raises ValueError if it was not evaluated on the same training images as the outputs `like`.
    """
    outputs = _outputs(cell)
    check_same_images(outputs, like)
    parts = by_part(outputs, split)
    return {part: logit_confidence(*pair) for part, pair in parts.items()}


def _stacked(margins: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Margins [S, n] by part, a row a model."""
    return {part: np.stack([one[part] for one in margins]) for part in margins[0]}
