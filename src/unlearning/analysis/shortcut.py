"""Does a model answer by the planted square? Its predictions with the square and without it."""

from __future__ import annotations

import numpy as np

from unlearning.metrics import Unmeasurable


def shortcut(clean: np.ndarray, patched: np.ndarray, source: int, label: int) -> dict[str, float]:
    """How often images of class `source` are called `source`, and how often the wrong `label`.

    clean, patched: predicted classes [n], n > 0, of the same images without the square and with
    it. Returns shares in [0, 1]: `clean_source`, `clean_label`, `patched_source`, `patched_label`;
    and `strength` = patched_label - clean_label in [-1, 1]: 1 where the square alone decides,
    0 where it changes nothing (the difference in attack success that backdoor studies report).
    Raises ValueError for no images, different numbers of them, or a label that is the source.
    """
    if np.ndim(clean) != 1 or np.shape(clean) != np.shape(patched) or not len(clean):
        raise Unmeasurable(
            "clean and patched must be predictions of the same images, at least one, "
            f"not {np.shape(clean)} and {np.shape(patched)}"
        )
    if source == label:
        raise ValueError(f"the wrong label must differ from the source class {source}")
    found = {
        f"{name}_{role}": float(np.mean(np.asarray(predictions) == wanted))
        for name, predictions in (("clean", clean), ("patched", patched))
        for role, wanted in (("source", source), ("label", label))
    }
    return found | {"strength": found["patched_label"] - found["clean_label"]}
