"""The ROC figure: its curves are means of those in roc.csv, where every cell resolves them."""

from __future__ import annotations

import importlib
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from unlearning.results.collected import ROC_COLUMNS

FIGURES = Path(__file__).parents[1] / "figures"


@pytest.fixture
def roc(monkeypatch):
    monkeypatch.syspath_prepend(str(FIGURES))
    with plt.style.context(FIGURES / "style.mplstyle"):
        yield importlib.import_module("roc")
    plt.close("all")


def points(methods=("original", "oracle", "duck", "scrub")) -> pd.DataFrame:
    """Two cells a method; the second does not resolve the lowest rate."""
    rows = []
    for scenario, split in (("class_removal", "class-0"), ("homogeneous_removal", "seed-0")):
        for k, method in enumerate(methods):
            for seed in (0, 1):
                for rate in (0.01, 0.1, 1.0)[seed:]:
                    cell = ["mini", "data", "cnn", scenario, split, method, seed, 0]
                    rows.append([*cell, rate, min(1.0, rate * (1 + k + seed)), 8])
    return pd.DataFrame(rows, columns=ROC_COLUMNS)


def test_a_curve_is_the_mean_where_every_cell_has_a_point(roc):
    table = roc.numbers(points())
    scrub = table[(table["method"] == "scrub") & (table["scenario"] == "class_removal")]
    assert scrub["false_positive_rate"].tolist() == [0.1, 1.0]
    assert scrub["true_positive_rate"].tolist() == pytest.approx([0.45, 1.0])
    assert set(table["cells"]) == {2}


def test_what_is_drawn_is_in_the_csv(roc):
    figure, table = roc.draw(points())
    drawn = set()
    for axes in figure.axes:
        for line in axes.lines[1:]:  # the first is chance
            drawn |= set(zip(*(map(float, d) for d in line.get_data()), strict=True))
    told = set(zip(table["false_positive_rate"], table["true_positive_rate"], strict=True))
    assert drawn == told
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)


def test_every_method_is_named_beside_its_curve_and_no_two_look_alike(roc):
    names = [f"method_{k}" for k in range(20)]
    figure, _ = roc.draw(points(("original", "oracle", *names)))
    for axes in figure.axes:
        written = sorted(text.get_text() for text in axes.texts)
        assert written == sorted(["Original", "Oracle", *(f"Method {k}" for k in range(20))])
    looks = roc.common.looks(["original", "oracle", *names])
    styles = [str(roc.style(name, looks)) for name in looks]
    assert len(set(styles)) == len(styles) == 22


def test_without_an_attack_it_says_so(roc):
    figure, table = roc.draw(points()[:0])
    assert table.empty and figure.texts[0].get_text() == "No attack in this run."


def test_a_missing_column_is_named(roc, tmp_path):
    points().drop(columns="shadow_models").to_csv(tmp_path / "roc.csv", index=False)
    with pytest.raises(ValueError, match="no column shadow_models"):
        roc.read(tmp_path / "roc.csv")
