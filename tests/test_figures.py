"""What holds for every figure: formats, equal bytes, words, empty tables, and texts apart.

What one figure draws of its numbers is in the tests of its own.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from drawing import FIGURES, _scripts, check_texts, drawn, pixels, read, saved, texts, usual
from figure_tables import (
    TABLES,
    ablation,
    attribution_maps,
    attributions,
    destinations,
    features,
    multiple_classes,
    sensitivity,
    shortcut,
)
from PIL import Image
from test_tables import DUCKS, METHODS, synthetic_runs

from unlearning.results.shown import DRAWN, SOURCES

__all__ = ["_scripts"]  # a fixture that every test here uses
every_figure = pytest.mark.parametrize("name", SOURCES)
WORDS = dict.fromkeys(SOURCES, "AUS") | {
    **dict.fromkeys(("aus_vs_time", "accuracies", "ranks"), "Homogeneous removal"),
    **{"attributions": "DUCK – Oracle", "shortcut": "clean, as the source class", "roc": "SCRUB"},
    **{"tuning": "SCRUB", "destinations": "Oracle", "embedding_maps": "Oracle"},
    **{"density": "Oracle", "attribution_maps": "Oracle"},
}
"""Of every figure a text that stands in it as text."""
NUMBERS = {
    **dict.fromkeys(("aus_vs_time", "accuracies", "ranks"), "aus"),
    **dict.fromkeys(("ablation", "architectures", "multiple_classes", "sensitivity"), "aus"),
    **{"roc": "true_positive_rate", "tuning": "aus_mean", "attributions": "correlation"},
    **{"destinations": "share", "embedding_maps": "x"},
}
"""The column with what the figure shows, where it is not `value`."""
MORE = (*METHODS, *DUCKS, *(f"an ablation of duck, number {k}" for k in range(13)))


def two(table: pd.DataFrame, **other: str) -> pd.DataFrame:
    """The table twice, the second time of another system."""
    return pd.concat([table, table.assign(**other)])


def one_cell(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[(runs["split"] == "class-0") & (runs["train_seed"] == 0)]


OTHER = ("cifar100", "resnet18")
SHEETS = {
    **{(name, "four"): lambda: synthetic_runs(MORE[:4]) for name in ("aus_vs_time", "accuracies")},
    **{(name, "many"): lambda: synthetic_runs(MORE[:-5]) for name in ("aus_vs_time", "accuracies")},
    **{
        (name, "systems"): lambda: pd.concat([synthetic_runs(), synthetic_runs(system=OTHER)])
        for name in ("aus_vs_time", "accuracies", "ranks")
    },
    ("ranks", "three"): lambda: synthetic_runs(DUCKS),
    ("ranks", "many"): lambda: synthetic_runs(MORE),
    ("sensitivity", "variants"): lambda: sensitivity(()),
    ("sensitivity", "many"): lambda: sensitivity([f"epochs-{k}" for k in range(2, 40, 4)], 6),
    ("ablation", "one cell"): lambda: one_cell(ablation()),
    ("shortcut", "one seed"): lambda: shortcut(1, ("original", "oracle", "duck", "fine_tuning")),
    ("attributions", "one image"): lambda: attributions(1, 1, 1),
    ("attributions", "systems"): lambda: pd.concat(
        [attributions(), attributions(6).assign(dataset="cifar100")]
    ),
    ("multiple_classes", "up to 98"): lambda: multiple_classes((1, *range(10, 91, 10), 98)),
    ("multiple_classes", "systems"): lambda: two(multiple_classes(), dataset="cifar100"),
    ("density", "one"): lambda: features((0,), (3,)),
    ("destinations", "one"): lambda: destinations(10, (0,)),
    ("destinations", "many"): lambda: destinations(10, range(10)),
    ("attribution_maps", "one"): lambda: attribution_maps(1),
}


def test_every_figure_is_tested_here():
    assert TABLES.keys() == SOURCES.keys() == WORDS.keys()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What every script wrote of its usual table, in a process as in the DAG."""
    where = tmp_path_factory.mktemp("figures")
    for name, table in TABLES.items():
        table().to_csv(where / f"{name}.in", index=False)
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(FIGURES)!r})\n"
        f"for name in {list(SOURCES)}:\n"
        f"    stem = {str(where)!r} + '/' + name\n"
        "    sys.argv = [name, '--runs', stem + '.in', '--out', stem]\n"
        f"    runpy.run_path({str(FIGURES)!r} + '/' + name + '.py', run_name='__main__')\n"
        "assert 'torch' not in sys.modules, 'a figure has imported torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return where


