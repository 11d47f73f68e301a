"""Where embeddings lie: nearest centroids, silhouettes and margins, and maps with shared axes.

Distances are cosine distances d(u, v) = 1 - ⟨u, v⟩ / (‖u‖ ‖v‖) in [0, 2], as DUCK has them; an
embedding of zeros is at distance 1 of everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearning.metrics import Unmeasurable

MAPPED_DIMENSIONS = 50
"""What t-SNE is given of the embeddings (van der Maaten and Hinton 2008 reduce to 30)."""


def class_means(embeddings: np.ndarray, labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Mean embedding of each class, float64 [R, D] from embeddings [N, D] and labels [N].

    Row r belongs to classes[r]. Raises ValueError for a class without an image.
    """
    if absent := [label for label in classes if not (labels == label).any()]:
        raise Unmeasurable(f"no image of class {absent[0]}: it has no centroid")
    return np.stack([embeddings[labels == label].mean(0, dtype=np.float64) for label in classes])


def nearest(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Row of the centre at the smallest cosine distance, the first of equals, for each image [n].

    embeddings: [n, D], centres: [R, D], R >= 1.
    """
    return _distances(embeddings, centres).argmin(1)


def shares(destinations: np.ndarray, classes: Sequence[int]) -> dict[int, float]:
    """Share in [0, 1] of the images that go to each class, from class numbers [n], n > 0.

    Every class of `classes` has an entry; the shares add up to 1. Raises ValueError for n = 0
    and for a destination that is none of `classes`.
    """
    if len(destinations) == 0:
        raise Unmeasurable("no image has a destination, so there are no shares")
    if strangers := set(destinations.tolist()) - set(classes):
        raise ValueError(f"destination {min(strangers)} is none of the classes {list(classes)}")
    return {int(label): float((destinations == label).mean()) for label in classes}


def total_variation(p: Mapping[int, float], q: Mapping[int, float]) -> float:
    """1/2 Σ |p_k - q_k| in [0, 1] of two shares by class; a class without an entry has none."""
    gaps = [abs(p.get(label, 0.0) - q.get(label, 0.0)) for label in {*p, *q}]
    return min(math.fsum(gaps) / 2, 1.0)  # shares are rounded and may add up to a little more


def silhouettes(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(b - a) / max(a, b) of each image, in [-1, 1], float64 [n] (Rousseeuw 1987).

    a: mean cosine distance to the other images of its class; b: the smallest mean distance to
    the images of another class. 0 for a class of one image. embeddings: [n, D], labels: [n].
    Raises ValueError unless there are 2 to n - 1 classes.
    """
    import sklearn  # its import costs about a second
    from sklearn.metrics import silhouette_samples

    if not 1 < len(np.unique(labels)) < len(labels):
        raise Unmeasurable(
            f"silhouettes need 2 to n - 1 classes, got {len(np.unique(labels))} of {len(labels)}"
        )
    with sklearn.config_context(working_memory=128):  # MiB; the distances are n x n
        return silhouette_samples(embeddings.astype(np.float64), labels, metric="cosine")


def margins(
    embeddings: np.ndarray, labels: np.ndarray, centres: np.ndarray, classes: Sequence[int]
) -> np.ndarray:
    """Cosine distance to the nearest other centroid less that to the own one, in [-2, 2], [n].

    embeddings: [n, D], labels: [n], centres: [R, D], R >= 2; row r of `centres` is class
    classes[r]. Raises ValueError for R < 2 and for a label that is none of `classes`.
    """
    if len(classes) < 2 or not np.isin(labels, classes).all():
        raise ValueError(
            f"a margin needs its own and another centroid: labels {sorted(set(labels.tolist()))}, "
            f"centroids of {list(classes)}"
        )
    distances = _distances(embeddings, centres)
    own = labels[:, None] == np.asarray(classes)
    return np.where(own, np.inf, distances).min(1) - distances[own]


def by_class(values: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Mean of values [n] over the images of each class of labels [n]."""
    return {int(label): float(values[labels == label].mean()) for label in np.unique(labels)}


def aligned(embeddings: np.ndarray, target: np.ndarray, on: np.ndarray) -> np.ndarray:
    """`embeddings` turned, scaled and shifted onto `target`, float64 [n, D].

    The rotation or reflection Q, the one scale s and the shift that make
    ‖s (X - mean) Q - (Y - mean)‖ smallest over the rows `on` (bool [n]) of X = embeddings and
    Y = target, both [n, D] (orthogonal Procrustes, Schönemann 1966), applied to all rows: models
    from different starts have the same axes then. Unique where these rows span all dimensions.
    Raises ValueError for unequal shapes and for rows `on` that do not vary in both.
    """
    if embeddings.shape != target.shape:
        raise ValueError(
            f"the same images and dimensions: {embeddings.shape} is not {target.shape}"
        )
    x, y = (side.astype(np.float64) for side in (embeddings, target))
    if not on.any() or not all(np.ptp(side[on], axis=0).any() for side in (x, y)):
        raise Unmeasurable(
            f"the {np.count_nonzero(on)} images to align on do not vary in both models"
        )
    from scipy.linalg import orthogonal_procrustes

    x, shift = x - x[on].mean(0), y[on].mean(0)
    turn, fitted = orthogonal_procrustes(x[on], y[on] - shift)
    return fitted / np.square(x[on]).sum() * x @ turn + shift


def principal_components(features: np.ndarray, components: int) -> np.ndarray:
    """Scores of a PCA fitted on these features, float64 [N, min(components, D, N - 1)].

    features: [N, D], N >= 2. Centred, not scaled, by a full singular value decomposition on one
    thread: the same features give the same scores, whatever number of cores there is. Raises
    ValueError for N < 2, components < 1, or features not finite.
    """
    count, width = features.shape
    if count < 2 or components < 1:
        raise Unmeasurable(f"PCA needs 2 rows and 1 component, got {count} and {components}")
    if not np.isfinite(features).all():
        raise Unmeasurable("features are not finite")
    from sklearn.decomposition import PCA  # its import costs about a second
    from threadpoolctl import threadpool_limits

    fitted = PCA(min(components, width, count - 1), svd_solver="full")
    with threadpool_limits(1):  # the last bits depend on the number of threads
        return fitted.fit_transform(features.astype(np.float64))


def joint_map(
    stacks: Mapping[str, np.ndarray], seed: int, perplexity: float = 30
) -> dict[str, np.ndarray]:
    """One t-SNE of all the stacks, float32 [n_i, 2] for each [n_i, D]: the same axes for all.

    Together they are projected on at most 50 principal components; t-SNE (van der Maaten and
    Hinton 2008) starts from the first two. The perplexity is at most a third of the neighbours,
    (Σ n_i - 1) / 3. On one thread: the same stacks in the same order and the same seed give the
    same bytes on one machine. Raises ValueError for fewer than 4 points, or all in one place.
    """
    sizes = [len(stack) for stack in stacks.values()]
    if sum(sizes) < 4:
        raise Unmeasurable(f"a map needs at least 4 points, got {sum(sizes)}")
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = principal_components(np.concatenate(list(stacks.values())), MAPPED_DIMENSIONS)
    perplexity = min(perplexity, (sum(sizes) - 1) / 3)
    tsne = TSNE(init="pca", random_state=seed, perplexity=perplexity, n_jobs=1)
    with threadpool_limits(1):  # n_jobs is not for OpenMP, whose threads wait on a busy machine
        placed = tsne.fit_transform(points)
    if not np.isfinite(placed).all():
        raise Unmeasurable("all points are in one place")
    return dict(zip(stacks, np.split(placed, np.cumsum(sizes)[:-1]), strict=True))


def _distances(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Cosine distances [n, R] in float64."""
    return np.clip(1 - _unit(embeddings) @ _unit(centres).T, 0, 2)


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths == 0, 1, lengths)
