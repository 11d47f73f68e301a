"""Intervals, paired tests, ranks and variance components against simulation and hand counts."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from unlearning.stats.comparisons import average_ranks, holm, paired
from unlearning.stats.summary import BOOTSTRAP_FROM, Interval, interval, variance_components

SPLITS = np.array([-0.10, 0.02, 0.17])  # fixed effects of three classes, mean 0.03


def seeds_by_splits(draw: np.random.Generator, seeds: int) -> np.ndarray:
    """Scores with mean 0.83: training seed sd 0.03, fixed splits, seed x split and noise 0.02."""
    return 0.8 + SPLITS + draw.normal(0, 0.03, (seeds, 1)) + draw.normal(0, 0.02, (seeds, 3))


def coverage(seeds: int, how: str, repetitions: int = 2000) -> float:
    draw, generator = np.random.default_rng(2312), np.random.default_rng(2052)
    hits = 0
    for _ in range(repetitions):
        found = interval(seeds_by_splits(draw, seeds), generator, resamples=999)
        assert (found.how, found.n) == (how, seeds)
        hits += found.low <= 0.83 <= found.high
    return hits / repetitions


@pytest.mark.parametrize(
    ("seeds", "how"), [(2, "t"), (3, "t"), (5, "t"), (6, "bootstrap"), (10, "bootstrap")]
)
def test_a_nominal_95_percent_interval_covers_in_93_to_97_percent(seeds, how):
    assert 0.93 <= coverage(seeds, how) <= 0.97


def test_the_coverage_test_sees_an_interval_over_cells_instead_of_seeds():
    draw, hits = np.random.default_rng(2312), 0
    for _ in range(2000):
        every = (seeds_by_splits(draw, 10) - SPLITS).ravel()  # splits known, all cells independent
        hits += abs(every.mean() - 0.8) <= reference.t.ppf(0.975, 29) * reference.sem(every)
    assert hits / 2000 < 0.93


def test_few_seeds_have_student_s_interval_of_the_row_means():
    values = seeds_by_splits(np.random.default_rng(0), BOOTSTRAP_FROM - 1)
    found = interval(values, np.random.default_rng(1))
    expected = reference.ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-12)
    assert (found.how, found.n) == ("t", 5)


def test_two_seeds_by_hand():
    # row means 1 and 3: mean 2, standard error 1, t(0.975, 1) = 12.7062
    found = interval(np.array([[0.0, 2.0], [2.0, 4.0]]), np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((-10.7062, 14.7062), abs=1e-4)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_bootstrap_agrees_with_all_resamples_counted(level):
    values = np.random.default_rng(3).gamma(1, 1, (6, 2))
    rows = [statistics_of(row) for row in itertools.product(values.mean(axis=1), repeat=6)]
    mean, error = statistics_of(values.mean(axis=1))
    scaled = sorted(  # 6 of 46 656 resamples repeat one row: no error, an infinite value
        (m - mean) / e if e > 1e-12 else math.copysign(math.inf, m - mean) for m, e in rows
    )
    low = mean - error * scaled[int((1 + level) / 2 * len(scaled))]
    high = mean - error * scaled[int((1 - level) / 2 * len(scaled))]
    found = interval(values, np.random.default_rng(4), level, resamples=200_000)
    assert found.how == "bootstrap"
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02 * (high - low))


def statistics_of(row) -> tuple[float, float]:
    mean = sum(row) / len(row)
    squares = sum((value - mean) ** 2 for value in row)
    return mean, math.sqrt(squares / (len(row) - 1) / len(row))


def test_splits_are_strata_and_add_no_width():
    values = seeds_by_splits(np.random.default_rng(5), 10)
    apart = interval(values + np.array([-10, 0, 10]), np.random.default_rng(6))
    together = interval(values, np.random.default_rng(6))
    assert (apart.low, apart.high) == pytest.approx((together.low, together.high), rel=1e-9)


def test_the_bootstrap_follows_the_skew():
    values = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5], [0.6], [5.0]])
    found, mean = interval(values, np.random.default_rng(7)), values.mean()
    assert found.how == "bootstrap"
    assert found.high - mean > 2 * (mean - found.low) > 0


def test_the_generator_decides_and_nothing_else():
    values = seeds_by_splits(np.random.default_rng(8), 8)
    first, again, other = (interval(values, np.random.default_rng(k)) for k in (1, 1, 2))
    assert first == again
    assert first != other


def test_one_seed_has_no_interval():
    found = interval(np.ones((1, 3)), np.random.default_rng(0))
    assert math.isnan(found.low) and math.isnan(found.high)
    assert (found.n, found.how) == (1, "none")


@pytest.mark.parametrize(("rows", "how"), [(3, "t"), (8, "bootstrap")])
def test_equal_seeds_have_an_interval_without_width(rows, how):
    found = interval(np.full((rows, 1), 0.1), np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1), abs=1e-15)
    assert (found.n, found.how) == (rows, how)


def test_one_seed_apart_leaves_too_many_flat_resamples_for_the_bootstrap():
    values = np.array([0.1] * 5 + [0.4])[:, None]  # (5/6)^6: a third of the resamples is flat
    found = interval(values, np.random.default_rng(0))
    expected = reference.ttest_1samp(values[:, 0], 0).confidence_interval(0.95)
    assert found == Interval(*map(pytest.approx, expected), n=6, how="t")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.1, math.nan], [0.1, 0.2]], "values holds 1 NaN"),
        ([0.1, 0.2], r"must be \[seeds, splits\] and not empty, got \(2,\)"),
        (np.empty((0, 3)), r"got \(0, 3\)"),
    ],
)
def test_values_that_make_no_interval_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        interval(values, np.random.default_rng(0))


def cells(values, seeds: int = 1) -> pd.DataFrame:
    """`values` [classes × seeds, methods] with the index of cells, class by class."""
    table = pd.DataFrame(values)
    pairs = itertools.product(range(len(table) // seeds), range(seeds))
    index = pd.MultiIndex.from_tuples(
        [(f"class-{k}", seed) for k, seed in pairs], names=["split", "train_seed"]
    )
    return table.set_axis(index)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, then never falling
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06], abs=1e-15)
    assert holm([0.6, 0.5]) == pytest.approx([1, 1])
    assert holm([]).tolist() == []


def test_holm_leaves_nan_out_of_the_count():
    found = holm([math.nan, 0.03, math.nan, 0.01])
    assert found[[1, 3]] == pytest.approx([0.03, 0.02])
    assert np.isnan(found[[0, 2]]).all()
    assert np.isnan(holm([math.nan])).all()


def test_holm_agrees_with_the_steps_of_the_procedure():
    draw = np.random.default_rng(0)
    for size in range(1, 8):
        p = draw.random(size).round(1) * 0.2  # ties as well
        for level in np.linspace(0.0101, 0.9901, 50):
            assert ((holm(p) <= level) == rejected(p, level)).all()


def rejected(p: np.ndarray, level: float) -> np.ndarray:
    """Holm's procedure: reject the smallest p while it is at most level / those left."""
    found = np.zeros(len(p), dtype=bool)
    for left, k in zip(range(len(p), 0, -1), np.argsort(p, kind="stable"), strict=True):
        if p[k] > level / left:
            break
        found[k] = True
    return found


