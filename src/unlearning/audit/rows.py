"""audit.csv: a row a reported number, ours beside it, with grade, verdict and reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from unlearning.audit import grades, quantities
from unlearning.audit import reported as names
from unlearning.audit.beside import Absent, Beside, Run, beside, movement
from unlearning.audit.quantities import Quantity
from unlearning.audit.reported import Reported
from unlearning.audit.rule import decide, margin, measure
from unlearning.config import hyperparameters
from unlearning.config.experiment import RunConfig
from unlearning.files import METHODS
from unlearning.metrics.names import COSTS
from unlearning.results.runs import status_note

COLUMNS = [
    *("row", "source", "version", "table_or_figure", "dataset", "scenario", "method", "metric"),
    *("exactness", "reported", "spread", "spread_over", "grade", "ours", "low", "high", "n"),
    *("quantity", "reported_quantity", "our_quantity", "difference", "h"),
    *("verdict", "reason", "command", "trace"),
]
"""The columns of audit.csv."""
BASELINE = "duck"
"""The method whose time the others' are divided by."""


def audit(
    reported: Sequence[Reported],
    runs: pd.DataFrame,
    ours: RunConfig,
    paper: RunConfig,
    command: str,
    recorded: grades.Recorded | None = None,
    folder: str | Path = METHODS,
) -> pd.DataFrame:
    """A row (COLUMNS) for each reported number, in its own unit and in the order given.

    The arguments but the first and `command`, which would run the paper's grid, are those of Run.
    quantity, reported_quantity, our_quantity: what is judged; difference and h are of that.
    reason: code words of `words.REASONS`, with `; ` between them; some name details.
    """
    run = Run(runs, ours, paper, recorded or {}, folder)
    published = quantities.published_originals(reported, run.datasets)
    times = _times(reported, run)
    rows = []
    for number in reported:
        found = beside(number, run)
        if isinstance(found, Absent):
            row = _without(found)
        else:
            row = _shown(number, found, run, published, times)
        other = row["grade"] == "C" and "no_paper_recipe" not in row["reason"]
        runnable = row.pop("runnable", row["verdict"] == "not judged" and other)
        rows.append(_row(number) | row | {"command": command if runnable else ""})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64"})


def _row(number: Reported) -> dict:
    kept = {name: getattr(number, name) for name in COLUMNS if hasattr(number, name)}
    return kept | {"reported": number.printed}


def _without(absent: Absent) -> dict:
    numbers = ("ours", "low", "high", "reported_quantity", "our_quantity", "difference", "h")
    facts = {"quantity": "", "trace": "", "n": pd.NA}
    return dict.fromkeys(numbers, math.nan) | facts | dataclasses.asdict(absent)


def _shown(
    number: Reported,
    found: Beside,
    run: Run,
    published: quantities.Published,
    times: Mapping[tuple, tuple],
) -> dict:
    """The row of a number that ours stands beside."""
    done, place = found.done, f"{found.experiment.label}/{found.scenario}/{found.method}"
    identity = ("audit", found.experiment.label, found.scenario, found.method)
    ours = measure(done, (*identity, found.metric.column))
    judged = _judged(number, found, run, published, identity)
    if number.row in times:
        reported, mine = times[number.row]
        facts = {"reported_quantity": reported, "our_quantity": mine, "h": math.nan}
        facts |= {"quantity": "UT / UT of DUCK", "difference": mine - reported}
        judged |= facts
    if found.grade == "C":
        judged |= {"difference": math.nan}
    reasons = [found.why, *judged.pop("reasons"), *found.settings, *_left_out(found.cells)]
    return judged | {
        **{name: getattr(ours, name) for name in ("low", "high", "n")},
        **{"grade": found.grade, "ours": ours.mean, "trace": place},
        **{"reason": "; ".join(reason for reason in reasons if reason)},
    }


