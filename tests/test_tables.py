"""The tables: right numbers, in every format, and no cell that vanishes."""

from __future__ import annotations

import html
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearning.metrics.aus import (
    PAPER_SCENARIOS,
    aus_of_means,
    class_removal_aus,
    homogeneous_removal_aus,
)
from unlearning.results.runs import read_runs, scenario_table
from unlearning.results.shown import PRINTED, TABLES
from unlearning.stats.summary import summarise
from unlearning.tables.layouts import LAYOUTS, shown, tabulate
from unlearning.tables.render import seconds
from unlearning.tables.table import read

FORMATS = ("csv", "md", "tex", "html")
METHODS = ("fine_tuning", "negative_gradient", "random_labels", "boundary_shrink", "scrub")
DUCKS = ("duck", "duck_released")


def synthetic_runs(methods: tuple[str, ...] = METHODS + DUCKS, system: tuple = ()) -> pd.DataFrame:
    """A grid like the mini run's: 2 classes x 3 seeds, 3 forget sets; AUS by the library."""
    draw = np.random.default_rng(7)
    dataset, arch = system or ("fashion_mnist_mini", "strided_cnn")
    cells = [("class_removal", f"class-{c}", t, "") for c in (0, 8) for t in range(3)]
    cells += [("homogeneous_removal", f"seed-{s}", s, s) for s in range(3)]
    rows = []
    for scenario, split, train_seed, split_seed in cells:
        original = 0.86 + 0.01 * draw.standard_normal()
        for k, method in enumerate(("original", "oracle", *methods)):
            removal = scenario == "class_removal"
            loss = 0.0 if k < 2 else 0.02 + 0.1 * (k % 4) / 4
            test = original + (0.004 if k == 1 else -loss) + 0.006 * draw.standard_normal()
            test = original if k == 0 else test
            if removal:
                forget = 0.97 if k == 0 else 0.0 if k == 1 else 0.004 * (k % 6)
            else:
                forget = 0.985 if k == 0 else test + 0.008 * (k % 5) * draw.random()
            score = class_removal_aus if removal else homogeneous_removal_aus
            spent = (
                "" if k == 0 else (60 if k == 1 else 0.5 * 1.9 ** (k % 8)) * draw.uniform(0.9, 1.1)
            )
            rows.append(
                {
                    "experiment": "mini",
                    "dataset": dataset,
                    "arch": arch,
                    "scenario": scenario,
                    "split": split,
                    "method": method,
                    "touches": "" if k == 0 else "retain forget",
                    "train_seed": train_seed,
                    "split_seed": split_seed,
                    "unlearn_seed": 0,
                    "status": "ok",
                    "reason": "",
                    "retain_train_accuracy": min(test + 0.09, 1.0),
                    "forget_train_accuracy": min(forget + 0.01, 1.0) if removal else forget,
                    "retain_test_accuracy": test if removal else "",
                    "forget_test_accuracy": forget if removal else "",
                    "test_accuracy": 0.9 * test + 0.1 * forget if removal else test,
                    "aus": score(test, original, forget),
                    "unlearning_seconds": spent,
                    "official_seconds": "" if spent == "" else spent + 1,
                    "peak_memory_mb": 500 + k,
                }
            )
    return pd.DataFrame(rows)


def lose(runs: pd.DataFrame, keep: pd.Series, status: str, reason: str) -> pd.DataFrame:
    """`runs` where the cells picked by `keep` have `status`, `reason` and no metric."""
    runs = runs.astype(object)
    runs.loc[keep, ["status", "reason"]] = [status, reason]
    runs.loc[keep, list(runs.columns[runs.columns.get_loc("reason") + 1 :])] = ""
    return runs


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """Two holes of each kind: one cell of a method, and every cell of a method."""
    table = synthetic_runs()
    removal = table["scenario"] == "class_removal"
    one = (table["method"] == "scrub") & (table["split"] == "class-8") & (table["train_seed"] == 2)
    table = lose(table, one, "diverged", "loss is NaN\nafter 50% of epoch_2 & stopped")
    table = lose(table, (table["method"] == "boundary_shrink") & removal, "missing", "not run")
    homogeneous = (table["method"] == "duck_released") & ~removal
    return lose(table, homogeneous, "not_defined", "class removal only")


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory) -> Path:
    return write_tables(runs, tmp_path_factory.mktemp("tables"))


