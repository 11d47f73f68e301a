"""The studies' tables: numbers computed again by plain formulas, in every format; empty files."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from by_hand import by_split, cautious
from scipy import stats as scipy_stats
from test_tables import FORMATS, lose, parse, synthetic_runs

from unlearning.metrics.names import STUDY_TABLES as NAMES
from unlearning.results.study_files import IDENTITIES, VALUES, read_tidy
from unlearning.stages.tabulate_studies import main
from unlearning.tables.layouts import LAYOUTS

SYSTEM = {"experiment": "inside", "dataset": "mini", "arch": "strided_cnn"}
CELLS = list(itertools.product(("class-3", "class-5", "class-7"), (0, 1)))
VARIANTS = ("duck", "no_forget_loss", "euclidean")


def features() -> pd.DataFrame:
    """Every measure of three models over six cells; duck's margin of one forgotten class lacks."""
    draw, rows = np.random.default_rng(1), []
    measures = [("log_density", "90"), ("log_density", "95"), ("silhouette", ""), ("margin", "")]
    for layer in ("embedding", "intermediate"):
        for (split, seed), model in itertools.product(CELLS, ("original", "duck", "oracle")):
            cell = {**SYSTEM, "scenario": "class_removal", "split": split, "train_seed": seed}
            cell |= {"model": model, "layer": layer}
            for (measure, percentile), part in itertools.product(measures, ("forget", "retain")):
                gone = (measure, part, model, split, seed) == (
                    "margin",
                    "forget",
                    "duck",
                    *CELLS[0],
                )
                value = "" if gone else draw.normal(1.0 if part == "retain" else 0.2, 0.4)
                own = {"measure": measure, "part": part, "percentile": percentile, "value": value}
                rows.append(cell | own)
            if layer == "embedding":
                for measure in ("reached", "destination_distance"):
                    own = {"part": "forget", "percentile": "", "value": draw.random()}
                    rows.append(cell | own | {"measure": measure})
    return pd.DataFrame(rows)


def attributions() -> pd.DataFrame:
    """Groups of five images whose difference depends on the group; one map is constant."""
    draw, rows = np.random.default_rng(2), []
    for (split, seed), output in itertools.product(CELLS, ("true", "assigned")):
        shift = draw.normal(0.2, 0.2)
        for image, pair in itertools.product(range(5), ("duck~oracle", "original~oracle")):
            value = 0.3 + (shift if pair == "duck~oracle" else 0) + draw.normal(0, 0.05)
            constant = (split, seed, image, pair) == ("class-3", 0, 0, "duck~oracle")
            row = {"scenario": "class_removal", "split": split, "train_seed": seed, "image": image}
            row |= {"output": output, "pair": pair, "correlation": "" if constant else value}
            rows.append(SYSTEM | row)
    return pd.DataFrame(rows)


def shortcut() -> pd.DataFrame:
    draw, rows = np.random.default_rng(3), []
    measures = ("test_accuracy", "clean_source", "clean_label", "patched_source", "patched_label")
    measures += ("strength", "attribution_mass", "patch_area", "poisoned_accuracy")
    for method, seed, measure in itertools.product(
        ("duck", "original", "oracle"), (0, 1), measures
    ):
        if (method, seed) != ("oracle", 1):
            row = {"train_seed": seed, "method": method, "source": "3", "label": "5"}
            rows.append(SYSTEM | row | {"measure": measure, "value": draw.random(), "n": 100})
    return pd.DataFrame(rows)


def study(name: str, experiment: str, runs: pd.DataFrame, **extra) -> pd.DataFrame:
    return runs.assign(study=name, experiment=experiment, classes_removed="", **extra)


