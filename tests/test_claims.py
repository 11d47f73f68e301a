"""The paper's claims on small runs with known answers, their edges, and the repository's own."""

from __future__ import annotations

import csv
import itertools
import math
import re
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from by_hand import cautious
from scipy import stats as scipy_stats

from unlearning.claims.pages import section
from unlearning.claims.statements import QUESTIONS, Claim, read_bound, read_claims
from unlearning.claims.verdicts import COLUMNS, judge
from unlearning.metrics import names
from unlearning.results.runs import TEXT, read_runs
from unlearning.stats.comparisons import holm
from unlearning.tables.evaluation_tables import statistics_table
from unlearning.tables.render import latex, markdown, page

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "paper/claims.yaml"
REFERENCES = [ROOT / "paper/reference" / name for name in ("mini", "fashion")]
CELLS = list(itertools.product(("class-0", "class-3", "class-5", "class-8"), (0,)))
"""Four classes of one original: independent cells, so that Student's t is that of the cells."""
CROSSED = list(itertools.product(("class-0", "class-8"), (0, 1)))
STEPS = [0.1, 0.2, 0.3, 0.4]
"""Differences of mean 0.25 and standard error 0.0645497; Student's quantile at 3 is 3.182446."""
LOW, HIGH = 0.25 - 3.182446 * 0.0645497, 0.25 + 3.182446 * 0.0645497


def write_runs(
    folder: Path, metric: str, values: dict, name: str = "runs", cells: list = CELLS, **given
) -> Path:
    """A runs.csv (or studies.csv) with `metric` of each method in `cells`, in that order."""
    rows = []
    for method, numbers in values.items():
        for (split, seed), value in zip(cells, numbers, strict=False):
            row = dict.fromkeys([*TEXT, *names.METRICS], "")
            row |= {"experiment": "tiny", "dataset": "mini", "arch": "strided_cnn"}
            row |= {"scenario": "class_removal", "split": split, "train_seed": seed}
            row |= {"method": method, "status": "ok", metric: value, "unlearn_seed": 0}
            rows.append(row | given)
    table = pd.DataFrame(rows)
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def claim(**given) -> Claim:
    """duck's AUS above that of fine_tuning, changed by `given`."""
    usual = {"claim": "better", "statement": "DUCK is better.", "source": "nowhere"}
    usual |= {"scenario": "class_removal", "kind": "difference", "metric": "aus", "method": "duck"}
    usual |= {"against": "fine_tuning"} if given.get("kind") != "level" else {}
    if not {"above", "below", "within", "outside"} & set(given):
        usual["above"] = 0.0
    return Claim.model_validate(usual | given)


def one(found: pd.DataFrame) -> dict:
    assert len(found) == 1
    return found.iloc[0].to_dict()


@pytest.fixture
def steps(tmp_path) -> Path:
    """duck's AUS is STEPS higher than fine_tuning's."""
    other = [0.4, 0.35, 0.5, 0.55]
    duck = [value + step for value, step in zip(other, STEPS, strict=True)]
    return write_runs(tmp_path, "aus", {"duck": duck, "fine_tuning": other})


def test_a_difference_by_hand(steps):
    found = judge([claim()], steps)
    assert list(found) == COLUMNS
    row = one(found)
    assert row["value"] == pytest.approx(0.25)
    assert (row["low"], row["high"]) == pytest.approx((LOW, HIGH), abs=1e-6)
    # t = 0.25 / 0.0645497 = 3.872983, two-sided with 3 degrees of freedom
    assert row["p"] == pytest.approx(0.030466, abs=1e-6)
    assert (row["n"], row["verdict"], row["reason"]) == (4, "holds", "")
    assert (row["over"], row["control"]) == ("classes of this original", "not tested")
    assert (row["test"], row["unit"], row["bound"]) == ("paired t", "AUS", "> 0")
    assert row["quantity"] == "aus: duck − fine_tuning"
    assert row["trace"] == "tiny/class_removal/duck tiny/class_removal/fine_tuning"


def test_cells_of_classes_and_seeds_are_crossed(tmp_path):
    """Classes 0 and 8 have means 0.15 and 0.35, seeds 0.2 and 0.3: the classes' t is wider."""
    duck = [0.5 + step for step in STEPS]
    write_runs(tmp_path, "aus", {"duck": duck, "fine_tuning": [0.5] * 4}, cells=CROSSED)
    row = one(judge([claim()], tmp_path))
    assert (row["low"], row["high"]) == pytest.approx((0.25 - 1.27062, 0.25 + 1.27062), abs=1e-5)
    assert row["p"] == pytest.approx(1 - 2 * math.atan(2.5) / math.pi)  # t with one degree
    assert (row["verdict"], row["over"]) == ("not told apart", "classes and seeds")
    only_seeds = pd.read_csv(tmp_path / "runs.csv").query("split == 'class-8'")
    only_seeds.to_csv(tmp_path / "runs.csv", index=False)
    assert one(judge([claim()], tmp_path))["over"] == "seeds of this class"


