"""The shape of the paper, of the committed runs: a short body, a readable table, full pages."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import typst
from document import PAPER
from test_paper import tabulate_all
from workspace import PROJECT

from unlearning.stages.typeset import fonts, prepare
from unlearning.tables.layouts import tabulate
from unlearning.trace.known import known_tables
from unlearning.trace.run import Run

PAGES, COLUMNS = 8, 9
DPI = 250  # of the committed figures
SCALE, BAND = 36, 12  # pixels an inch, and of a band of lines


def as_svg(png: Path) -> str:
    """A committed figure at the size that it was drawn at."""
    height, width = (72 * pixels / DPI for pixels in plt.imread(png).shape[:2])
    data = base64.b64encode(png.read_bytes()).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt">'
        f'<image width="{width}pt" height="{height}pt" href="data:image/png;base64,{data}"/></svg>'
    )


@pytest.fixture(scope="module", params=["mini", "fashion"])
def document(request, tmp_path_factory) -> Path:
    """The document in a folder with all that it reads, of a committed run with its figures."""
    folder = tmp_path_factory.mktemp(request.param)
    run = shutil.copytree(PROJECT / "paper/reference" / request.param, folder / "run")
    tabulate(run / "runs.csv", run / "tables", run / "ensembles.csv")
    tabulate_all(run)
    known = known_tables(PROJECT / "paper", PROJECT / "configs/paper.yaml")
    for name in ("audit", "claims"):
        known[name].table(Run(run, run)).frame.to_csv(run / f"{name}.csv", index=False)
    for png in (run / "figures").glob("*.png"):
        png.with_suffix(".svg").write_text(as_svg(png), encoding="utf-8")
    root = folder / "root"
    root.mkdir()
    return prepare(PAPER, run, run, root)


def asked(document: Path, label: str) -> Any:
    """What Typst says of the one element with this label."""
    root = str(document.parent)
    return json.loads(typst.query(str(document), f"<{label}>", one=True, root=root, **fonts()))


def pages(document: Path) -> list[np.ndarray]:
    """Every page as grey values from 0 to 1."""
    root = str(document.parent)
    made = typst.compile(str(document), root=root, format="png", ppi=SCALE, **fonts())
    return [plt.imread(BytesIO(page))[..., :3].mean(axis=2) for page in made]


def filled(page: np.ndarray) -> float:
    """The share of a page's text area, in bands of each column, in which anything is printed."""
    high, wide = page.shape
    area = page[high // 14 : -high // 14, wide // 13 : -wide // 13]
    bands = area[: len(area) // BAND * BAND].reshape(-1, BAND, area.shape[1])
    halves = np.array_split(bands, 2, axis=2)
    return float(np.mean([half.min(axis=(1, 2)) < 0.9 for half in halves]))


def tables_in(element: Any) -> list[dict]:
    """The tables inside what Typst said of an element."""
    if isinstance(element, list):
        return [table for one in element for table in tables_in(one)]
    if not isinstance(element, dict):
        return []
    own = [element] if element.get("func") == "table" else []
    return own + tables_in(list(element.values()))


def test_the_body_is_short_and_the_pages_before_its_last_are_at_least_half_full(document):
    last = asked(document, "body-end")["value"]
    assert last <= PAGES
    shares = [filled(page) for page in pages(document)[:last]]
    assert min(shares[:-1]) > 0.5, shares


def test_the_main_table_has_few_columns_and_both_scenarios(document):
    (table,) = tables_in(asked(document, "main"))
    assert 5 <= len(table["columns"]) <= COLUMNS


def test_an_empty_half_is_noticed():
    page = np.ones((421, 298))
    page[::4] = 0
    assert filled(page) == 1
    page[200:] = 1
    assert filled(page) < 0.5
    page[:, 149:] = 1
    assert filled(page) < 0.3