def write_tables(runs: pd.DataFrame, where: Path) -> Path:
    runs.to_csv(where / "runs.csv", index=False)
    tabulate(where / "runs.csv", where / "tables")
    return where / "tables"


def numeric(folder: Path, scenario: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{scenario}.csv", keep_default_na=False, na_values=[""])


def parse(folder: Path, scenario: str, form: str) -> list[list[str]]:
    """The cells of every printed table as plain text, headers first, whatever the format."""
    text = (folder / f"{scenario}.{form}").read_text(encoding="utf-8")
    if form == "html":
        rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
        cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        return [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]
    if form == "md":
        lines = [line for line in text.splitlines() if line.startswith("|")]
        lines = [line for line in lines if not line.startswith("|:")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    plain = {r"$\pm$": "±", r"$^{\dagger}$": "†", "--": "–", r"\_": "_", r"\%": "%", "$": ""}
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r"\\")]
    for code, character in plain.items():
        lines = [line.replace(code, character) for line in lines]
    return [[cell.strip() for cell in line.split(" & ")] for line in lines]


@pytest.mark.parametrize("scenario", PAPER_SCENARIOS)
def test_every_number_agrees_with_an_independent_computation(runs, folder, scenario):
    table = numeric(folder, scenario)
    assert len(table) == 2 + len(METHODS + DUCKS)
    for row in table.to_dict("records"):
        cells = [
            cell
            for cell in runs.to_dict("records")
            if (cell["scenario"], cell["method"]) == (scenario, row["method"])
        ]
        done = [cell for cell in cells if cell["status"] == "ok"]
        assert (row["n_cells"], row["n_ok"]) == (len(cells), len(done))
        for name in (column for column in table if column.endswith("_mean")):
            metric = name.removesuffix("_mean")
            values = [cell[metric] for cell in done if cell[metric] != ""]
            assert row[f"{metric}_n"] == len(values)
            if not values:
                assert np.isnan(row[name])
            else:
                assert row[name] == pytest.approx(statistics.mean(values), rel=1e-12)
                sd = statistics.stdev(values)
                assert row[f"{metric}_sd"] == pytest.approx(sd, rel=1e-9, abs=1e-15)


def test_rows_are_original_oracle_then_first_appearance(runs, tmp_path):
    table = scenario_table(read_back(runs.iloc[::-1], tmp_path), "class_removal")
    assert list(table["method"]) == ["original", "oracle", *reversed(METHODS + DUCKS)]


def read_back(runs: pd.DataFrame, where: Path) -> pd.DataFrame:
    runs.to_csv(where / "runs.csv", index=False)
    return read_runs(where / "runs.csv")


@pytest.mark.parametrize("scenario", PAPER_SCENARIOS)
def test_aus_of_means_uses_the_originals_of_the_same_cells(runs, folder, scenario):
    removal = scenario == "class_removal"
    test = "retain_test_accuracy" if removal else "test_accuracy"
    forget = "forget_test_accuracy" if removal else "forget_train_accuracy"
    here = runs[runs["scenario"] == scenario].set_index(["split", "train_seed"])
    done = here[(here["method"] == "scrub") & (here["status"] == "ok")]
    originals = here[here["method"] == "original"].loc[done.index]
    moments = [
        (statistics.mean(values), statistics.stdev(values))
        for values in (list(done[test]), list(originals[test]), list(done[forget]))
    ]
    row = numeric(folder, scenario).set_index("method").loc["scrub"]
    expected = aus_of_means(scenario, *moments)
    assert (row["aus_of_means"], row["aus_of_means_sd"]) == pytest.approx(expected, rel=1e-9)
    assert row["aus_of_means_n"] == len(done)