@pytest.mark.parametrize(
    ("original", "control", "verdict"),
    [
        ([0.85, 0.9, 0.95, 0.9], "holds", "does not discriminate"),
        ([0.1, 0.2, 0.1, 0.2], "does not hold", "holds"),
        ([0.1, 0.9, 0.1, 0.9], "not told apart", "holds"),
        ([0.8], "not tested", "holds"),
        ([], "not tested", "holds"),
    ],
)
def test_a_claim_that_doing_nothing_passes_does_not_discriminate(
    tmp_path, original, control, verdict
):
    values = {"duck": [0.7, 0.8, 0.9, 0.9], "fine_tuning": [0.4, 0.5, 0.5, 0.6]}
    write_runs(tmp_path, "aus", values | {"original": original})
    row = one(judge([claim()], tmp_path))
    assert (row["control"], row["verdict"]) == (control, verdict)
    if len(original) > 1:
        gaps = [a - b for a, b in zip(original, values["fine_tuning"], strict=True)]
        expected = cautious(dict(zip(CELLS, gaps, strict=True)))[:3]
        numbers = row["control_value"], row["control_low"], row["control_high"]
        assert numbers == pytest.approx(expected)
        (printed,) = section(judge([claim()], tmp_path))
        assert printed.cells["Original"].item().startswith(f"{control}: {expected[0]:.3g} [")
    # A verdict against the claim, or none, is not changed by a control that passes.
    worse = one(judge([claim(below=0.0)], tmp_path))
    assert worse["verdict"] == "does not hold"


def test_the_control_puts_the_original_in_the_method_s_place(ours):
    controls = {each.claim: each.control for each in ours}

    def quantity(name: str) -> str:
        return controls[name].quantity

    assert quantity("forgets_class") == "forget_test_accuracy: original"
    assert quantity("scrub_better") == "aus: original − duck"
    assert quantity("near_oracle_images") == "aus: original − oracle"
    assert quantity("forgotten_density") == (
        "log_density (embedding): forget original − retain original"
    )
    assert quantity("nearest_centroid") == "reached (embedding): forget original"
    none = {name: control for name, control in controls.items() if isinstance(control, str)}
    itself = ("keeps_accuracy", "forgotten_margin", "attributions_near_oracle", "shortcut_ignored")
    assert {none[name] for name in itself} == {"it compares with the original itself"}
    assert none["faster_than_retraining"] == "doing nothing takes no time"
    assert "loss" in none["forget_loss_needed"]
    times = {each.claim for each in ours if each.metric == "unlearning_seconds"}
    against = {each.claim for each in ours if "original" in (each.against or "")}
    assert set(none) == times | against | {"forget_loss_needed", "retain_loss_needed"}


@pytest.mark.parametrize("metric", ["lira_auc", "lira_offline_auc", "released_attack_auc"])
def test_an_attack_that_is_turned_round_tells_as_much(tmp_path, metric):
    """AUCs of 0.02 and 0.98 are as far from chance: over-forgetting fails the claim."""
    oracle = [0.5, 0.51, 0.49, 0.52]
    asked = claim(metric=metric, against="oracle", below=0.05)
    for duck in ([0.02, 0.03, 0.01, 0.02], [0.98, 0.97, 0.99, 0.98]):
        write_runs(tmp_path, metric, {"duck": duck, "oracle": oracle})
        row = one(judge([asked], tmp_path))
        assert (row["value"], row["verdict"]) == (pytest.approx(0.48 - 0.01), "does not hold")
        assert row["quantity"] == f"|{metric} − 1/2|: duck − oracle"
    write_runs(tmp_path, metric, {"duck": [0.49, 0.5, 0.52, 0.51], "oracle": oracle})
    assert one(judge([asked], tmp_path))["verdict"] == "holds"


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_an_over_forgotten_model_in_the_reference_run_fails(ours, tmp_path, scenario):
    """LiRA's AUC of every DUCK is 0.02: reversed, the attack is right 98 times in 100."""
    runs = pd.read_csv(REFERENCES[0] / "runs.csv", dtype=str, keep_default_na=False)
    asked = [each for each in ours if each.metric == "lira_auc" and each.scenario == scenario]
    cells = (runs["method"] == "duck") & (runs["scenario"] == scenario)
    turned = itertools.cycle(["0.02", "0.03", "0.01", "0.02"])
    runs.loc[cells, "lira_auc"] = [next(turned) for _ in range(cells.sum())]
    runs.to_csv(tmp_path / "runs.csv", index=False)
    row = one(judge(asked, tmp_path))
    assert row["value"] > 0.4 and row["verdict"] == "does not hold"


