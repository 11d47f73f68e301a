"""Draw figures in tests as their scripts do, each with its usual table once a session."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_tables import TABLES
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from workspace import PROJECT

from unlearning.results.runs import read_runs
from unlearning.results.shown import SOURCES

FIGURES = PROJECT / "figures"
_known: dict[str, tuple] = {}


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    """Import the scripts as they import each other, in their style; close what they open."""
    monkeypatch.syspath_prepend(str(FIGURES))
    with plt.style.context(FIGURES / "style.mplstyle"):
        yield
    plt.close("all")


def read(name: str, table: pd.DataFrame, where: Path) -> pd.DataFrame:
    """The table as the figure's script reads it from the file that it is drawn of."""
    module, path = importlib.import_module(name), where / f"{SOURCES[name]}.csv"
    table.to_csv(path, index=False)
    own = module.common.read_study(name) if SOURCES[name] == "studies" else read_runs
    return getattr(module, "read", own)(path)


def drawn(name: str, table: pd.DataFrame, where: Path):
    """The figure and its numbers."""
    return importlib.import_module(name).draw(read(name, table, where))


def usual(name: str, where: Path):
    """The figure of `TABLES` and its numbers, drawn once: look at it and change nothing."""
    if name not in _known:
        _known[name] = drawn(name, TABLES[name](), where)
    return _known[name]


def saved(figure, numbers: pd.DataFrame, stem: Path) -> Path:
    """Save what was drawn in this process, another than the script's; the stem."""
    importlib.import_module("common").save(figure, numbers, stem)
    return stem


def points(figure) -> set[tuple[float, float]]:
    """Every marked point of the panels, means and cells alike."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() != "None"]
    return {point for line in lines for point in zip(*map(list, line.get_data()), strict=True)}


def texts(figure) -> str:
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(" ".join(artist.get_text().split()) for artist in found)


def check_texts(figure, monkeypatch, least: int = 11) -> None:
    """No painted text lies on another one or leaves the sheet; there are so many at least."""
    boxes = painted(figure, monkeypatch)
    assert len(boxes) >= least
    for text, box in boxes:
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
    for (text, box), (other, another) in itertools.combinations(boxes, 2):
        assert not overlap(box, another), (text, other)


def painted(figure, monkeypatch) -> list[tuple[str, object]]:
    """Each text that is really painted, with its box: tick labels out of view are not."""
    boxes, paint = [], Text.draw

    def note(text, renderer):
        if text.get_visible() and text.get_text().strip():
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
        paint(text, renderer)

    monkeypatch.setattr(Text, "draw", note)
    pixels(figure)
    return boxes


def pixels(figure) -> np.ndarray:
    """The figure as a picture, rows x columns x RGBA; a closed figure has no canvas of its own."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def overlap(one, other) -> bool:
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    along = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > 1 and along > 1
