"""The statistics of crossed cells: by hand, against simulation, and where cells are missing."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference
from workspace import PROJECT

from unlearning.stats.comparisons import average_ranks, paired
from unlearning.stats.crossed import blocks, crossed, draws

STATED = {  # docs/metrics.md: classes, seeds, the classes' share of the variance
    tuple(map(float, row[:3])): tuple(
        float(f"0{cell}") if cell != "–" else None for cell in row[3:]
    )
    for row in re.findall(
        r"^\| (\d+) × (\d+) \| (\.\d+) \| (\.\d+) \| (\.\d+|–) \| (\.\d+) \|$",
        (PROJECT / "docs/metrics.md").read_text(encoding="utf-8"),
        re.M,
    )
}
GRIDS = 300


def grid(values, prefix: str = "class") -> pd.Series:
    """`values` [classes, seeds] as a series of cells."""
    values = np.asarray(values, float)
    pairs = itertools.product(range(values.shape[0]), range(values.shape[1]))
    index = [(f"{prefix}-{k}", seed) for k, seed in pairs]
    return pd.Series(
        values.ravel(), pd.MultiIndex.from_tuples(index, names=["split", "train_seed"])
    )


def simulated(draw: np.random.Generator, classes: int, seeds: int, share: float):
    """Values of mean 0 with `share` of the variance in classes, and what they should cover."""
    rest = math.sqrt((1 - share) / 2)
    originals = draw.normal(0, rest, (1, seeds))
    values = draw.normal(0, math.sqrt(share), (classes, 1)) + originals
    values = values + draw.normal(0, rest, (classes, seeds))
    return values, float(originals.mean()) if seeds == 1 else 0.0


def over_cells(values: np.ndarray) -> float:
    """Half the interval that takes cells as independent."""
    return reference.t.ppf(0.975, values.size - 1) * reference.sem(values, axis=None)


def mean_squares(values: np.ndarray) -> float:
    """Half the interval of two-way random effects with Satterthwaite's degrees of freedom."""
    (b, a), mean = values.shape, values.mean()
    if a == 1:
        return math.nan
    classes, seeds = values.mean(1), values.mean(0)
    rest = values - classes[:, None] - seeds + mean
    terms = [classes.var(ddof=1) / b, seeds.var(ddof=1) / a]
    terms.append((rest**2).sum() / ((a - 1) * (b - 1)) / values.size)
    variance = max(terms[0] + terms[1] - terms[2], *terms[:2])
    freedoms = [b - 1, a - 1, (a - 1) * (b - 1)]
    parts = sum(term**2 / freedom for term, freedom in zip(terms, freedoms, strict=True))
    return reference.t.ppf(0.975, max(1, variance**2 / parts)) * math.sqrt(variance)


@pytest.mark.parametrize("setting", STATED, ids=lambda s: f"{s[0]:.0f}x{s[1]:.0f}, {s[2]}")
def test_the_interval_covers_as_often_as_metrics_md_says(setting):
    classes, seeds, share = int(setting[0]), int(setting[1]), setting[2]
    draw, misses = np.random.default_rng(2), np.zeros(3)
    for _ in range(GRIDS):
        values, true = simulated(draw, classes, seeds, share)
        found, off = crossed(grid(values)), abs(values.mean() - true)
        ours = not found.low <= true <= found.high
        assert seeds == 1 or ours == (found.p < 0.05)  # interval and p agree
        misses += [off > over_cells(values), off > mean_squares(values), ours]
    for rate, stated in zip(misses / GRIDS, STATED[setting], strict=True):
        if stated is not None:
            assert rate == pytest.approx(stated, abs=4 * math.sqrt(stated / GRIDS))
    assert misses[2] / GRIDS <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / GRIDS)
    if seeds > 1:
        assert misses[0] / GRIDS > 0.08  # cells taken as independent


def test_every_simulated_layout_is_stated():
    layouts = {(3, 3), (10, 1), (3, 5), (2, 2)}
    assert set(STATED) == {(b, a, share) for b, a in layouts for share in (0.37, 0.9)}


def test_three_classes_and_two_seeds_by_hand():
    # cells 1 3 / 2 4 / 6 8: class means 2, 3, 7 of mean 4, error sqrt(7 / 3) with 2 degrees of
    # freedom, t = 4.302653; seed means 3 and 5, error 1 with one, t = 12.7062: wider
    found = crossed(grid([[1, 3], [2, 4], [6, 8]]))
    assert (found.mean, found.n, found.over) == (4.0, 6, "classes and seeds")
    assert (found.low, found.high) == pytest.approx((4 - 12.7062, 4 + 12.7062), abs=1e-4)
    # p over seeds: t = 4 with one degree of freedom; over classes: t = 2.62 with two
    over_seeds = 1 - 2 * math.atan(4) / math.pi
    over_classes = 2 * reference.t.sf(4 / math.sqrt(7 / 3), 2)
    assert found.p == pytest.approx(max(over_seeds, over_classes)) and found.p > over_classes
    upright = crossed(grid(np.array([[1, 3], [2, 4], [60, 62]])))
    room = 4.302653 * np.std([2, 3, 61], ddof=1) / math.sqrt(3)
    assert upright.high - upright.mean == pytest.approx(room, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "over"),
    [
        ([[0.1], [0.3], [0.2]], "classes of this original"),
        ([[0.1, 0.3, 0.2]], "seeds of this class"),
    ],
)
def test_one_level_of_a_factor_is_student_s_t_over_the_other(values, over):
    found, flat = crossed(grid(values)), np.ravel(values)
    test = reference.ttest_1samp(flat, 0)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    assert (found.p, found.over) == (pytest.approx(test.pvalue), over)


