"""The figures of AUS and accuracies: what is drawn is what runs.csv says, and so is the CSV."""

from __future__ import annotations

import importlib
import statistics

import pytest
from drawing import _scripts, drawn, points, texts, usual
from figure_tables import lose_one, sensitivity, with_holes
from test_tables import DUCKS, METHODS, lose, synthetic_runs

__all__ = ["_scripts"]  # a fixture that every test here uses
NAMES = ("aus_vs_time", "accuracies")


def test_aus_vs_time_means_agree_with_an_independent_computation(tmp_path):
    _, table = usual("aus_vs_time", tmp_path)
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


def test_sensitivity_shows_each_original_and_each_variant_over_shared_cells(tmp_path):
    """DUCK's variants ran on class 0 alone, SCRUB lost class 8 of one original: means by hand."""
    runs = lose_one(sensitivity())
    variant = runs["method"].str.startswith("duck_lr")
    runs = runs[~(variant & (runs["split"] == "class-8"))]
    figure, table = drawn("sensitivity", runs, tmp_path)
    removal = table[(table["scenario"] == "class_removal") & (table["kind"] == "mean")]
    by_original = removal[removal["part"] == "original"]
    assert set(by_original["method"]) == {"duck", "scrub", "unsir"}
    assert set(by_original["experiment"]) == {"fashion_mnist_mini-strided_cnn", "epochs-8", "decay"}
    done = runs[(runs["status"] == "ok") & (runs["scenario"] == "class_removal")]
    for row in removal.itertuples():
        cells = done[(done["experiment"] == row.experiment) & (done["method"] == row.method)]
        kept = done[(done["experiment"] == row.experiment) & (done["method"] == "original")]
        if row.part == "variant":
            cells = cells[cells["split"] == "class-0"]
            kept = kept[kept["split"] == "class-0"]
        assert row.n == len(cells) and row.value == pytest.approx(cells["aus"].astype(float).mean())
        accuracy = 100 * kept["retain_test_accuracy"].astype(float).mean()
        assert row.original_accuracy == pytest.approx(accuracy)
    drawn_means = {x for x, _ in points(figure)}
    assert set(removal["value"]) <= drawn_means
    assert "3 of 6 cells diverged" in texts(figure)


def test_sensitivity_needs_another_original_or_a_variant(tmp_path):
    figure, table = drawn("sensitivity", sensitivity((), 0), tmp_path)
    assert table.empty and "No second original or variant" in texts(figure)
    _, table = drawn("sensitivity", sensitivity(("decay",), 0), tmp_path)
    assert set(table["part"]) == {"original"}
    _, table = drawn("sensitivity", sensitivity((), 1), tmp_path)
    assert set(table["part"]) == {"variant"}
    assert set(table["method"]) == {"duck", "duck_lr_0.10000"}
