"""The figure of ranks: what is drawn is what runs.csv says, and the CSV beside it says the same."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
from drawing import _scripts, drawn, points, texts, usual
from figure_tables import with_holes
from scipy.stats import rankdata
from test_tables import DUCKS, METHODS, lose, synthetic_runs

from unlearning.results.display import shown

__all__ = ["_scripts"]  # a fixture that every test here uses


def by_hand(runs: pd.DataFrame, scenario: str, lost: tuple[str, ...]) -> dict[str, float]:
    """Mean ranks over splits, of means over the seeds of the cells that have every method.

    The lost methods and the original are left out; with one split its seeds are ranked.
    """
    scores: dict[tuple, dict[str, float]] = {}
    for row in runs.to_dict("records"):
        if (row["scenario"], row["status"]) == (scenario, "ok") and row["method"] != "original":
            scores.setdefault((row["split"], row["train_seed"]), {})[row["method"]] = row["aus"]
    methods = [name for name in ("oracle", *METHODS, *DUCKS) if name not in lost]
    full = {cell: found for cell, found in scores.items() if set(methods) <= set(found)}
    place = 0 if len({cell[0] for cell in full}) > 1 else 1
    units: dict[str, list] = {}
    for cell, found in full.items():
        units.setdefault(cell[place], []).append([-found[name] for name in methods])
    ranks = [rankdata(np.mean(rows, axis=0)) for rows in units.values()]
    return {name: statistics.mean(r[k] for r in ranks) for k, name in enumerate(methods)}


def test_ranks_agree_with_an_independent_computation(tmp_path):
    _, table = usual("ranks", tmp_path)
    for scenario, lost, n in (
        ("class_removal", ("boundary_shrink",), 2),
        ("homogeneous_removal", (), 3),
    ):
        rows = table[table["scenario"] == scenario]
        expected = by_hand(with_holes(), scenario, lost)
        assert dict(zip(rows["method"], rows["rank"], strict=True)) == pytest.approx(expected)
        assert list(rows["rank"]) == sorted(rows["rank"])
        k, q = len(expected), {8: 3.031, 7: 2.949}  # Demšar 2006, table 5 (a)
        difference = q[k] * np.sqrt(k * (k + 1) / (6 * n))
        assert rows["critical_difference"].to_numpy() == pytest.approx(difference, rel=3e-4)
        assert set(rows["n"]) == {n}


def test_the_picture_holds_its_csv(tmp_path):
    figure, table = usual("ranks", tmp_path)
    labels = texts(figure)
    ends = set()
    for axes, scenario in zip(figure.axes, table["scenario"].unique(), strict=True):
        rows = table[table["scenario"] == scenario]
        difference = rows["critical_difference"].iloc[0]
        marked = {x for x, _ in points(figure)}
        assert set(rows["rank"]) <= marked
        (ruler,) = [line for line in axes.lines if line.get_marker() == "|"]
        assert list(ruler.get_xdata()) == pytest.approx([1, 1 + difference])
        ends |= {1.0, ruler.get_xdata()[1]}
        assert f"critical difference {difference:.2f}" in labels
        for row in rows.itertuples():
            assert f"{shown(row.method)}" in labels and f"{row.rank:.2f}" in labels
        thick = [line for line in axes.lines if line.get_linewidth() > 2]
        assert thick
        for line in thick:
            inside = rows["rank"].between(*line.get_xdata())
            assert np.ptp(rows.loc[inside, "rank"]) <= difference and inside.sum() > 1
    assert marked == ends | set(table["rank"])


def test_the_oracle_is_a_reference_and_the_original_has_no_rank(tmp_path):
    runs = synthetic_runs(DUCKS)
    own = runs[runs["method"] == "original"].assign(method="original_erm")
    figure, table = drawn("ranks", pd.concat([runs, own]), tmp_path)
    labels = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert labels.count("Oracle (reference)") == 2 and "Original" not in labels
    assert set(table["method"]) == {"oracle", *DUCKS}


def test_no_cell_vanishes(tmp_path):
    runs = with_holes()
    duck = runs.index[(runs["method"] == "duck") & (runs["scenario"] == "homogeneous_removal")]
    runs = runs.astype({"aus": object})
    runs.loc[duck[0], "aus"] = ""
    figure, table = drawn("ranks", runs, tmp_path)
    said = texts(figure)
    assert "Class removal, Boundary Shrink: 6 of 6 cells missing, reason: not run" in said
    assert "Class removal, SCRUB: 1 of 6 cells diverged: split class-8 (training seed 2" in said
    assert "Homogeneous removal, DUCK: 1 of 3 ok cells without AUS, not ranked" in said
    assert "Class removal: n = 2 classes from 5 of 6 cells, Friedman p = " in said
    assert "Homogeneous removal: n = 2 forget sets from 2 of 3 cells, Friedman p = " in said
    assert "SCRUB †" in said and "SalUn †" not in said
    shown = table.drop_duplicates("scenario")["friedman_p"]
    assert all(f"Friedman p = {p:.2g}." in said for p in shown)


def test_unlearning_seeds_are_averaged_before_they_are_ranked(tmp_path):
    runs = synthetic_runs()
    first, second = runs.copy(), runs.assign(unlearn_seed=1)
    bump = np.random.default_rng(0).uniform(-0.05, 0.05, len(runs))
    first["aus"], second["aus"] = first["aus"] + bump, second["aus"] - bump
    _, table = drawn("ranks", pd.concat([first, second]), tmp_path)
    _, expected = drawn("ranks", runs, tmp_path)
    _, alone = drawn("ranks", first, tmp_path)
    assert dict(zip(table["method"], table["rank"], strict=True)) == pytest.approx(
        dict(zip(expected["method"], expected["rank"], strict=True))
    )
    assert not alone.equals(expected)


def test_too_few_cells_or_methods_say_so(tmp_path):
    runs = synthetic_runs(DUCKS)
    one = runs[(runs["split"] == "class-0") & (runs["train_seed"] == 0)]
    figure, table = drawn("ranks", one, tmp_path)
    assert "No ranks: ranks need 3 methods and 2 classes" in texts(figure)
    assert "got 3 and 1" in texts(figure)
    assert "No homogeneous removal cell in this run" in texts(figure) and table.empty
    figure, table = drawn("ranks", synthetic_runs(("duck",)), tmp_path)
    assert "got 2 and 2" in texts(figure) and table.empty
    figure, table = drawn("ranks", lose(runs, runs["aus"] != "", "missing", "not run"), tmp_path)
    figure.canvas.draw()
    assert "got 0 and 0" in texts(figure) and table.empty
    assert "Oracle, DUCK, DUCK (released): 6 of 6 cells missing" in texts(figure)