@pytest.mark.parametrize("wrong", [-0.1, 1.2])
def test_holm_refuses_what_is_no_probability(wrong):
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\]"):
        holm([0.5, wrong])


@pytest.mark.parametrize("seeds", [1, 8])
def test_paired_agrees_with_the_paired_t_test_over_common_cells(seeds):
    """With one class or one seed cells are independent, and the test is the paired t-test."""
    draw = np.random.default_rng(1)
    values = cells(draw.normal(size=(8, 3)), seeds).set_axis(["scrub", "duck", "oracle"], axis=1)
    values.loc[values.index[0], "scrub"] = math.nan
    values.loc[values.index[7], "duck"] = math.nan
    table = paired(values, "duck")
    assert list(table.index) == ["scrub", "oracle"] and list(table["n"]) == [6, 7]
    for name, row in table.iterrows():
        both = values[[name, "duck"]].dropna()
        test = reference.ttest_rel(both[name], both["duck"])
        assert row["p"] == pytest.approx(test.pvalue, rel=1e-12)
        assert (row["low"], row["high"]) == pytest.approx(tuple(test.confidence_interval()))
        assert row["difference"] == pytest.approx((both[name] - both["duck"]).mean(), rel=1e-12)
    assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"]), rel=1e-15)


def test_paired_by_hand():
    # differences 1, 2, 3: mean 2, error 1 / sqrt(3), t = 2 sqrt(3); F(t, 2) = 1/2 + t / (2 r) with
    # r = sqrt(2 + t^2) = sqrt(14), so p = 1 - sqrt(12 / 14); t(0.975, 2) = 4.302653
    table = paired(cells({"a": [1.0, 1.0, 1.0], "b": [2.0, 3.0, 4.0]}), "a")
    (row,) = table.to_dict("records")
    assert row["p"] == row["p_holm"] == pytest.approx(1 - math.sqrt(12 / 14), rel=1e-12)
    half = 4.302653 / math.sqrt(3)
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert (row["n"], row["difference"], row["verdict"]) == (3, 2.0, "not told apart")
    assert row["over"] == "classes of this original"