def studies() -> pd.DataFrame:
    """Two sizes of removal, an ablation in both scenarios, two architectures; holes in each."""
    parts = []
    for count in (10, 2):
        runs = synthetic_runs(("fine_tuning", "duck"))
        runs = runs[runs["scenario"] == "class_removal"]
        runs["aus"] = [float(a) - 0.01 * count * k / len(runs) for k, a in enumerate(runs["aus"])]
        runs["split"] = runs["split"] + f"-{count}"
        one = (runs["method"] == "duck") & (runs["train_seed"] == 1) & (count == 10)
        runs = lose(runs, one, "diverged", "loss is NaN")
        parts.append(study("multiple_classes", "many", runs).assign(classes_removed=count))
    runs = synthetic_runs(VARIANTS)
    runs = lose(runs, runs["method"] == "no_forget_loss", "missing", "not run")
    parts.append(study("ablation", "parts", pd.concat([runs, euclid_twin(runs)])))
    for arch in ("vit_tiny", "allcnn"):
        runs = synthetic_runs(("fine_tuning", "duck"), ("mini", arch))
        parts.append(study("architectures", f"on_{arch}", runs))
    parts.append(study("feature_space", "inside", synthetic_runs(("duck",))))
    return pd.concat(parts, ignore_index=True)


def euclid_twin(runs: pd.DataFrame) -> pd.DataFrame:
    """A variant that is another one and a little worse in some cells."""
    twin = runs[runs["method"] == "euclidean"].assign(method="moving_centroids")
    shift = [0.02 * k for k in range(len(twin))]
    return twin.assign(aus=[float(a) - s for a, s in zip(twin["aus"], shift, strict=True)])


FILES = {
    "studies": studies,
    "features": features,
    "attributions": attributions,
    "shortcut": shortcut,
}


def tabulated(frames: dict[str, pd.DataFrame], where):
    for name, frame in frames.items():
        frame.to_csv(where / f"{name}.csv", index=False)
    options = [part for name in FILES for part in (f"--{name}", str(where / f"{name}.csv"))]
    main([*options, "--out", str(where / "tables")])
    return where / "tables"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    frames = {name: make() for name, make in FILES.items()}
    return tabulated(frames, tmp_path_factory.mktemp("studies"))


