"""Accuracies on the evaluation sets of a split; pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.data.splits import forgotten_kind
from unlearning.metrics.evaluated import forget_and_retain


def accuracy(correct: np.ndarray, chosen: np.ndarray | None = None) -> float | None:
    """Share in [0, 1] of true entries, of all or of the chosen (mask or positions).

    None if nothing is chosen: an accuracy over no image is not defined.
    """
    picked = correct if chosen is None else correct[chosen]
    return float(picked.mean()) if len(picked) else None


def accuracies(outputs: Mapping[str, np.ndarray], split: Mapping[str, Any]) -> dict[str, Any]:
    """The accuracies of one model on the sets that a split defines (duck.md §1), as fractions.

    outputs: as `unlearning.metrics.evaluated` says; with a sample, A_r is over the sampled images.
    Class and sub-class removal: A_r, A_f on the training part, A_r^t, A_f^t on the test part,
    and the whole test part. Homogeneous removal: A_r, A_f, and A^t on the evaluated half
    (`test_accuracy`) and on the other one (`validation_accuracy`).
    """
    train = outputs["train_logits"].argmax(1) == outputs["train_labels"]
    test = outputs["test_logits"].argmax(1) == outputs["test_labels"]
    forget, retain = forget_and_retain(outputs, split["forget"])
    found = {
        "retain_train_accuracy": accuracy(train, retain),
        "forget_train_accuracy": accuracy(train, forget),
        "retain_test_accuracy": None,
        "forget_test_accuracy": None,
        "test_accuracy": accuracy(test, split["test"]),
        "validation_accuracy": None,
    }
    if split["test"] is not None:
        return found | {"validation_accuracy": accuracy(test, split["validation"])}
    removed = forgotten_kind(outputs["test_labels"], split)
    return found | {
        "retain_test_accuracy": accuracy(test, ~removed),
        "forget_test_accuracy": accuracy(test, removed),
    }


def reweighted(correct: np.ndarray, labels: np.ndarray, mix: np.ndarray) -> float | None:
    """Accuracy with each class weighted by its share in other labels: Σ_c w_c a_c.

    correct, labels: [M] of the images that are counted; mix: labels [n] of those that give w_c. The
    accuracy on images that no model has seen and that have the classes of D_f. None if a class of
    the mix has no image here.
    """
    classes, counts = np.unique(mix, return_counts=True)
    found = [accuracy(correct, labels == label) for label in classes]
    return None if None in found else float(np.average(found, weights=counts))


def beside_mix(
    outputs: Mapping[str, np.ndarray], split: Mapping[str, Any]
) -> dict[str, float | None]:
    """A^t reweighted to the classes of D_f, and |A_f - it|; `accuracies` has the arguments."""
    test = split["test"]
    correct = (outputs["test_logits"].argmax(1) == outputs["test_labels"])[test]
    forget, _ = forget_and_retain(outputs, split["forget"])
    mix = outputs["train_labels"][forget]
    expected = reweighted(correct, outputs["test_labels"][test], mix)
    seen = accuracy(outputs["train_logits"][forget].argmax(1) == mix)
    gap = None if expected is None else abs(seen - expected)
    return {"reweighted_test_accuracy": expected, "reweighted_gap": gap}


def by_part(
    outputs: Mapping[str, np.ndarray], split: Mapping[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Logits [n, K] and labels [n] on D_f (`forget`), D_r (`retain`) and the `test` images.

    The test images are all of them in class removal, the evaluated half in homogeneous removal.
    Of D_r only the images that were evaluated, sorted by position.
    """
    forget, retain = forget_and_retain(outputs, split["forget"])
    chosen = {
        "forget": ("train", forget),
        "retain": ("train", retain),
        "test": ("test", slice(None) if split["test"] is None else np.asarray(split["test"])),
    }
    return {
        name: (outputs[f"{part}_logits"][at], outputs[f"{part}_labels"][at])
        for name, (part, at) in chosen.items()
    }