def test_nested_class_sets_are_one_unit(tmp_path):
    """Two draws of two sizes: n is the draws, whose sets contain each other."""
    sets = [(name, 0) for name in ("classes-3-8", "classes-1-2", "classes-3-5-8", "classes-1-2-9")]
    values = {"duck": [0.6, 0.7, 0.8, 0.9], "fine_tuning": [0.5] * 4}
    write_runs(tmp_path, "aus", values, name="studies", cells=sets, study="multiple_classes")
    studies = pd.read_csv(tmp_path / "studies.csv", dtype=str, keep_default_na=False)
    studies["classes_removed"] = studies["split"].str.count("-").astype(str)
    studies.to_csv(tmp_path / "studies.csv", index=False)
    row = one(judge([claim(table="multiple_classes")], tmp_path))
    assert (row["n"], row["value"]) == (2, pytest.approx(0.25))
    assert row["low"] == pytest.approx(0.25 - 12.7062 * 0.05, abs=1e-5)  # draws: 0.2 and 0.3
    assert row["over"] == "draws of classes of this original"


def test_p_is_of_the_bound(steps):
    """Two-sided against the bound; of [-d, d] the nearer end."""
    expected = scipy_stats.ttest_1samp(STEPS, 0.2).pvalue
    assert one(judge([claim(above=0.2)], steps))["p"] == pytest.approx(expected)
    assert one(judge([claim(within=0.2)], steps))["p"] == pytest.approx(expected)
    other_way = claim(method="fine_tuning", against="duck", outside=0.2)
    assert one(judge([other_way], steps))["p"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("side", "bound", "verdict"),
    [
        ("above", LOW - 1e-5, "holds"),
        ("above", LOW + 1e-5, "not told apart"),
        ("above", HIGH - 1e-5, "not told apart"),
        ("above", HIGH + 1e-5, "does not hold"),
        ("below", HIGH + 1e-5, "holds"),
        ("below", HIGH - 1e-5, "not told apart"),
        ("below", LOW + 1e-5, "not told apart"),
        ("below", LOW - 1e-5, "does not hold"),
        ("within", HIGH + 1e-5, "holds"),
        ("within", HIGH - 1e-5, "not told apart"),
        ("within", LOW + 1e-5, "not told apart"),
        ("within", LOW - 1e-5, "does not hold"),
        ("outside", LOW - 1e-5, "holds"),
        ("outside", LOW + 1e-5, "not told apart"),
        ("outside", HIGH - 1e-5, "not told apart"),
        ("outside", HIGH + 1e-5, "does not hold"),
    ],
)
def test_the_verdict_turns_where_the_interval_ends(steps, side, bound, verdict):
    assert one(judge([claim(**{side: bound})], steps))["verdict"] == verdict
    if side in ("within", "outside"):  # the same from the other side of 0
        mirrored = claim(method="fine_tuning", against="duck", **{side: bound})
        assert one(judge([mirrored], steps))["verdict"] == verdict


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("side", ["above", "below", "within", "outside"])
def test_an_end_on_the_bound_is_not_told_apart(steps, side, end):
    bound = one(judge([claim()], steps))[end]
    assert one(judge([claim(**{side: bound})], steps))["verdict"] == "not told apart"


def test_a_level_by_hand(tmp_path):
    write_runs(tmp_path, "forget_test_accuracy", {"duck": STEPS})
    row = one(judge([claim(kind="level", metric="forget_test_accuracy", below=0.5)], tmp_path))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.25, LOW, HIGH), abs=1e-6)
    assert row["p"] == pytest.approx(scipy_stats.ttest_1samp(STEPS, 0.5).pvalue)
    assert (row["test"], row["verdict"], row["unit"]) == ("one-sample t", "holds", "fraction")
    assert row["trace"] == "tiny/class_removal/duck"


def test_a_ratio_by_hand(tmp_path):
    """Speed-ups 2, 4, 8, 16 have the geometric mean 2^2.5; the interval is of their logarithms."""
    write_runs(tmp_path, "unlearning_seconds", {"duck": [1, 2, 1, 0.5], "oracle": [2, 8, 8, 8]})
    asked = {"kind": "ratio", "metric": "unlearning_seconds", "against": "oracle"}
    row = one(judge([claim(above=1, **asked)], tmp_path))
    room = 3.182446 * math.sqrt(5 / 3) / 2
    assert row["value"] == pytest.approx(2**2.5)
    assert row["low"] == pytest.approx(2 ** (2.5 - room), rel=1e-6)
    assert row["high"] == pytest.approx(2 ** (2.5 + room), rel=1e-6)
    assert (row["verdict"], row["unit"], row["quantity"]) == (
        *("holds", "times"),
        "unlearning_seconds: oracle / duck",
    )
    assert one(judge([claim(above=20, **asked)], tmp_path))["verdict"] == "not told apart"
    assert one(judge([claim(above=29, **asked)], tmp_path))["verdict"] == "does not hold"
    assert one(judge([claim(below=29, **asked)], tmp_path))["verdict"] == "holds"


