"""Distances to the oracle against closed forms and slow sums over images, classes and bins."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from unlearning.metrics.oracle_distance import (
    SMOOTHING,
    accuracy_gap,
    agreement,
    jensen_shannon,
    klom,
    l2_distance,
    softmax,
)

DISTANCES = [jensen_shannon, l2_distance]


@pytest.fixture
def pair():
    draw = np.random.default_rng(0)
    return draw.normal(0, 3, (40, 5)), draw.normal(0, 3, (40, 5))


def explicit_softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def test_softmax_is_the_explicit_one(pair):
    expected = [explicit_softmax(row) for row in pair[0]]
    np.testing.assert_allclose(softmax(pair[0]), expected, rtol=1e-13)


def test_softmax_survives_large_logits_and_gives_exact_zeros():
    found = softmax(np.array([[1000.0, 1000.0, -1000.0], [-1e4, -1e4, -np.inf]], np.float32))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])


def test_jensen_shannon_is_the_explicit_sum(pair):
    total = 0.0
    for row_a, row_b in zip(*pair, strict=True):
        for p, q in zip(explicit_softmax(row_a), explicit_softmax(row_b), strict=True):
            m = (p + q) / 2
            total += (p * math.log2(p / m) + q * math.log2(q / m)) / 2
    assert jensen_shannon(*pair) == pytest.approx(total / 40, rel=1e-12)


def test_jensen_shannon_by_hand_with_probabilities_of_zero():
    certain, even = np.array([[0.0, -np.inf]]), np.array([[0.0, 0.0]])
    # m = (3/4, 1/4): half of log2(4/3), half of (log2(2/3) + log2(2)) / 2
    expected = (math.log2(4 / 3) + (math.log2(2 / 3) + 1) / 2) / 2
    assert jensen_shannon(certain, even) == pytest.approx(expected, rel=1e-14)
    assert jensen_shannon(certain, certain[:, ::-1]) == 1.0


def test_l2_distance_is_the_explicit_sum(pair):
    rows = zip(*pair, strict=True)
    lengths = [math.dist(explicit_softmax(a), explicit_softmax(b)) for a, b in rows]
    assert l2_distance(*pair) == pytest.approx(sum(lengths) / 40, rel=1e-12)


def test_l2_distance_of_two_certain_answers_is_the_diagonal():
    certain = np.array([[0.0, -2000.0, -2000.0]])
    assert l2_distance(certain, certain[:, ::-1]) == pytest.approx(math.sqrt(2), rel=1e-15)


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_are_symmetric_zero_for_equal_outputs_and_positive(distance, pair):
    a, b = pair
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-14)
    assert distance(a, a + 7) == pytest.approx(0, abs=1e-15)  # the same softmax
    assert 0.1 < distance(a, b) < 1


def test_agreement_counts_equal_predictions():
    a = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [5.0, 4.0, 3.0]])
    b = np.array([[9.0, 0.0, 0.0], [0.0, 2.0, 1.0], [-5.0, -3.0, -4.0], [5.0, 6.0, 7.0]])
    assert agreement(a, b) == 0.5


@pytest.mark.parametrize("metric", [*DISTANCES, agreement])
def test_no_image_has_no_distance_and_other_shapes_are_refused(metric):
    assert metric(np.empty((0, 3)), np.empty((0, 3))) is None
    for other in (np.zeros((1, 3)), np.zeros((2, 4))):  # both would broadcast or mislead
        with pytest.raises(ValueError, match="one shape"):
            metric(np.zeros((2, 3)), other)
    with pytest.raises(ValueError, match="one shape"):
        metric(np.zeros(3), np.zeros(3))


def test_accuracy_gap_by_hand():
    found = {"retain": 0.9, "forget": 0.1, "test": 0.5, "validation": None}
    oracle = {"retain": 0.8, "forget": 0.4, "test": 0.0, "validation": None}
    assert accuracy_gap(found, oracle, ["retain", "forget"]) == pytest.approx((0.1 + 0.3) / 2)
    assert accuracy_gap(found, oracle, []) is None


@pytest.mark.parametrize("sides", [(None, 0.5), (0.5, None), (None, None)])
def test_accuracy_gap_names_an_accuracy_that_is_not_defined(sides):
    found, oracle = ({"retain": 0.9, "forget": value} for value in sides)
    with pytest.raises(ValueError, match=r"^forget is not defined"):
        accuracy_gap(found, oracle, ["retain", "forget"])


# --- KLOM ---


def explicit_klom(unlearned, oracle, bins):
    values = []
    for u, o in zip(unlearned.T, oracle.T, strict=True):
        both = [*u, *o]
        counts = [np.histogram(side, bins, (min(both), max(both)))[0] for side in (o, u)]
        total = 0.0
        for k in range(bins):
            p, q = (
                (count[k] / count.sum() + SMOOTHING) / (1 + bins * SMOOTHING) for count in counts
            )
            total += p * math.log(p / q)
        values.append(total)
    return values


@pytest.mark.parametrize("bins", [2, 20])
def test_klom_is_the_explicit_loop_over_histograms(bins):
    draw = np.random.default_rng(2)
    unlearned, oracle = draw.normal(0, 1, (30, 25)), draw.normal(0.5, 2, (12, 25))
    expected = explicit_klom(unlearned, oracle, bins)
    np.testing.assert_allclose(klom(unlearned, oracle, bins), expected, rtol=1e-10)


def test_klom_by_hand():
    # joint range 0 to 4 in two bins: oracle (3/4, 1/4), unlearned (1/2, 1/2)
    oracle, unlearned = np.array([[0.0], [1.0], [0.5], [4.0]]), np.array([[1.9], [2.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert klom(unlearned, oracle, bins=2) == pytest.approx(expected, abs=1e-4)


def test_klom_of_apart_sets_is_finite_and_its_largest_value():
    apart = klom(np.array([[0.0], [0.1]]), np.array([[9.0], [9.1]]))
    share, empty = (1 + SMOOTHING) / (1 + 20 * SMOOTHING), SMOOTHING / (1 + 20 * SMOOTHING)
    assert apart == pytest.approx((share - empty) * math.log(share / empty), rel=1e-12)
    assert 11.5 < apart[0] < math.log(1 / SMOOTHING)


def test_klom_is_zero_for_equal_histograms_whatever_their_order_and_number():
    draw = np.random.default_rng(3)
    margin = draw.normal(0, 5, (6, 10))
    np.testing.assert_array_equal(klom(margin, margin[::-1]), np.zeros(10))
    np.testing.assert_allclose(klom(np.tile(margin, (3, 1)), margin), np.zeros(10), atol=1e-15)
    np.testing.assert_array_equal(klom(np.full((2, 3), 4.0), np.full((5, 3), 4.0)), np.zeros(3))


def test_klom_has_a_direction_is_not_negative_and_ignores_shift_and_scale():
    draw = np.random.default_rng(4)
    narrow, wide = draw.normal(0, 1, (40, 8)), draw.normal(0, 4, (40, 8))
    values = klom(narrow, wide)
    assert (values > klom(wide, narrow)).all()  # the wide oracle lies where nothing else does
    assert (klom(wide, narrow) > 0).all()
    np.testing.assert_allclose(klom(2 * narrow + 8, 2 * wide + 8), values, rtol=1e-9)


@pytest.mark.parametrize(
    ("unlearned", "oracle", "match"),
    [
        (np.zeros((1, 3)), np.zeros((2, 3)), "unlearned must be"),
        (np.zeros((2, 3)), np.zeros((1, 3)), "oracle must be"),
        (np.zeros((2, 3)), np.zeros((2, 1)), "3 and 1 images"),
        (np.full((2, 3), np.inf), np.zeros((2, 3)), "unlearned must hold finite"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "oracle must hold finite"),
    ],
)
def test_klom_refuses_what_it_cannot_compare(unlearned, oracle, match):
    with pytest.raises(ValueError, match=match):
        klom(unlearned, oracle)


def test_the_module_needs_numpy_alone():
    code = (
        "import sys, unlearning.metrics.oracle_distance\n"
        "print({'torch', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