def test_a_verdict_needs_the_corrected_p():
    step = np.array([-1.0, 1.0] * 4)  # t = shift * sqrt(7)
    shifts = {"up": 4.0, "down": -4.0, "almost": 1.0, "none": 0.0}
    table = paired(cells({"base": 0 * step} | {k: s + step for k, s in shifts.items()}), "base")
    assert table["p"]["almost"] == pytest.approx(2 * reference.t.sf(math.sqrt(7), 7))
    assert table["p"]["almost"] < 0.05 < table["p_holm"]["almost"]
    assert list(table["verdict"]) == ["higher", "lower", "not told apart", "not told apart"]


def test_what_cannot_be_tested_says_so_and_is_not_counted():
    base = np.array([0.1, 0.2, 0.3, 0.7])
    one, nan = np.array([0.5, math.nan, math.nan, math.nan]), np.full(4, math.nan)
    moved = base + np.array([0.01, 0.02, 0.01, 0.02])
    methods = {"same": base, "constant": base + 0.1, "one": one, "no": nan, "moved": moved}
    table = paired(cells({"base": base} | methods), "base")
    verdicts = ["not told apart", *["not tested"] * 3, "higher"]
    assert table["verdict"].tolist() == verdicts
    assert table["n"].tolist() == [4, 4, 1, 0, 4]
    same = table.loc["same", ["difference", "low", "high", "p", "p_holm"]]
    assert same.tolist() == [0, 0, 0, 1, 1]
    untested = table.loc[["constant", "one", "no"]]
    assert untested[["low", "high", "p", "p_holm"]].isna().all(axis=None)
    assert untested["difference"].to_numpy() == pytest.approx([0.1, 0.4, math.nan], nan_ok=True)
    assert table["p_holm"]["moved"] == pytest.approx(2 * table["p"]["moved"], rel=1e-12)


def test_a_baseline_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="baseline 'duck' is none of scrub, salun"):
        paired(pd.DataFrame({"scrub": [1.0], "salun": [2.0]}), "duck")


def verdicts(shift: float, repetitions: int) -> pd.DataFrame:
    """Verdicts [repetitions, 4 methods] at 10 classes; the first is `shift` sd of a gap up."""
    draw, found = np.random.default_rng(9), []
    for _ in range(repetitions):
        values = draw.normal(0, 3, (10, 1)) + draw.normal(0, math.sqrt(0.5), (10, 5))
        values[:, 1] += shift
        found.append(paired(cells(values), 0)["verdict"].tolist())
    return pd.DataFrame(found)


def test_the_family_wise_error_is_at_most_five_percent():
    wrong = (verdicts(0.0, 1000) != "not told apart").any(axis=1).mean()
    # four tests share a baseline, so Holm is conservative; without it the four tests reach 0.17
    assert 0.025 < wrong < 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 1000)


def test_a_known_shift_is_found_as_often_as_the_noncentral_t_says():
    found = (verdicts(1.5, 500)[0] == "higher").mean()
    noncentral = [
        reference.nct.sf(reference.t.ppf(1 - 0.025 / tests, 9), 9, 1.5 * math.sqrt(10))
        for tests in (4, 1)  # Holm is between Bonferroni and no correction
    ]
    assert noncentral[0] - 0.02 < found < noncentral[1]


METHODS = ["C4.5", "m", "cf", "mcf"]
DEMSAR = [  # Demšar 2006, table 6: AUC of four trees on 14 data sets
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],  # printed as a tie, ranked 2 and 3
    [0.957, 0.978, 0.946, 0.970],
]


def test_ranks_agree_with_the_example_of_the_paper():
    found = average_ranks(cells(DEMSAR).set_axis(METHODS, axis=1))
    assert (found.n, found.cells, found.over) == (14, 14, "classes")
    assert found.ranks.round(3).to_dict() == {"mcf": 1.964, "m": 2.0, "cf": 2.893, "C4.5": 3.143}
    assert list(found.ranks.index) == ["mcf", "m", "cf", "C4.5"]
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.groups == [("mcf", "m", "cf", "C4.5")]