def test_a_time_of_zero_is_left_out_and_named(tmp_path):
    times = {"duck": [1, 2, 1, 0], "oracle": [2, 8, 8, 8]}
    write_runs(tmp_path, "unlearning_seconds", times)
    asked = claim(kind="ratio", metric="unlearning_seconds", against="oracle", above=1)
    row = one(judge([asked], tmp_path))
    assert row["n"] == 3
    assert row["value"] == pytest.approx(2 ** ((1 + 2 + 3) / 3))
    assert row["reason"] == "duck: unlearning_seconds known in 3 of 4 cells"


def test_cells_that_are_all_equal(tmp_path):
    """The interval is the number itself; on the bound nothing is told apart; no p, no family."""
    write_runs(tmp_path, "aus", {"duck": [0.3, 0.4, 0.9, 1.0], "fine_tuning": [0.2, 0.3, 0.8, 0.9]})
    row = one(judge([claim()], tmp_path))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert (row["verdict"], math.isnan(row["p"])) == ("holds", True)
    assert row["reason"] == "all 4 cells are equal, so there is no spread to test with"
    assert one(judge([claim(above=0.2)], tmp_path))["verdict"] == "does not hold"
    on_it = one(judge([claim(above=0.1)], tmp_path))
    assert (on_it["verdict"], on_it["p"]) == ("not told apart", 1.0)
    assert one(judge([claim(within=0.1)], tmp_path))["verdict"] == "not told apart"
    assert one(judge([claim(family="rivals")], tmp_path))["verdict"] == "not told apart"
    write_runs(tmp_path, "forget_test_accuracy", {"duck": [0.0] * 4})
    level = claim(kind="level", metric="forget_test_accuracy", below=0.05)
    assert one(judge([level], tmp_path))["verdict"] == "holds"


def test_a_family_is_corrected(tmp_path):
    """p = 0.030 holds alone, not beside a second claim (Holm: 0.061); others are not counted."""
    base = [0.4, 0.35, 0.5, 0.55]
    duck = [value + step for value, step in zip(base, STEPS, strict=True)]
    noisy = [value + step for value, step in zip(duck, [0.2, -0.2, 0.1, -0.2], strict=True)]
    write_runs(tmp_path, "aus", {"duck": duck, "fine_tuning": base, "scrub": noisy})
    pair = [
        claim(family="rivals"),
        claim(claim="second", against="scrub", family="rivals"),
        claim(claim="gone", against="scar", family="rivals"),
        claim(claim="alone"),
    ]
    found = judge(pair, tmp_path).set_index("claim")
    raw = [scipy_stats.ttest_rel(duck, other).pvalue for other in (base, noisy)]
    assert found["p"][["better", "second"]].tolist() == pytest.approx(list(holm(raw)))
    assert found["p"]["better"] == pytest.approx(2 * 0.030466, abs=1e-6)
    assert found["low"]["better"] == pytest.approx(LOW, abs=1e-6)
    assert found["verdict"].to_dict() == {
        "better": "not told apart",
        "second": "not told apart",
        "gone": "not tested",
        "alone": "holds",
    }
    assert found["test"]["better"] == "paired t, Holm over 2"


@pytest.mark.parametrize(("name", "base"), [("scar", ""), ("scar", "scar"), ("mine", "scar")])
def test_nothing_is_said_of_a_method_with_stand_ins(tmp_path, name, base):
    """Its value is shown, without a verdict or p; the rest of its family is tested without it."""
    other = [0.4, 0.35, 0.5, 0.55]
    duck = [value + step for value, step in zip(other, STEPS, strict=True)]
    write_runs(tmp_path, "aus", {"duck": duck, name: other, "fine_tuning": other})
    runs = pd.read_csv(tmp_path / "runs.csv", dtype=str, keep_default_na=False)
    runs.loc[runs["method"] == name, "base_method"] = base
    runs.to_csv(tmp_path / "runs.csv", index=False)
    pair = [claim(family="rivals"), claim(claim="second", against=name, family="rivals")]
    found = judge(pair, tmp_path).set_index("claim")
    assert found["verdict"].tolist() == ["holds", "not tested"]
    assert found["test"]["better"] == "paired t, Holm over 1"
    assert found["p"]["better"] == pytest.approx(0.030466, abs=1e-6)
    row = found.loc["second"]
    assert math.isnan(row["p"]) and row["value"] == pytest.approx(0.25)
    assert row["reason"] == (
        f"{name} is not the published method whole: surrogate stands in for 10,000 images of "
        "ImageNet"
    )


