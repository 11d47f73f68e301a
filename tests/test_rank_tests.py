"""The two rank tests against published examples, hand counts and all permutations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from unlearning.stats.comparisons import RankTest, rank_sum, signed_rank

NAN = math.nan
PERMEABILITY = (  # Hollander and Wolfe 1973, p. 69: of membranes at term and at 12 to 26 weeks
    [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
    [1.15, 0.88, 0.90, 0.74, 1.21],
)
DEPRESSION = (  # Hollander and Wolfe 1973, p. 29: scores at the first and the second visit
    [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30],
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29],
)


def test_the_published_examples():
    # U = 35 of 50, one-sided p = 0.1272; W+ = 40 of 45, one-sided p = 10 / 512
    found = rank_sum(*PERMEABILITY)
    assert (found.n, found.effect) == (15, pytest.approx(2 * 35 / 50 - 1))
    assert found.p == pytest.approx(2 * 0.1272, abs=1e-4)
    found = signed_rank(*DEPRESSION)
    assert (found.n, found.p) == (9, pytest.approx(20 / 512))
    assert found.effect == pytest.approx((40 - 5) / 45)


def pairs_won(x, y) -> float:
    """Share of pairs with x larger less the share with y larger."""
    return sum(int(a > b) - int(a < b) for a in x for b in y) / (len(x) * len(y))


def all_splits_p(x, y) -> float:
    """Share of all splits of the values that win or lose as many pairs as this one, or more."""
    values, size = [*x, *y], len(x)
    extreme = []
    for chosen in itertools.combinations(range(len(values)), size):
        rest = [values[k] for k in range(len(values)) if k not in chosen]
        won = pairs_won([values[k] for k in chosen], rest)
        extreme.append(abs(won) >= abs(pairs_won(x, y)) - 1e-12)
    return sum(extreme) / len(extreme)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 5), (6, 4)])
def test_the_rank_sum_agrees_with_all_splits(sizes):
    draw = np.random.default_rng(0)
    for _ in range(6):
        x, y = (draw.normal(shift, 1, size) for shift, size in zip((0.7, 0), sizes, strict=True))
        found = rank_sum(x, y)
        assert found.p == pytest.approx(all_splits_p(x, y), rel=1e-9)
        assert found.effect == pytest.approx(pairs_won(x, y), abs=1e-12)
        assert found.n == sum(sizes)


def test_the_rank_sum_by_hand():
    assert rank_sum([4, 5, 6], [1, 2, 3]) == RankTest(6, pytest.approx(2 / 20), 1.0)
    assert rank_sum([1, 2, 3], [4, 5, 6]) == RankTest(6, pytest.approx(2 / 20), -1.0)


def test_the_rank_sum_of_ties_is_normal_with_its_corrections():
    # 1 wins nothing, 2 ties twice, 3 wins twice and ties twice: U = 0 + 1 + 3 of 12 pairs
    x, y = [1, 2, 3], [2, 2, 3, 3]
    ties = (3**3 - 3) + (3**3 - 3)
    sd = math.sqrt(3 * 4 / 12 * (8 - ties / (7 * 6)))
    z = (abs(4 - 6) - 0.5) / sd
    found = rank_sum(x, y)
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-9)
    assert found.effect == pytest.approx(2 * 4 / 12 - 1)


def test_the_rank_sum_of_large_samples_is_normal():
    x, y = np.arange(0, 40, 2.0) + 5.3, np.arange(0, 40, 2.0)
    z = (abs(pairs_won(x, y) * 400 / 2) - 0.5) / math.sqrt(20 * 20 * 41 / 12)
    assert rank_sum(x, y).p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-9)


def all_signs_p(differences) -> float:
    """Share of all signs of the nonzero differences with a |W+ - W-| as large, or larger."""
    left = [d for d in differences if d]
    sizes = [abs(d) for d in left]
    ranks = [1 + sum(b < a for b in sizes) + (sizes.count(a) - 1) / 2 for a in sizes]
    seen = abs(sum(math.copysign(rank, d) for rank, d in zip(ranks, left, strict=True)))
    signs = list(itertools.product([-1, 1], repeat=len(left)))
    sums = [abs(sum(s * r for s, r in zip(sign, ranks, strict=True))) for sign in signs]
    return sum(total >= seen for total in sums) / len(signs)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("tied", [False, True])
def test_the_signed_ranks_agree_with_all_signs(size, tied):
    draw = np.random.default_rng(size)
    for _ in range(6):
        steps = draw.normal(0.6, 1, size) if not tied else draw.integers(-2, 4, size)
        base = draw.integers(0, 50, size) * 1.0
        found = signed_rank(base + steps, base)
        assert found.p == pytest.approx(all_signs_p(steps.tolist()), rel=1e-9)
        assert found.n == size


def test_the_signed_ranks_by_hand():
    # differences 1, -2, 3: W+ = 4, W- = 2; 6 of 8 signs have |W+ - W-| >= 2
    assert signed_rank([2, 0, 3], [1, 2, 0]) == RankTest(3, pytest.approx(6 / 8), 1 / 3)
    assert signed_rank([2, 4, 3], [1, 2, 0]) == RankTest(3, pytest.approx(2 / 8), 1.0)
    # 0, 0, 5, -1: the zeros are dropped, W+ = 2, W- = 1
    assert signed_rank([1, 1, 5, 0], [1, 1, 0, 1]) == RankTest(4, pytest.approx(1), 1 / 3)


def test_differences_that_only_rounding_tells_apart_are_ties():
    x, y = [0.3, 0.2, 0.7, 0.8], [0.2, 0.1, 0.6, 0.9]
    assert len(set(np.abs(np.subtract(x, y)))) > 1
    found = signed_rank(x, y)
    assert found == RankTest(4, pytest.approx(all_signs_p([1, 1, 1, -1])), 0.5)
    tiny = signed_rank(np.array(x) * 1e-20, np.array(y) * 1e-20)
    assert (tiny.p, tiny.effect) == (found.p, found.effect)
    assert signed_rank([0.1 + 0.2, 0.3], [0.3, 0.3]) == RankTest(2, 1.0, 0.0)


def test_both_are_two_sided_and_change_sign_with_the_order():
    for test, sides in ((rank_sum, PERMEABILITY), (signed_rank, DEPRESSION)):
        one, other = test(*sides), test(*reversed(sides))
        assert (one.n, one.p) == (other.n, pytest.approx(other.p))
        assert one.effect == pytest.approx(-other.effect) and one.effect > 0


@pytest.mark.parametrize("test", [rank_sum, signed_rank])
def test_equal_values_have_p_one_and_no_effect(test):
    for value in (0.0, 0.1):
        found = test([value] * 3, [value] * 3)
        assert (found.p, found.effect) == (1.0, 0.0)


def test_fewer_than_two_values_are_not_tested():
    nothing = pytest.approx(NAN, nan_ok=True)
    assert rank_sum([1.0], [2.0, 3.0, 4.0]) == RankTest(4, nothing, nothing)
    assert rank_sum([], []) == RankTest(0, nothing, nothing)
    assert signed_rank([1.0], [2.0]) == RankTest(1, nothing, nothing)
    assert signed_rank([], []) == RankTest(0, nothing, nothing)


def test_missing_values_are_left_out():
    assert rank_sum([4, None, 5, 6], [NAN, 1, 2, 3]) == rank_sum([4, 5, 6], [1, 2, 3])
    pairs = signed_rank([2, None, 4, 3, 9], [1, 5, 2, 0, NAN])
    assert pairs == signed_rank([2, 4, 3], [1, 2, 0])
    with pytest.raises(ValueError, match="equally many values, got 3 and 2"):
        signed_rank([1, 2, 3], [1, 2])
