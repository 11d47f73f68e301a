"""The figures of feature space and explanations: they draw what their CSV says, and only that."""

from __future__ import annotations

import importlib
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from drawing import _scripts, drawn, texts, usual
from figure_tables import MODELS, attribution_maps, destinations, features, maps
from matplotlib.colors import to_hex

from unlearning.results.display import shown

__all__ = ["_scripts"]  # a fixture that every test here uses


def curves(axes, colour=None, marker=None) -> list[set[tuple[float, float]]]:
    """The points of each line of the panel, of one colour or marker if it is given."""
    return [
        set(zip(*(map(float, values) for values in line.get_data()), strict=True))
        for line in axes.lines
        if (colour is None or to_hex(line.get_color()) == colour.lower())
        and (marker is None or line.get_marker() == marker)
    ]


def pairs(table: pd.DataFrame, x="x", y="y") -> set[tuple[float, float]]:
    return set(zip(table[x].astype(float), table[y].astype(float), strict=True))


def test_density_means_and_errors_agree_with_an_independent_computation(tmp_path):
    frame = features()
    _, table = usual("density", tmp_path)
    groups = frame[frame["measure"] == "log_density"].groupby(
        ["layer", "model", "part", "percentile"]
    )
    means = table[table["kind"] == "mean"]
    means = means.set_index(["layer", "model", "part", "percentile"])
    assert len(means) == len(groups) == 24
    for key, cells in groups:
        assert means.loc[key, "log_density"] == pytest.approx(statistics.mean(cells["value"]))
        error = statistics.stdev(cells["value"]) / math.sqrt(4)
        assert means.loc[key, "sem"] == pytest.approx(error)
        assert means.loc[key, "n"] == 4
        if key[-1] == 95:
            rows = table[(table["kind"] == "cell") & (table["layer"] == key[0])]
            rows = rows[(rows["model"] == key[1]) & (rows["part"] == key[2])]
            assert sorted(rows["log_density"]) == pytest.approx(sorted(cells["value"]))
    assert set(table.loc[table["kind"] == "cell", "percentile"]) == {95}


@pytest.mark.parametrize("part", ["forget", "retain"])
def test_density_draws_its_csv_in_the_colour_of_each_part(part, tmp_path):
    common = importlib.import_module("common")
    figure, table = usual("density", tmp_path)
    colour = getattr(common, part.upper())
    for place, layer in enumerate(("embedding", "intermediate")):
        left, right = figure.axes[2 * place : 2 * place + 2]
        own = table[(table["layer"] == layer) & (table["part"] == part)]
        by_kind = dict(list(own.groupby("kind")))
        lines = [
            pairs(rows, "percentile", "log_density")
            for _, rows in by_kind["mean"].groupby("model", sort=False)
        ]
        assert curves(right, colour) == lines
        dots = [{y for _, y in points} for points in curves(left, colour, "o") if len(points) > 1]
        cells = by_kind["cell"].groupby("model", sort=False)["log_density"]
        assert dots == [set(values) for _, values in cells]
        assert {to_hex(box.get_edgecolor()) for box in left.patches} == {
            common.FORGET.lower(),
            common.RETAIN.lower(),
        }


def test_density_boxes_stand_model_by_model_with_their_median(tmp_path):
    figure, table = usual("density", tmp_path)
    cells = table[(table["kind"] == "cell") & (table["layer"] == "embedding")]
    medians = cells.groupby(["model", "part"])["log_density"].median()
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.6]
    found = [(np.mean(line.get_xdata()), line.get_ydata()[0]) for line in thick]
    expected = [
        (place + shift, medians[model, part])
        for place, model in enumerate(MODELS)
        for part, shift in (("forget", -0.2), ("retain", 0.2))
    ]
    assert np.allclose(found, expected, rtol=1e-12)
    styles = [line.get_linestyle() for line in figure.axes[1].lines]
    assert len(set(styles)) == 3


def test_density_of_one_run_has_no_error_and_says_so(tmp_path):
    figure, table = drawn("density", features((0,), (3,)), tmp_path)
    assert table["sem"].isna().all()
    assert "n = 1: 1 run" in texts(figure)
    figure, table = drawn("density", features().replace({"train_seed": {1: 2}}), tmp_path)
    assert "n = 4: 2 classes x 2 training seeds" in texts(figure)


def test_a_density_that_is_missing_is_told(tmp_path):
    frame = features().astype({"value": object})
    frame.loc[0, "value"], frame.loc[1, "value"] = "", "-inf"
    figure, table = drawn("density", frame, tmp_path)
    assert "2 of 96 values without a finite density, not drawn" in texts(figure)
    assert sorted(set(table["n"].dropna())) == [3, 4]


def test_destinations_draw_the_mean_share_over_every_seed(tmp_path):
    frame = destinations()
    figure, table = usual("destinations", tmp_path)
    panels = [("original", "centroid"), ("duck", "centroid"), ("oracle", "prediction")]
    for axes, (model, by) in zip(figure.axes, panels, strict=False):
        (image,) = axes.images
        own = frame[(frame["model"] == model) & (frame["by"] == by)]
        for row, removed in enumerate((0, 2)):
            cells = own[own["split"] == f"class-{removed}"]
            for label in range(4):
                expected = 100 * cells.loc[cells["class"] == label, "share"].sum() / 2
                assert image.get_array()[row, label] == pytest.approx(expected, abs=1e-12)
                (told,) = table.loc[
                    (table["model"] == model)
                    & (table["removed"] == removed)
                    & (table["class"] == label),
                    "share_percent",
                ]
                assert told == image.get_array()[row, label]
    assert len(table) == 3 * 2 * 4 and set(table["n"]) == {2}