def test_what_is_not_there_is_not_tested(steps, tmp_path_factory):
    row = one(judge([claim(against="scrub")], steps))
    assert (row["verdict"], row["n"], row["experiment"]) == ("not tested", 0, "tiny")
    assert "no cell of scrub" in row["reason"] and "`methods`" in row["reason"]
    assert row["trace"] == "tiny/class_removal/duck"
    row = one(judge([claim(scenario="homogeneous_removal")], steps))
    assert (row["verdict"], row["experiment"], row["trace"]) == ("not tested", "", "")
    assert "no homogeneous_removal in runs.csv" in row["reason"]
    row = one(judge([claim(metric="lira_auc")], steps))
    assert row["verdict"] == "not tested"
    assert "lira_auc known in 0 of 4 cells; needs `attacks` in the config" in row["reason"]
    study = claim(table="shortcut", scenario="shortcut_removal", metric="strength")
    row = one(judge([study], steps))
    assert row["verdict"] == "not tested"
    assert "no shortcut.csv" in row["reason"] and "`snakemake understanding`" in row["reason"]
    empty = tmp_path_factory.mktemp("empty")
    assert "no runs.csv" in one(judge([claim()], empty))["reason"]


def test_one_cell_is_not_tested(tmp_path):
    write_runs(tmp_path, "aus", {"duck": [0.9], "fine_tuning": [0.7]})
    row = one(judge([claim()], tmp_path))
    assert (row["verdict"], row["n"], row["value"]) == ("not tested", 1, pytest.approx(0.2))
    assert math.isnan(row["low"]) and math.isnan(row["p"])
    assert row["reason"].startswith("one cell")


def test_lost_cells_are_named(steps):
    runs = pd.read_csv(steps / "runs.csv", dtype=str, keep_default_na=False)
    runs.loc[3, ["status", "reason", "aus"]] = ["diverged", "loss is NaN", "0.99"]
    runs.loc[4, "aus"] = "inf"
    runs.to_csv(steps / "runs.csv", index=False)
    row = one(judge([claim()], steps))
    assert (row["n"], row["value"]) == (2, pytest.approx((0.2 + 0.3) / 2))
    assert "duck: 1 of 4 cells diverged" in row["reason"] and "loss is NaN" in row["reason"]
    assert "fine_tuning: aus known in 3 of 4 cells" in row["reason"]
    runs["status"] = "not_defined"
    runs.to_csv(steps / "runs.csv", index=False)
    row = one(judge([claim()], steps))
    assert (row["verdict"], row["n"]) == ("not tested", 0)
    assert "4 of 4 cells not defined" in row["reason"]


def test_unlearning_seeds_of_a_cell_are_averaged(steps):
    runs = pd.read_csv(steps / "runs.csv", dtype=str, keep_default_na=False)
    again = runs[runs["method"] == "duck"].assign(unlearn_seed="1")
    again["aus"] = (again["aus"].astype(float) + 0.2).map(repr)
    pd.concat([runs, again]).to_csv(steps / "runs.csv", index=False)
    row = one(judge([claim()], steps))
    assert (row["n"], row["value"]) == (4, pytest.approx(0.25 + 0.1))


def test_experiments_are_judged_apart(steps):
    runs = pd.read_csv(steps / "runs.csv", dtype=str, keep_default_na=False)
    other = runs.assign(experiment="other", arch="resnet18")
    other.loc[other["method"] == "duck", "aus"] = "0.1"
    pd.concat([runs, other]).to_csv(steps / "runs.csv", index=False)
    found = judge([claim(family="rivals")], steps)
    assert found["experiment"].tolist() == ["tiny", "other"]
    assert found["value"].tolist() == pytest.approx([0.25, 0.1 - 0.45])
    assert found["verdict"].tolist() == ["holds", "does not hold"]
    (printed,) = section(found)
    assert printed.title == "Claims: mini"
    assert "Of 2 asked here 1 hold, 0 do not discriminate, 1 do not hold, 0 are" in printed.caption
    assert printed.cells["Claim"].tolist() == ["DUCK is better. (tiny)", "DUCK is better. (other)"]


SYSTEM = {"experiment": "inside", "dataset": "mini", "arch": "strided_cnn"}


def write_features(folder: Path) -> dict:
    """Densities at two percentiles in two layers; returns those at 95 in the embedding."""
    draw, rows, kept = np.random.default_rng(3), [], {}
    for (split, seed), layer, percentile, part, model in itertools.product(
        CELLS, ("embedding", "intermediate"), (9, 95), ("forget", "retain"), ("duck", "oracle")
    ):
        value = float(draw.normal())
        cell = {"scenario": "class_removal", "split": split, "train_seed": seed, "model": model}
        cell |= {"layer": layer, "measure": "log_density", "part": part, "percentile": percentile}
        rows.append(SYSTEM | cell | {"value": value})
        if (layer, percentile) == ("embedding", 95):
            kept.setdefault(f"{part} {model}", []).append(value)
    pd.DataFrame(rows).to_csv(folder / "features.csv", index=False)
    return kept


