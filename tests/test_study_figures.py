"""The studies' figures: what is drawn is what their CSV files say, and nothing else."""

from __future__ import annotations

import importlib
import statistics

import numpy as np
import pandas as pd
import pytest
from drawing import _scripts, drawn, read, texts, usual
from figure_tables import TABLES, VARIANTS, architectures, attributions, multiple_classes, shortcut
from matplotlib.collections import PolyCollection

from unlearning.results.display import shown

__all__ = ["_scripts"]  # a fixture that every test here uses


MARKERS = ("o", "s", "*", "D")


def marks(axes, *markers: str) -> list[tuple[float, float, str]]:
    """x, y and colour of every marked point, of the given markers if any."""
    return [
        (float(x), float(y), line.get_color())
        for line in axes.lines
        if line.get_marker() in (markers or MARKERS)
        for x, y in zip(*line.get_data(), strict=True)
    ]


def rows_of(axes) -> list[str]:
    """The name beside each row of a dot plot, without its dagger."""
    return [label.get_text().removesuffix(" †") for label in axes.get_yticklabels()]


def bars(axes) -> dict[float, float]:
    """Half the length of the horizontal error bar at each mean."""
    return {
        float(bar.lines[0].get_xdata()[0]): float(np.ptp(bar.lines[2][0].get_segments()[0][:, 0]))
        / 2
        for bar in axes.containers
        if bar.lines[2]
    }


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("ablation", "classes_removed", "many", "classes_removed: could not convert"),
        ("attributions", "pair", "duck~duck", "'duck~duck' is none of duck~oracle"),
        ("attributions", "correlation", 1.2, r"outside \[-1, 1\]"),
        ("shortcut", "value", 1.2, r"clean_source is 1.2, no share in \[0, 1\]"),
    ],
)
def test_a_wrong_value_is_refused(name, column, value, message, tmp_path):
    with pytest.raises(ValueError, match=rf"\.csv.*{message}"):
        read(name, TABLES[name]().assign(**{column: value}), tmp_path)


