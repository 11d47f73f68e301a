"""Centroids, silhouettes, margins, alignment and maps against loops and known transformations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import cosine
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_info, threadpool_limits

from unlearning.analysis import geometry
from unlearning.analysis.density import forget_and_retain

CLASSES = [5, 0, 9]


@pytest.fixture
def images():
    """Embeddings [60, 4] and labels [60] of classes 0, 5 and 9 that overlap."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(60) % 3)
    embeddings = draw.normal(size=(3, 4))[labels] + draw.normal(size=(60, 4))
    return embeddings * draw.uniform(0.1, 10, (60, 1)), np.array([0, 5, 9])[labels]


@pytest.fixture
def centres(images):
    return geometry.class_means(*images, CLASSES)


def test_class_means_by_hand():
    embeddings = np.array([[0, 2], [1, 1], [4, 0], [3, 3]], dtype=np.float32)
    found = geometry.class_means(embeddings, np.array([7, 2, 7, 5]), [2, 7])
    assert found.tolist() == [[1, 1], [2, 1]]
    assert found.dtype == np.float64


def test_a_class_without_an_image_is_named():
    with pytest.raises(ValueError, match="no image of class 3"):
        geometry.class_means(np.ones((2, 2)), np.array([0, 1]), [1, 3])


def test_the_nearest_centre_is_that_of_a_loop(images, centres):
    embeddings, _ = images
    expected = [min(range(3), key=lambda r: cosine(row, centres[r])) for row in embeddings]
    found = geometry.nearest(embeddings, centres)
    assert found.tolist() == expected
    assert set(expected) == {0, 1, 2}
    euclidean = np.linalg.norm(embeddings[:, None] - centres, axis=2).argmin(1)
    assert (found != euclidean).any()
    assert (geometry.nearest(embeddings * 1e-30, centres * 1e30) == found).all()