def table(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def pick(frame: pd.DataFrame, **key) -> pd.DataFrame:
    for name, value in key.items():
        frame = frame[frame[name] == value]
    return frame


def only(frame: pd.DataFrame, **key) -> pd.Series:
    found = pick(frame, **key)
    assert len(found) == 1, f"{len(found)} rows of {key}"
    return found.iloc[0]


def by_cell(frame: pd.DataFrame, column: str) -> dict[tuple, float]:
    """{(split, seed): value} without what is empty, by a loop."""
    found = {}
    for row in frame.to_dict("records"):
        if row[column] != "":
            found[row["split"], row["train_seed"]] = float(row[column])
    return found


# --- feature space ---


@pytest.mark.parametrize("measure", ["log_density", "silhouette", "margin"])
@pytest.mark.parametrize("layer", ["embedding", "intermediate"])
def test_means_and_tests_of_the_feature_space(folder, layer, measure):
    found = pick(table(folder, "feature_space"), layer=layer, measure=measure)
    source = pick(features(), layer=layer, measure=measure)
    if measure == "log_density":
        source = source[source["percentile"] == "95"]
        assert set(found["percentile"]) == {95}
    values = {
        (part, model): by_cell(pick(source, part=part, model=model), "value")
        for part in ("forget", "retain")
        for model in ("original", "duck", "oracle")
    }
    for (part, model), cells in values.items():
        row = found[(found["quantity"] == f"{part}, {model}") & found["against"].isna()].iloc[0]
        numbers = list(cells.values())
        expected = statistics.fmean(numbers), statistics.stdev(numbers), len(numbers)
        assert (row["mean"], row["sd"], row["n"]) == pytest.approx(expected)
    pairs = [((part, "duck"), (part, "oracle")) for part in ("retain", "forget")]
    pairs += [(("forget", model), ("retain", model)) for model in ("original", "duck", "oracle")]
    assert found["against"].notna().sum() == len(pairs)
    for one, other in pairs:
        row = only(found, quantity=", ".join(one), against=", ".join(other))
        shared = [cell for cell in values[one] if cell in values[other]]
        expected = cautious({cell: values[one][cell] - values[other][cell] for cell in shared})
        assert (row["n"], row["over"]) == (len(shared), "classes and seeds")
        numbers = row["difference"], row["low"], row["high"], row["p"]
        assert numbers == pytest.approx(expected)
        assert (row["verdict"] == "not told apart") == (row["p"] >= 0.05)
        x = by_split({cell: values[one][cell] for cell in shared})
        y = by_split({cell: values[other][cell] for cell in shared})
        assert row["rank_sum_p"] == pytest.approx(scipy_stats.mannwhitneyu(x, y).pvalue)
        wins = sum((a > b) - (a < b) for a, b in itertools.product(x, y))
        assert row["rank_biserial"] == pytest.approx(wins / len(x) / len(y))
        assert row["signed_rank_p"] == pytest.approx(scipy_stats.wilcoxon(x, y).pvalue)


def test_a_missing_value_leaves_its_pair_out(folder):
    found = pick(table(folder, "feature_space"), layer="embedding", measure="margin")
    assert only(found, quantity="forget, duck", against="forget, oracle")["n"] == 5
    assert only(found, quantity="retain, duck", against="retain, oracle")["n"] == 6


def test_what_has_no_retained_side_has_means_alone(folder):
    found = table(folder, "feature_space")
    for measure in ("reached", "destination_distance"):
        rows = pick(found, measure=measure)
        assert rows["quantity"].tolist() == ["forget, original", "forget, duck", "forget, oracle"]
        assert rows["against"].isna().all() and set(rows["layer"]) == {"embedding"}
        source = by_cell(pick(features(), measure=measure, model="duck"), "value")
        mean = only(rows, quantity="forget, duck")["mean"]
        assert mean == pytest.approx(statistics.fmean(source.values()))


def test_a_test_says_what_is_compared_with_what(folder):
    shown = [row[1] for row in parse(folder, "feature_space", "md")]
    for text in ("forget, duck", "retain, duck − oracle", "forget − retain, original"):
        assert text in shown


# --- attributions ---


@pytest.mark.parametrize("output", ["true", "assigned"])
def test_correlations_and_their_difference_over_images_and_over_models(folder, output):
    found = table(folder, "attributions").astype({"output": str})
    found = found[found["output"].str.lower() == output]
    source = pick(attributions(), output=output)
    groups, undefined = {}, 0
    for (split, seed), image in itertools.product(CELLS, range(5)):
        cell = pick(source, split=split, train_seed=seed, image=image)
        duck, original = (
            pick(cell, pair=f"{model}~oracle")["correlation"].item()
            for model in ("duck", "original")
        )
        if duck == "":
            undefined += 1
        else:
            groups.setdefault((split, seed), []).append(duck - original)
    row = only(found, pair="duck~oracle − original~oracle")
    images = [value for values in groups.values() for value in values]
    assert (row["mean"], row["sd"]) == pytest.approx(
        (statistics.fmean(images), statistics.stdev(images))
    )
    over_groups = row["group_mean"], row["group_low"], row["group_high"], row["p"]
    means = {cell: statistics.fmean(values) for cell, values in groups.items()}
    assert over_groups == pytest.approx(cautious(means))
    assert (row["n"], row["undefined"], row["groups"]) == (len(images), undefined, 6)
    assert (undefined, row["over"]) == (1, "classes and seeds")
    known = [c for c in pick(source, pair="duck~oracle")["correlation"] if c != ""]
    plain = only(found, pair="duck~oracle")
    expected = statistics.fmean(known), statistics.stdev(known), len(known), 1
    assert (plain["mean"], plain["sd"], plain["n"], plain["undefined"]) == pytest.approx(expected)


# --- shortcut ---


def test_shortcut_measures_are_means_over_training_seeds(folder):
    found, source = table(folder, "shortcut"), shortcut()
    assert found["method"].tolist() == ["original", "oracle", "duck"]
    for row in found.to_dict("records"):
        cells = pick(source, method=row["method"])
        assert row["seeds"] == (1 if row["method"] == "oracle" else 2)
        for measure, values in cells.groupby("measure")["value"]:
            assert row[f"{measure}_mean"] == pytest.approx(statistics.fmean(values))
            alone = len(values) == 1
            sd = math.nan if alone else statistics.stdev(values)
            assert row[f"{measure}_sd"] == pytest.approx(sd, nan_ok=True)


def test_the_shortcut_prints_in_percent_and_names_both_classes(folder):
    text = (folder / "shortcut.md").read_text(encoding="utf-8")
    assert "source class 3, labelled class 5" in text
    headers, *rows = parse(folder, "shortcut", "md")
    duck = dict(zip(headers, next(r for r in rows if r[0] == "duck"), strict=True))
    values = pick(shortcut(), method="duck", measure="strength")["value"]
    mean, sd = 100 * statistics.fmean(values), 100 * statistics.stdev(values)
    assert duck["Strength (points)"] == f"{mean:.1f} ± {sd:.1f}"
    oracle = dict(zip(headers, next(r for r in rows if r[0] == "oracle"), strict=True))
    assert "±" not in oracle["Strength (points)"] and oracle["n"] == "1"


# --- tables of runs ---


def aus(name: str, method: str, **key) -> dict[tuple, float]:
    return by_cell(pick(studies(), study=name, method=method, status="ok", **key), "aus")


def differences(one: dict, other: dict) -> dict[tuple, float]:
    return {cell: one[cell] - other[cell] for cell in one if cell in other}


def test_many_classes_count_up_and_compare_duck_with_fine_tuning(folder):
    found = table(folder, "multiple_classes")
    methods = ["original", "oracle", "fine_tuning", "duck"]
    assert found["classes_removed"].tolist() == [2] * 4 + [10] * 4
    assert found["method"].tolist() == 2 * methods
    for count in (2, 10):
        for method in methods:
            values = list(aus("multiple_classes", method, classes_removed=count).values())
            row = only(found, classes_removed=count, method=method)
            expected = statistics.fmean(values), statistics.stdev(values), len(values)
            assert (row["aus_mean"], row["aus_sd"], row["aus_n"]) == pytest.approx(expected)
            assert math.isnan(row["difference"]) == (method != "duck")
        duck, tuned = (
            aus("multiple_classes", m, classes_removed=count) for m in ("duck", "fine_tuning")
        )
        row = only(found, classes_removed=count, method="duck")
        ends = row["difference"], row["difference_low"], row["difference_high"]
        assert ends == pytest.approx(cautious(differences(duck, tuned))[:3])
        assert row["difference_over"] == "classes and seeds"
        assert row["pairs"] == (6 if count == 2 else 4)


def test_cells_that_are_not_ok_are_named_and_not_averaged(folder):
    headers, *rows = parse(folder, "multiple_classes", "md")
    lines = {(r[0], r[1]): dict(zip(headers, r, strict=True)) for r in rows}
    assert lines["10", "duck"]["n"] == "4 of 6" and lines["2", "duck"]["n"] == "6"
    assert lines["10", "duck"]["AUS"].endswith("†") and "†" not in lines["2", "duck"]["AUS"]
    text = (folder / "multiple_classes.md").read_text(encoding="utf-8")
    assert "† duck (10 removed): 2 of 6 cells diverged" in text
    headers, *rows = parse(folder, "ablation", "md")
    lost = dict(zip(headers, next(r for r in rows if r[0] == "no_forget_loss"), strict=True))
    assert {lost[h] for h in ("A_r^t (%)", "A_f^t (%)", "AUS", "Time (s)")} == {"missing"}
    assert lost["n"] == "0 of 6" and lost["Holm p"] == "–"


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_variants_are_compared_with_duck_by_holms_p(folder, scenario):
    found = pick(table(folder, "ablation"), scenario=scenario)
    duck = aus("ablation", "duck", scenario=scenario)
    plain = {}
    for method in ("euclidean", "moving_centroids"):
        gaps = differences(aus("ablation", method, scenario=scenario), duck)
        row = only(found, method=method)
        ends = row["difference"], row["difference_low"], row["difference_high"]
        *expected, plain[method] = cautious(gaps)
        assert ends == pytest.approx(tuple(expected)) and row["pairs"] == len(gaps)
        assert row["p"] == pytest.approx(plain[method])
    first, second = sorted(plain, key=plain.get)
    assert only(found, method=first)["p_holm"] == pytest.approx(min(1, 2 * plain[first]))
    expected = max(min(1, 2 * plain[first]), plain[second])
    assert only(found, method=second)["p_holm"] == pytest.approx(expected)
    for method in ("original", "oracle", "duck"):
        assert math.isnan(only(found, method=method)["difference"])


def test_architectures_are_one_table_with_a_section_for_each_scenario(folder):
    found = table(folder, "architectures")
    assert len(found) == 2 * 2 * 4
    for row in found.to_dict("records"):
        key = {name: row[name] for name in ("arch", "scenario")}
        values = list(aus("architectures", row["method"], **key).values())
        assert row["aus_mean"] == pytest.approx(statistics.fmean(values))
    text = (folder / "architectures.md").read_text(encoding="utf-8")
    assert text.count("**Architectures: mini, ") == 2
    rows = parse(folder, "architectures", "md")
    assert rows[0][:4] == ["Architecture", "Method", "A_r^t (%)", "A_f^t (%)"]
    assert rows[9][2:4] == ["A^t (%)", "A_f (%)"]
    assert [row[0] for row in rows[1:9]] == ["vit_tiny"] * 4 + ["allcnn"] * 4


# --- every table ---


@pytest.mark.parametrize("name", NAMES)
def test_the_printed_forms_say_the_same_cells(folder, name):
    assert all((folder / f"{name}.{form}").exists() for form in FORMATS)
    markdown, page = (parse(folder, name, form) for form in ("md", "html"))
    shown = {len(row) for row in markdown}
    assert len(shown) == 1 and [len(row) for row in page] == [len(row) for row in markdown]
    assert [row[-1] for row in parse(folder, name, "tex")] == [row[-1] for row in markdown]
    text = (folder / f"{name}.tex").read_text(encoding="utf-8")
    assert "?" not in text and "nan" not in (folder / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "header", "number", "places"),
    [
        ("feature_space", "Mann–Whitney p", "rank_sum_p", 3),
        ("attributions", "p", "p", 3),
        ("multiple_classes", "AUS", "aus_mean", 3),
        ("ablation", "Holm p", "p_holm", 3),
        ("architectures", "AUS", "aus_mean", 3),
    ],
)
def test_a_printed_number_is_the_one_in_the_csv(folder, name, header, number, places):
    printed = []
    for row in parse(folder, name, "md"):
        if header in row:
            place = row.index(header)
        else:
            printed.append(row[place].lstrip("\\").split(" ")[0])
    for text, value in zip(printed, table(folder, name)[number], strict=True):
        if math.isnan(value):
            assert text in ("–", "missing")
        else:
            assert text == "<" if value < 0.001 else float(text) == round(value, places)