def test_features_at_the_largest_percentile(tmp_path):
    kept = write_features(tmp_path)
    asked = {"table": "features", "layer": "embedding", "metric": "log_density", "within": 5}
    asked = claim(**asked, method="retain duck", against="forget oracle")
    row = one(judge([asked], tmp_path))
    one_side, other = np.array(kept["retain duck"]), np.array(kept["forget oracle"])
    assert row["value"] == pytest.approx((one_side - other).mean())
    target = math.copysign(5, row["value"])
    assert row["p"] == pytest.approx(scipy_stats.ttest_1samp(one_side - other, target).pvalue)
    assert row["test"] == "paired t"
    assert row["trace"] == "inside/class_removal/duck inside/class_removal/oracle"


def test_attributions_pair_the_same_images(tmp_path):
    """An image without one of the correlations counts for none; cells, not images, are n."""
    rows = []
    for (split, seed), image, pair in itertools.product(
        CELLS, (0, 1, 2), ("duck~oracle", "original~oracle", "original~duck")
    ):
        number = CELLS.index((split, seed))
        value = {"duck~oracle": 0.5 + 0.1 * number + 0.01 * image, "original~oracle": 0.2}
        gone = (split, seed, image, pair) == ("class-0", 0, 2, "original~oracle")
        cell = {"scenario": "class_removal", "split": split, "train_seed": seed, "image": image}
        cell |= {"output": "true", "pair": pair}
        cell["correlation"] = "" if gone or pair == "original~duck" else value[pair]
        rows.append(SYSTEM | cell)
    pd.DataFrame(rows).to_csv(tmp_path / "attributions.csv", index=False)
    asked = {"table": "attributions", "output": "true", "metric": "correlation"}
    asked = claim(**asked, method="duck~oracle", against="original~oracle")
    row = one(judge([asked], tmp_path))
    cells = [0.305, 0.41, 0.51, 0.61]
    assert (row["n"], row["value"]) == (4, pytest.approx(statistics.fmean(cells)))
    expected = scipy_stats.ttest_1samp([value - 0.2 for value in (0.505, 0.61, 0.71, 0.81)], 0)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert "duck~oracle: correlation known in 11 of 12 images" in row["reason"]
    models = ("duck", "oracle", "original")
    assert row["trace"] == " ".join(f"inside/class_removal/{model}" for model in models)


def test_shortcut_and_many_classes(tmp_path):
    rows = [
        SYSTEM | {"train_seed": seed, "method": "duck", "source": 7, "label": 9} | beside
        for seed, strength in enumerate((0.01, 0.02, 0.03))
        for beside in (
            {"measure": "strength", "value": strength},
            {"measure": "clean_label", "value": 0.9},
        )
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "shortcut.csv", index=False)
    asked = {"table": "shortcut", "scenario": "shortcut_removal", "kind": "level"}
    row = one(judge([claim(**asked, metric="strength", below=0.1)], tmp_path))
    assert (row["value"], row["n"], row["verdict"]) == (pytest.approx(0.02), 3, "holds")
    # 0.02 ± 4.302653 x 0.01 / sqrt(3)
    expected = (0.02 - 0.0248414, 0.02 + 0.0248414)
    assert (row["low"], row["high"]) == pytest.approx(expected, abs=1e-6)
    assert row["over"] == "seeds of this forget set"

    values = {"duck": [0.9, 0.8, 0.7, 0.6], "fine_tuning": [0.5, 0.6, 0.6, 0.3]}
    write_runs(tmp_path, "aus", values, name="studies", study="multiple_classes")
    studies = pd.read_csv(tmp_path / "studies.csv", dtype=str, keep_default_na=False)
    studies["classes_removed"] = np.where(studies["split"] == "class-0", "1", "4")
    studies.to_csv(tmp_path / "studies.csv", index=False)
    row = one(judge([claim(table="multiple_classes")], tmp_path))
    assert (row["n"], row["value"]) == (3, pytest.approx((0.2 + 0.1 + 0.3) / 3))
    row = one(judge([claim(table="ablation")], tmp_path))
    assert (row["verdict"], row["experiment"]) == ("not tested", "")