def _judged(
    number: Reported,
    found: Beside,
    run: Run,
    published: quantities.Published,
    identity: tuple[str, ...],
) -> dict:
    """Quantity, difference, h and verdict of a number, and the reasons of the rule."""
    quantity: Quantity | str = quantities.as_printed(number, found.metric)
    reasons = []
    if found.grade == "B" and found.metric.column not in COSTS:
        quantity = quantities.relative(
            number, found.metric, found.dataset, found.scenario, published
        )
    own = hyperparameters.original_of(
        grades.variant(found.experiment, found.method).method, run.folder
    )
    scored = found.metric.column == "aus" and found.scenario == "class_removal"
    if scored and own == "original_erm" != found.method and found.grade != "C":
        quantity, reasons = quantities.plain_aus(number), ["plain_original"]
    if isinstance(quantity, str):
        difference = found.done["value"].mean() - number.mean
        return _verdict("not judged", [quantity]) | {"difference": difference}
    cells = found.done.assign(value=quantity.of(found.done, run.originals(found.scenario)))
    cells = cells.dropna(subset="value")
    if cells.empty:
        return _verdict("not judged", [*reasons, "original_not_run"])
    mine = measure(cells, (*identity, quantity.name))
    row = {
        "quantity": quantity.name,
        "reported_quantity": quantity.reported.mean,
        "our_quantity": mine.mean,
        "difference": mine.mean - quantity.reported.mean,
    }
    if found.grade == "C":
        return _verdict("not judged", reasons) | row
    moves = None
    if found.grade == "B" and found.metric.column not in COSTS:
        moves = movement(quantity, found, run)
        if moves is None:
            return _verdict("not judged", [*reasons, "originals_unknown"]) | row
        if moves.dataset != found.dataset:
            reasons.append(f"originals_elsewhere: {moves.dataset}")
    verdict, why = decide(quantity.reported, mine, found.metric, moves)
    costs = found.metric.column in COSTS
    h = margin(quantity.reported, mine, moves) if mine.sets > 1 and not costs else math.nan
    if not found.published or (found.grade == "B" and verdict == "not comparable"):
        verdict = "not judged"
    return _verdict(verdict, [*why, *reasons]) | row | {"h": h}


def _verdict(verdict: str, reasons: list[str]) -> dict:
    numbers = ("reported_quantity", "our_quantity", "difference", "h")
    row = dict.fromkeys(numbers, math.nan)
    return row | {"quantity": "", "verdict": verdict, "reasons": reasons}


def _left_out(cells: pd.DataFrame) -> list[str]:
    """What is not in the mean."""
    unknown = int((cells["value"].isna() & (cells["status"] == "ok")).sum())
    notes = [f"{unknown} of {len(cells)} cells without this metric"] if unknown else []
    notes = [note for note in (status_note(cells), *notes) if note]
    return [f"some_not_ok: {'; '.join(notes)}"] if notes else []


def _times(reported: Sequence[Reported], run: Run) -> dict[int, tuple[float, float]]:
    """The ratio to DUCK's time, reported and ours, by the row of a reported time.

    Both times of a side are of one table or figure, or of the same forget sets and seeds.
    """
    timed = {}
    for number in reported:
        metric = names.METRICS.get(number.metric)
        if metric and metric.column == "unlearning_seconds":
            found = beside(number, run)
            if isinstance(found, Beside) and found.grade != "C":
                timed[number.row] = number, found
    place = {
        (number.table_or_figure, number.dataset, number.scenario): (number, found)
        for number, found in timed.values()
        if found.method == BASELINE
    }
    ratios = {}
    for row, (number, found) in timed.items():
        base = place.get((number.table_or_figure, number.dataset, number.scenario))
        same = base and base[1].experiment == found.experiment and found.method != BASELINE
        if same:
            cells = ["split", "train_seed"]
            both = found.done.merge(base[1].done, on=cells, suffixes=("", "_base"))
            if len(both):
                mine = both["value"].mean() / both["value_base"].mean()
                ratios[row] = number.mean / base[0].mean, mine
    return ratios