def test_destinations_write_large_shares_and_mark_the_removed_class(tmp_path):
    figure, table = usual("destinations", tmp_path)
    removed = {0: 0, 2: 1}
    for axes, (model, own) in zip(figure.axes, table.groupby("model", sort=False), strict=False):
        large = own[own["share_percent"] >= 5]
        assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
            ((row["class"], removed[row["removed"]]), f"{row['share_percent']:.0f}")
            for row in large.to_dict("records")
        }
        crosses = {(0.0, 0.0), (2.0, 1.0)}
        assert curves(axes, marker="x") == ([] if model == "oracle" else [crosses])


def test_destinations_of_many_classes_have_no_numbers(tmp_path):
    figure, _ = drawn("destinations", destinations(100, range(30), (0,)), tmp_path)
    assert not any(axes.texts for axes in figure.axes)
    assert len(figure.axes[0].get_xticks()) == 10
    assert figure.axes[0].images[0].get_array().shape == (30, 100)


def test_a_share_must_be_a_fraction(tmp_path):
    with pytest.raises(ValueError, match=r"destinations\.csv: share holds .* \[0, 1\]"):
        drawn("destinations", destinations().assign(share=37.0), tmp_path)


def test_embedding_maps_draw_the_first_map_model_by_model(tmp_path):
    common = importlib.import_module("common")
    frame = maps()
    figure, table = usual("embedding_maps", tmp_path)
    first = frame[frame["split"] == "class-2"]
    assert set(table["split"]) == {"class-2"}
    assert "the first of 2 maps" in texts(figure) and "n = 20 forgotten and 15" in texts(figure)
    for axes, model in zip(figure.axes, MODELS, strict=True):
        assert axes.get_title(loc="left") == shown(model)
        own = first[(first["model"] == model) & (first["kind"] == "image")]
        gone = own["forgotten"] == 1
        assert curves(axes, common.FORGET, "^") == [pairs(own[gone])]
        assert set().union(*curves(axes, marker="o")) == pairs(own[~gone])
        centroids = first[first["kind"] == "centroid"]
        targets = centroids["class"].isin([0, 3])
        assert curves(axes, marker="*") == [pairs(centroids[~targets]), pairs(centroids[targets])]
        limits = [(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes]
        assert len(set(limits)) == 1


def test_embedding_maps_write_classes_at_their_median(tmp_path):
    frame = maps()
    figure, _ = usual("embedding_maps", tmp_path)
    for axes, model in zip(figure.axes, MODELS, strict=True):
        written = {text.get_text(): text.xy for text in axes.texts}
        assert set(written) == {"0", "1", "3"}
        own = frame[(frame["split"] == "class-2") & (frame["model"] == model)]
        own = own[(own["class"] == 1) & (own["kind"] == "image")]
        middle = statistics.median(own["x"]), statistics.median(own["y"])
        assert written["1"] == pytest.approx(middle)


def test_a_line_joins_a_forgotten_image_with_its_own_centroid(tmp_path):
    figure, table = usual("embedding_maps", tmp_path)
    joined = table[table["joined"] == 1]
    assert len(joined) == 12 and set(joined["model"]) == {"duck"}
    expected = [
        {(row.x, row.y), (9.0 * row.assigned, 9.5 * row.assigned)} for row in joined.itertuples()
    ]
    assert curves(figure.axes[1], "#000000", "None") == expected
    assert not curves(figure.axes[0], "#000000", "None")


def test_among_many_classes_only_those_assigned_are_numbered(tmp_path):
    figure, _ = drawn("embedding_maps", maps(classes=30), tmp_path)
    assert {text.get_text() for text in figure.axes[0].texts} == {"0", "29"}
    assert "Numbers: each class that was assigned" in texts(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_attribution_maps_draw_every_value_on_the_scale_of_its_row(channels, tmp_path):
    frame = attribution_maps(channels=channels)
    figure, table = drawn("attribution_maps", frame, tmp_path)
    panels = [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]
    assert len(panels) == 4 * 7 and set(table["image"]) == {"0", "7", "14", "21"}
    names = [(model, output) for output in ("true", "assigned") for model in MODELS]
    for row in range(4):
        own = frame[frame["image"] == 7 * row]
        limit = own.loc[own["model"] != "image", "value"].abs().max()
        picture, *shown = panels[7 * row : 7 * row + 7]
        assert picture.get_ylabel() == f"class 3 → {row}"
        pixels = own.loc[own["model"] == "image", "value"].to_numpy().reshape(channels, 3, 4)
        pixels = np.moveaxis(pixels, 0, -1)
        assert (np.atleast_3d(picture.images[0].get_array()) == pixels).all()
        for axes, (model, output) in zip(shown, names, strict=True):
            values = own.loc[(own["model"] == model) & (own["output"] == output), "value"]
            (image,) = axes.images
            assert np.allclose(image.get_array(), values.to_numpy().reshape(3, 4), rtol=1e-12)
            assert image.get_clim() == pytest.approx((-limit, limit))
    assert [axes.get_title() for axes in panels[:7]][2] == "for the true class\nDUCK"
    assert "4 of 5 images" in texts(figure)


def test_an_attribution_map_that_is_missing_is_told(tmp_path):
    frame = attribution_maps(1)
    lost = (frame["model"] == "oracle") & (frame["output"] == "true")
    figure, _ = drawn("attribution_maps", frame[~lost], tmp_path)
    (told,) = [axes for axes in figure.axes if axes.texts]
    assert told.texts[0].get_text() == "missing"
    assert told.get_title() == "Oracle"
    frame.loc[frame["model"] != "image", "value"] = 0.0
    figure, _ = drawn("attribution_maps", frame, tmp_path)
    assert {image.get_clim() for axes in figure.axes[2:5] for image in axes.images} == {(-1, 1)}
