"""How far an unlearned model's outputs lie from the oracle's; pure functions on arrays.

Distances of one pair of models (Jensen-Shannon divergence, activation distance, agreement,
accuracy gap) and KLOM, which compares two sets of models (Georgiev et al. 2024,
"Attribute-to-Delete", arXiv 2410.23232).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unlearning.metrics import Unmeasurable

SMOOTHING = 1e-5
"""What KLOM adds to each bin's share: the floor of the KLOM authors' released code."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] in float64 of logits [N, K]; a logit of -inf gives exactly 0."""
    powers = np.exp(_shifted(logits))
    return powers / powers.sum(-1, keepdims=True)


def jensen_shannon(logits_a: np.ndarray, logits_b: np.ndarray) -> float | None:
    """Mean over images of the Jensen-Shannon divergence of the softmax outputs, in [0, 1].

    logits_a, logits_b: [N, K] on the same images. Base 2: 1 means no class in common.
    None for N = 0. Raises ValueError if the shapes differ.
    """
    a, b = _probabilities(logits_a, logits_b)
    middle = (a + b) / 2
    return _mean((_kl_bits(a, middle) + _kl_bits(b, middle)) / 2)


def l2_distance(logits_a: np.ndarray, logits_b: np.ndarray) -> float | None:
    """Activation distance: mean Euclidean distance of the softmax outputs, in [0, sqrt(2)].

    logits_a, logits_b: [N, K] on the same images. None for N = 0. Raises ValueError if the
    shapes differ. Definition: Chundawat et al. 2023 (arXiv 2205.08096).
    """
    a, b = _probabilities(logits_a, logits_b)
    return _mean(np.linalg.norm(a - b, axis=1))


def agreement(logits_a: np.ndarray, logits_b: np.ndarray) -> float | None:
    """Share in [0, 1] of images with the same predicted class; None for N = 0.

    logits_a, logits_b: [N, K] on the same images. Raises ValueError if the shapes differ.
    """
    _check_pair(logits_a, logits_b)
    return _mean(logits_a.argmax(1) == logits_b.argmax(1))


def accuracy_gap(
    found: Mapping[str, float | None], oracle: Mapping[str, float | None], names: Sequence[str]
) -> float | None:
    """Mean |found - oracle| in [0, 1] of the accuracies called `names`, as fractions.

    None for no names. Raises ValueError, naming it, for an accuracy that is None on either
    side: it has no gap, and a mean over fewer names would not compare with others.
    """
    for name in names:
        if found[name] is None or oracle[name] is None:
            raise Unmeasurable(f"{name} is not defined on both sides; leave it out of the names")
    return _mean(np.array([abs(found[name] - oracle[name]) for name in names]))


def klom(unlearned: np.ndarray, oracle: np.ndarray, bins: int = 20) -> np.ndarray:
    """KLOM [n] in nats: per image KL(oracle || unlearned) of the margins' histograms.

    unlearned: margins [S, n] of S >= 2 unlearned models; oracle: [T, n] of T >= 2 oracles. The
    margin is the correct class's log odds (`membership.logit_confidence`).
    Each image has `bins` equal bins over its joint range, the last one closed. SMOOTHING is
    added to each bin's share, and the shares are scaled back to sum to 1, so the value is
    finite, at least 0, and at most about ln(1 / SMOOTHING) = 11.5. It is 0 for equal
    histograms. With few models most bins are empty and values are large: compare only
    values with the same S and T.

    Departures from the authors' released code: it takes KL(unlearned || oracle), clips
    margins to +-100 and leaves the largest margin out of the last bin.
    Raises ValueError for one model on a side, different images, or a margin not finite.
    """
    for name, side in (("unlearned", unlearned), ("oracle", oracle)):
        if side.ndim != 2 or len(side) < 2:
            raise ValueError(f"{name} must be [models >= 2, images], got shape {side.shape}")
        if not np.isfinite(side).all():
            raise Unmeasurable(f"{name} must hold finite margins; leave diverged models out")
    if unlearned.shape[1] != oracle.shape[1]:
        raise ValueError(f"{unlearned.shape[1]} and {oracle.shape[1]} images; must be the same")
    both = np.concatenate([unlearned, oracle]).astype(np.float64)
    low, width = both.min(0), np.ptp(both, axis=0)
    places = (both - low) / np.where(width > 0, width, 1)
    found = np.minimum((places * bins).astype(int), bins - 1)
    p, q = (_shares(side, bins) for side in (found[len(unlearned) :], found[: len(unlearned)]))
    return (p * np.log(p / q)).sum(1)


def _shares(found: np.ndarray, bins: int) -> np.ndarray:
    """Smoothed histograms [n, bins], each summing to 1, of bin numbers [models, n]."""
    models, count = found.shape
    cells = (found + bins * np.arange(count)).ravel()
    shares = np.bincount(cells, minlength=bins * count).reshape(count, bins) / models + SMOOTHING
    return shares / (1 + bins * SMOOTHING)


def _shifted(logits: np.ndarray) -> np.ndarray:
    """Logits in float64, less the largest of each row: safe to exponentiate."""
    wide = np.asarray(logits, dtype=np.float64)
    return wide - wide.max(-1, keepdims=True)


def _probabilities(logits_a: np.ndarray, logits_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _check_pair(logits_a, logits_b)
    return softmax(logits_a), softmax(logits_b)


def _kl_bits(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p || q) [N] in bits; a class with p = 0 adds 0, whatever its q."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log2(ratio)).sum(1)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _check_pair(a: np.ndarray, b: np.ndarray) -> None:
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"both models need logits of one shape [N, K], got {a.shape}, {b.shape}")
