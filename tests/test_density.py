"""Feature density on clouds whose density is known, and which images of a class it looks at."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as reference
from threadpoolctl import threadpool_limits

from unlearning.analysis.density import (
    class_log_densities,
    forget_and_retain,
    log_ball_volume,
    log_density,
)
from unlearning.analysis.geometry import principal_components

PERCENTILES = (70, 95)


def cloud(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimensions))


@pytest.fixture
def classes():
    """Features [120, 6], labels and predictions [120] of 4 classes, a third of them wrong."""
    draw = np.random.default_rng(3)
    labels = draw.permutation(np.arange(120) % 4)
    features = (
        draw.normal(size=(4, 6))[labels] * 3 + draw.normal(size=(120, 6)) * (1 + labels)[:, None]
    )
    wrong = draw.random(120) < 1 / 3
    return features, labels, np.where(wrong, (labels + draw.integers(1, 4, 120)) % 4, labels)


def test_the_volumes_of_known_balls():
    radius = 1.7
    for dimensions, volume in (
        (0, 1),
        (1, 2 * radius),
        (2, math.pi * radius**2),
        (3, 4 / 3 * math.pi * radius**3),
        (4, math.pi**2 / 2 * radius**4),
    ):
        assert log_ball_volume(dimensions, math.log(radius)) == pytest.approx(math.log(volume))


def test_a_hundred_dimensions_do_not_underflow():
    tiny = 1e-6
    volume = 50 * math.log(math.pi) + 100 * math.log(tiny) - math.log(math.factorial(50))
    assert log_ball_volume(100, math.log(tiny)) == pytest.approx(volume, rel=1e-12)
    assert math.exp(volume) == 0
    corners = tiny * np.concatenate([np.eye(100), -np.eye(100)])  # all at `tiny` from the mean
    assert log_density(corners, 95) == pytest.approx(math.log(200) - volume, rel=1e-12)


@pytest.mark.parametrize("percentile", [70, 85, 95])
@pytest.mark.parametrize("dimensions", [2, 10, 100])
def test_an_isotropic_gaussian_has_the_density_of_the_chi_distribution(dimensions, percentile):
    count, spread = 20_000, 0.3
    share = percentile / 100
    unit = reference.chi.ppf(share, dimensions)
    volume = math.pi ** (dimensions / 2) * (spread * unit) ** dimensions
    expected = math.log(share * count / volume) + math.lgamma(dimensions / 2 + 1)
    error = math.sqrt(share * (1 - share) / count) / reference.chi.pdf(unit, dimensions) / unit
    found = log_density(spread * cloud(count, dimensions) + 5, percentile)
    assert found == pytest.approx(expected, abs=3 * dimensions * error)
    assert dimensions * error < 0.15


def test_a_gaussian_of_known_covariance_after_its_principal_components():
    # squared distances of variances a, a, b, b: P(> t) = (a e^(-t/2a) - b e^(-t/2b)) / (a - b)
    a, b, count, square = 9.0, 1.0, 40_000, 30.0
    outside = (a * math.exp(-square / 2 / a) - b * math.exp(-square / 2 / b)) / (a - b)
    turned = cloud(count, 4) * np.sqrt([a, b, b, a]) @ np.linalg.qr(cloud(4, 4, 1))[0]
    labels = np.zeros(count, dtype=int)
    percentile = 100 * (1 - outside)
    found = class_log_densities(turned, labels, labels, (), False, (percentile,))
    expected = math.log((1 - outside) * count) - math.log(math.pi**2 / 2 * square**2)
    assert found[0][percentile] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("percentile", [0, 50, 70, 95, 100])
@pytest.mark.parametrize("count", [2, 11, 300])
def test_a_scaled_cloud_shifts_the_log_density_by_d_log_s(count, percentile):
    points = cloud(count, 7) + 2
    for scale in (0.01, 3.7, 1e5):
        shift = log_density(scale * points, percentile) - log_density(points, percentile)
        assert shift == pytest.approx(-7 * math.log(scale), abs=1e-9)


def test_density_by_hand():
    # four corners of a square of side 2, all at sqrt(2) from the mean: 4 points in an area 2 pi
    square = np.array(list(itertools.product([0.0, 2.0], repeat=2))) + 0.1
    assert log_density(square, 70) == pytest.approx(math.log(4 / (2 * math.pi)))
    # on a line at distances 0 1 1 2 2 the 60th percentile is 1.4: three points in a length 2.8
    line = np.array([[0.0], [-1.0], [1.0], [-2.0], [2.0]])
    assert log_density(line, 60) == pytest.approx(math.log(3 / 2.8))


def test_a_point_that_defines_the_radius_is_inside():
    line = np.arange(-10, 11.0)[:, None] / 7  # the 70th percentile of 21 distances is the 15th
    assert log_density(line, 70) == pytest.approx(math.log(15 / 2 * 7 / 7))


def test_what_has_no_density_has_none():
    assert log_density(np.empty((0, 3)), 95) is None
    assert log_density(np.ones((1, 3)), 95) is None
    assert log_density(np.full((7, 3), 0.1), 95) is None
    assert log_density(np.zeros((7, 3), dtype=np.float32), 95) is None
    assert log_density(np.array([[0.0], [1.0], [-1.0]]), 0) is None
    assert log_density(np.array([[0.0], [1.0], [-1.0]]), 95) is not None


def test_principal_components_are_those_of_the_covariance():
    features = cloud(50, 6) * [5, 4, 3, 2, 1, 0.5] @ np.linalg.qr(cloud(6, 6, 1))[0] + 10
    values, vectors = np.linalg.eigh(np.cov(features.T))
    expected = (features - features.mean(0)) @ vectors[:, ::-1][:, :4]
    found = principal_components(features, 4)
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-9)
    assert found.var(0, ddof=1) == pytest.approx(values[::-1][:4])


@pytest.mark.parametrize(
    ("count", "width", "components", "left"), [(9, 4, 100, 4), (5, 8, 100, 4), (9, 8, 3, 3)]
)
def test_no_more_components_than_there_are(count, width, components, left):
    features = cloud(count, width).astype(np.float32)
    found = principal_components(features, components)
    assert (found.shape, found.dtype) == ((count, left), np.float64)
    assert found.tobytes() == principal_components(features, components).tobytes()


def test_the_number_of_cores_changes_no_bit():
    features, found = cloud(600, 60), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(principal_components(features, 50).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(("count", "components"), [(1, 3), (0, 3), (5, 0)])
def test_what_has_no_components_is_refused(count, components):
    with pytest.raises(ValueError, match=f"2 rows and 1 component, got {count} and {components}"):
        principal_components(np.ones((count, 4)), components)


def by_hand(features, labels, predictions, mistaken) -> dict:
    """Each class's density from explicit loops; `mistaken` classes have misclassified points."""
    centred = features - features.mean(0)
    scores = centred @ np.linalg.svd(centred)[2][:3].T
    found = {}
    for label in range(4):
        points = [
            score
            for score, truth, said in zip(scores, labels, predictions, strict=True)
            if truth == label and (said != truth) == (label in mistaken)
        ]
        mean = sum(points) / len(points)
        distances = sorted(math.dist(point, mean) for point in points)
        found[label] = {}
        for percentile in PERCENTILES:
            radius = np.interp(percentile / 100 * (len(points) - 1), range(len(points)), distances)
            inside = sum(distance <= radius for distance in distances)
            found[label][percentile] = math.log(inside / (4 / 3 * math.pi * radius**3))
    return found


