"""How well scores tell members from non-members: the ROC curve, its area and its best threshold.

Larger scores mean more likely a member.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unlearning.metrics import Unmeasurable


def roc_auc(members: np.ndarray, nonmembers: np.ndarray) -> float:
    """Area under the ROC curve: P(member > non-member) + P(equal) / 2, in [0, 1].

    members: scores [n], nonmembers: scores [m], both with at least one score, all finite,
    else ValueError. In O((n + m) log m).
    """
    _check_scores(members, nonmembers)
    return float(_share_below(members, nonmembers).mean())


def roc_auc_error(members: np.ndarray, nonmembers: np.ndarray) -> float:
    """Standard error of `roc_auc` over draws of the images (DeLong et al. 1988).

    The two sides' variances of the share of the other side that a score exceeds, each over
    its number of scores. 0 for separated sides. Raises ValueError for fewer than 2 scores
    on a side.
    """
    _check_scores(members, nonmembers, fewest=2)
    sides = (_share_below(members, nonmembers), _share_below(nonmembers, members))
    return float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides)))


def true_positive_rates(
    members: np.ndarray, nonmembers: np.ndarray, false_positive_rates: Sequence[float]
) -> list[float | None]:
    """The highest true positive rate of a threshold with a false positive rate <= each value.

    members: scores [n], nonmembers: scores [m], false_positive_rates: in [0, 1]. A rate r
    allows floor(r m) non-members above the threshold. None for 0 < r < 1/m, which m
    non-members cannot resolve. Raises ValueError as `roc_auc` and for rates outside [0, 1].
    """
    _check_scores(members, nonmembers)
    count, thresholds = len(nonmembers), np.append(np.sort(nonmembers)[::-1], -np.inf)
    found: list[float | None] = []
    for rate in false_positive_rates:
        if not 0 <= rate <= 1:
            raise ValueError(f"a false positive rate must be in [0, 1], got {rate!r}")
        allowed = int(rate * count + 1e-9)  # 0.29 * 100 is a little less than 29
        resolvable = allowed > 0 or rate == 0
        found.append(float((members > thresholds[allowed]).mean()) if resolvable else None)
    return found


def balanced_accuracy(members: np.ndarray, nonmembers: np.ndarray) -> float:
    """Best (true positive rate + true negative rate) / 2 over all thresholds, in [0.5, 1].

    members: scores [n], nonmembers: scores [m]. The threshold is chosen on the scores it is
    judged by, so that equal distributions give more than 0.5, by about
    0.3 sqrt(1/n + 1/m). Raises ValueError as `roc_auc`.
    """
    _check_scores(members, nonmembers)
    missed = np.searchsorted(np.sort(members), members) / len(members)
    refused = np.searchsorted(np.sort(nonmembers), members) / len(nonmembers)
    return float((1 - missed + refused).max()) / 2  # the lowest member misses none: >= 0.5


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of `others` below it, equal ones counted half."""
    ranked = np.sort(others)
    below, up_to = (np.searchsorted(ranked, scores, side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(ranked))


def _check_scores(members: np.ndarray, nonmembers: np.ndarray, fewest: int = 1) -> None:
    for name, scores in (("members", members), ("nonmembers", nonmembers)):
        if scores.ndim != 1 or len(scores) < fewest:
            shape = scores.shape
            raise Unmeasurable(f"{name} must be [n] with n >= {fewest}, got shape {shape}")
        if not np.isfinite(scores).all():
            raise Unmeasurable(f"{name} must be finite, {(~np.isfinite(scores)).sum()} are not")
