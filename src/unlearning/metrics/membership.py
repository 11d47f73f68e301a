"""Membership inference from stored logits: was an image in a model's training set?

LiRA (Carlini et al. 2022, arXiv 2112.03570), U-LiRA (Hayes et al. 2024, arXiv 2403.01218),
the shadow attack of DUCK's released code and the SVC attack of DUCK (arXiv 2312.02052 v1).
In all scores larger means more likely trained on. Members are forgotten training images,
non-members images that the model has never been trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp, ndtr, softmax

from unlearning.metrics import Unmeasurable
from unlearning.metrics.roc import roc_auc

VARIANCES = ("per_example", "global")
SMALLEST_SD = 1e-6
"""Floor of the standard deviations: shadow models that agree exactly would divide by zero."""
GUARD = np.float32(1e-7)
SVC_GRID = ((1, 1), (1, 0.1), (10, 1), (10, 0.1))


def logit_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """φ = log p_y / (1 - p_y) = z_y - logsumexp_{k != y} z_k, float64 [..., N].

    logits: [..., N, K], K >= 2; labels: [N], integers in [0, K). The stable form of LiRA's
    logit scaling (Carlini et al. 2022, §V-C), which does not saturate where p_y rounds to 0
    or 1. Raises ValueError for other shapes or labels.
    """
    rows = _check_logits(logits, labels)
    others = np.array(logits, dtype=np.float64)
    own = others[..., rows, labels]
    others[..., rows, labels] = -np.inf
    return own - logsumexp(others, axis=-1)


def released_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log((p_y + 1e-7) / (1 - p_y + 1e-7)) in float32, as DUCK's released code has it.

    Shapes and errors as `logit_confidence`; returned as float64 [..., N]. Confident models
    saturate at ±log(1e7) = ±16.1, which makes ties.
    """
    rows = _check_logits(logits, labels)
    p = softmax(np.asarray(logits, dtype=np.float32), axis=-1)[..., rows, labels]
    one = np.float32(1)
    return np.log((p + GUARD) / (one - p + GUARD)).astype(np.float64)


def lira(
    target: np.ndarray, shadows: np.ndarray, trained_on: np.ndarray, variance: str
) -> np.ndarray:
    """Online LiRA: log N(φ; μ_in, σ_in²) - log N(φ; μ_out, σ_out²), float64 [..., N].

    target: φ of the attacked model(s) [..., N] (`logit_confidence`); shadows: φ of the shadow
    models [S, N]; trained_on: bool [S, N], what each of them has seen. The means are per
    example. The variances (denominator: degrees of freedom) are per example with
    variance="per_example"; with "global" one within-example variance for IN and one for OUT,
    pooled over the examples (as Carlini et al. 2022 advise for few shadow models).

    Raises ValueError for unequal shapes, another `variance`, or too few shadow models:
    "per_example" needs 2 on each side of each example, "global" 1 and an example with 2.
    """
    _check_pool(target, shadows, trained_on)
    inside = _gaussians(shadows, trained_on, variance, "IN")
    outside = _gaussians(shadows, ~trained_on, variance, "OUT")
    return _log_density(target, *inside) - _log_density(target, *outside)


def lira_offline(
    target: np.ndarray, shadows: np.ndarray, trained_on: np.ndarray, variance: str
) -> np.ndarray:
    """Offline LiRA from the OUT models alone: z = (φ - μ_out) / σ_out, float64 [..., N].

    Carlini et al. (2022) score with Φ(z); z orders the examples alike without ties
    where Φ rounds to 1. Arguments and errors as `lira`, without a need for IN models.
    """
    _check_pool(target, shadows, trained_on)
    mean, sd = _gaussians(shadows, ~trained_on, variance, "OUT")
    return (target - mean) / sd


def released_attack(target: np.ndarray, shadows: np.ndarray, trained_on: np.ndarray) -> np.ndarray:
    """Φ((φ - μ) / σ) per example over its OUT models, in [0, 1]: DUCK's released attack.

    Shapes as `lira`, φ by `released_confidence`. σ has the denominator n (np.std's default);
    n - 1 changes no ranking where all examples have equally many OUT models. Raises ValueError
    for unequal shapes or fewer than 2 OUT models of an example.
    """
    _check_pool(target, shadows, trained_on)
    _check_counts(~trained_on, 2, "OUT")
    mean = shadows.mean(0, where=~trained_on)
    sd = shadows.std(0, where=~trained_on)
    return ndtr((target - mean) / np.maximum(sd, SMALLEST_SD))


