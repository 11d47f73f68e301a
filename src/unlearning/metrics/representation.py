"""What embeddings still hold: their similarity to the oracle's and what a linear probe reads.

Linear CKA: Kornblith et al. 2019 (arXiv 1905.00414), debiased as in Nguyen et al. 2021
(arXiv 2010.15327) with the HSIC estimator of Song et al. 2012.
"""

from __future__ import annotations

import math

import numpy as np

from unlearning.metrics import Unmeasurable

DEGENERATE = 1e-12
"""Below this share of the squared variance a self-similarity is rounding error."""


def linear_cka(x: np.ndarray, y: np.ndarray) -> float | None:
    """Debiased linear CKA of embeddings x [n, d1] and y [n, d2] of the same n > 3 images.

    HSIC_1(X, Y) / sqrt(HSIC_1(X, X) HSIC_1(Y, Y)), at most 1: 1 for equal embeddings up to
    a shift, a rotation and one scale, about 0 (also a little below) for independent ones.
    None if either side does not vary. Time n d1 d2, memory n (d1 + d2): the n x n Gram
    matrices are never formed. Raises ValueError for n <= 3, different n, or values not finite.
    """
    if len(x) != len(y):
        raise ValueError(f"CKA needs the same more than 3 images, got {len(x)} and {len(y)}")
    if len(x) <= 3:
        raise Unmeasurable(f"CKA needs the same more than 3 images, got {len(x)} and {len(y)}")
    _check_finite(x, y)
    x, y = _centred(x), _centred(y)
    own = [_hsic(side, side) for side in (x, y)]
    scales = [np.square(side).sum() ** 2 for side in (x, y)]
    if any(value <= DEGENERATE * scale for value, scale in zip(own, scales, strict=True)):
        return None
    return float(_hsic(x, y) / math.sqrt(own[0] * own[1]))


def linear_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    """Accuracy in [0, 1] on `test` of a linear classifier fitted on frozen embeddings.

    train: [n, d] with labels [n] of every class to tell apart; test: [m, d], m > 0, with
    labels [m]. The probe is a multinomial logistic regression (L2 penalty, C = 1) on
    standardised features. Raises ValueError for a single class, for m = 0, or values not finite.
    """
    classes = len(np.unique(train_labels))
    if classes < 2:
        raise Unmeasurable(f"a probe needs at least 2 classes to tell apart, got {classes}")
    if len(test) == 0:
        raise Unmeasurable("a probe needs images to be tested on, got 0 samples")
    _check_finite(train, test)
    from sklearn.linear_model import LogisticRegression  # its import costs about a second
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    probe.fit(train.astype(np.float64), train_labels)
    return float((probe.predict(test.astype(np.float64)) == test_labels).mean())


def balanced_sample(labels: np.ndarray, per_class: int = 200, seed: int = 0) -> np.ndarray:
    """Sorted positions of at most `per_class` images of each class, drawn with `seed`.

    What a probe is fitted on: all classes alike, and no more than it needs.
    """
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return np.sort(np.concatenate([positions[:per_class] for positions in members]))


def _check_finite(*embeddings: np.ndarray) -> None:
    if not all(np.isfinite(side).all() for side in embeddings):
        raise Unmeasurable("embeddings are not finite")


def _centred(features: np.ndarray) -> np.ndarray:
    """In float64 and centred: HSIC_1 ignores a shift, its rounding error does not.

    Scaled by a power of two, which changes no digit, so that no square of a square overflows.
    """
    wide = np.asarray(features, dtype=np.float64)
    wide = wide - wide.mean(0)
    return np.ldexp(wide, -np.frexp(np.abs(wide).max())[1])


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    """n (n - 3) HSIC_1 (Song et al. 2012) of the linear kernels of x and y.

    With K = X X' and L = Y Y', both with zeroed diagonals, it is
    tr(K L) + (1'K1)(1'L1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1.
    """
    n = len(x)
    a, b = np.square(x).sum(1), np.square(y).sum(1)  # the diagonals
    rows_k, rows_l = x @ x.sum(0) - a, y @ y.sum(0) - b
    trace = np.square(x.T @ y).sum() - a @ b
    means = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    return float(trace + means - 2 / (n - 2) * (rows_k @ rows_l))
