"""The ROC figure: its curves are means of those in roc.csv, where every cell resolves them."""

from __future__ import annotations

import importlib

import pytest
from drawing import _scripts, usual
from figure_tables import roc_points

__all__ = ["_scripts"]  # a fixture that every test here uses


@pytest.fixture
def roc():
    return importlib.import_module("roc")


def test_a_curve_is_the_mean_where_every_cell_has_a_point(roc):
    table = roc.numbers(roc_points())
    scrub = table[(table["method"] == "scrub") & (table["scenario"] == "class_removal")]
    assert scrub["false_positive_rate"].tolist() == [0.1, 1.0]
    assert scrub["true_positive_rate"].tolist() == pytest.approx([0.45, 1.0])
    assert set(table["cells"]) == {2}


def test_what_is_drawn_is_in_the_csv(tmp_path):
    figure, table = usual("roc", tmp_path)
    drawn = set()
    for axes in figure.axes:
        for line in axes.lines[1:]:  # the first is chance
            drawn |= set(zip(*(map(float, d) for d in line.get_data()), strict=True))
    told = set(zip(table["false_positive_rate"], table["true_positive_rate"], strict=True))
    assert drawn == told
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)


def test_every_method_is_named_beside_its_curve_and_no_two_look_alike(roc):
    names = [f"method_{k}" for k in range(20)]
    figure, _ = roc.draw(roc_points(("original", "oracle", *names)))
    for axes in figure.axes:
        written = sorted(text.get_text() for text in axes.texts)
        assert written == sorted(["Original", "Oracle", *(f"Method {k}" for k in range(20))])
    looks = roc.common.looks(["original", "oracle", *names])
    styles = [str(roc.style(name, looks)) for name in looks]
    assert len(set(styles)) == len(styles) == 22