def u_lira(
    unlearned: np.ndarray, retrained: np.ndarray, variance: str
) -> tuple[np.ndarray, np.ndarray]:
    """U-LiRA: log p_unlearned(φ) - log p_retrained(φ) of both kinds of model, two [S, n].

    unlearned, retrained: φ [S, n] on the n forgotten images of S >= 3 models, row s of both of
    the same training seed. The models of a seed are scored with Gaussians of the other seeds'
    unlearned and retrained models, in place of separate shadow models (Hayes et al. 2024), with
    `variance` as in `lira`. Raises ValueError for unequal shapes, S < 3 or another `variance`.
    """
    if unlearned.shape != retrained.shape or unlearned.ndim != 2 or len(unlearned) < 3:
        raise ValueError(
            "unlearned and retrained must both be [S, n] with S >= 3 training seeds, "
            f"got {unlearned.shape} and {retrained.shape}"
        )
    scores = np.empty((2, *unlearned.shape))
    for seed in range(len(unlearned)):
        kinds = np.stack([np.delete(side, seed, axis=0) for side in (unlearned, retrained)])
        is_unlearned = np.zeros(kinds.shape, dtype=bool)
        is_unlearned[0] = True
        pool = (side.reshape(-1, unlearned.shape[1]) for side in (kinds, is_unlearned))
        scores[:, seed] = lira(np.stack([unlearned[seed], retrained[seed]]), *pool, variance)
    return scores[0], scores[1]