def test_ranks_by_hand():
    # ranks 1 2 3 / 1 2.5 2.5 / 2 1 3: sums 4, 5.5, 8.5
    values = cells({"a": [9, 9, 5], "b": [8, 4, 6], "c": [7, 4, 4], "d": math.nan})
    found = average_ranks(values[["c", "b", "a"]])
    assert found.ranks.to_dict() == pytest.approx({"a": 4 / 3, "b": 5.5 / 3, "c": 8.5 / 3})
    # Friedman: 12 / (3 * 3 * 4) (16 + 30.25 + 72.25) - 36 = 3.5, over 1 - 6 / (3 * 24) for the tie;
    # chi square with 2 degrees of freedom has the tail exp(-x / 2)
    assert found.friedman_p == pytest.approx(math.exp(-3.5 / (1 - 6 / 72) / 2), rel=1e-12)
    upside_down = average_ranks(-values[["c", "b", "a"]], higher_is_better=False)
    assert upside_down.ranks.equals(found.ranks)
    assert average_ranks(values[["c", "b", "a"]], higher_is_better=False).ranks.index[0] == "c"


@pytest.mark.parametrize(  # Demšar 2006, table 5 (a)
    ("k", "q"),
    [
        (3, 2.343),
        (4, 2.569),
        (5, 2.728),
        (6, 2.850),
        (7, 2.949),
        (8, 3.031),
        (9, 3.102),
        (10, 3.164),
    ],
)
def test_the_critical_difference_has_the_published_quantiles(k, q):
    found = average_ranks(cells(np.random.default_rng(k).random((12, k))))
    assert found.critical_difference == pytest.approx(q * math.sqrt(k * (k + 1) / 72), rel=3e-4)


def test_incomplete_cells_are_dropped():
    values = cells(np.random.default_rng(0).random((6, 4)))
    holes = values.copy()
    holes.iloc[0, 1] = holes.iloc[4, 3] = math.nan
    found = average_ranks(holes)
    expected = average_ranks(values.drop(index=values.index[[0, 4]]))
    assert (found.n, found.friedman_p) == (4, expected.friedman_p)
    assert found.ranks.equals(expected.ranks)


def test_groups_agree_with_brute_force():
    draw, sizes = np.random.default_rng(0), set()
    for k in (3, 5, 8, 8, 8):
        strength = np.linspace(0, 6, k)
        found = average_ranks(cells(draw.normal(strength, 1, (30, k))))
        subsets = [
            set(names)
            for size in range(2, k + 1)
            for names in itertools.combinations(found.ranks.index, size)
            if np.ptp(found.ranks[list(names)]) <= found.critical_difference
        ]
        largest = [one for one in subsets if not any(one < other for other in subsets)]
        assert sorted(map(sorted, found.groups)) == sorted(map(sorted, largest))
        assert [found.ranks[group[0]] for group in found.groups] == sorted(
            found.ranks[group[0]] for group in found.groups
        )
        sizes.add(len(found.groups))
    assert max(sizes) > 2


def test_cells_that_are_all_one_tie_tell_nothing():
    found = average_ranks(cells({name: [0.5] * 4 for name in "abc"}))
    assert (found.friedman_p, found.ranks.tolist()) == (1.0, [2.0, 2.0, 2.0])
    assert found.groups == [("a", "b", "c")]


def test_too_few_methods_or_cells_for_ranks():
    full = cells(np.random.default_rng(0).random((4, 3)))
    with pytest.raises(ValueError, match=r"3 methods and 2 classes.* got 2 and 4"):
        average_ranks(full[[0, 1]])
    full.iloc[1:, 2] = math.nan
    with pytest.raises(ValueError, match="got 3 and 1"):
        average_ranks(full)


def runs(grid: np.ndarray) -> pd.DataFrame:
    """One row a run, from values [train seeds, splits, unlearning seeds], in shuffled order."""
    rows = [(value, a, f"class-{b}", m) for (a, b, m), value in np.ndenumerate(grid)]
    table = pd.DataFrame(rows, columns=["value", "train_seed", "split", "unlearn_seed"])
    return table.sample(frac=1, random_state=0)


def test_variance_components_of_a_two_by_two_grid_by_hand():
    # cells (1, 3), (5, 7) / (2, 4), (14, 20), two unlearning seeds each; cell means 2 6 / 3 17
    # MS_within = (2 + 2 + 2 + 18) / 4 = 6; rows 4, 10 and columns 2.5, 11.5, mean 7
    # MS_train = 4 * 18 = 72, MS_split = 4 * 40.5 = 162, MS_interaction = 2 * 4 * 2.5^2 = 50
    grid = np.array([[[1, 3], [5, 7]], [[2, 4], [14, 20]]])
    expected = {"train_seed": 5.5, "split": 28.0, "interaction": 22.0, "unlearn_seed": 6.0}
    assert variance_components(runs(grid)) == pytest.approx(expected, rel=1e-12)


