"""Means and spreads that say over what they run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of n runs, and a phrase for what differs among them."""

    mean: float
    sd: float
    n: int
    over: str


def summarise(values: Sequence[float], groups: Mapping[str, Sequence]) -> Summary:
    """Mean, standard deviation (ddof 1, NaN for n < 2), n, and what the spread runs over.

    `groups` holds, for each value, its `split`, `train_seed` and `unlearn_seed` (a factor may
    be absent; a data frame will do). NaN values are left out: n and `over` count the others.
    Raises ValueError if a factor has another length than `values`.
    """
    values = [float(value) for value in values]
    kept = [k for k, value in enumerate(values) if not math.isnan(value)]
    factors = {}
    for name in ("split", "train_seed", "unlearn_seed"):
        column = list(groups[name]) if name in groups else [""] * len(values)
        if len(column) != len(values):
            raise ValueError(f"{name} has {len(column)} entries for {len(values)} values")
        factors[name] = [str(column[k]) for k in kept]
    numbers = [values[k] for k in kept]
    return Summary(
        mean=statistics.fmean(numbers) if numbers else math.nan,
        sd=statistics.stdev(numbers) if len(numbers) > 1 else math.nan,
        n=len(numbers),
        over=_over(len(numbers), **factors),
    )


def _over(n: int, split: list[str], train_seed: list[str], unlearn_seed: list[str]) -> str:
    """`2 classes x 3 training seeds`, or `5 runs of 2 classes and 3 …` where the grid has holes."""
    if n < 2:
        return "1 run" if n else "no run"
    cells = set(zip(split, train_seed, strict=True))
    # A seed that follows from split and training seed is no factor of its own.
    own_seed = len(set(zip(split, train_seed, unlearn_seed, strict=True))) == len(cells) > 1
    factors = [(split, _split_noun(split)), (train_seed, "training seeds")]
    if not own_seed:
        factors.append((unlearn_seed, "unlearning seeds"))
    levels = [(len(set(column)), noun) for column, noun in factors]
    phrases = [f"{count} {noun}" for count, noun in levels if count > 1]
    if not phrases:
        return f"{n} runs"
    if math.prod(count for count, _ in levels) == n:
        phrase = " x ".join(phrases)
    else:
        phrase = f"{n} runs of {' and '.join(phrases)}"
    ties = own_seed and len(set(unlearn_seed)) > 1
    return f"{phrase}, each with its own unlearning seed" if ties else phrase


def _split_noun(splits: list[str]) -> str:
    kinds = {split.partition("-")[0] for split in splits}
    nouns = {"class": "classes", "classes": "class sets", "seed": "forget sets"}
    return nouns.get(kinds.pop(), "splits") if len(kinds) == 1 else "splits"
