"""Which images a model's stored logits are of: all, or D_f and a fixed sample of the others.

An outputs file holds train_logits [n, K], train_labels [n], test_logits [M, K] and
test_labels [M]. With `train_positions` int64 [n], sorted, row r is the training image at
train_positions[r]; without it the rows are all training images in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlearning.data.splits import retained
from unlearning.seeds import seed_for


def chosen(split: Mapping[str, Any], count: int, sample: int | None) -> np.ndarray | None:
    """Sorted positions of the training images to evaluate: all of D_f and `sample` others.

    count: images in the training part. The others are the first retained ones of one permutation
    that depends on the data set alone, so that forget sets share nearly all of them. None, for
    all images, without a sample or where it would hold every retained image. Raises ValueError
    for a sample below 1.
    """
    if sample is None:
        return None
    if sample < 1:
        raise ValueError(f"retain_evaluated must be at least 1 or null, not {sample}")
    forget = np.asarray(split["forget"])
    if sample >= count - len(forget):
        return None
    order = np.random.default_rng(seed_for("retain sample", split["dataset"])).permutation(count)
    others = order[np.isin(order, forget, invert=True)][:sample]
    return np.sort(np.concatenate([forget, others]))


def train_rows(outputs: Mapping[str, np.ndarray], positions: Sequence[int]) -> np.ndarray:
    """The rows of train_logits and train_labels that are the training images at `positions`.

    Raises ValueError, naming the first, for an image that was not evaluated.
    """
    wanted = np.asarray(positions, dtype=np.int64)
    stored = outputs.get("train_positions")
    if stored is None:
        stored = np.arange(len(outputs["train_labels"]))
    rows = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    absent = wanted[stored[rows] != wanted]
    if len(absent):
        raise ValueError(f"training image {absent[0]} was not evaluated; rerun the cell")
    return rows


def forget_and_retain(
    outputs: Mapping[str, np.ndarray], forget: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of D_f, in its order, and those of the other evaluated training images."""
    rows = train_rows(outputs, forget)
    return rows, retained(rows, len(outputs["train_labels"]))


def check_same_images(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless two models' outputs are of the same training images."""
    sides = [(side.get("train_positions"), len(side["train_labels"])) for side in (one, other)]
    if sides[0][1] != sides[1][1] or not np.array_equal(*(side[0] for side in sides)):
        raise ValueError(
            "two models to compare were evaluated on different training images: give all cells of "
            "a group the same retain_evaluated and rerun them"
        )