def test_a_lost_original_is_told_and_not_guessed(tmp_path):
    runs = synthetic_runs()
    first = (
        (runs["method"] == "original") & (runs["split"] == "class-0") & (runs["train_seed"] == 0)
    )
    folder = write_tables(lose(runs, first, "missing", "not run"), tmp_path)
    row = numeric(folder, "class_removal").set_index("method").loc["duck"]
    assert (row["n_ok"], row["aus_of_means_n"]) == (6, 5)
    assert "AUS of means over the 5 of 6 cells with an original" in row["status_note"]


@pytest.mark.parametrize(
    ("splits", "train", "unlearn", "over"),
    [
        (["class-0"], [0], [0], "1 run"),
        ([], [], [], "no run"),
        (["class-0"] * 3, [0, 1, 2], [0, 0, 0], "3 training seeds"),
        (["class-0"] * 2, [0, 0], [0, 1], "2 unlearning seeds"),
        (["class-0", "class-8"] * 3, [0, 0, 1, 1, 2, 2], [0] * 6, "2 classes x 3 training seeds"),
        (["seed-0", "seed-1"] * 2, [0, 0, 1, 1], [0] * 4, "2 forget sets x 2 training seeds"),
        (["classes-0-3", "classes-1-2"], [0, 0], [0, 0], "2 class sets"),
        (["class-0", "classes-1-2"], [0, 0], [0, 0], "2 forget sets"),
        (
            ["class-0", "class-0", "class-8"],
            [0, 1, 0],
            [0] * 3,
            "3 runs of 2 classes and 2 training seeds",
        ),
        (
            ["class-0"] * 3,
            [0, 1, 2],
            [7, 8, 9],
            "3 training seeds, each with its own unlearning seed",
        ),
    ],
)
def test_the_spread_says_over_what_it_runs(splits, train, unlearn, over):
    groups = {"split": splits, "train_seed": train, "unlearn_seed": unlearn}
    summary = summarise([0.5] * len(splits), groups)
    assert (summary.over, summary.n) == (over, len(splits))


def test_summarise_leaves_out_what_is_not_a_number():
    summary = summarise([1.0, float("nan"), 2.0, 4.0], {"train_seed": [0, 1, 2, 3]})
    assert (summary.mean, summary.n, summary.over) == (7 / 3, 3, "3 training seeds")
    assert summary.sd == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert np.isnan(summarise([1.0], {}).sd)
    with pytest.raises(ValueError, match="split has 1 entries for 2 values"):
        summarise([1.0, 2.0], {"split": ["class-0"]})


def test_the_caption_says_over_what_each_row_runs(folder):
    for form in ("md", "tex", "html"):
        text = (folder / f"class_removal.{form}").read_text(encoding="utf-8")
        assert "over 2 classes x 3 training seeds (n = 6)" in text
        assert "scrub over 5 runs of 2 classes and 3 training seeds (n = 5)" in text


@pytest.mark.parametrize("form", FORMATS[1:])
@pytest.mark.parametrize("scenario", PAPER_SCENARIOS)
def test_what_is_printed_parses_back_to_the_csv(folder, scenario, form):
    header, *rows = parse(folder, scenario, form)
    table = numeric(folder, scenario).to_dict("records")
    metrics = ["retain_train_accuracy", "forget_train_accuracy"]
    if scenario == "class_removal":
        metrics += ["retain_test_accuracy", "forget_test_accuracy"]
    else:
        metrics.append("test_accuracy")
    metrics += ["aus", "aus_of_means", "unlearning_seconds"]
    assert len(header) == 3 + len(metrics)
    assert len(rows) == len(table)
    for cells, row in zip(rows, table, strict=True):
        assert cells[0] == row["method"]
        for cell, metric in zip(cells[2:-1], metrics, strict=True):
            check_printed(cell, metric, row)


