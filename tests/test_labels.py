"""Names in figures: each method's once a panel, from the one table, free of each other."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
from drawing import _scripts, overlap, painted, texts
from workspace import PROJECT

from unlearning.report.labels import spread
from unlearning.results.display import METHODS, NAMES, shown
from unlearning.results.runs import read_runs

__all__ = ["_scripts"]  # a fixture that every test here uses
FIGURES = ("aus_vs_time", "roc")


def reference(name: str, run: str):
    """The figure of a committed run and its numbers."""
    module = importlib.import_module(name)
    folder = PROJECT / "paper/reference" / run
    return module.draw(
        module.read(folder / "roc.csv") if name == "roc" else read_runs(folder / "runs.csv")
    )


@pytest.mark.parametrize("run", ["mini", "fashion"])
@pytest.mark.parametrize("name", FIGURES)
def test_names_on_a_reference_are_whole_apart_and_once_a_panel(name, run, monkeypatch):
    figure, table = reference(name, run)
    boxes = painted(figure, monkeypatch)
    for text, box in boxes:
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text
    for (text, box), (other, another) in itertools.combinations(boxes, 2):
        assert not overlap(box, another), (text, other)
    for axes, scenario in zip(figure.axes, table["scenario"].unique(), strict=True):
        methods = table.loc[table["scenario"] == scenario, "method"].unique()
        said = [text.get_text().partition(" 0.")[0].split("\n")[0] for text in axes.texts]
        assert sorted(said) == sorted(map(shown, methods))


@pytest.mark.parametrize(
    ("panel", "scenario", "below"),
    [(0, "class_removal", "original"), (1, "homogeneous_removal", "scar")],
)
def test_a_mean_below_the_axis_is_marked_at_its_edge_with_its_value(panel, scenario, below):
    figure, table = reference("aus_vs_time", "fashion")
    axes = figure.axes[panel]
    means = table[(table["scenario"] == scenario) & (table["kind"] != "cell")]
    (row,) = means[means["aus"] < axes.get_ylim()[0]].itertuples()
    assert row.method == below
    (text,) = [t.get_text() for t in axes.texts if t.get_text().startswith(shown(below))]
    assert f"{row.aus:.2f}" in text
    assert "Triangle at the lower edge" in texts(figure)


def test_every_method_of_the_configs_has_a_name_and_no_two_share_one():
    files = {file.stem for file in (PROJECT / "configs/methods").glob("*.yaml")}
    assert files == set(METHODS)
    assert len(set(NAMES.values())) == len(NAMES)
    assert shown("no_forget_loss") == "No forget loss"


def test_a_column_keeps_its_order_and_gap():
    places = spread(np.array([1.0, 1.2, 1.2, 9.0]), 2.0, 0.0, 10.0)
    assert np.diff(places).min() >= 2 - 1e-9
    assert places[0] >= 0 and places[-1] <= 10 and places[-1] == pytest.approx(9)
    assert places[1] == pytest.approx(np.mean([1, 1.2, 1.2]), abs=1.2)