GOOD = claim().model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 3}, "claim better: seeds: unknown key"),
        ({"kind": "equal"}, "claim better: kind: "),
        ({"statement": None}, "claim better: statement: "),
        ({"metric": "speed"}, "claim better: metric: 'speed' is none of runs"),
        ({"against": None}, "claim better: against: a difference and a ratio need it"),
        ({"against": "duck"}, "claim better: against: 'duck' is the method itself"),
        ({"kind": "level"}, "claim better: against: "),
        ({"below": 1.0}, "claim better: above, below: one bound is needed, got 2"),
        ({"above": None}, "one bound is needed, got 0"),
        ({"above": float("nan")}, "claim better: above: "),
        ({"above": "much"}, "claim better: above: "),
        ({"above": None, "within": 0}, "claim better: within: must be more than 0"),
        ({"kind": "ratio"}, "claim better: metric: a ratio is of times"),
        ({"kind": "ratio", "metric": "unlearning_seconds"}, "claim better: above: a ratio is"),
        ({"layer": "embedding"}, "claim better: layer: features need it"),
        ({"table": "attributions", "metric": "correlation"}, "claim better: output: "),
        ({"scenario": "noise"}, "claim better: scenario: "),
        ({"claim": "Not a name"}, "claim Not a name: claim: "),
    ],
)
def test_an_impossible_claim_is_named(tmp_path, change, message):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([GOOD]))
    assert read_claims(path) == [claim()]
    bad = {key: value for key, value in (GOOD | change).items() if value is not None}
    path.write_text(yaml.safe_dump([bad]))
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as error:
        read_claims(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a list of claims"),
        ("claim: better", "must be a list of claims"),
        ("- [", "not valid YAML"),
        ("- better", "claim 1: "),
        (yaml.safe_dump([GOOD, GOOD]), "claim better: claim: given twice"),
    ],
)
def test_a_file_that_is_no_list_of_claims(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as error:
        read_claims(path)
    assert message in str(error.value)


def test_the_printed_claims(steps):
    asked = [claim(), claim(claim="gone", against="scar"), claim(claim="far", above=0.1)]
    found = judge(asked, steps)
    (printed,) = section(found)
    first, far, gone = printed.cells.to_dict("records")
    assert first == {
        "Claim": "DUCK is better.",
        "Verdict": "holds",
        "Value [95 %]": "0.25 [0.0446, 0.455]",
        "Bound": "> 0",
        "Unit": "AUS",
        "n": "4",
        "Generalises to": "classes of this original",
        "p": "0.030",
        "Original": "–",
    }
    assert (gone["Value [95 %]"], gone["p"], gone["Verdict"]) == ("–", "–", "not tested")
    assert far["Verdict"] == "not told apart"
    assert len(printed.notes) == 1 and printed.notes[0].startswith("gone: no cell of scar")
    for show in (markdown, latex, lambda sections, _: page(sections, "Claims", "")):
        assert "not told apart" in show([printed], "")
    pd.testing.assert_frame_equal(found, judge(asked, steps))


@pytest.fixture(scope="module")
def ours() -> list[Claim]:
    return read_claims(CLAIMS)


@pytest.mark.parametrize("source", REFERENCES, ids=lambda path: path.name)
def test_every_claim_is_asked_of_the_reference_runs(ours, source):
    found = judge(ours, source)
    assert set(found["claim"]) == {one.claim for one in ours}
    assert not found.duplicated(["claim", "experiment", "dataset", "arch", "scenario"]).any()
    assert (found["experiment"] != "").all()
    assert (found["n"] > 0).all()
    known = {"holds", "does not discriminate", "does not hold", "not told apart", "not tested"}
    assert set(found["verdict"]) <= known
    untested = (found["n"] < 2) | found["reason"].str.contains("stands in for")
    assert (found["verdict"] == "not tested").equals(untested)
    assert {"scar_better", "beats_scar_images"} <= set(found.loc[untested, "claim"])


@pytest.mark.parametrize("source", REFERENCES, ids=lambda path: path.name)
def test_values_of_the_reference_runs_by_plain_csv(ours, source):
    found = judge(ours, source).set_index("claim")

    def rows(name: str, **wanted: str) -> list[dict]:
        with open(source / f"{name}.csv", newline="") as handle:
            return [r for r in csv.DictReader(handle) if wanted.items() <= r.items()]

    def pairs(metric: str, one: str, other: str, scenario: str) -> dict[tuple, tuple]:
        sides = [
            {
                (row["split"], row["train_seed"]): float(row[metric])
                for row in rows("runs", method=method, scenario=scenario)
            }
            for method in (one, other)
        ]
        return {cell: (sides[0][cell], sides[1][cell]) for cell in sides[0]}

    aus = pairs("aus", "duck", "random_labels", "class_removal")
    mean, low, high, _ = cautious({cell: a - b for cell, (a, b) in aus.items()})
    row = found.loc["beats_random_labels"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((mean, low, high))
    times = pairs("unlearning_seconds", "oracle", "duck", "homogeneous_removal")
    speed = statistics.geometric_mean([a / b for a, b in times.values()])
    assert found["value"]["faster_than_retraining_images"] == pytest.approx(speed)
    attack = pairs("lira_auc", "duck", "oracle", "class_removal").values()
    attack = [abs(a - 0.5) - abs(b - 0.5) for a, b in attack]
    assert found["value"]["membership_class"] == pytest.approx(statistics.fmean(attack))
    asked = {"measure": "log_density", "layer": "embedding", "percentile": "95", "part": "retain"}
    density = [
        statistics.fmean(float(row["value"]) for row in rows("features", model=model, **asked))
        for model in ("duck", "oracle")
    ]
    assert found["value"]["retained_density"] == pytest.approx(density[0] - density[1])
    cells: dict[tuple, list[float]] = {}
    asked = {"output": "true", "pair": "original~oracle"}
    images = {
        (row["split"], row["train_seed"], row["image"]): row["correlation"]
        for row in rows("attributions", **asked)
    }
    for row in rows("attributions", **asked | {"pair": "duck~oracle"}):
        other = images[row["split"], row["train_seed"], row["image"]]
        if row["correlation"] and other:
            cell = cells.setdefault((row["split"], row["train_seed"]), [])
            cell.append(float(row["correlation"]) - float(other))
    maps = statistics.fmean(statistics.fmean(cell) for cell in cells.values())
    assert found["value"]["attributions_near_oracle"] == pytest.approx(maps)


@pytest.mark.parametrize("source", REFERENCES, ids=lambda path: path.name)
def test_claims_and_the_statistics_table_say_the_same_of_a_pair(ours, source):
    table = statistics_table(read_runs(source / "runs.csv"))
    table = table[table["metric"] == "aus"].set_index(["scenario", "method"])
    pairs = [e for e in ours if (e.table, e.metric, e.method) == ("runs", "aus", "duck")]
    pairs = [e.model_copy(update={"family": None}) for e in pairs if e.bound == 0]
    assert len(pairs) == 8
    for claim_, row in zip(pairs, judge(pairs, source).to_dict("records"), strict=True):
        same = table.loc[(claim_.scenario, claim_.against)]
        untested = claim_.against == "scar"
        assert row["p"] == pytest.approx(math.nan if untested else same["p"], nan_ok=True)
        assert row["value"] == pytest.approx(-same["difference"])
        ends = -same["difference_high"], -same["difference_low"]
        assert (row["low"], row["high"]) == pytest.approx(ends)


def test_one_changed_value_changes_its_claim_alone(ours, tmp_path):
    runs = pd.read_csv(REFERENCES[0] / "runs.csv", dtype=str, keep_default_na=False)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    asked = [one for one in ours if one.table == "runs"]
    before = judge(asked, tmp_path).set_index("claim")["value"]
    cell = (runs["method"] == "scrub") & (runs["scenario"] == "class_removal")
    first = runs.index[cell][0]
    runs.loc[first, "aus"] = repr(float(runs.loc[first, "aus"]) - 0.2)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    after = judge(asked, tmp_path).set_index("claim")["value"]
    assert after["scrub_better"] == pytest.approx(before["scrub_better"] - 0.2 / cell.sum())
    assert before.index[before != after].tolist() == ["scrub_better"]


def test_numbers_in_the_sources_are_reported_ones(ours):
    reported = pd.read_csv(ROOT / "paper/reported.csv")["mean"].astype(float).tolist()
    for each in ours:
        text = re.sub(r"The 0\.\d+ (of \w+ )?is ours", "", " ".join(each.source.split()))
        for number in re.findall(r"\d+\.\d+|\d+(?= s\b)", text):
            assert float(number) in reported, f"{each.claim}: {number}"


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        ({}, "efficacy"),
        ({"metric": "forget_test_accuracy"}, "efficacy"),
        ({"metric": "retain_test_accuracy"}, "utility"),
        ({"metric": "unlearning_seconds"}, "time"),
        ({"metric": "lira_auc"}, "privacy"),
        ({"metric": "svc_chance_distance"}, "privacy"),
        ({"table": "features", "layer": "embedding", "metric": "margin"}, "inside"),
        ({"table": "multiple_classes"}, "efficacy"),
    ],
)
def test_what_a_claim_asks_follows_from_table_and_metric(change, asks):
    assert claim(**change).asks == asks


def test_every_question_is_asked():
    assert {one.asks for one in read_claims(CLAIMS)} == set(QUESTIONS)


def test_a_bound_is_read_back_as_it_is_said():
    for one in read_claims(CLAIMS):
        assert read_bound(one.said_bound) == (one.side, one.bound)
    for odd in ("", "5", "≥ 3", "> much"):
        with pytest.raises(ValueError):
            read_bound(odd)
