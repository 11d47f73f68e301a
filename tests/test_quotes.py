"""The quotes of the paper: computed from the run's files, by hand here; nothing invented."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from pathlib import Path

import pandas as pd
import pytest
import yaml
from by_hand import cautious
from test_tables import lose, synthetic_runs

from unlearning.config.parsing import ConfigError, parse
from unlearning.files import canonical_json, write_json
from unlearning.report.claim_quotes import value
from unlearning.report.facts import searches
from unlearning.report.quotes import quotes, read_tables, typographic
from unlearning.results.keys import IDENTITY
from unlearning.results.manifest import COLUMNS
from unlearning.tables.layouts import tabulate
from unlearning.tables.render import span

METHODS = ("fine_tuning", "scrub", "duck")
CONFIG = {
    "run": "small",
    "experiments": [
        {
            "name": "mini",
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 7, "batch_size": 64, "lr": 0.1},
            "train_seeds": [0, 1, 2],
            "scenarios": {
                "class_removal": {"forget": [0, 8]},
                "homogeneous_removal": {"fraction": 0.1, "split_seeds": [0]},
            },
            "methods": list(METHODS),
        }
    ],
}
CLAIMS = {
    "claim": ["faster", "faster", "better", "fresh"],
    "statement": ["DUCK is faster.", "DUCK is faster.", "DUCK is better.", "DUCK is new."],
    "scenario": ["class_removal", "homogeneous_removal"] * 2,
    "quantity": ["unlearning_seconds: oracle / duck"] * 2 + ["aus: duck − oracle", "aus: duck"],
    "value": ["3.25", "2.0", "-0.0123456", ""],
    "low": ["3.0", "", "-0.02", ""],
    "high": ["3.5", "", "-0.01", ""],
    "unit": ["times", "times", "AUS", ""],
    "n": ["6", "1", "6", ""],
    "over": ["classes and seeds", "", "seeds of this class", ""],
    "p": ["0.00001", "", "0.04", ""],
    "verdict": ["holds", "not tested", "does not hold", "not told apart"],
    "reason": ["", "one_cell", "", ""],
}
AUDIT = {
    "dataset": ["CIFAR100", "CIFAR10"],
    "scenario": ["CR", "HR"],
    "method": ["DUCK", "Original"],
    "metric": ["A_r^t (%)", "A^t (%)"],
    "reported": ["71.57", "88.72"],
    "spread": ["", "0.28"],
    "grade": ["B", ""],
    "ours": ["70.123456", ""],
    "quantity": ["A_or − A_r^t", ""],
    "difference": ["-1.446544", ""],
    "verdict": ["differs", "ours not run"],
    "reason": ["", "no_cells"],
}


def finished_run(folder: Path, runs: pd.DataFrame, config: dict | None = None) -> Path:
    """A run's folder with all that the document reads, its tables made by the library."""
    folder.mkdir(parents=True, exist_ok=True)
    runs.to_csv(folder / "runs.csv", index=False)
    write_json(folder / "config.json", config or CONFIG)
    manifest_of(runs).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame(AUDIT).to_csv(folder / "audit.csv", index=False)
    pd.DataFrame(CLAIMS).to_csv(folder / "claims.csv", index=False)
    tabulate(folder / "runs.csv", folder / "tables")
    return folder


def texts(folder: Path) -> dict[str, str]:
    """The texts of the paper by name, of a run's folder with its tables."""
    return {name: one.text for name, one in quotes(folder, read_tables(folder)).items()}


def manifest_of(runs: pd.DataFrame) -> pd.DataFrame:
    """A manifest as the records of these cells would make it; the first cell was dirty."""
    made = dict.fromkeys(COLUMNS, "")
    made |= {"record": "r.json", "commit": "0123456789abcdef", "device": "cpu", "machine": "x86_64"}
    made |= {
        "software": canonical_json({"torch": "2.0", "python": "3.11"}),
        "data_sha256": "d" * 64,
    }
    rows = [made | row for row in runs[IDENTITY].to_dict("records")]
    for k, (row, spent) in enumerate(zip(rows, runs["unlearning_seconds"], strict=True)):
        row |= {"dirty": str(k == 0), "seconds": spent, "started": f"2026-01-01T00:00:{k:02}"}
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return synthetic_runs(METHODS)


@pytest.fixture(scope="module")
def found(runs, tmp_path_factory) -> dict[str, str]:
    folder = finished_run(tmp_path_factory.mktemp("run"), runs)
    return texts(folder)


def values(runs: pd.DataFrame, method: str, metric: str, scenario: str = "class_removal") -> list:
    picked = runs[(runs["method"] == method) & (runs["scenario"] == scenario)]
    return [float(value) for value in picked[metric]]


