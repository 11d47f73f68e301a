"""Membership attacks against closed forms, slow independent loops and real overfitting."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import norm
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from workspace import PROJECT

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
import measure_lira_variance

from unlearning.config.blocks import Attacks, variance_for
from unlearning.metrics import membership
from unlearning.metrics.membership import (
    VARIANCES,
    lira,
    lira_offline,
    logit_confidence,
    released_attack,
    released_confidence,
    svc_attack,
    u_lira,
    u_lira_worst_case,
)
from unlearning.metrics.roc import balanced_accuracy, roc_auc, roc_auc_error, true_positive_rates

ZEROS, ONES = np.zeros(2), np.ones(2)


def test_importing_the_module_imports_neither_sklearn_nor_torch():
    lines = (
        "import sys, unlearning.metrics.membership; print({'sklearn', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Confidences


def test_confidence_is_the_logit_of_the_probability():
    probabilities, shifts = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]], [[5.0], [-3.0]]
    logits = np.log(probabilities) + np.array(shifts)
    expected = [math.log(0.2 / 0.8), math.log(0.7 / 0.3)]
    labels = np.array([1, 0])
    assert logit_confidence(logits, labels) == pytest.approx(expected)
    assert released_confidence(logits, labels) == pytest.approx(expected, rel=2e-6)


def test_confidence_is_stable_and_float64_for_logits_of_ten_thousand():
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [1e4, 1e4, 1e4]], dtype=np.float32)
    found = logit_confidence(logits, np.zeros(3, dtype=int))
    assert found.dtype == np.float64
    assert found == pytest.approx([1e4, -2e4, -math.log(2)], rel=1e-12)
    assert logit_confidence(np.array([[50.0, 0.0]]), np.array([0]))[0] == 50.0


def test_the_released_confidence_saturates_where_float32_does():
    logits = np.array([[20.0, 0.0], [1e4, 0.0], [0.0, 1e4]])
    limit = math.log1p(1e7)
    found = released_confidence(logits, np.zeros(3, dtype=int))
    assert found == pytest.approx([limit, limit, -limit], rel=1e-6)
    assert found[0] == found[1]


@pytest.mark.parametrize("confidence", [logit_confidence, released_confidence])
def test_confidences_of_a_stack_of_models_are_those_of_each(confidence):
    logits = np.random.default_rng(0).normal(size=(2, 3, 7, 4))
    labels = np.arange(7) % 4
    found, kept = confidence(logits, labels), logits.copy()
    assert found.shape == (2, 3, 7)
    for i, j in np.ndindex(2, 3):
        assert (found[i, j] == confidence(logits[i, j], labels)).all()
    assert (logits == kept).all()  # the argument is not written to


@pytest.mark.parametrize("confidence", [logit_confidence, released_confidence])
def test_confidences_refuse_logits_and_labels_that_do_not_fit(confidence):
    with pytest.raises(ValueError, match="expected logits"):
        confidence(np.zeros((3, 4)), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="K >= 2"):
        confidence(np.zeros((3, 1)), np.zeros(3, dtype=int))
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\)"):
            confidence(np.zeros((3, 4)), np.array([0, 1, wrong]))


# Areas and rates


def pairs(members, nonmembers):
    """The kernel of the Mann-Whitney statistic, pair by pair."""
    return np.array([[(a > b) + (a == b) / 2 for b in nonmembers] for a in members])


@pytest.fixture(params=[0, 1, 2])
def tied(request):
    """Scores of both sides on few values, so that many are equal within and across them."""
    draw = np.random.default_rng(request.param)
    return draw.integers(0, 12, 23) / 4 + 0.25, draw.integers(0, 12, 37) / 4


def test_auc_counts_pairs_and_half_of_the_ties(tied):
    assert roc_auc(*tied) == pytest.approx(pairs(*tied).mean(), abs=1e-14)
    assert roc_auc(np.array([1.0, 2.0]), np.array([1.0, 0.0, 3.0])) == pytest.approx(3.5 / 6)


def test_auc_error_is_delongs_by_pairs(tied):
    members, nonmembers = tied
    kernel, n, m = pairs(*tied), len(members), len(nonmembers)
    rows, columns, auc = kernel.mean(1), kernel.mean(0), kernel.mean()
    s10 = sum((x - auc) ** 2 for x in rows) / (n - 1)
    s01 = sum((x - auc) ** 2 for x in columns) / (m - 1)
    assert roc_auc_error(*tied) == pytest.approx(math.sqrt(s10 / n + s01 / m), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1.2])
def test_auc_error_is_the_spread_over_redrawn_images(shift):
    draw = np.random.default_rng(1)
    samples = [(draw.normal(shift, 1, 60), draw.normal(0, 2, 150)) for _ in range(2000)]
    errors = [roc_auc_error(*sides) for sides in samples]
    areas = [roc_auc(*sides) for sides in samples]
    # the spread itself is known to 1 / sqrt(2 * 2000) = 1.6 %
    assert np.mean(errors) == pytest.approx(np.std(areas, ddof=1), rel=0.05)
    assert np.mean(areas) == pytest.approx(norm.cdf(shift / math.hypot(1, 2)), abs=0.005)


def test_auc_and_rates_do_not_change_under_monotone_maps(tied):
    rates = [0.0, 0.1, 0.5]
    mapped = tuple(np.exp(side) - 7 for side in tied)
    assert roc_auc(*mapped) == roc_auc(*tied)
    assert roc_auc_error(*mapped) == roc_auc_error(*tied)
    assert balanced_accuracy(*mapped) == balanced_accuracy(*tied)
    assert true_positive_rates(*mapped, rates) == true_positive_rates(*tied, rates)
    assert roc_auc(*(-side for side in tied)) == pytest.approx(1 - roc_auc(*tied))


def points(members, nonmembers):
    """(FPR, TPR) of every threshold, by counting."""
    thresholds = [-math.inf, *members, *nonmembers, math.inf]
    return [(np.mean(nonmembers >= t), np.mean(members >= t)) for t in thresholds]


def test_true_positive_rates_are_the_best_of_all_thresholds(tied):
    rates = [0.0, 1 / 37, 0.1, 0.5, 36 / 37, 1.0]
    expected = [max(tpr for fpr, tpr in points(*tied) if fpr <= rate + 1e-12) for rate in rates]
    assert true_positive_rates(*tied, rates) == expected


def test_true_positive_rates_by_hand():
    members, nonmembers = np.array([0.5, 99.5, 71.0, 300.0]), np.arange(100.0)
    # 29 non-members, 71 ... 99, lie above 70; 0.29 * 100 is 28.999999999999996
    rates = [0.0, 0.009, 0.01, 0.28, 0.29, 1.0]
    assert true_positive_rates(members, nonmembers, rates) == [0.5, None, 0.5, 0.5, 0.75, 1.0]


def test_balanced_accuracy_is_the_best_of_all_thresholds(tied):
    expected = max((tpr + 1 - fpr) / 2 for fpr, tpr in points(*tied))
    assert balanced_accuracy(*tied) == pytest.approx(expected, abs=1e-14)
    assert balanced_accuracy(ONES, ZEROS) == 1
    assert balanced_accuracy(ZEROS, ONES) == 0.5  # a score pointing the wrong way gains nothing


def test_scores_and_rates_that_make_no_sense_are_refused():
    for function in (roc_auc, balanced_accuracy, roc_auc_error):
        with pytest.raises(ValueError, match=r"^nonmembers must be finite, 1 are not"):
            function(ONES, np.array([0.0, math.nan]))
        with pytest.raises(ValueError, match=r"^members must be"):
            function(np.array([]), ONES)
    with pytest.raises(ValueError, match="n >= 2"):
        roc_auc_error(ONES, np.ones(1))
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="false positive rate must be"):
            true_positive_rates(ONES, ZEROS, [wrong])


# Attacks with shadow models


@pytest.fixture
def pool():
    """Confidences of a target and of 9 shadow models that saw 3 to 6 each of 20 examples."""
    draw = np.random.default_rng(5)
    trained_on = draw.permuted(np.arange(9)[:, None] < draw.integers(3, 7, 20), axis=0)
    shadows = draw.normal(trained_on * 2.0, 1 + draw.random(20))
    return draw.normal(size=20), shadows, trained_on


def columns(shadows, chosen):
    """The chosen entries of each column, as lists of unequal length."""
    return [
        [row[i] for row, take in zip(shadows, chosen, strict=True) if take[i]]
        for i in range(shadows.shape[1])
    ]


def spread(lists, variance):
    """Standard deviation of each list, or the one pooled over the deviations of all."""
    if variance == "per_example":
        return [np.std(values, ddof=1) for values in lists]
    deviations = [value - np.mean(values) for values in lists for value in values]
    pooled = sum(d**2 for d in deviations) / (len(deviations) - len(lists))
    return [math.sqrt(pooled)] * len(lists)


@pytest.mark.parametrize("variance", VARIANCES)
def test_lira_is_the_likelihood_ratio_of_two_gaussians(pool, variance):
    target, shadows, trained_on = pool
    inside, outside = columns(shadows, trained_on), columns(shadows, ~trained_on)
    expected = [
        norm.logpdf(value, np.mean(one), s_in) - norm.logpdf(value, np.mean(two), s_out)
        for value, one, s_in, two, s_out in zip(
            target,
            inside,
            spread(inside, variance),
            outside,
            spread(outside, variance),
            strict=True,
        )
    ]
    assert lira(*pool, variance) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("variance", VARIANCES)
def test_offline_lira_orders_as_the_one_sided_p_value(pool, variance):
    target, shadows, trained_on = pool
    outside = columns(shadows, ~trained_on)
    expected = [
        norm.cdf(value, np.mean(values), sd)
        for value, values, sd in zip(target, outside, spread(outside, variance), strict=True)
    ]
    assert norm.cdf(lira_offline(*pool, variance)) == pytest.approx(expected, rel=1e-10)


def test_the_released_attack_is_a_normal_distribution_over_out_models(pool):
    target, shadows, trained_on = pool
    expected = [
        norm.cdf(value, np.mean(values), np.std(values))
        for value, values in zip(target, columns(shadows, ~trained_on), strict=True)
    ]
    assert released_attack(*pool) == pytest.approx(expected, rel=1e-10)


def test_out_attacks_ignore_what_in_models_say(pool):
    target, shadows, trained_on = pool
    changed = np.where(trained_on, 1e3, shadows)
    for variance in VARIANCES:
        unchanged = lira_offline(*pool, variance) == lira_offline(
            target, changed, trained_on, variance
        )
        assert unchanged.all()
    assert (released_attack(*pool) == released_attack(target, changed, trained_on)).all()


def test_shadow_models_that_agree_exactly_give_finite_scores():
    target, shadows = np.array([0.1, 0.5, 0.2]), np.full((4, 3), 0.2)
    trained_on = np.repeat([[True], [True], [False], [False]], 3, axis=1)
    assert released_attack(target, shadows, trained_on).tolist() == [0.0, 1.0, 0.5]
    for variance in VARIANCES:
        assert lira(target, shadows, trained_on, variance).tolist() == [0.0, 0.0, 0.0]
        assert np.isfinite(lira_offline(target, shadows, trained_on, variance)).all()


def test_attacks_say_which_shadow_models_are_missing():
    target, shadows = np.zeros(3), np.zeros((3, 3))
    one_in = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    with pytest.raises(ValueError, match=r"at least 2 IN .* example 0 has 1 of 3"):
        lira(target, shadows, one_in, "per_example")
    with pytest.raises(ValueError, match="needs 2 IN shadow models of at least one"):
        lira(target, shadows, one_in, "global")
    with pytest.raises(ValueError, match="at least 2 OUT"):
        lira_offline(target, shadows, ~one_in, "per_example")
    with pytest.raises(ValueError, match="at least 2 OUT"):
        released_attack(target, shadows, ~one_in)
    never = one_in & [True, True, False]
    with pytest.raises(ValueError, match=r"at least 1 IN .* example 2 has 0"):
        lira(target, shadows, never, "global")
    assert lira_offline(target, shadows, never, "per_example").shape == (3,)


def test_attacks_refuse_arguments_that_do_not_fit():
    target, shadows, trained_on = np.zeros(3), np.zeros((4, 3)), np.ones((4, 3), dtype=bool)
    for attack in (lira, lira_offline, lambda *pool: released_attack(*pool[:3])):
        with pytest.raises(ValueError, match=r"trained_on .* of bool"):
            attack(target, shadows, trained_on.astype(np.uint8), "global")
        with pytest.raises(ValueError, match="trained_on"):
            attack(target, shadows, trained_on[:3], "global")
        with pytest.raises(ValueError, match="target must be"):
            attack(np.zeros(1), shadows, trained_on, "global")
    with pytest.raises(ValueError, match="per_example, global, not 'fixed'"):
        lira(target, shadows, trained_on, "fixed")


# U-LiRA


@pytest.mark.parametrize("variance", VARIANCES)
def test_u_lira_leaves_the_scored_seed_out(variance):
    draw = np.random.default_rng(2)
    unlearned, retrained = draw.normal(0.5, 1, (5, 6)), draw.normal(0, 1.5, (5, 6))
    found = u_lira(unlearned, retrained, variance)
    for seed, image in itertools.product(range(5), range(6)):
        others = [s for s in range(5) if s != seed]
        lists = [
            [[side[s, i] for s in others] for i in range(6)] for side in (unlearned, retrained)
        ]
        sds = [spread(columns_, variance)[image] for columns_ in lists]
        means = [np.mean(columns_[image]) for columns_ in lists]
        for scores, models in zip(found, (unlearned, retrained), strict=True):
            value = models[seed, image]
            expected = norm.logpdf(value, means[0], sds[0]) - norm.logpdf(value, means[1], sds[1])
            assert scores[seed, image] == pytest.approx(expected, rel=1e-10)


def test_u_lira_reaches_the_auc_of_the_known_distributions():
    draw = np.random.default_rng(3)
    scores = u_lira(draw.normal(1, 1, (100, 40)), draw.normal(0, 1, (100, 40)), "per_example")
    # 4000 scores a side: standard error 0.005
    assert roc_auc(*map(np.ravel, scores)) == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.015)


def test_u_lira_finds_nothing_between_equal_models():
    same = np.random.default_rng(4).normal(size=(4, 30))
    scores = u_lira(same, same, "global")
    assert not np.any(scores)
    assert roc_auc(*map(np.ravel, scores)) == 0.5


def test_the_worst_case_is_the_most_telling_image():
    unlearned = np.array([[0.0, 1.0, 5.0], [1.0, 2.0, 6.0], [2.0, 3.0, 4.0]])
    retrained = np.array([[0.0, 1.5, 3.0], [1.0, 2.5, 5.5], [2.0, 0.5, 2.0]])
    # by image: 4.5, 6 and 7 of 9 pairs
    assert u_lira_worst_case(unlearned, retrained) == pytest.approx(7 / 9)


def test_u_lira_refuses_too_few_seeds_and_unequal_shapes():
    for shapes in (((2, 5), (2, 5)), ((3, 5), (4, 5)), ((3,), (3,))):
        with pytest.raises(ValueError, match="S >= 3 training seeds"):
            u_lira(*map(np.zeros, shapes), "global")


# The SVC


def gaussian_logits(draw, count, sharpness):
    """Logits [count, 4] and labels; the larger `sharpness`, the surer of the label."""
    labels = draw.integers(0, 4, count)
    return draw.normal(size=(count, 4)) + sharpness * np.eye(4)[labels], labels


def test_the_svc_finds_members_that_the_model_is_sure_of():
    draw = np.random.default_rng(0)
    found = svc_attack(*gaussian_logits(draw, 150, 9), *gaussian_logits(draw, 300, 0), seed=1)
    assert found["f1"] > 0.9
    assert found["chance_distance"] == pytest.approx(found["f1"] - 0.5)


def test_the_svc_is_at_chance_between_equal_distributions():
    draw = np.random.default_rng(1)
    found = svc_attack(*gaussian_logits(draw, 250, 2), *gaussian_logits(draw, 250, 2), seed=1)
    # 100 test images a repeat, sd 0.05; the repeats share images, so 5 of them count as one
    assert abs(found["f1"] - 0.5) < 0.15
    assert 0 < found["chance_distance"] < 0.15


def test_the_svc_hears_of_the_loss_and_not_only_of_the_logits():
    draw = np.random.default_rng(2)
    logits, labels = gaussian_logits(draw, 200, 6)
    found = svc_attack(logits, labels, logits, (labels + 1) % 4, seed=1)
    assert found["f1"] > 0.9


def test_the_svc_sees_confidence_entropy_and_loss(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "unlearning.metrics.membership._svc_f1", lambda *given: seen.append(given[:2]) or 0.5
    )
    probabilities, label = np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]), np.array([1, 0])
    logits = np.tile(np.log(probabilities) + 100, (3, 1))
    svc_attack(logits, np.tile(label, 3), -logits, np.tile(label, 3), seed=0)
    entropies = [1.5 * math.log(2), -0.4 * math.log(0.2) - 0.6 * math.log(0.6)]
    expected = [[0.5, entropies[0], math.log(4)], [0.6, entropies[1], math.log(5)]]
    assert seen[0][0] == pytest.approx(np.tile(expected, (3, 1)), rel=1e-12)
    # 1/p over its sum: 0.2, 0.4, 0.4
    assert seen[0][1][0, [0, 2]] == pytest.approx([0.4, math.log(2.5)], rel=1e-12)


@pytest.mark.parametrize("sharpness", [0, 1, 6])
def test_the_svc_is_chosen_as_scikit_learn_s_grid_search_chooses(sharpness):
    draw = np.random.default_rng(sharpness)
    logits, labels = gaussian_logits(draw, 60, sharpness)
    others, classes = gaussian_logits(draw, 90, 0)
    found = svc_attack(logits, labels, others, classes, seed=4, repeats=4)
    generator, f1 = np.random.default_rng(4), []
    sides = membership._features(logits, labels), membership._features(others, classes)
    for _ in range(4):
        drawn = [side[generator.permutation(len(side))[:60]] for side in sides]
        train, test = (
            np.concatenate([side[part] for side in drawn]) for part in (slice(48), slice(48, None))
        )
        svc = SVC(class_weight="balanced", tol=1e-4, max_iter=4000)
        pipeline = Pipeline([("scale", StandardScaler()), ("svc", svc)])
        grid = {"svc__C": [1, 10], "svc__gamma": [1, 0.1]}
        search = GridSearchCV(pipeline, grid, cv=3).fit(train, np.repeat([1, 0], 48))
        f1.append(search.score(test, np.repeat([1, 0], 12)))
    assert found["f1"] == pytest.approx(np.mean(f1), abs=1e-12)


def test_the_svc_depends_on_its_seed_alone():
    draw = np.random.default_rng(3)
    sides = *gaussian_logits(draw, 40, 1), *gaussian_logits(draw, 60, 0)
    first = svc_attack(*sides, seed=7, repeats=3)
    np.random.seed(5)  # numpy's global state must not matter
    assert svc_attack(*sides, seed=7, repeats=3) == first
    assert svc_attack(*sides, seed=8, repeats=3) != first


def test_the_svc_summarises_repeats_of_min_n_m_cap_images(monkeypatch):
    sizes, results = [], iter([0.4, 0.7, 0.6] * 3)

    def stand_in(members, nonmembers, size, generator):
        sizes.append(size)
        return next(results)

    monkeypatch.setattr("unlearning.metrics.membership._svc_f1", stand_in)
    draw = np.random.default_rng(4)
    sides = *gaussian_logits(draw, 40, 1), *gaussian_logits(draw, 60, 0)
    found = svc_attack(*sides, seed=0, repeats=3)
    svc_attack(*sides[2:], *sides[:2], seed=0, repeats=3)
    svc_attack(*sides, seed=0, repeats=3, cap=30)
    assert sizes == [40] * 6 + [30] * 3
    assert found["f1"] == pytest.approx(1.7 / 3)
    assert found["chance_distance"] == pytest.approx(0.4 / 3)
    assert found["f1_sd"] == pytest.approx(math.sqrt((0.5**2 + 0.4**2 + 0.1**2) / 9 / 2))


def test_the_svc_refuses_too_few_images_or_repeats():
    draw = np.random.default_rng(5)
    few, enough = gaussian_logits(draw, 4, 0), gaussian_logits(draw, 20, 0)
    with pytest.raises(ValueError, match="5 images a side, got 4"):
        svc_attack(*few, *enough, seed=0)
    with pytest.raises(ValueError, match="2 repeats, got 1"):
        svc_attack(*enough, *enough, seed=0, repeats=1)


# From data to attack


@pytest.fixture(scope="module")
def overfitting():
    """Random images and labels, 16 shadow models on complementary halves, a target and more."""
    draw = np.random.default_rng(6)
    images, labels = draw.normal(size=(300, 400)), draw.integers(0, 4, 300)
    halves = draw.permuted(np.tile(np.arange(300) < 150, (9, 1)), axis=1)
    trained_on = np.concatenate([halves[:8], ~halves[:8]])
    shadows = np.stack([confidences(images, labels, seen) for seen in trained_on])
    return images, labels, shadows, trained_on, halves[8]


def confidences(images, labels, seen):
    """φ of a ridge regression on one-hot labels: 150 random examples, 400 coefficients a class."""
    x, y = images[seen], np.eye(4)[labels[seen]]
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    return logit_confidence(4 * images @ weights, labels)


def attacks(target, shadows, trained_on):
    yield released_attack(target, shadows, trained_on)
    for attack, variance in itertools.product((lira, lira_offline), VARIANCES):
        yield attack(target, shadows, trained_on, variance)


def test_all_shadow_attacks_recognise_what_an_overfitted_model_has_seen(overfitting):
    images, labels, shadows, trained_on, seen = overfitting
    target = confidences(images, labels, seen)
    for scores in attacks(target, shadows, trained_on):
        assert roc_auc(scores[seen], scores[~seen]) > 0.9


def test_no_shadow_attack_finds_members_of_an_untrained_model(overfitting):
    images, labels, shadows, trained_on, seen = overfitting
    weights = np.random.default_rng(7).normal(size=(images.shape[1], 4)) / 10
    target = logit_confidence(images @ weights, labels)
    for scores in attacks(target, shadows, trained_on):
        sides = scores[seen], scores[~seen]
        assert abs(roc_auc(*sides) - 0.5) < 3 * roc_auc_error(*sides)


# Which variance


def test_the_rule_on_variances_is_what_was_measured():
    """Where the rule changes, the worst error over spreads is smaller on each side of it."""
    frame = pd.read_csv(measure_lira_variance.TABLE)
    worst = frame.pivot_table(index="shadows", columns="variance", values="rms", aggfunc="max")
    mean = frame.pivot_table(index="shadows", columns="variance", values="rms", aggfunc="mean")
    for models in frame["shadows"].unique():
        chosen = variance_for(int(models))
        assert chosen == ("per_example" if models >= 16 else "global")
        assert mean.loc[models, chosen] == mean.loc[models].min()
        if models >= 16:
            assert worst.loc[models, chosen] == worst.loc[models].min()
    text = measure_lira_variance.METRICS.read_text(encoding="utf-8")
    assert measure_lira_variance.with_table(text, frame) == text
    assert measure_lira_variance.with_table(text, frame.assign(rms=0)) != text


def test_the_committed_errors_are_measured_again():
    """One draw of each spread lies where 20 draws say, within two of its own deviations."""
    frame = pd.read_csv(measure_lira_variance.TABLE).set_index(["spread", "shadows", "variance"])
    for spread in (0.0, 0.9):
        for row in measure_lira_variance.errors(spread, np.random.default_rng(99)):
            if row["shadows"] in (8, 64):
                kept = frame.loc[(spread, row["shadows"], row["variance"])]
                assert row["error"] == pytest.approx(kept["bias"], abs=0.04)


def test_the_spread_of_deviations_is_found_from_few_models():
    draw = np.random.default_rng(0)
    for spread in (0.0, 0.5):
        sds = np.exp(draw.normal(0, spread, 4000))
        seen = measure_lira_variance.halves(4000, 32, draw)
        found = measure_lira_variance.spread_of(sds * draw.normal(size=seen.shape), seen)
        assert found == pytest.approx(spread, abs=0.1)


def test_a_config_names_the_variance_or_the_number_of_shadow_models_decides():
    assert Attacks(shadows=8).variance == "global"
    assert Attacks(shadows=16).variance == "per_example"
    assert Attacks(shadows=64, variance="global").variance == "global"
    with pytest.raises(ValidationError, match="multiple of 2"):
        Attacks(shadows=7)