def test_with_one_unlearning_seed_the_interaction_holds_the_residual():
    # 2 6 / 3 17: MS_train = 2 * 18 = 36, MS_split = 2 * 40.5 = 81, MS_interaction = 25
    found = variance_components(runs(np.array([[[2], [6]], [[3], [17]]])))
    assert math.isnan(found.pop("unlearn_seed"))
    expected = {"train_seed": 5.5, "split": 28.0, "interaction": 25.0}
    assert found == pytest.approx(expected, rel=1e-12)


def test_variance_components_recover_those_simulated():
    draw, (a, b, m) = np.random.default_rng(0), (300, 300, 3)
    grid = 0.5 + draw.normal(0, 0.3, (a, 1, 1)) + draw.normal(0, 0.6, (1, b, 1))
    grid = grid + draw.normal(0, 0.2, (a, b, 1)) + draw.normal(0, 0.1, (a, b, m))
    found = variance_components(runs(grid))
    expected = {"train_seed": 0.09, "split": 0.36, "interaction": 0.04, "unlearn_seed": 0.01}
    # a variance from 300 levels is known to sqrt(2 / 299) = 8 %, the other two to 1 %
    for name, room in zip(expected, (0.2, 0.2, 0.02, 0.02), strict=True):
        assert found[name] == pytest.approx(expected[name], rel=room)


def test_the_mean_of_the_estimates_is_the_truth_on_a_grid_of_another_shape():
    draw, estimates = np.random.default_rng(1), []
    for _ in range(400):
        grid = draw.normal(0, 3, (6, 1, 1)) + draw.normal(0, 2, (1, 4, 1))
        grid = grid + draw.normal(0, 1, (6, 4, 1)) + draw.normal(0, 1, (6, 4, 2))
        estimates.append(variance_components(runs(grid)))
    table = pd.DataFrame(estimates)
    spread = table.std() / math.sqrt(len(table))
    assert (abs(table.mean() - [9, 4, 1, 1]) < 3 * spread).all()


def test_a_negative_estimate_is_zero():
    found = variance_components(runs(np.array([[[0.0], [1.0]], [[1.0], [0.0]]])))
    assert (found["train_seed"], found["split"], found["interaction"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # values 0, 1, 2, …: a variance of the means less the within mean square over its number
        ((1, 3, 1), {"split": 1.0}),
        ((3, 1, 1), {"train_seed": 1.0}),
        ((1, 3, 2), {"split": 4 - 0.5 / 2, "unlearn_seed": 0.5}),
        ((1, 1, 3), {"unlearn_seed": 1.0}),
        ((1, 1, 1), {}),
    ],
)
def test_a_factor_with_one_level_has_no_variance(shape, expected):
    found = variance_components(runs(np.arange(float(np.prod(shape))).reshape(shape)))
    assert {k: v for k, v in found.items() if not math.isnan(v)} == pytest.approx(expected)
    assert list(found) == ["train_seed", "split", "interaction", "unlearn_seed"]


def test_unlearning_seeds_are_nested_and_need_no_common_names():
    grid = np.random.default_rng(2).random((3, 2, 2))
    named = runs(grid)
    own = named.assign(unlearn_seed=named["unlearn_seed"] + 10 * named["train_seed"])
    assert variance_components(own) == variance_components(named)


def test_a_grid_that_is_not_balanced_is_refused():
    full = runs(np.random.default_rng(0).random((2, 2, 2)))
    last = full["train_seed"].eq(1) & full["split"].eq("class-1")
    for lost in (last & full["unlearn_seed"].eq(1), last):
        with pytest.raises(ValueError, match=r"not balanced; (.|\n)*class-1"):
            variance_components(full[~lost])
    with pytest.raises(ValueError, match="holds NaN"):
        variance_components(full.assign(value=full["value"].mask(last)))
    with pytest.raises(ValueError, match="is empty"):
        variance_components(full[:0])
    with pytest.raises(ValueError, match="no column split"):
        variance_components(full.drop(columns="split"))
    with pytest.raises(ValueError, match=r"given twice: \{'train_seed'"):
        variance_components(pd.concat([full, full]))


def test_importing_the_statistics_does_not_import_scipy():
    code = "import sys, unlearning.stats.summary; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