@pytest.mark.parametrize(
    ("removed", "unlearned", "mistaken"),
    [((1, 3), True, (1, 3)), ((1, 3), False, ()), ((), True, ())],
)
def test_a_removed_class_has_its_misclassified_points_once_unlearned(
    classes, removed, unlearned, mistaken
):
    found = class_log_densities(*classes, removed, unlearned, PERCENTILES, components=3)
    expected = by_hand(*classes, mistaken)
    assert list(found) == [0, 1, 2, 3]
    for label in found:
        assert found[label] == pytest.approx(expected[label], rel=1e-9), label


def test_the_two_rules_differ_for_the_removed_class_alone(classes):
    one, other = (
        class_log_densities(*classes, {2}, unlearned, PERCENTILES) for unlearned in (False, True)
    )
    assert [label for label in one if one[label] != other[label]] == [2]


def test_a_class_without_points_has_no_density(classes):
    features, labels, _ = classes
    found = class_log_densities(features, labels, labels, {2}, True, PERCENTILES)
    assert found[2] == {70: None, 95: None}
    at_95 = {label: found[label][95] for label in found}
    forget, retain = forget_and_retain(at_95, {2})
    assert forget is None
    assert retain == pytest.approx((at_95[0] + at_95[1] + at_95[3]) / 3)


def test_forget_and_retain_by_hand():
    values = {0: 1.0, 1: 4.0, 2: None, 7: 9.0, 8: 0.0}
    assert forget_and_retain(values, [7]) == (9.0, pytest.approx(5 / 3))
    assert forget_and_retain(values, {0, 2}) == (1.0, pytest.approx(13 / 3))
    assert forget_and_retain(values, {2}) == (None, 3.5)
    assert forget_and_retain({0: 0.0, 1: 0.0}, {1}) == (0.0, 0.0)
    assert forget_and_retain({2: None}, {1}) == forget_and_retain({}, {1}) == (None, None)


def test_means_do_not_depend_on_the_order_to_the_last_bit():
    assert (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    means = {
        forget_and_retain(dict(enumerate(order)), ())[1]
        for order in itertools.permutations([0.1, 0.2, 0.3, 0.7])
    }
    assert len(means) == 1


@pytest.mark.parametrize("order", [(1, 2, 3, 0), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize("unlearned", [True, False])
def test_how_classes_are_numbered_changes_no_mean(classes, order, unlearned):
    features, labels, predictions = classes
    names = np.array(order)
    renamed = features, names[labels], names[predictions]
    removed = [1, 2]
    found = class_log_densities(*classes, removed, unlearned, PERCENTILES)
    again = class_log_densities(*renamed, names[removed], unlearned, PERCENTILES)
    assert again == {order[label]: found[label] for label in found}
    for percentile in PERCENTILES:
        one, other = (
            forget_and_retain({k: v[percentile] for k, v in each.items()}, chosen)
            for each, chosen in ((found, removed), (again, names[removed]))
        )
        assert one == other and None not in one
