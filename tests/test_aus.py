"""AUS against closed forms, published digits, and an independent error propagation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unlearning.metrics.aus import aus, aus_of_means, class_removal_aus, homogeneous_removal_aus

FRACTION = "must be a fraction"


@pytest.mark.parametrize(
    ("retain", "forget", "expected"),
    [
        (0.7157, 0.0100, 0.931),  # DUCK on CIFAR-100
        (0.7755, 0.7750, 0.563),  # the original itself
        (0.7797, 0.0000, 1.004),  # the retrained model: above 1
        (0.7729, 0.0200, 0.977),  # SCRUB
        (0.6284, 0.0050, 0.849),  # negative gradient
    ],
)
def test_class_removal_agrees_with_the_published_digits(retain, forget, expected):
    assert class_removal_aus(retain, 0.7755, forget) == pytest.approx(expected, abs=1e-3)


def test_class_removal_by_hand():
    # (1 - (0.7755 - 0.7157)) / 1.01 = 0.9402 / 1.01
    assert class_removal_aus(0.7157, 0.7755, 0.01) == pytest.approx(0.9308911, abs=1e-7)


@pytest.mark.parametrize("forget", [0.0, 0.25, 0.97, 1.0])
def test_the_original_of_a_class_removal_scores_one_over_one_plus_forget(forget):
    assert class_removal_aus(0.8, 0.8, forget) == pytest.approx(1 / (1 + forget))


def test_homogeneous_removal_by_hand():
    # N = 1 - (0.90 - 0.85) = 0.95, gap = |0.95 - 0.85| = 0.1
    assert homogeneous_removal_aus(0.85, 0.90, 0.95) == pytest.approx(0.95 / 1.1)


def test_homogeneous_removal_counts_over_and_under_forgetting_alike():
    too_little = homogeneous_removal_aus(0.7, 0.8, 0.75)
    too_much = homogeneous_removal_aus(0.7, 0.8, 0.65)
    assert too_little == pytest.approx(too_much)
    assert too_little < homogeneous_removal_aus(0.7, 0.8, 0.7)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, 71.57, math.nan])
@pytest.mark.parametrize(
    ("function", "names"),
    [
        (aus, ["test_accuracy", "original_test_accuracy", "gap"]),
        (class_removal_aus, ["retain_test", "original_retain_test", "forget_test"]),
        (homogeneous_removal_aus, ["test", "original_test", "forget_train"]),
    ],
)
def test_a_value_outside_its_range_is_named(function, names, wrong):
    for name in names:
        with pytest.raises(ValueError, match=f"^{name} {FRACTION}"):
            function(**(dict.fromkeys(names, 0.5) | {name: wrong}))


def test_aus_of_means_refuses_what_makes_no_sense():
    good = (0.8, 0.01)
    with pytest.raises(ValueError, match="scenario must be one of"):
        aus_of_means("removal", good, good, good)
    with pytest.raises(ValueError, match="original_test mean must be a fraction"):
        aus_of_means("class_removal", good, (80.0, 1.0), good)
    with pytest.raises(ValueError, match="forget standard deviation"):
        aus_of_means("class_removal", good, good, (0.1, -0.1))


SCENARIOS = ["class_removal", "homogeneous_removal"]
TEST, ORIGINAL, FORGET = (0.72, 0.011), (0.78, 0.007), (0.90, 0.016)


def in_parts(scenario, numerator_test, original, forget, gap_test):
    """AUS with the two appearances of a_t apart, as the paper's propagation treats them."""
    gap = abs(forget - gap_test) if scenario == "homogeneous_removal" else forget
    return (1 - original + numerator_test) / (1 + gap)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_aus_of_means_is_the_first_order_propagation_of_independent_errors(scenario):
    value, sd = aus_of_means(scenario, TEST, ORIGINAL, FORGET)
    means = [TEST[0], ORIGINAL[0], FORGET[0], TEST[0]]
    sds = [TEST[1], ORIGINAL[1], FORGET[1], TEST[1]]
    assert value == pytest.approx(in_parts(scenario, *means))
    step, variance = 1e-6, 0.0
    for k, spread in enumerate(sds):
        up, down = list(means), list(means)
        up[k], down[k] = means[k] + step, means[k] - step
        slope = (in_parts(scenario, *up) - in_parts(scenario, *down)) / (2 * step)
        variance += (slope * spread) ** 2
    assert sd == pytest.approx(math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_aus_of_means_agrees_with_random_draws(scenario):
    draw = np.random.default_rng(0)
    samples = [draw.normal(*moments, 200_000) for moments in (TEST, ORIGINAL, FORGET, TEST)]
    test, original, forget, again = samples
    gap = abs(forget - again) if scenario == "homogeneous_removal" else forget
    scores = (1 - original + test) / (1 + gap)
    value, sd = aus_of_means(scenario, TEST, ORIGINAL, FORGET)
    assert value == pytest.approx(scores.mean(), abs=3e-4)
    assert sd == pytest.approx(scores.std(ddof=1), rel=0.01)


def test_the_scenarios_propagate_the_test_error_differently():
    quiet = (0.5, 0.0)
    same_gap = (0.2, 0.0)  # class removal: gap 0.2; homogeneous: |0.2 - 0.5| = 0.3
    removal = aus_of_means("class_removal", (0.5, 0.1), quiet, same_gap)
    homogeneous = aus_of_means("homogeneous_removal", (0.5, 0.1), quiet, same_gap)
    assert removal == pytest.approx((1 / 1.2, 0.1 / 1.2))
    assert homogeneous == pytest.approx((1 / 1.3, 0.1 * math.hypot(1 / 1.3, 1 / 1.3**2)))


def test_one_run_has_a_value_and_no_error():
    alone = math.nan
    value, sd = aus_of_means("class_removal", (0.7157, alone), (0.7755, alone), (0.01, alone))
    assert value == pytest.approx(0.9309, abs=5e-5)
    assert math.isnan(sd)
