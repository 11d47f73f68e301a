"""Tables of attacks, distances, statistics and ensembles: the numbers that stand in runs.csv."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from by_hand import cautious
from test_tables import lose, parse, synthetic_runs

from unlearning.metrics import names
from unlearning.results.collected import ENSEMBLE_COLUMNS
from unlearning.results.runs import read_runs
from unlearning.results.study_files import read_ensembles
from unlearning.tables import evaluation_tables as tables
from unlearning.tables.evaluation import LAYOUTS
from unlearning.tables.layouts import tabulate

METHODS = ("fine_tuning", "scrub", "negative_gradient", "duck")


def measured_runs() -> pd.DataFrame:
    """The synthetic grid with random attacks and distances; the second scrub cell diverged."""
    runs = synthetic_runs(METHODS)
    rng = np.random.default_rng(11)
    for name in (*names.DISTANCES, *names.ATTACKS):
        runs[name] = rng.uniform(0.2, 0.9, len(runs))
    runs["shadow_models"] = 8
    removal = runs["scenario"] == "class_removal"
    runs["probe_accuracy"] = runs["probe_accuracy"].where(removal, "")
    runs["lira_tpr_at_01_percent"] = ""
    one = (runs["method"] == "scrub") & (runs["split"] == "class-8") & (runs["train_seed"] == 1)
    return lose(runs, one, "diverged", "loss is NaN")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("evaluation")
    measured_runs().to_csv(where / "runs.csv", index=False)
    ensembles().to_csv(where / "ensembles.csv", index=False)
    tabulate(where / "runs.csv", where / "tables", where / "ensembles.csv")
    return where / "tables"


@pytest.fixture(scope="module")
def runs(folder):
    return read_runs(folder.parent / "runs.csv")


def ensembles() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = []
    for split in ("class-0", "class-8"):
        for method in ("original", "oracle", "duck"):
            row = ["mini", "fashion_mnist_mini", "strided_cnn", "class_removal", split, method, 6]
            rows.append([*row, *rng.uniform(size=len(names.ENSEMBLES))])
    return pd.DataFrame(rows, columns=ENSEMBLE_COLUMNS)


def done(runs, scenario, method):
    chosen = (runs["scenario"] == scenario) & (runs["method"] == method)
    return runs[chosen & (runs["status"] == "ok")]


def row_of(table, **key):
    for name, value in key.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_liras_interval_adds_the_errors_of_cells_that_share_their_images(runs):
    table = tables.membership_table(runs)
    for method in ("original", "scrub", "duck"):
        cells = done(runs, "class_removal", method)
        row = row_of(table, scenario="class_removal", method=method)
        sums = [cells.loc[cells["split"] == s, "lira_auc_error"].sum() for s in set(cells["split"])]
        room = 1.96 * math.hypot(*sums) / len(cells)
        mean = cells["lira_auc"].mean()
        assert row["lira_auc_mean"] == pytest.approx(mean)
        ends = row["lira_auc_low"], row["lira_auc_high"]
        assert ends == pytest.approx((mean - room, mean + room))
        assert row["lira_auc_n"] == len(cells) == (5 if method == "scrub" else 6)


def test_runs_without_attacks_or_distances_have_no_such_rows(tmp_path):
    synthetic_runs(METHODS).to_csv(tmp_path / "runs.csv", index=False)
    plain = read_runs(tmp_path / "runs.csv")
    assert tables.membership_table(plain).empty and tables.distance_table(plain).empty
    tabulate(tmp_path / "runs.csv", tmp_path)
    for name in ("membership", "oracle_distance", "ensembles"):
        for form in ("md", "tex", "html"):
            text = (tmp_path / f"{name}.{form}").read_text(encoding="utf-8")
            assert LAYOUTS[name].nothing in text


def test_distances_are_means_over_the_ok_cells(runs):
    table = tables.distance_table(runs)
    for name in names.DISTANCES:
        row = row_of(table, scenario="class_removal", method="scrub")
        cells = done(runs, "class_removal", "scrub")[name]
        assert row[f"{name}_mean"] == pytest.approx(cells.mean())
        assert row[f"{name}_sd"] == pytest.approx(cells.std(ddof=1))


def test_the_statistics_are_those_of_the_shared_cells(runs):
    table = tables.statistics_table(runs)
    for metric in tables.COMPARED:
        key = {"scenario": "class_removal", "metric": metric}
        row = row_of(table, method="scrub", **key)
        index = ["split", "train_seed"]
        mine, duck = (
            done(runs, "class_removal", name).set_index(index)[metric] for name in ("scrub", "duck")
        )
        differences = (mine - duck).dropna()
        assert row["cells"] == len(differences) == 5
        mean, low, high, p = cautious(differences.to_dict())
        assert row["difference"] == pytest.approx(mean)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
        assert row["p"] == pytest.approx(p)
        assert row["p_holm"] >= row["p"]
        assert math.isnan(row_of(table, method="duck", **key)["difference"])


def test_the_interval_is_that_of_the_crossed_cells_and_says_of_what(runs):
    table = tables.statistics_table(runs)
    for scenario, method, over in (
        ("class_removal", "duck", "classes and seeds"),
        ("class_removal", "scrub", "classes and seeds"),  # one cell diverged
        ("homogeneous_removal", "duck", "forget sets and seeds"),  # a seed each
    ):
        cells = done(runs, scenario, method).set_index(["split", "train_seed"])["aus"]
        row = row_of(table, scenario=scenario, metric="aus", method=method)
        mean, low, high, _ = cautious(cells.to_dict())
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean, low, high))
        assert row["over"] == over
    one = runs[runs["split"] == "class-0"]
    row = row_of(tables.statistics_table(one), metric="aus", method="duck")
    assert row["over"] == "seeds of this class"


def test_the_papers_convention_is_the_spread_over_forget_sets_of_one_original(runs):
    table = tables.statistics_table(runs)
    row = row_of(table, scenario="class_removal", metric="aus", method="duck")
    cells = done(runs, "class_removal", "duck")
    one = cells.loc[cells["train_seed"] == "0", "aus"]
    assert (row["paper_mean"], row["paper_n"]) == (pytest.approx(one.mean()), 2)
    assert row["paper_sd"] == pytest.approx(one.std(ddof=1))


def test_ranks_are_among_the_methods_that_are_ok_everywhere(runs):
    table = tables.statistics_table(runs)
    rows = table[(table["scenario"] == "class_removal") & (table["metric"] == "js_forget")]
    ranked = rows.dropna(subset="rank").set_index("method")["rank"]
    assert set(ranked.index) == {"oracle", "fine_tuning", "negative_gradient", "duck"}
    cells = pd.DataFrame(
        {
            name: done(runs, "class_removal", name).set_index(["split", "train_seed"])["js_forget"]
            for name in ranked.index
        }
    )
    classes = cells.groupby(level="split").mean()
    assert ranked.to_dict() == pytest.approx(classes.rank(axis=1).mean().to_dict())  # low is best
    shared = rows.dropna(subset="rank").iloc[0]
    assert (shared["rank_blocks"], shared["rank_over"]) == (2, "classes")
    aus = table[(table["scenario"] == "class_removal") & (table["metric"] == "aus")]
    best = aus.dropna(subset="rank").sort_values("rank").iloc[0]
    assert best["mean"] == aus.dropna(subset="rank")["mean"].max()


def test_variance_is_split_where_the_grid_is_whole(runs):
    table = tables.variance_table(runs)
    whole = row_of(table, scenario="class_removal", method="duck")
    assert whole["cells"] == 6 and whole["split"] >= 0 and math.isnan(whole["unlearn_seed"])
    holed = row_of(table, scenario="class_removal", method="scrub")
    assert np.isnan(holed[["train_seed", "split", "interaction"]].to_numpy(float)).all()


def test_ensembles_are_means_over_forget_sets(folder, tmp_path):
    found = read_ensembles(folder.parent / "ensembles.csv")
    row = row_of(tables.ensemble_table(found), method="duck")
    values = found.loc[found["method"] == "duck", "u_lira_auc"]
    assert row["u_lira_auc_mean"] == pytest.approx(values.mean())
    assert (row["u_lira_auc_n"], row["models"]) == (2, 6)
    ensembles().drop(columns="models").to_csv(tmp_path / "broken.csv", index=False)
    with pytest.raises(ValueError, match="no column models"):
        read_ensembles(tmp_path / "broken.csv")


@pytest.mark.parametrize("form", ["md", "tex", "html"])
def test_what_is_printed_is_what_the_csv_says(folder, form):
    table = pd.read_csv(folder / "membership.csv")
    header, *rows = parse(folder, "membership", form)
    rows = [row for row in rows if row[0] != "Method"]
    assert len(rows) == len(table) == 2 * 6
    for printed, row in zip(rows, table.to_dict("records"), strict=True):
        ends = f"[{row['lira_auc_low']:.3f}, {row['lira_auc_high']:.3f}]"
        assert printed[:2] == [row["method"], f"{row['lira_auc_mean']:.3f} {ends}"]
        assert printed[-1] == str(row["lira_auc_n"])
    assert header[1:3] == ["LiRA AUC [95 %] (8 shadow models)", "TPR at 1 % FPR (%)"]
    assert "TPR at 0.1 % FPR (%)" not in header  # no cell resolves it


def test_a_column_that_no_method_can_have_is_left_out_and_others_are_not(folder):
    headers = [row for row in parse(folder, "oracle_distance", "md") if row[0] == "Method"]
    assert ["Linear probe (%)" in header for header in headers] == [True, False]
    assert all("Steps to relearn" in header for header in headers)


def test_the_statistics_print_each_metric_side_by_side(folder):
    header, *rows = parse(folder, "statistics", "md")
    assert "AUS: verdict" in header and "JS on D_f: verdict" in header
    assert [row[0] for row in rows[:6]] == ["original", "oracle", *METHODS]
    duck = dict(zip(header, rows[5], strict=True))
    assert duck["AUS − DUCK"] == duck["AUS: verdict"] == "–"
    assert [row[-2] for row in rows[4:6]] == ["6", "6"] and rows[3][-2] == "5"
    assert {row[-1] for row in rows[:6]} == {"classes and seeds"}


def test_symbols_of_image_sets_are_set_as_symbols(folder):
    assert "D$_{f}$" in (folder / "oracle_distance.tex").read_text(encoding="utf-8").replace(
        "$D_{f}$", "D$_{f}$"
    )
    assert "D<sub>f</sub>" in (folder / "oracle_distance.html").read_text(encoding="utf-8")


def test_an_original_from_elsewhere_is_named_in_each_table_that_rests_on_it(tmp_path):
    runs = measured_runs()
    runs["settings_from"] = ""
    runs.loc[runs["method"] == "original", "settings_from"] = "given"
    runs[runs["method"] != "oracle"].to_csv(tmp_path / "runs.csv", index=False)
    tabulate(tmp_path / "runs.csv", tmp_path)
    for scenario in ("class_removal", "homogeneous_removal"):
        text = (tmp_path / f"{scenario}.md").read_text(encoding="utf-8")
        assert text.count("original: made elsewhere") == text.count("There is no oracle") > 0
    membership = (tmp_path / "membership.md").read_text(encoding="utf-8")
    titles = membership.count("**Membership inference")
    assert membership.count("The original was trained elsewhere") == titles == 2


def test_an_original_that_was_trained_here_is_no_matter(folder):
    assert "original" not in pd.read_csv(folder / "membership.csv")
    for name in ("membership", "class_removal"):
        assert "elsewhere," not in (folder / f"{name}.md").read_text(encoding="utf-8")
        assert "trained elsewhere" not in (folder / f"{name}.md").read_text(encoding="utf-8")
