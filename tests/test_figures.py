"""The figures: what is drawn is what runs.csv says, and the CSV beside it says the same."""

from __future__ import annotations

import importlib
import itertools
import re
import statistics
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from test_tables import DUCKS, METHODS, lose, synthetic_runs

from unlearning.results.runs import read_runs

FIGURES = Path(__file__).parents[1] / "figures"
NAMES = ("aus_vs_time", "accuracies")
FORMS = ("svg", "pdf", "png", "csv")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    """Import the scripts as they import each other, in their style; close what they open."""
    monkeypatch.syspath_prepend(str(FIGURES))
    with plt.style.context(FIGURES / "style.mplstyle"):
        yield
    plt.close("all")


def with_holes() -> pd.DataFrame:
    runs = synthetic_runs()
    removal = runs["scenario"] == "class_removal"
    one = (runs["method"] == "scrub") & (runs["split"] == "class-8") & (runs["train_seed"] == 2)
    runs = lose(runs, one, "diverged", "loss is NaN")
    return lose(runs, (runs["method"] == "boundary_shrink") & removal, "missing", "not run")


def drawn(name: str, runs: pd.DataFrame, where: Path):
    runs.to_csv(where / "runs.csv", index=False)
    return importlib.import_module(name).draw(read_runs(where / "runs.csv"))


_usual: dict[str, tuple] = {}


def usual(name: str, where: Path):
    """The figure of `with_holes` and its numbers, drawn once: look at it and change nothing."""
    if name not in _usual:
        _usual[name] = drawn(name, with_holes(), where)
    return _usual[name]


def plot(name: str, runs: pd.DataFrame, where: Path) -> Path:
    """Run the script as the DAG does; the stem of what it wrote."""
    where.mkdir(exist_ok=True)
    runs.to_csv(where / "runs.csv", index=False)
    arguments = ["--runs", str(where / "runs.csv"), "--out", str(where / "figures" / name)]
    subprocess.run([sys.executable, str(FIGURES / f"{name}.py"), *arguments], check=True)
    return where / "figures" / name


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


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("figures")
    for name in NAMES:
        plot(name, with_holes(), where)
    return where / "figures"


@pytest.mark.parametrize("name", NAMES)
def test_a_script_writes_every_format(written, name):
    assert {path.name for path in written.glob(f"{name}.*")} == {f"{name}.{f}" for f in FORMS}
    with Image.open(written / f"{name}.png") as picture:
        assert min(picture.info["dpi"]) >= 150
        pixels = np.asarray(picture.convert("L"))
    assert pixels.std() > 10
    assert (written / f"{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", NAMES)
def test_vector_text_stays_text(written, name):
    svg = (written / f"{name}.svg").read_text(encoding="utf-8")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"Class removal", "Homogeneous removal"} <= set(words)
    assert any(word.startswith("Random Labels") for word in words)
    assert b"/FontFile2" in (written / f"{name}.pdf").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_runs_give_the_same_bytes(written, name, tmp_path):
    again = saved(*drawn(name, with_holes(), tmp_path), tmp_path / name)
    for form in FORMS:
        fresh = again.with_name(f"{name}.{form}").read_bytes()
        assert fresh == (written / f"{name}.{form}").read_bytes(), form


def test_aus_vs_time_means_agree_with_an_independent_computation(written):
    table = pd.read_csv(written / "aus_vs_time.csv")
    runs = with_holes()
    for (scenario, method), cells in runs[runs["status"] == "ok"].groupby(["scenario", "method"]):
        kind = "line" if method == "original" else "mean"
        rows = table[(table["scenario"] == scenario) & (table["method"] == method)]
        (row,) = rows[rows["kind"] == kind].to_dict("records")
        assert row["n"] == len(cells)
        assert row["aus"] == pytest.approx(statistics.mean(cells["aus"]), rel=1e-12)
        assert row["aus_sd"] == pytest.approx(statistics.stdev(cells["aus"]), rel=1e-9, abs=1e-15)
        if method != "original":
            spent = cells["unlearning_seconds"]
            assert row["unlearning_seconds"] == pytest.approx(statistics.mean(spent), rel=1e-12)
            assert row["unlearning_seconds_sd"] == pytest.approx(statistics.stdev(spent), rel=1e-9)
            singles = rows.loc[rows["kind"] == "cell", "aus"]
            assert sorted(singles) == pytest.approx(sorted(cells["aus"]), rel=1e-12)