def test_an_embedding_of_zeros_is_at_distance_one_of_all():
    centres = np.array([[-1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert geometry.nearest(np.zeros((1, 2)), centres).tolist() == [0]
    assert geometry.nearest(np.array([[0.0, -1.0]]), centres).tolist() == [0]
    found = geometry.margins(np.zeros((1, 2)), np.array([1]), centres, [0, 1, 2])
    assert found.tolist() == [0]


def test_shares_by_hand():
    found = geometry.shares(np.array([5, 9, 5, 5]), [0, 5, 9])
    assert found == {0: 0.0, 5: 0.75, 9: 0.25}


@pytest.mark.parametrize(
    ("destinations", "message"),
    [([], "no image has a destination"), ([0, 4, 3], r"destination 3 is none of .* \[0, 5, 9\]")],
)
def test_shares_that_would_not_add_up_are_refused(destinations, message):
    with pytest.raises(ValueError, match=message):
        geometry.shares(np.array(destinations, dtype=int), [0, 5, 9])


def test_total_variation_is_the_largest_difference_of_any_event():
    draw = np.random.default_rng(1)
    for _ in range(20):
        p, q = (dict(zip(range(4), side, strict=True)) for side in draw.dirichlet(np.ones(4), 2))
        events = [set(e) for n in range(5) for e in itertools.combinations(range(4), n)]
        expected = max(abs(sum(p[k] - q[k] for k in event)) for event in events)
        assert geometry.total_variation(p, q) == pytest.approx(expected, abs=1e-15)


def test_total_variation_at_its_ends():
    thirds = dict.fromkeys("abc", 1 / 3)
    assert geometry.total_variation(thirds, thirds) == 0
    assert geometry.total_variation({0: 1.0}, {1: 0.5, 2: 0.5, 0: 0.0}) == 1
    assert geometry.total_variation({0: 1.0}, {0: 0.75, 8: 0.25}) == 0.25
    assert geometry.total_variation({0: 1.0}, {1: 0.7, 2: 0.3 + 1e-15}) == 1


def slow_silhouette(row: int, embeddings, labels) -> float:
    means = {}
    for label in set(labels):
        others = [i for i in range(len(labels)) if labels[i] == label and i != row]
        if not others:
            return 0.0
        distances = [cosine(embeddings[row], embeddings[i]) for i in others]
        means[label] = sum(distances) / len(distances)
    own, other = means.pop(labels[row]), min(means.values())
    return (other - own) / max(own, other)


def test_silhouettes_are_those_of_a_loop(images):
    embeddings, labels = images
    expected = [slow_silhouette(row, embeddings, labels.tolist()) for row in range(60)]
    assert geometry.silhouettes(embeddings, labels) == pytest.approx(expected, abs=1e-12)
    assert min(expected) < 0 < max(expected)
    narrow = geometry.silhouettes(embeddings.astype(np.float32), labels)
    assert narrow == pytest.approx(expected, abs=1e-5)


def test_silhouettes_of_classes_apart_are_one_and_of_one_class_an_error():
    embeddings, labels = np.repeat(np.eye(3), 4, axis=0), np.repeat([0, 1, 2], 4)
    assert geometry.silhouettes(embeddings, labels) == pytest.approx(1)
    with pytest.raises(ValueError, match="2 to n - 1 classes, got 1 of 12"):
        geometry.silhouettes(embeddings, 0 * labels)


def test_margins_are_those_of_a_loop(images, centres):
    embeddings, labels = images
    expected = []
    for row, label in zip(embeddings, labels, strict=True):
        to = {k: cosine(row, centre) for k, centre in zip(CLASSES, centres, strict=True)}
        own = to.pop(label)
        expected.append(min(to.values()) - own)
    assert geometry.margins(*images, centres, CLASSES) == pytest.approx(expected, abs=1e-12)
    assert min(expected) < 0 < max(expected)


def test_margins_reach_their_ends():
    centres, labels = np.array([[1.0, 0.0], [-3.0, 0.0]]), np.array([4, 4])
    embeddings = np.array([[2.0, 0.0], [-2.0, 0.0]])
    assert geometry.margins(embeddings, labels, centres, [4, 2]).tolist() == [2, -2]


@pytest.mark.parametrize("classes", [[4], [4, 3]])
def test_a_margin_needs_two_centroids_with_its_own(classes):
    labels = np.array([4, 1] if len(classes) == 2 else [4, 4])
    with pytest.raises(ValueError, match=r"centroids of \[4"):
        geometry.margins(np.eye(2), labels, np.eye(2)[: len(classes)], classes)


def test_by_class_by_hand():
    found = geometry.by_class(np.array([1.0, 2.0, 6.0]), np.array([9, 5, 9]))
    assert found == {5: 2.0, 9: 3.5}
    assert all(type(label) is int for label in found)


@pytest.mark.parametrize("names", [{0: 9, 5: 0, 9: 5}, {0: 3, 5: 2, 9: 1}])
def test_how_classes_are_numbered_changes_no_mean(images, centres, names):
    embeddings, labels = images
    renamed = np.array([names[label] for label in labels])
    classes = [names[label] for label in reversed(CLASSES)]
    again = geometry.class_means(embeddings, renamed, classes)
    assert (again == centres[::-1]).all()
    for one, other in (
        (geometry.silhouettes(embeddings, labels), geometry.silhouettes(embeddings, renamed)),
        (
            geometry.margins(embeddings, labels, centres, CLASSES),
            geometry.margins(embeddings, renamed, again, classes),
        ),
    ):
        means, expected = geometry.by_class(other, renamed), geometry.by_class(one, labels)
        assert means == pytest.approx({names[k]: v for k, v in expected.items()}, rel=1e-9)
        split = forget_and_retain(means, {names[5]})
        assert split == pytest.approx(forget_and_retain(expected, {5}), rel=1e-9)
    there = geometry.shares(np.take(CLASSES, geometry.nearest(embeddings, centres)), CLASSES)
    moved = geometry.shares(np.take(classes, geometry.nearest(embeddings, again)), classes)
    assert moved == {names[label]: share for label, share in there.items()}
    uniform = dict.fromkeys(CLASSES, 1 / 3)
    assert geometry.total_variation(moved, dict.fromkeys(classes, 1 / 3)) == pytest.approx(
        geometry.total_variation(there, uniform)
    )


@pytest.fixture
def turned():
    """x [40, 5] and the same turned, reflected, 2.5 times as large and shifted."""
    draw = np.random.default_rng(4)
    x = draw.normal(size=(40, 5)) * [5, 4, 3, 2, 1] + 7
    turn = np.linalg.qr(draw.normal(size=(5, 5)))[0]
    return x, 2.5 * x @ turn - draw.normal(size=5) * 10


@pytest.mark.parametrize("sign", [1, -1])
def test_alignment_recovers_a_rotation_a_reflection_a_scale_and_a_shift(turned, sign):
    x, y = turned
    x = x * [sign, 1, 1, 1, 1]
    everything = np.ones(40, dtype=bool)
    assert geometry.aligned(x, y, everything) == pytest.approx(y, abs=1e-9)
    assert geometry.aligned(y, x, everything) == pytest.approx(x, abs=1e-9)


def test_alignment_looks_at_the_chosen_rows_alone(turned):
    x, y = turned
    on = np.arange(40) % 3 > 0
    elsewhere = y.copy()
    elsewhere[~on] += 100
    assert geometry.aligned(x, elsewhere, on) == pytest.approx(y, abs=1e-9)


def test_no_alignment_is_closer(turned):
    x, y = turned
    y = y + np.random.default_rng(5).normal(size=y.shape)
    found = geometry.aligned(x, y, np.ones(40, dtype=bool))
    residual = np.square(found - y).sum() / np.square(y - y.mean(0)).sum()
    assert residual == pytest.approx(procrustes(y, x)[2], rel=1e-9)
    assert found.mean(0) == pytest.approx(y.mean(0))


def test_alignment_keeps_angles(turned):
    x, y = turned
    noisy = y + np.random.default_rng(5).normal(size=y.shape)
    found = geometry.aligned(x, noisy, np.ones(40, dtype=bool))
    ratios = np.linalg.norm(found[1:] - found[0], axis=1) / np.linalg.norm(x[1:] - x[0], axis=1)
    assert ratios == pytest.approx(ratios[0], rel=1e-9)


def test_what_cannot_be_aligned_says_so(turned):
    x, y = turned
    everything = np.ones(40, dtype=bool)
    with pytest.raises(ValueError, match=r"\(40, 5\) is not \(39, 5\)"):
        geometry.aligned(x, y[1:], everything)
    for sides in ((0 * x + 0.1, y), (x, 0 * y)):
        with pytest.raises(ValueError, match="the 40 images to align on do not vary"):
            geometry.aligned(*sides, everything)
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"the {count} images"):
            geometry.aligned(x, y, np.arange(40) < count)


@pytest.fixture(scope="module")
def clusters():
    """Two clusters of 60 images in 60 dimensions, and 30 more images of the second."""
    draw = np.random.default_rng(6)
    centre = np.zeros(60)
    centre[0] = 30
    both = np.concatenate([draw.normal(size=(60, 60)), draw.normal(size=(60, 60)) + centre])
    return {"original": both.astype(np.float32), "duck": draw.normal(size=(30, 60)) + centre}


@pytest.fixture(scope="module")
def joint(clusters):
    return geometry.joint_map(clusters, seed=1)


def test_clusters_stay_apart_and_all_models_share_the_axes(joint):
    assert {name: found.shape for name, found in joint.items()} == {
        "original": (120, 2),
        "duck": (30, 2),
    }
    first, second, again = joint["original"][:60], joint["original"][60:], joint["duck"]
    one, other = (
        max(np.linalg.norm(side - side.mean(0), axis=1).max() for side in (first, second)),
        np.linalg.norm(first.mean(0) - second.mean(0)),
    )
    assert other > 2 * one
    assert np.linalg.norm(again - second.mean(0), axis=1).max() < other / 2


def test_a_map_is_one_t_sne_of_fifty_components(clusters, joint):
    stacked = np.concatenate([clusters["original"].astype(float), clusters["duck"]])
    with threadpool_limits(1):
        points = PCA(50, svd_solver="full").fit_transform(stacked)
        expected = TSNE(init="pca", random_state=1, perplexity=30).fit_transform(points)
    assert np.concatenate(list(joint.values())).tobytes() == expected.tobytes()


def test_the_same_seed_gives_the_same_bytes(clusters, joint):
    again = geometry.joint_map(clusters, seed=1)
    assert {k: v.tobytes() for k, v in again.items()} == {k: v.tobytes() for k, v in joint.items()}


def test_few_points_have_a_map_as_well(clusters):
    few = {"a": clusters["original"][:3], "none": np.empty((0, 60)), "b": clusters["duck"][:2]}
    found = geometry.joint_map(few, seed=0)
    assert [len(side) for side in found.values()] == [3, 0, 2]
    assert np.isfinite(np.concatenate(list(found.values()))).all()
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        geometry.joint_map({"a": few["a"]}, seed=0)


def test_t_sne_has_its_seed_one_thread_and_a_perplexity_that_the_points_allow(
    clusters, monkeypatch
):
    asked = []

    class Recorded(TSNE):
        def fit_transform(self, points):
            threads = max(library["num_threads"] for library in threadpool_info())
            asked.append((self.random_state, threads, self.perplexity))
            return np.zeros((len(points), 2), np.float32)

    monkeypatch.setattr("sklearn.manifold.TSNE", Recorded)
    with threadpool_limits(2):
        for count, perplexity in ((10, 30), (91, 30), (120, 30), (120, 7.5)):
            geometry.joint_map({"a": clusters["original"][:count]}, 8, perplexity)
    assert asked == [(8, 1, 3), (8, 1, 30), (8, 1, 30), (8, 1, 7.5)]