def check_printed(cell: str, metric: str, row: dict) -> None:
    if row["n_ok"] == 0:
        assert cell == row["status"].replace("_", " ")
        return
    mean = row.get(f"{metric}_mean", row.get(metric))
    if np.isnan(mean):
        assert cell == "–"
        return
    assert cell.endswith(" †") == (row["n_ok"] < row["n_cells"])
    printed = [float(number) for number in cell.removesuffix(" †").split(" ± ")]
    factor = 100 if metric.endswith("accuracy") else 1
    digits = {"unlearning_seconds": 0.005 * mean, "aus": 5e-4, "aus_of_means": 5e-4}
    room = digits.get(metric, 0.05) * 1.0001
    assert printed == pytest.approx([factor * mean, factor * row[f"{metric}_sd"]], abs=room)


def test_seconds_have_three_significant_digits():
    shown = [seconds(value, float("nan")) for value in (0.01234, 0.5, 9.996, 12.34, 2408.0, 0.0)]
    assert shown == ["0.0123", "0.500", "10.0", "12.3", "2410", "0.00"]
    assert seconds(123.4, 5.67) == "123 ± 6"


@pytest.mark.parametrize("form", FORMATS)
def test_no_cell_vanishes(folder, form):
    text = (folder / f"class_removal.{form}").read_text(encoding="utf-8")
    text = html.unescape(text).replace("\\", "")
    note = "1 of 6 cells diverged: split class-8 (training seed 2, unlearning seed 0)"
    assert f"{note}, reason: loss is NaN after 50% of epoch_2 & stopped" in text
    assert "6 of 6 cells missing, reason: not run" in text
    text = (folder / f"homogeneous_removal.{form}").read_text(encoding="utf-8")
    assert "3 of 3 cells not defined, reason: class removal only" in text


def test_a_failed_cell_counts_in_no_mean(runs, folder):
    rows = numeric(folder, "class_removal").set_index("method")
    assert (rows.loc["scrub", "n_ok"], rows.loc["scrub", "status"]) == (5, "diverged")
    assert (rows.loc["boundary_shrink", "n_ok"], rows.loc["boundary_shrink", "aus_n"]) == (0, 0)
    assert parse(folder, "class_removal", "md")[7][-1] == "5 of 6"


def test_a_diverged_cell_that_still_has_numbers_counts_in_no_mean(runs, folder, tmp_path):
    half_done = runs.copy()
    diverged = half_done["status"] == "diverged"
    half_done.loc[diverged, ["aus", "retain_test_accuracy", "forget_test_accuracy"]] = 0.01
    again = write_tables(half_done, tmp_path)
    name = "class_removal.csv"
    assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_aus_per_run_and_aus_of_means_are_two_columns(runs, tmp_path):
    folder = write_tables(runs.assign(aus=runs["aus"].replace("", 0) * 0.5), tmp_path)
    for form in FORMATS[1:]:
        header, *rows = parse(folder, "class_removal", form)
        duck = dict(zip(header, next(row for row in rows if row[0] == "duck"), strict=True))
        per_run, of_means = (float(duck[name].split()[0]) for name in ("AUS", "AUS of means"))
        assert of_means == pytest.approx(2 * per_run, rel=0.01)


def test_the_same_runs_give_the_same_bytes(runs, folder, tmp_path):
    again = write_tables(runs, tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(
        f"{table}.{form}" for table in (*PAPER_SCENARIOS, *TABLES) for form in PRINTED
    )
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names)


@pytest.mark.parametrize("scenario", PAPER_SCENARIOS)
def test_the_json_is_the_csv_and_the_printed_cells(folder, scenario):
    found = read(folder / f"{scenario}.json")
    pd.testing.assert_frame_equal(
        found.frame.replace("", math.nan), numeric(folder, scenario), check_dtype=False
    )
    printed = [list(found.sections[0].cells), *found.sections[0].cells.to_numpy().tolist()]
    assert printed == parse(folder, scenario, "md")


def test_each_number_of_the_json_is_that_of_the_rows_it_rests_on(runs, folder):
    """Means and spreads again from the cells that the file names, looked up in runs.csv."""
    found = read(folder / "class_removal.json")
    cells = runs.astype({"train_seed": str, "unlearn_seed": str}).set_index(found.keys)
    checked = 0
    for part in found.parts:
        for column, cell in (
            (c, x) for row in part.rows for c, x in zip(part.columns, row, strict=True)
        ):
            metric, _, kind = column.value.rpartition("_")
            if kind == "mean" and cell.value is not None:
                rests = cells.loc[[tuple(found.basis[k]) for k in cell.rests_on]]
                values = [float(v) for v in rests.loc[rests["status"] == "ok", metric] if v != ""]
                assert cell.value == pytest.approx(statistics.fmean(values))
                assert cell.n == len(values) > 1
                assert cell.spread == pytest.approx(statistics.stdev(values))
                checked += 1
    assert checked > 30