def test_aus_vs_time_draws_exactly_its_csv(tmp_path):
    figure, table = usual("aus_vs_time", tmp_path)
    placed = table[table["kind"] != "line"]
    assert points(figure) == set(zip(placed["unlearning_seconds"], placed["aus"], strict=True))
    for axes, scenario in zip(figure.axes, table["scenario"].unique(), strict=True):
        assert axes.get_xscale() == "log"
        levels = table[(table["scenario"] == scenario) & (table["kind"] != "cell")]
        levels = levels.set_index("method")["aus"]
        plain = [line for line in axes.lines if line.get_marker() == "None"]
        lines = {y for line in plain for y in line.get_ydata()}
        assert lines == {levels["original"], levels["oracle"]}


def test_error_bars_are_one_standard_deviation_each_way(tmp_path):
    figure, table = drawn("aus_vs_time", synthetic_runs(DUCKS), tmp_path)
    row = table[(table["method"] == "duck") & (table["kind"] == "mean")].iloc[0]
    bars = [
        bar
        for bar in figure.axes[0].containers
        if bar.lines[0].get_xdata()[0] == row["unlearning_seconds"]
    ]
    (across,), (along,) = (bar.get_segments() for bar in bars[0].lines[2])
    half = [abs(across[1] - across[0])[0] / 2, abs(along[1] - along[0])[1] / 2]
    assert half == pytest.approx([row["unlearning_seconds_sd"], row["aus_sd"]])


def test_accuracies_draw_exactly_their_csv(tmp_path):
    figure, table = usual("accuracies", tmp_path)
    assert {x for x, _ in points(figure)} == set(table["accuracy_percent"])
    runs = with_holes()
    done = runs[(runs["status"] == "ok") & (runs["method"] == "scrub")]
    for scenario, metric in (
        ("class_removal", "forget_test_accuracy"),
        ("class_removal", "retain_train_accuracy"),
        ("homogeneous_removal", "test_accuracy"),
    ):
        values = [100 * value for value in done.loc[done["scenario"] == scenario, metric]]
        rows = table[(table["scenario"] == scenario) & (table["metric"] == metric)]
        rows = rows[rows["method"] == "scrub"].set_index("kind")
        assert sorted(rows.loc["cell", "accuracy_percent"]) == pytest.approx(sorted(values))
        mean = rows.loc["mean"]
        assert mean["accuracy_percent"] == pytest.approx(statistics.mean(values))
        assert mean["sd_percent"] == pytest.approx(statistics.stdev(values))


def test_the_oracle_is_a_line_over_every_method(tmp_path):
    figure, table = drawn("accuracies", synthetic_runs(DUCKS), tmp_path)
    oracle = table[(table["method"] == "oracle") & (table["kind"] == "mean")]
    dotted = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == list(oracle["accuracy_percent"])
    assert all(list(line.get_ydata()) == [0, 1] for line in dotted)


def test_forget_and_retain_keep_their_colours(tmp_path):
    common = importlib.import_module("common")
    figure, table = usual("accuracies", tmp_path)
    for kind, colour in (("retain", common.RETAIN), ("forget", common.FORGET)):
        values = set(table.loc[table["metric"].str.startswith(kind), "accuracy_percent"])
        lines = [line for axes in figure.axes for line in axes.lines if line.get_color() == colour]
        assert {x for line in lines for x in line.get_xdata()} == values