def test_forget_sets_and_sets_of_classes_are_named():
    assert crossed(grid([[1, 2]], "seed")).over == "seeds of this forget set"
    assert crossed(grid([[1], [2]], "classes-1")).over == "class sets of this original"
    assert crossed(grid([[1, 2], [2, 4]], "seed")).over == "forget sets and seeds"
    assert crossed(grid([[1]])).over == ""


def test_means_that_hide_the_spread_of_their_cells_are_no_certainty():
    """Class means and seed means are all equal, cells are not."""
    found = crossed(grid([[1, 2], [2, 1]]))
    test = reference.ttest_1samp([1, 2, 2, 1], 0)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    assert found.p == pytest.approx(test.pvalue)


def test_a_class_and_a_seed_of_each_cell_s_own_are_independent_cells():
    values = [0.2, 0.5, 0.1, 0.4]
    index = [(f"seed-{k}", k) for k in range(4)]
    index = pd.MultiIndex.from_tuples(index, names=["split", "train_seed"])
    found, test = crossed(pd.Series(values, index)), reference.ttest_1samp(values, 0)
    assert found.p == pytest.approx(test.pvalue)


def test_of_a_grid_with_a_hole_the_classes_weigh_as_they_have_cells():
    cells = grid([[1, 3], [2, 4], [6, 8]]).drop(("class-2", 1))  # 1 3 / 2 4 / 6: mean 3.2
    found = crossed(cells)
    assert (found.n, found.mean) == (5, pytest.approx(3.2))
    # sums of deviations: classes -2.4, -0.4, 2.8; seeds -0.6 (three cells) and 0.6 (two)
    errors = [math.sqrt((2.4**2 + 0.4**2 + 2.8**2) * 3 / 2) / 5, math.sqrt(2 * 0.6**2 * 2) / 5]
    rooms = [error * reference.t.ppf(0.975, df) for error, df in zip(errors, (2, 1), strict=True)]
    assert found.high - found.mean == pytest.approx(max(rooms))


def test_equal_cells_and_one_cell():
    same = crossed(grid([[0.3, 0.3]]), slack=1e-12)
    assert (same.mean, same.n) == (0.3, 2) and math.isnan(same.low) and math.isnan(same.p)
    zero = crossed(grid([[1e-15, 0.0]]), slack=1e-12)
    assert (zero.mean, zero.low, zero.high, zero.p) == (0, 0, 0, 1)
    one = crossed(grid([[0.3]]))
    assert (one.mean, one.n) == (0.3, 1) and math.isnan(one.low) and math.isnan(one.p)


def test_cells_without_class_and_seed_are_refused():
    with pytest.raises(ValueError, match="got no split"):
        crossed(pd.Series([1.0, 2.0]))
    with pytest.raises(ValueError, match="got no split"):
        paired(pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 4.0]}), "a")
    with pytest.raises(ValueError, match="got no split"):
        average_ranks(pd.DataFrame(np.random.default_rng(0).random((4, 3))))
    with pytest.raises(ValueError, match="1 NaN"):
        crossed(grid([[1, math.nan]]))


def test_a_difference_that_only_cells_tell_apart_is_not_told_apart():
    """Nine cells of three classes that differ: p < 0.05 over cells, not over classes."""
    draw = np.random.default_rng(0)
    gaps = np.array([0.01, 0.02, 0.07])[:, None] + draw.normal(0, 0.003, (3, 3))
    duck = grid(draw.normal(0.9, 0.01, (3, 3)))
    values = pd.DataFrame({"duck": duck, "rival": duck - gaps.ravel()})
    assert reference.ttest_rel(values["duck"], values["rival"]).pvalue < 0.01
    row = paired(values, "rival").loc["duck"]
    assert row["p"] == pytest.approx(reference.ttest_1samp(gaps.mean(1), 0).pvalue)
    assert (row["verdict"], row["over"]) == ("not told apart", "classes and seeds")


def test_ranks_are_over_classes_with_seeds_averaged():
    draw = np.random.default_rng(1)
    values = pd.DataFrame({name: grid(draw.random((4, 5))) for name in "abc"})
    found = average_ranks(values)
    means = values.groupby(level="split").mean()
    assert (found.n, found.over, found.cells) == (4, "classes", 20)
    expected = means.rank(axis=1, ascending=False).mean().sort_values()
    assert found.ranks.to_dict() == pytest.approx(expected.to_dict())
    test = reference.friedmanchisquare(*means.to_numpy().T)
    assert found.friedman_p == pytest.approx(test.pvalue)
    one = average_ranks(values.loc[["class-0"]])
    assert (one.n, one.over) == (5, "seeds")
    assert blocks(values.loc[["class-0"]])[0].to_numpy() == pytest.approx(
        values.loc[["class-0"]].to_numpy()
    )


def test_nested_class_sets_are_one_draw():
    sets = ["class-3", "classes-3-8", "classes-3-5-8-9", "class-8", "classes-1-8"]
    assert draws([*sets, "classes-1-7-8-9"]) == {
        **dict.fromkeys(sets[:3], "draw-0"),
        **dict.fromkeys([*sets[3:], "classes-1-7-8-9"], "draw-1"),
    }
    apart = draws(["classes-0-1", "classes-2-3", "classes-2-3-4"])
    assert apart["classes-0-1"] != apart["classes-2-3"] == apart["classes-2-3-4"]