def test_means_and_spreads_are_those_of_the_cells(runs, found):
    aus = values(runs, "duck", "aus")
    assert found["class_removal.duck.aus"] == (
        f"{statistics.fmean(aus):.3f} ± {statistics.stdev(aus):.3f}"
    )
    kept = [100 * v for v in values(runs, "oracle", "retain_test_accuracy")]
    assert found["class_removal.oracle.retain_test"] == (
        f"{statistics.fmean(kept):.1f} ± {statistics.stdev(kept):.1f}"
    )
    spent = [statistics.fmean(values(runs, m, "unlearning_seconds")) for m in ("oracle", "duck")]
    assert found["class_removal.speedup"] == f"{spent[0] / spent[1]:.1f}"


def test_the_comparison_with_the_oracle_is_that_of_the_crossed_cells(runs, found):
    done = runs[(runs["scenario"] == "class_removal") & (runs["status"] == "ok")]
    cells = done.set_index(["split", "train_seed", "method"])["aus"].astype(float).unstack()
    mean, low, high, p = cautious((cells["duck"] - cells["oracle"]).dropna().to_dict())
    amount = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]".replace("-", "−")
    assert found["class_removal.duck_minus_oracle"] == amount
    word = "is lower than" if p < 0.05 else "is not told apart from"
    assert found["class_removal.duck_oracle"].startswith(
        f"DUCK's AUS {word} the oracle's: {amount}"
    )
    assert "for classes and seeds, p " in found["class_removal.duck_oracle"]


@pytest.mark.parametrize(
    ("shifts", "word"),
    [
        ((0.1, 0.11, 0.12), "is higher than"),
        ((-0.1, -0.11, -0.12), "is lower than"),
        ((-0.1, 0.11, 0.02), "is not told apart from"),
    ],
)
def test_the_verdict_follows_the_data(runs, tmp_path, shifts, word):
    moved = runs.copy()
    oracle = (runs["method"] == "oracle").to_numpy()
    for seed, shift in enumerate(shifts):
        mine = (runs["method"] == "duck") & (runs["train_seed"] == seed)
        same = oracle & (runs["train_seed"] == seed).to_numpy()
        moved.loc[mine, "aus"] = (runs.loc[same, "aus"] + shift).to_numpy()
    folder = finished_run(tmp_path, moved)
    found = texts(folder)
    assert f"DUCK's AUS {word} the oracle's" in found["class_removal.duck_oracle"]
    assert found["class_removal.duck_oracle_verdict"] in word


def test_one_cell_is_not_judged_and_has_no_interval(runs, tmp_path):
    one = runs[runs["split"].isin(["class-0", "seed-0"]) & (runs["train_seed"] == 0)]
    folder = finished_run(tmp_path, one)
    found = texts(folder)
    assert "which no test can judge" in found["class_removal.duck_oracle"]
    assert found["class_removal.duck.aus"] == found["class_removal.duck.aus_interval"]
    assert "±" not in found["class_removal.duck.aus"]
    assert found["class_removal.spread"] == "each row is one run and has no spread"
    assert "2 not tested" in found["class_removal.rivals"]
    assert found["class_removal.rivals_higher"] == "0 of 2"
    assert found["class_removal.duck_oracle_verdict"] == "not tested"


def test_places_and_who_is_better_and_sooner(runs, tmp_path):
    changed = runs.astype({"unlearning_seconds": object})
    for method, aus, spent in (
        ("duck", 0.9, 5.0),
        ("scrub", 0.95, 4.0),
        ("fine_tuning", 0.99, 9.0),
    ):
        changed.loc[changed["method"] == method, ["aus", "unlearning_seconds"]] = [aus, spent]
    folder = finished_run(tmp_path, changed)
    found = texts(folder)
    assert found["class_removal.place"] == "3 of 3"
    assert found["class_removal.time_place"] == "2 of 3"
    assert found["class_removal.best"] == "fine_tuning (0.990)"
    assert found["class_removal.dominating"].startswith("scrub reaches")


def test_a_method_without_a_finished_cell_has_no_numbers(runs, tmp_path):
    mine = (runs["method"] == "scrub") & (runs["scenario"] == "class_removal")
    folder = finished_run(tmp_path, lose(runs, mine, "diverged", "NaN"))
    found = texts(folder)
    assert "class_removal.scrub.aus" not in found
    assert found["class_removal.lost"] == "scrub"
    assert found["run.others"] == f"{mine.sum()} diverged"
    assert found["run.ok"] == str(len(runs) - mine.sum())


def test_a_run_without_a_scenario_has_no_names_of_it(runs, tmp_path):
    folder = finished_run(tmp_path, runs[runs["scenario"] == "class_removal"])
    names = texts(folder)
    assert not [name for name in names if name.startswith("homogeneous_removal")]


def test_claims_and_audit_are_counted(found):
    assert (found["claims.count"], found["claims.asked"]) == ("3 claims", "4 times")
    assert found["claims.holding"] == "1"
    assert found["claims.failing"] == "(1) DUCK is better."
    assert found["claims.verdicts"] == (
        "1 holds, 1 does not hold, 1 is not told apart and 1 is not tested"
    )
    assert found["audit.rows"] == "2"
    assert found["audit.summary"] == (
        "2 reported numbers: grade B: 1 differs; no grade: 1 ours not run."
    )


