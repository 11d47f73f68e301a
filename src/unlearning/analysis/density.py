"""How densely a model packs the images of a class in its feature space.

After the density code beside DUCK (arXiv 2312.02052): the features of all test images, projected
on the principal components of the model at hand; of each class the number of points within a
percentile of their distances to their mean, over the volume of the ball of that radius. All in
natural logarithms: the volume of a ball in 100 dimensions leaves the range of float64.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

import numpy as np

from unlearning.analysis.geometry import principal_components

EDGE = 1e-9
"""Relative slack at the radius: a point that defines it is inside, whatever its last bits."""
FLAT = 1e-12
"""A radius below this share of the coordinates is the rounding error of one repeated point."""


def log_ball_volume(dimensions: int, log_radius: float) -> float:
    """log(π^(n/2) r^n / Γ(n/2 + 1)) for n = `dimensions` >= 0 and log r = `log_radius`."""
    half = dimensions / 2
    return half * math.log(math.pi) + dimensions * log_radius - math.lgamma(half + 1)


def log_density(points: np.ndarray, percentile: float) -> float | None:
    """log of the number of points within r, less the log volume of the ball of radius r.

    points: [n, d]; r: the `percentile`, in [0, 100], of the n Euclidean distances to the points'
    mean, interpolated linearly. None for fewer than 2 points or where r is 0. Points s times as
    far apart have a log density lower by d log s.
    """
    if len(points) < 2:
        return None
    wide = points.astype(np.float64)
    distances = np.linalg.norm(wide - wide.mean(0), axis=1)
    radius = float(np.percentile(distances, percentile))
    if radius <= FLAT * np.abs(wide).max():
        return None
    inside = np.count_nonzero(distances <= radius * (1 + EDGE))
    return math.log(inside) - log_ball_volume(wide.shape[1], math.log(radius))


def class_log_densities(
    features: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    removed: Collection[int],
    unlearned: bool,
    percentiles: Sequence[float],
    components: int = 100,
) -> dict[int, dict[float, float | None]]:
    """`log_density` of each class of `labels` at each of `percentiles`.

    features: [N, D] of all test images in one model, labels and predictions: [N]. The PCA is
    fitted on all of them. A class has the points of its correctly classified images, a class of
    `removed` in an `unlearned` model or an oracle those of its misclassified ones.
    """
    scores = principal_components(features, components)
    wanted = labels == predictions
    if unlearned:
        wanted = wanted ^ np.isin(labels, list(removed))
    return {
        int(label): {p: log_density(scores[wanted & (labels == label)], p) for p in percentiles}
        for label in np.unique(labels)
    }


def forget_and_retain(
    values: Mapping[int, float | None], removed: Collection[int]
) -> tuple[float | None, float | None]:
    """Mean of the removed classes' values and mean of the others', from a value per class.

    A class without a value (None) is left out; a side without any is None. The means do not
    depend on how classes are numbered, to the last bit.
    """
    sides: tuple[list[float], list[float]] = ([], [])
    for label, value in values.items():
        if value is not None:
            sides[label not in removed].append(value)
    forget, retain = (fmean(side) if side else None for side in sides)
    return forget, retain