def test_a_method_keeps_its_colour_whoever_else_is_drawn():
    looks = importlib.import_module("common").looks
    everyone = [*METHODS, *DUCKS, "oracle", "my_method", "duck (no retain loss)"]
    full = looks(everyone)
    assert len(set(full.values())) == len(everyone)
    for name in everyone:
        assert looks([name])[name] == full[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_vanishes(name, tmp_path):
    figure, _ = usual(name, tmp_path)
    said = texts(figure)
    assert "Class removal, Boundary Shrink: 6 of 6 cells missing, reason: not run" in said
    assert "Class removal, SCRUB: 1 of 6 cells diverged: split class-8 (training seed 2" in said
    assert "2 classes x 3 training seeds; SCRUB: 5 runs of 2 classes and 3 training" in said
    assert "SCRUB †" in said and "DUCK †" not in said


def test_a_cell_without_time_or_score_is_told(tmp_path):
    runs = synthetic_runs(DUCKS).astype(object)
    duck = runs.index[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")]
    runs.loc[duck[0], "unlearning_seconds"] = ""
    runs.loc[duck[1], "aus"] = ""
    figure, table = drawn("aus_vs_time", runs, tmp_path)
    assert "DUCK: 2 of 6 ok cells without AUS or time, not drawn" in texts(figure)
    removal = table[(table["scenario"] == "class_removal") & (table["method"] == "duck")]
    assert list(removal["kind"]).count("cell") == 4


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_scenario_says_so(name, tmp_path):
    runs = synthetic_runs(DUCKS)
    one = runs[(runs["split"] == "class-0") & (runs["train_seed"] == 0)]
    figure, table = drawn(name, one, tmp_path)
    assert "No homogeneous removal cell in this run" in texts(figure)
    assert "No class removal" not in texts(figure)
    assert "Class removal: one run each, no spread." in texts(figure)
    means = table[table["kind"] == "mean"]
    assert set(means["n"]) == {1} and set(means["over"]) == {"1 run"}
    assert means["aus_sd" if name == "aus_vs_time" else "sd_percent"].isna().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_without_any_result_still_draws(name, tmp_path):
    runs = synthetic_runs(DUCKS)
    figure, table = drawn(name, lose(runs, runs["method"] != "", "missing", "not run"), tmp_path)
    figure.canvas.draw()
    assert table.empty
    assert "DUCK (released): 6 of 6 cells missing" in texts(figure)
    figure, _ = drawn(name, runs[:0], tmp_path)
    assert "No class removal cell in this run" in texts(figure)


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_value_changes_the_numbers_and_the_picture(name, tmp_path):
    runs = with_holes()
    duck = runs.index[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")][0]
    changed = runs.copy()
    changed.loc[duck, ["aus", "retain_test_accuracy"]] = [0.77, 0.66]
    before, table = drawn(name, runs, tmp_path)
    after, moved = drawn(name, changed, tmp_path)
    assert not table.equals(moved)
    assert points(before) != points(after)
    value = 0.77 if name == "aus_vs_time" else 66.0
    number = "aus" if name == "aus_vs_time" else "accuracy_percent"
    assert value in set(moved[number]) and value not in set(table[number])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["holes", "four", "fifteen", "systems"])
def test_no_text_overlaps_or_leaves_the_sheet(name, case, tmp_path, monkeypatch):
    more = (*METHODS, *DUCKS, *(f"an ablation of duck, number {k}" for k in range(8)))
    runs = {
        "holes": with_holes,
        "four": lambda: synthetic_runs(more[:4]),
        "fifteen": lambda: synthetic_runs(more),
        "systems": lambda: pd.concat(
            [synthetic_runs(), synthetic_runs(system=("cifar100", "resnet18"))]
        ),
    }[case]()
    figure, _ = drawn(name, runs, tmp_path)
    figure.canvas.draw()
    check_texts(figure, monkeypatch)


def check_texts(figure, monkeypatch, least: int = 11) -> None:
    """No painted text lies on another one or leaves the sheet; there are so many at least."""
    boxes = painted(figure, monkeypatch)
    assert len(boxes) >= least
    for text, box in boxes:
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
    for (text, box), (other, another) in itertools.combinations(boxes, 2):
        assert not _overlap(box, another), (text, other)


def painted(figure, monkeypatch) -> list[tuple[str, object]]:
    """Each text that is really painted, with its box: tick labels out of view are not."""
    boxes, paint = [], Text.draw

    def note(text, renderer):
        if text.get_visible() and text.get_text().strip():
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
        paint(text, renderer)

    monkeypatch.setattr(Text, "draw", note)
    figure.canvas.draw()
    return boxes


def _overlap(one, other) -> bool:
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    along = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > 1 and along > 1


def test_the_scripts_do_not_import_torch(tmp_path):
    synthetic_runs(DUCKS).to_csv(tmp_path / "runs.csv", index=False)
    code = (
        f"import sys; sys.path.insert(0, {str(FIGURES)!r}); "
        f"import {', '.join(NAMES)}; aus_vs_time.draw(aus_vs_time.common.read_runs({{!r}})); "
        "assert 'matplotlib' in sys.modules; assert 'torch' not in sys.modules, 'torch'"
    ).format(str(tmp_path / "runs.csv"))
    subprocess.run([sys.executable, "-c", code], check=True)