def test_a_claim_is_quoted_with_its_verdict_and_value(found):
    assert found["claim.better.statement"] == "DUCK is better."
    assert found["claim.better.verdict"] == "does not hold"
    assert found["claim.better.value"] == "−0.012 [−0.020, −0.010] AUS"
    assert found["claim.faster.value"] == "3.25 [3.00, 3.50] times"  # of the first experiment
    assert found["claim.faster.verdicts"] == "1 holds and 1 is not tested"
    assert "claim.fresh.value" not in found


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        ("forget_test_accuracy: duck", "0.4 [-1.0, 1.8] %"),
        ("aus: duck − oracle", "0.4 [-1.0, 1.8] points"),
    ],
)
def test_a_fraction_is_quoted_in_percent_and_a_difference_in_points(quantity, text):
    row = {"value": "0.004", "low": "-0.01", "high": "0.018"}
    assert value(row | {"unit": "fraction", "quantity": quantity}) == text


def test_a_ratio_whose_interval_spans_decades_is_quoted_with_three_digits():
    row = {"value": "5.7412", "low": "0.00488", "high": "6748.89", "unit": "times"}
    assert value(row) == "5.74 [0.00488, 6749] times"
    assert value(row | {"low": "", "high": ""}) == "5.74 times"


def test_the_manifest_says_what_made_the_run(runs, found):
    assert found["made.commits"] == "0123456789ab"
    assert found["made.dirty"] == f"1 of {len(runs)}"
    assert found["made.software"] == "python 3.11, torch 2.0"
    assert found["made.began"] == "2026-01-01T00:00:00"
    both = [values(runs, "oracle", "unlearning_seconds", s) for s in set(runs["scenario"])]
    total = sum(itertools.chain(*both))
    assert found["made.retraining"] == f"{total / 60:.0f} min"
    assert found["run.recipe"].startswith("7 epochs of SGD with momentum 0.9, batches of 64")


def test_no_quote_is_empty_or_unknown(found):
    assert not {name: text for name, text in found.items() if text in ("", "–") or "nan" in text}


def test_an_attack_is_quoted_with_its_interval_and_place(runs, tmp_path):
    levels = {"oracle": 0.5, "duck": 0.6, "scrub": 0.52, "fine_tuning": 0.3, "original": 0.8}
    attacked = runs.assign(
        lira_auc=runs["method"].map(levels), lira_auc_error=0.01, shadow_models=4
    )
    folder = finished_run(tmp_path, attacked)
    found = texts(folder)
    # 2 classes x 3 seeds: errors add within a class, in quadrature over classes.
    room = 1.96 * math.sqrt(2 * (3 * 0.01) ** 2) / 6
    assert found["class_removal.duck.lira"] == f"0.600 [{0.6 - room:.3f}, {0.6 + room:.3f}]"
    assert found["class_removal.lira_verdict"] == "DUCK's interval lies wholly above the oracle's"
    assert found["class_removal.lira_place"] == "2 of 3"


def test_a_missing_or_broken_file_is_named(runs, tmp_path):
    folder = finished_run(tmp_path, runs)
    broken = json.loads((folder / "config.json").read_text())
    del broken["experiments"][0]["arch"]
    write_json(folder / "config.json", broken)
    with pytest.raises(ConfigError, match=r"config\.json"):
        texts(folder)
    (folder / "tables/statistics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"statistics\.json"):
        read_tables(folder)


@pytest.mark.parametrize(
    ("text", "set_text"),
    [
        ("-0.1 [-0.2, +0.3]", "−0.1 [−0.2, +0.3]"),
        ("2026-01-02", "2026-01-02"),
        ("class-0", "class-0"),
        ("1e-05", "1e-05"),
    ],
)
def test_a_minus_sign_stands_before_numbers_alone(text, set_text):
    assert typographic(text) == set_text


def test_a_span_without_an_interval():
    assert span(0.5, math.nan, math.nan) == "0.500"
    assert span(math.nan, math.nan, math.nan) == "–"
    assert span(0.5, -0.25, 1, places=1, sign="+") == "+0.5 [-0.2, +1.0]"


@pytest.mark.parametrize("run", ["mini", "fashion"])
def test_the_search_is_the_one_that_the_settings_are_from(run, tmp_path):
    """Not the one that the config declares now: as many candidates as its committed trace has."""
    root = Path(__file__).parent.parent
    config = yaml.safe_load((root / f"configs/{run}.yaml").read_text(encoding="utf-8"))
    config["experiments"][0]["tuning"]["budget"] = 99
    said = searches(parse(config, "config").experiments[0])
    trace = pd.read_csv(root / f"paper/reference/tuning/{run}.csv")
    trace = trace[~trace["candidate"].str.endswith("-published")]
    tried = trace.groupby(["method", "scenario"])["candidate"].nunique().unique()
    assert len(said) == len(tried) == 2  # of one round, and of two
    for count, words in zip(sorted(tried), said, strict=True):
        assert f" of {count} on held-out training images" in words and f"{run}.csv" in words
    config["experiments"][0] |= {"tuning": None, "settings_from": "published"}
    assert searches(parse(config, "config").experiments[0]) == []