@every_figure
def test_a_script_writes_every_form_and_the_same_bytes_again(name, written, tmp_path):
    saved(*drawn(name, TABLES[name](), tmp_path), tmp_path / name)
    for form in DRAWN:
        first, again = (folder / f"{name}.{form}" for folder in (written, tmp_path))
        assert first.read_bytes() == again.read_bytes(), form
        assert first.stat().st_size > (100 if form == "csv" else 1000), form
    with Image.open(written / f"{name}.png") as picture:
        assert min(picture.info["dpi"]) >= 150
        assert np.asarray(picture.convert("L")).std() > 10


@every_figure
def test_vector_text_stays_text(name, written):
    words = re.findall(r"<text[^>]*>([^<]*)</text>", (written / f"{name}.svg").read_text("utf-8"))
    assert any(word.startswith(WORDS[name]) for word in words)
    content = (written / f"{name}.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/FontFile2" in content


@every_figure
def test_no_place_keeps_the_last_digits_of_the_solver(name, tmp_path):
    figure, _ = usual(name, tmp_path)
    importlib.import_module("common").settle(figure)
    places = [value for axes in figure.axes for value in axes.get_position(original=True).bounds]
    places += [value for part in figure.subfigs for value in part.bbox_relative.bounds]
    assert places and np.allclose(places, np.round(places, 6), rtol=0, atol=1e-12)


@every_figure
def test_a_table_without_rows_is_a_sentence(name, tmp_path):
    table = TABLES[name]()
    cases = [table[:0]] + ([table.assign(study="feature_space")] if "study" in table else [])
    for case in cases:
        figure, numbers = drawn(name, case, tmp_path)
        figure.canvas.draw()
        assert re.search(r"No [a-z ]+ in this run\.|No candidate of a search", texts(figure))
        assert numbers.empty and len(numbers.columns) > 4


@every_figure
def test_a_strange_column_is_named_with_its_file(name, tmp_path):
    table, number = TABLES[name](), NUMBERS.get(name, "value")
    file = rf"{SOURCES[name]}\.csv"
    with pytest.raises(ValueError, match=rf"{file}: no column .*{number}$"):
        read(name, table.drop(columns=number), tmp_path)
    with pytest.raises(ValueError, match=rf"{file}.*{number}: .*much"):
        read(name, table.astype(object).assign(**{number: "much"}), tmp_path)


@every_figure
def test_one_changed_value_changes_the_numbers_and_the_picture(name, tmp_path):
    figure, before = usual(name, tmp_path)
    table, number = TABLES[name](), NUMBERS.get(name, "value")
    table[number] = pd.to_numeric(table[number])
    wanted = table[number] != 0
    if name in ("aus_vs_time", "ranks", "sensitivity", "multiple_classes", "roc"):
        wanted = table["method"] == "duck"
    at = table.index[table[number].notna() & wanted][-1 if name == "roc" else 0]
    table.loc[at, [number, *(["retain_test_accuracy"] if name == "accuracies" else [])]] = 0.123
    changed, after = drawn(name, table, tmp_path)
    assert not before.equals(after)
    assert not np.array_equal(pixels(figure), pixels(changed))


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "embedding_maps"])
def test_no_text_overlaps_or_leaves_the_sheet(name, tmp_path, monkeypatch):
    check_texts(usual(name, tmp_path)[0], monkeypatch)


@pytest.mark.parametrize(("name", "case"), SHEETS)
def test_nor_of_few_and_of_many_rows(name, case, tmp_path, monkeypatch):
    check_texts(drawn(name, SHEETS[name, case](), tmp_path)[0], monkeypatch)