TOLD = {
    "ablation": [
        *("Random centroid: 6 of 6 cells missing, reason: not run", "Euclidean †", "missing"),
        *("Class removal, Euclidean: 1 of 6 cells diverged: split class-8", "Euclidean: 5 runs"),
    ],
    "architectures": [
        *("ViT-B/16, Fine-Tuning: 6 of 6 cells missing", "Fine-Tuning †", "DUCK †"),
        *("ViT-B/16, DUCK: 1 of 6 cells diverged", "DUCK on ViT-B/16: 5 runs"),
    ],
    "multiple_classes": [
        *("Fine-Tuning: 3 of 16 cells diverged", "Fine-Tuning †"),
        "stands for 3 class sets; 1 run at 8 (Original, Oracle, Fine-Tuning, DUCK).",
    ],
    "attributions": [
        *("1 of 120 (DUCK – Oracle, for the true class)", "n = 60 images"),
        "6 groups of models: 3 removed classes and 2 training seeds",
    ],
    "shortcut": [
        *("Original: clean source known for 2 of 3 training seeds", "Original (poisoned) †"),
        *("n = 100 images a seed", "3 training seeds"),
    ],
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_missing_and_how_many_there_are_is_told(name, tmp_path):
    said = texts(usual(name, tmp_path)[0])
    assert [part for part in TOLD[name] if part not in said] == []


@pytest.mark.parametrize("name", ["ablation", "architectures", "multiple_classes"])
def test_means_of_cells_agree_with_an_independent_computation(name, tmp_path):
    table = TABLES[name]()
    _, numbers = usual(name, tmp_path)
    means = numbers[numbers["n"].notna()]
    assert len(means) > 20
    known = ["scenario", "arch", "method", "classes_removed"]
    known = [column for column in known if column in numbers]
    for row in means.to_dict("records"):
        cells = table[
            (table["status"] == "ok") & (table[known] == pd.Series(row)[known]).all(axis=1)
        ]
        scale = 1 if row["metric"] == "aus" else 100
        values = [scale * value for value in cells[row["metric"]]]
        assert row["n"] == len(values)
        assert row["value"] == pytest.approx(statistics.mean(values), rel=1e-12)
        if len(values) > 1:
            assert row["sd"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-12)
        else:
            assert np.isnan(row["sd"])


def colour_of(metric: str, otherwise: str) -> str:
    common = importlib.import_module("common")
    known = {"retain": common.RETAIN, "forget": common.FORGET, "test": common.NEITHER}
    return known.get(metric.partition("_")[0], otherwise)


def pairs(figure, numbers: pd.DataFrame):
    """Left and right panel of each scenario, with the numbers of AUS and of the accuracies."""
    for k, scenario in enumerate(numbers["scenario"].unique()):
        own = numbers[numbers["scenario"] == scenario]
        score = own["metric"] == "aus"
        yield figure.axes[2 * k], figure.axes[2 * k + 1], own[score], own[~score]


def test_an_ablation_draws_exactly_its_csv_each_variant_in_its_row(tmp_path):
    common = importlib.import_module("common")
    figure, numbers = usual("ablation", tmp_path)
    for left, right, score, rest in pairs(figure, numbers):
        names = rows_of(left)
        assert names[:3] == ["DUCK", "Oracle", "Original"]
        assert names[3:] == [shown(name) for name in VARIANTS]
        for axes, rows in ((left, score), (right, rest)):
            got = sorted((x, names[round(y)], colour) for x, y, colour in marks(axes))
            wanted = []
            for row in rows.itertuples():
                neutral = common.REFERENCE.get(row.method, common.NEITHER)
                name = shown(row.method)
                wanted.append((row.value, name, colour_of(row.metric, neutral)))
            assert got == sorted(wanted)
            means = rows[rows["kind"] == "mean"].set_index("value")["sd"]
            assert bars(axes) == pytest.approx(means.to_dict(), abs=1e-12)
            duck = rows[(rows["method"] == "duck") & (rows["kind"] == "mean")]
            dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
            assert {line.get_xdata()[0] for line in dashed} == set(duck["value"])


def test_architectures_draw_exactly_their_csv_each_in_its_row(tmp_path):
    common = importlib.import_module("common")
    figure, numbers = usual("architectures", tmp_path)
    looks = common.looks(["original", "oracle", "fine_tuning", "duck"])
    for left, right, score, rest in pairs(figure, numbers):
        names = rows_of(left)
        assert names == ["strided CNN", "ResNet-18", "ViT-B/16"]
        assert set(rest["method"]) == {"duck", "oracle"}
        for axes, rows in ((left, score), (right, rest)):
            got = sorted((x, names[round(y)], colour) for x, y, colour in marks(axes))
            wanted = [
                (row.value, shown(row.arch), colour_of(row.metric, looks[row.method][0]))
                for row in rows.itertuples()
            ]
            assert got == sorted(wanted)


def test_two_experiments_on_one_architecture_have_a_row_each(tmp_path):
    again = architectures(("strided_cnn",)).assign(experiment="other")
    table = pd.concat([architectures(("strided_cnn",)), again])
    figure, _ = drawn("architectures", table, tmp_path)
    assert rows_of(figure.axes[0]) == ["strided CNN\n(study-strided_cnn)", "strided CNN\n(other)"]


def test_many_classes_are_lines_through_the_csv_in_bands_of_one_sd(tmp_path):
    figure, numbers = usual("multiple_classes", tmp_path)
    common = importlib.import_module("common")
    looks = common.looks(numbers["method"])
    metrics = ("retain_test_accuracy", "aus", "forget_test_accuracy")
    for axes, metric in zip(figure.axes, metrics, strict=True):
        own = numbers[numbers["metric"] == metric]
        got = {(x, y, colour) for x, y, colour in marks(axes) if not np.isnan(y)}
        assert got == {
            (row.classes_removed, row.value, looks[row.method][0]) for row in own.itertuples()
        }
        assert ("original" in set(own["method"])) == (metric == "retain_test_accuracy")
        edges = set()
        for band in axes.collections:
            if isinstance(band, PolyCollection):
                edges |= {
                    tuple(np.round(point, 9))
                    for path in band.get_paths()
                    for point in path.vertices
                }
        assert edges == {
            (float(row.classes_removed), round(row.value + side * row.sd, 9))
            for row in own[own["n"] > 1].itertuples()
            for side in (-1, 1)
        }


def test_a_line_is_broken_where_a_method_has_no_result(tmp_path):
    figure, _ = usual("multiple_classes", tmp_path)
    lines = {line.get_marker(): line for line in figure.axes[1].lines}
    assert list(lines["s"].get_xdata()) == [1, 2, 3, 5, 7, 8]
    assert list(np.isnan(lines["s"].get_ydata())) == [False, False, True, False, False, False]
    assert not np.isnan(lines["o"].get_ydata()).any()


def test_points_without_neighbours_have_bars_for_bands(tmp_path):
    figure, numbers = drawn("multiple_classes", multiple_classes((2,)), tmp_path)
    score = numbers[numbers["metric"] == "aus"]
    found = [bar.lines[2][0].get_segments() for bar in figure.axes[1].containers]
    ends = [np.sort(segment[:, 1]) for segments in found for segment in segments]
    wanted = [[row.value - row.sd, row.value + row.sd] for row in score.itertuples()]
    assert np.allclose(ends, wanted)
    figure, _ = drawn("multiple_classes", multiple_classes((2,), draws=1), tmp_path)
    assert not any(bar.lines[2][0].get_segments() for bar in figure.axes[1].containers)


def test_attributions_draw_exactly_their_csv(tmp_path):
    table = TABLES["attributions"]()
    figure, numbers = usual("attributions", tmp_path)
    for axes, output in zip(figure.axes, ("true", "assigned"), strict=True):
        names = [name.lower().replace(" – ", "~") for name in rows_of(axes)]
        own = numbers[numbers["output"] == output]
        images = table[table["output"] == output].groupby(["pair", "split", "image"])
        values = images["correlation"].mean().reset_index()
        dots = sorted((names[round(y)], x) for x, y, _ in marks(axes, "o"))
        wanted = sorted(values[["pair", "correlation"]].itertuples(index=False, name=None))
        assert [name for name, _ in dots] == [name for name, _ in wanted]
        assert [x for _, x in dots] == pytest.approx([x for _, x in wanted], rel=1e-12)
        means = own[own["kind"] == "mean"].set_index("pair")
        diamonds = {(names[round(y)], x) for x, y, _ in marks(axes, "D")}
        assert diamonds == set(means["correlation"].items())
        drawn_ends = [bar.lines[2][0].get_segments()[0][:, 0] for bar in axes.containers]
        assert np.allclose(drawn_ends, means.loc[names, ["low", "high"]])
        boxes = own[own["kind"] == "quartiles"].set_index("pair")
        found = [
            c.get_paths()[0].vertices for c in axes.collections if isinstance(c, PolyCollection)
        ]
        sides = {names[round(box[:, 1].mean())]: (min(box[:, 0]), max(box[:, 0])) for box in found}
        assert sides == {pair: (row.low, row.high) for pair, row in boxes.iterrows()}
        cuts = {line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 1.4}
        assert cuts == set(boxes["correlation"])


def test_means_and_intervals_of_attributions_agree_with_the_closed_form(tmp_path):
    """Five images of one class: the interval is Student's t over images, by hand."""
    table = attributions(5, 1, 2)
    _, numbers = drawn("attributions", table, tmp_path)
    for row in numbers[numbers["kind"] == "mean"].itertuples():
        own = table[(table["output"] == row.output) & (table["pair"] == row.pair)]
        images = [own.loc[own["image"] == k, "correlation"].mean() for k in range(5)]
        half = 2.7764451 * statistics.stdev(images) / 5**0.5  # 97.5 % of t with 4 degrees
        middle = statistics.mean(images)
        got = [row.correlation, row.low, row.high, row.n]
        assert got == pytest.approx([middle, middle - half, middle + half, 5], rel=1e-7)
        ordered = sorted(images)
        box = numbers[(numbers["output"] == row.output) & (numbers["pair"] == row.pair)]
        (box,) = box[box["kind"] == "quartiles"].to_dict("records")
        assert [box["low"], box["correlation"], box["high"]] == pytest.approx(ordered[1:4])


def test_a_shortcut_draws_exactly_its_csv(tmp_path):
    figure, numbers = usual("shortcut", tmp_path)
    names = [name.removesuffix(" (poisoned)").lower() for name in rows_of(figure.axes[0])]
    assert names == ["original", "duck", "oracle"]
    answer = importlib.import_module("shortcut").ANSWER
    mass = numbers[numbers["measure"] == "attribution_mass"]
    (area,) = numbers.loc[numbers["measure"] == "patch_area", "value"]
    shares = numbers[~numbers["measure"].isin(["attribution_mass", "patch_area"])]
    got = sorted(
        (x, names[round(y)], colour, "patched" if y < round(y) else "clean")
        for x, y, colour in marks(figure.axes[0])
    )
    assert got == sorted(
        (
            row.value,
            row.method,
            answer[row.measure.partition("_")[2]][0],
            row.measure.partition("_")[0],
        )
        for row in shares.itertuples()
    )
    got = sorted((x, names[round(y)]) for x, y, _ in marks(figure.axes[1]))
    assert got == sorted((row.value, row.method) for row in mass.itertuples())
    dashed = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [area]
    assert area == pytest.approx(100 * 16 / 784)


def test_means_of_a_shortcut_agree_with_an_independent_computation(tmp_path):
    table = TABLES["shortcut"]()
    _, numbers = usual("shortcut", tmp_path)
    means = numbers[numbers["kind"] == "mean"]
    assert len(means) == 3 * 5
    for row in means.itertuples():
        own = table[(table["method"] == row.method) & (table["measure"] == row.measure)]
        values = [100 * value for value in own["value"].dropna()]
        assert [row.n, row.value] == pytest.approx([len(values), statistics.mean(values)])
        assert row.sd == pytest.approx(statistics.stdev(values))


def test_patched_images_are_filled_and_clean_ones_open(tmp_path):
    figure, _ = drawn("shortcut", shortcut(1), tmp_path)
    means = [line for line in figure.axes[0].lines if line.get_markersize() == 4.5]
    places = [(line.get_ydata()[0], line.get_markerfacecolor()) for line in means]
    assert len(places) == 3 * 4
    assert all((face == "white") == (y > round(y)) for y, face in places)