def u_lira_worst_case(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """The largest AUC of a single image; arguments: the scores [S, n] of `u_lira`.

    A maximum of n noisy values: where nothing can be told apart, 300 images still give about
    1.0 with S = 4 and 0.86 with S = 10. Compare it only at equal n and S.
    """
    return max(map(roc_auc, unlearned.T, retrained.T))


def svc_attack(
    members: np.ndarray,
    member_labels: np.ndarray,
    nonmembers: np.ndarray,
    nonmember_labels: np.ndarray,
    seed: int,
    repeats: int = 5,
    cap: int = 500,
) -> dict[str, float]:
    """DUCK's first attack: an RBF SVC tells members from non-members, f1 = 0.5 by chance.

    members: logits [n, K], nonmembers: logits [m, K], labels [n] and [m]. Each repeat draws
    min(n, m, cap) images of each side and splits them 80/20, both from `seed`; C and γ are
    chosen by 3-fold cross-validation on the 80 %, tol 1e-4, at most 4000 iterations. Returns,
    over the repeats, the mean micro F1 on the 20 % (`f1`, equal to the accuracy), its standard
    deviation (`f1_sd`) and the mean |F1 - 0.5| (`chance_distance`), all fractions.

    The authors used the softmax vector, C in {1, 5, 10, 100} x γ in {1, 0.1, 0.01}, all images
    and 3 repeats. Here: confidence, entropy and loss, standardised, which do not grow with K;
    C in {1, 10} x γ in {1, 0.1}; at most `cap` a side. Raises ValueError for fewer than 5
    images on a side, fewer than 2 repeats, or logits and labels as `logit_confidence`.
    """
    sides = _features(members, member_labels), _features(nonmembers, nonmember_labels)
    size = min(*map(len, sides), cap)
    if repeats < 2:
        raise ValueError(f"the SVC attack needs at least 2 repeats, got {repeats}")
    if size < 5:
        raise Unmeasurable(f"the SVC attack needs at least 5 images a side, got {size}")
    if not all(np.isfinite(side).all() for side in sides):
        raise Unmeasurable("the SVC attack needs finite logits")
    generator = np.random.default_rng(seed)
    f1 = np.array([_svc_f1(*sides, size, generator) for _ in range(repeats)])
    distance = np.abs(f1 - 0.5).mean()
    return {
        "f1": float(f1.mean()),
        "f1_sd": float(f1.std(ddof=1)),
        "chance_distance": float(distance),
    }


def _features(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Largest probability, entropy (nats) and cross-entropy loss, float64 [N, 3]."""
    rows = _check_logits(logits, labels)
    log_p = log_softmax(np.asarray(logits, dtype=np.float64), axis=-1)
    p = np.exp(log_p)
    return np.stack([p.max(-1), -(p * log_p).sum(-1), -log_p[rows, labels]], axis=-1)


def _svc_f1(
    members: np.ndarray, nonmembers: np.ndarray, size: int, generator: np.random.Generator
) -> float:
    """Micro F1 of an SVC on a fifth of `size` random members and non-members.

    The search is GridSearchCV's of scaler and SVC, without its checks: they took half of the job.
    """
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold

    drawn = [side[generator.permutation(len(side))[:size]] for side in (members, nonmembers)]
    cut = int(0.8 * size)
    train = np.concatenate([side[:cut] for side in drawn])
    test = np.concatenate([side[cut:] for side in drawn])
    labels, truth = np.repeat([1, 0], cut), np.repeat([1, 0], size - cut)
    unchecked = config_context(assume_finite=True, skip_parameter_validation=True)
    with unchecked, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iteration limit is the paper's
        folds = [
            _svc_accuracies(train[fit], labels[fit], train[held], labels[held], SVC_GRID)
            for fit, held in StratifiedKFold(3).split(train, labels)
        ]
        best = SVC_GRID[int(np.mean(folds, axis=0).argmax())]
        return _svc_accuracies(train, labels, test, truth, [best])[0]


def _svc_accuracies(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    truth: np.ndarray,
    grid: Sequence[tuple[float, float]],
) -> list[float]:
    """Accuracy on `test` of an SVC on standardised features, for each (C, gamma)."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    found = []
    for c, gamma in grid:
        svc = SVC(C=c, gamma=gamma, class_weight="balanced", tol=1e-4, max_iter=4000)
        found.append(float((svc.fit(train, labels).predict(test) == truth).mean()))
    return found


def _gaussians(
    shadows: np.ndarray, chosen: np.ndarray, variance: str, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and standard deviation ([N] or one) of the chosen entries of each column."""
    if variance not in VARIANCES:
        raise ValueError(f"variance must be one of {', '.join(VARIANCES)}, not {variance!r}")
    _check_counts(chosen, 2 if variance == "per_example" else 1, side)
    mean = shadows.mean(0, where=chosen)
    squares = np.square(shadows - mean).sum(0, where=chosen)
    degrees = chosen.sum(0) - 1
    if variance == "global":
        squares, degrees = squares.sum(), degrees.sum()
        if degrees == 0:
            raise Unmeasurable(f"a variance needs 2 {side} shadow models of at least one example")
    return mean, np.maximum(np.sqrt(squares / degrees), SMALLEST_SD)


def _log_density(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """log N(values; mean, sd²) without the constant -log(2π) / 2, which cancels in ratios."""
    return -np.square((values - mean) / sd) / 2 - np.log(sd)


def _check_logits(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions 0 ... N - 1 of the rows, if logits are [..., N, K] and labels [N] fit them."""
    count, classes = logits.shape[-2:]
    if labels.shape != (count,) or classes < 2:
        raise ValueError(
            "expected logits [..., N, K] with K >= 2 and labels [N], "
            f"got {logits.shape} and {labels.shape}"
        )
    if count and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()}-{labels.max()}")
    return np.arange(count)


def _check_pool(target: np.ndarray, shadows: np.ndarray, trained_on: np.ndarray) -> None:
    if shadows.ndim != 2 or shadows.shape != trained_on.shape or trained_on.dtype != bool:
        raise ValueError(
            "expected shadows [S, N] and trained_on [S, N] of bool, "
            f"got {shadows.shape} and {trained_on.shape} of {trained_on.dtype}"
        )
    if target.shape[-1:] != shadows.shape[1:]:
        raise ValueError(f"target must be [..., {shadows.shape[1]}], got {target.shape}")
    broken = np.flatnonzero(~np.isfinite(shadows).all(1))
    if len(broken):
        raise Unmeasurable(f"the logits of shadow model {broken[0]} are not finite")


def _check_counts(chosen: np.ndarray, fewest: int, side: str) -> None:
    counts = chosen.sum(0)
    if (counts < fewest).any():
        raise Unmeasurable(
            f"each example needs at least {fewest} {side} shadow models here, "
            f"example {counts.argmin()} has {counts.min()} of {len(chosen)}"
        )