def test_a_table_of_another_version_is_refused(folder, tmp_path):
    text = (folder / "class_removal.json").read_text(encoding="utf-8")
    other = tmp_path / "class_removal.json"
    other.write_text(text.replace('{"version": 1,', '{"version": 2,'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"class_removal\.json: not a table of version 1"):
        read(other)


def test_one_changed_value_changes_its_table_and_no_other(runs, folder, tmp_path):
    changed = runs.copy()
    duck = changed.index[(changed["method"] == "duck") & (changed["scenario"] == "class_removal")]
    changed.loc[duck[0], "retain_test_accuracy"] = 0.5
    again = write_tables(changed, tmp_path)
    for form in FORMATS:
        name = f"class_removal.{form}"
        assert (folder / name).read_bytes() != (again / name).read_bytes()
        name = f"homogeneous_removal.{form}"
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_a_scenario_without_cells_says_so(tmp_path):
    runs = synthetic_runs(DUCKS)
    folder = write_tables(runs[runs["scenario"] == "class_removal"], tmp_path)
    for form in FORMATS[1:]:
        text = (folder / f"homogeneous_removal.{form}").read_text(encoding="utf-8")
        assert "No homogeneous_removal cell in this run" in text.replace("\\", "")
        assert "No class_removal" not in (folder / f"class_removal.{form}").read_text("utf-8")
    table = numeric(folder, "homogeneous_removal")
    assert table.empty and {"method", "aus_mean", "test_accuracy_mean"} <= set(table)


def test_a_single_run_has_no_spread(tmp_path):
    runs = synthetic_runs(DUCKS)
    one = runs[(runs["split"] == "class-0") & (runs["train_seed"] == 0)]
    folder = write_tables(one, tmp_path)
    for form in FORMATS[1:]:
        text = (folder / f"class_removal.{form}").read_text(encoding="utf-8")
        assert "Every row is one run, without a spread (n = 1)." in text
        assert not any("±" in cell for row in parse(folder, "class_removal", form) for cell in row)


def test_two_data_sets_and_two_experiments_never_share_a_mean(tmp_path):
    mini, other = synthetic_runs(DUCKS), synthetic_runs(DUCKS, ("cifar100", "resnet18"))
    second = mini.assign(experiment="ablation", aus=0.1)
    folder = write_tables(pd.concat([mini, other, second]), tmp_path)
    table = numeric(folder, "class_removal")
    assert len(table) == 3 * 4 and set(table["n_ok"]) == {6}
    text = (folder / "class_removal.md").read_text(encoding="utf-8")
    assert "**Class removal: cifar100, resnet18.**" in text
    assert "**Class removal: fashion_mnist_mini, strided_cnn, experiment ablation.**" in text


def test_hostile_names_are_escaped(tmp_path):
    name = r"a|b & 50%_#{}~^\<script>"
    folder = write_tables(synthetic_runs((name,)), tmp_path)
    assert parse(folder, "class_removal", "html")[3][0] == name
    assert "<script>" not in (folder / "class_removal.html").read_text(encoding="utf-8")
    assert r"a\|b" in (folder / "class_removal.md").read_text(encoding="utf-8")
    tex = (folder / "class_removal.tex").read_text(encoding="utf-8")
    assert r"\& 50\%\_\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$<$" in tex


def test_the_page_needs_nothing_but_itself(folder):
    text = (folder / "class_removal.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=|href=|@import|url\(", text)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scenario", "removal", "scenario 'removal' is none of"),
        ("status", "fine", "status 'fine' is none of"),
        ("retain_train_accuracy", 86.0, "retain_train_accuracy has a value that is not a fraction"),
        ("aus", "high", "column aus: "),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(column, value, message, tmp_path):
    runs = synthetic_runs(()).astype(object)
    runs.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        read_back(runs, tmp_path)


def test_a_missing_column_and_a_repeated_cell_are_errors(tmp_path):
    runs = synthetic_runs(())
    with pytest.raises(ValueError, match="no column aus"):
        read_back(runs.drop(columns="aus"), tmp_path)
    with pytest.raises(ValueError, match=r"given twice: .*method=original"):
        read_back(pd.concat([runs, runs[:1].assign(aus=0.3)]), tmp_path)


def test_the_command_line_writes_the_tables_without_torch(runs, folder, tmp_path):
    runs.to_csv(tmp_path / "runs.csv", index=False)
    code = (
        "import sys; from unlearning.stages.tabulate import main; main(sys.argv[1:]); "
        "assert 'pandas' in sys.modules; assert 'torch' not in sys.modules, 'torch'"
    )
    arguments = ["--runs", str(tmp_path / "runs.csv"), "--out", str(tmp_path / "tables")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "tables" / path.name).read_bytes()


def flagged(**columns):
    """Three methods on two cells: the original at AUS .5, one below and one above it."""
    scores = {"original": 0.5, "worse": 0.4, "better": 0.9}
    made = synthetic_runs(("worse", "better"))
    made = made[made["scenario"] == "class_removal"].copy()
    made["aus"] = made["method"].map(scores).fillna(made["aus"])
    return made.assign(**columns)


def test_a_row_below_the_original_is_flagged(tmp_path):
    read = read_back(flagged(), tmp_path)
    table = scenario_table(read, "class_removal").set_index("method")
    assert table.loc["worse", "flag"] == "below original"
    assert table.loc["better", "flag"] == table.loc["original", "flag"] == ""
    (section,) = LAYOUTS["class_removal"].build(read).sections
    shown = section.cells.set_index("Method")["Flag"]
    assert shown["worse"] == "below original" and shown["better"] == ""
    assert "Settings" not in section.cells and "doing nothing" in section.caption


def test_a_row_says_that_something_stands_in(tmp_path):
    made = flagged()
    made["base_method"] = made["method"].map({"worse": "scar"}).fillna(made["method"])
    read = read_back(made, tmp_path)
    (section,) = LAYOUTS["class_removal"].build(read).sections
    shown = section.cells.set_index("Method")["Flag"]
    assert shown[shown != ""].to_dict() == {"worse": "below original, stand-ins"}
    lacks = "surrogate stands in for 10,000 images of ImageNet"
    said = f"worse: not the published method whole, {lacks}."
    assert section.notes == [said]
    parts = LAYOUTS["statistics"].build(read).sections
    assert [part.notes.count(said) for part in parts] == [1] * len(parts) != []


def test_each_row_says_whose_settings_it_has(tmp_path):
    made = flagged()
    made["settings_from"] = made["method"].map({"worse": "published elsewhere"}).fillna("")
    (section,) = LAYOUTS["class_removal"].build(read_back(made, tmp_path)).sections
    shown = section.cells.set_index("Method")["Settings"]
    assert shown["worse"] == "published elsewhere" and shown["better"] == "–"
    assert "published for this data set, or elsewhere" in section.caption


@pytest.mark.parametrize("width", [50, 60, 80, 100, 160])
def test_text_for_a_terminal_keeps_the_columns_that_matter(folder, width):
    lines = shown(folder.parent / "runs.csv", "class_removal", width).splitlines()
    assert max(map(len, lines)) <= width
    headers = re.split(r"  +", lines[2])
    table = parse(folder, "class_removal", "md")
    assert headers == [name for name in table[0] if name in headers]
    assert {"Method", "AUS"} <= set(headers) and len(headers) >= width // 20
    assert ("AUS of means" in headers) == (width == 160)
    for row, line in zip(table[1:], lines[4:], strict=False):
        shown_cells = [cell for name, cell in zip(table[0], row, strict=True) if name in headers]
        assert re.split(r"  +", line) == [cell for cell in shown_cells if cell]
