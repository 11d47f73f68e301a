"""Scores and LiRA as loops over images, like the public code of LiRA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy.stats


def accuracy(logits: np.ndarray, labels: np.ndarray, positions: Iterable[int]) -> float:
    """The share of the images at `positions` whose label has the largest logit."""
    positions = list(positions)
    correct = 0
    for i in positions:
        if np.argmax(logits[i]) == labels[i]:
            correct += 1
    return correct / len(positions)


def score(
    outputs: Mapping[str, np.ndarray], original: Mapping[str, np.ndarray], split: Mapping[str, Any]
) -> dict[str, float | None]:
    """The accuracies and AUS of one model of a class removal, as `stages.score.score` has them."""
    before, found = (_accuracies(one, split) for one in (original, outputs))
    kept = 1 - (before["retain_test_accuracy"] - found["retain_test_accuracy"])
    return found | {"aus": kept / (1 + found["forget_test_accuracy"])}


def _accuracies(
    outputs: Mapping[str, np.ndarray], split: Mapping[str, Any]
) -> dict[str, float | None]:
    train = outputs["train_logits"], outputs["train_labels"]
    test = outputs["test_logits"], outputs["test_labels"]
    forget = set(split["forget"])
    removed = {i for i, label in enumerate(test[1]) if label in split["classes"]}
    everything = range(len(test[1]))
    return {
        "retain_train_accuracy": accuracy(
            *train, (i for i in range(len(train[1])) if i not in forget)
        ),
        "forget_train_accuracy": accuracy(*train, forget),
        "retain_test_accuracy": accuracy(*test, (i for i in everything if i not in removed)),
        "forget_test_accuracy": accuracy(*test, removed),
        "test_accuracy": accuracy(*test, everything),
        "validation_accuracy": None,
    }


def lira(target: np.ndarray, shadows: np.ndarray, trained_on: np.ndarray) -> np.ndarray:
    """Online LiRA [N] with a variance an example; shapes as in `metrics.membership.lira`."""
    scores = []
    for i in range(len(target)):
        inside, outside = shadows[trained_on[:, i], i], shadows[~trained_on[:, i], i]
        log_in = scipy.stats.norm.logpdf(target[i], np.mean(inside), np.std(inside, ddof=1))
        log_out = scipy.stats.norm.logpdf(target[i], np.mean(outside), np.std(outside, ddof=1))
        scores.append(log_in - log_out)
    return np.array(scores)