def test_empty_files_give_a_sentence(tmp_path):
    frames = {name: make().iloc[:0] for name, make in FILES.items()}
    where = tabulated(frames, tmp_path)
    for name in NAMES:
        assert len(table(where, name)) == 0
        for form in ("md", "tex", "html"):
            text = (where / f"{name}.{form}").read_text(encoding="utf-8")
            assert f"{LAYOUTS[name].nothing}." in text


def test_one_class_and_seed_gives_means_without_tests(tmp_path):
    """One removed class and seed: no spread and no p, but a table."""
    one = {"split": "class-3", "train_seed": 0}
    frames = {name: make() for name, make in FILES.items()}
    for name in ("features", "attributions"):
        frames[name] = pick(frames[name], **one)
    found = table(tabulated(frames, tmp_path), "feature_space")
    tests = found[found["against"].notna()]
    assert tests["rank_sum_p"].isna().all() and tests["signed_rank_p"].isna().all()
    assert set(tests["n"]) == {0, 1} and found["sd"].isna().all()


@pytest.mark.parametrize("kind", IDENTITIES)
def test_a_file_that_is_wrong_is_named(kind, tmp_path):
    path, frame = tmp_path / f"{kind}.csv", FILES[kind]()
    frame.drop(columns=VALUES[kind]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"{kind}\.csv: no column {VALUES[kind]}"):
        read_tidy(path, kind)
    pd.concat([frame, frame.iloc[:1]]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"{kind}\.csv: a row is given twice: experiment=inside"):
        read_tidy(path, kind)
    frame.astype(object).assign(**{VALUES[kind]: "high"}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"{kind}\.csv: column {VALUES[kind]}"):
        read_tidy(path, kind)


def test_a_removal_of_several_classes_must_say_how_many(tmp_path):
    frames = {name: make() for name, make in FILES.items()}
    frames["studies"] = frames["studies"].assign(classes_removed="")
    with pytest.raises(ValueError, match=r"classes_removed is empty for class-0-10"):
        tabulated(frames, tmp_path)
