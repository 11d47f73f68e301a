"""Where paper, release and code differ: valid entries, right effects, documents that follow."""

from __future__ import annotations

import csv
import math
import re
import shutil
import statistics
import sys

import pandas as pd
import pytest
import yaml
from by_hand import cautious
from workspace import PROJECT

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
from write_deviations import RUNS, SOURCE, documents

from unlearning.claims.deviations import (
    COLUMNS,
    EFFECT,
    NOT_MEASURED,
    NOTHING,
    PARTS,
    Decision,
    change,
    effects,
    measure,
    read_decisions,
    table,
)
from unlearning.methods import load
from unlearning.results.runs import read_runs

DECISIONS = read_decisions(PROJECT / SOURCE)
ENTRY = {
    "part": "The method",
    "decision": "steps",
    "paper": "R",
    "release": "R + 1",
    "here": "R",
    "switch": "extra_step",
    "reason": "the test is off by one",
}
CR, HR = "class_removal", "homogeneous_removal"


@pytest.fixture(scope="module")
def measured():
    return measure(DECISIONS, [PROJECT / path for path in RUNS])


def decision(**changes):
    return Decision.model_validate(ENTRY | changes)


def written(folder, *entries):
    path = folder / "deviations.yaml"
    path.write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
    return path


def runs(rows):
    """A frame of tables.read_runs, as far as `effects` reads it, from (scenario, split, seed,
    unlearning seed, method, AUS, status)."""
    names = ["scenario", "split", "train_seed", "unlearn_seed", "method", "aus", "status"]
    system = {"experiment": "e", "dataset": "d", "arch": "a", "split_seed": ""}
    return pd.DataFrame([system | dict(zip(names, row, strict=True)) for row in rows])


def by_hand(path, method, scenario, **identity):
    """Mean, sd, interval, n and p of method less duck, from the text of a CSV file."""
    with open(PROJECT / path, newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["scenario"] == scenario]
    rows = [r for r in rows if all(r[key] == value for key, value in identity.items())]
    cells = {
        name: {(r["split"], r["train_seed"]): float(r["aus"]) for r in rows if r["method"] == name}
        for name in (method, "duck")
    }
    gaps = {cell: value - cells["duck"][cell] for cell, value in cells[method].items()}
    mean, low, high, p = cautious(gaps)
    sd = statistics.stdev(gaps.values())
    return {"difference": mean, "sd": sd, "low": low, "high": high, "n": len(gaps), "p": p}


@pytest.mark.parametrize(
    ("run", "method", "scenario", "study"),
    [
        ("mini_ablation/runs.csv", "only_extra_step", CR, {}),
        ("mini_ablation/runs.csv", "only_centroid_batches", HR, {}),
        ("fashion/studies.csv", "temperature_4", CR, {"study": "ablation"}),
    ],
)
def test_an_effect_is_the_paired_difference_that_a_plain_formula_gives(
    run, method, scenario, study, measured
):
    data = "fashion_mnist" if run.startswith("fashion") else "fashion_mnist_mini"
    row = measured[
        (measured["method"] == method)
        & (measured["scenario"] == scenario)
        & (measured["dataset"] == data)
    ]
    expected = by_hand(f"paper/reference/{run}", method, scenario, **study)
    assert len(row) == 1
    assert row.iloc[0][list(expected)].to_dict() == pytest.approx(expected, rel=1e-6)


def test_p_is_adjusted_over_all_measured_changes_of_a_scenario(measured):
    for _, rows in measured.groupby("scenario"):
        ordered, adjusted = rows.sort_values("p"), 0.0
        for k, row in enumerate(ordered.itertuples()):
            adjusted = max(adjusted, min(1.0, (len(rows) - k) * row.p))
            assert row.p_holm == pytest.approx(adjusted)
    assert measured["scenario"].nunique() == 2


def test_seeds_are_averaged_and_cells_that_are_not_ok_left_out():
    found = effects(
        runs(
            [
                (CR, "class-0", "0", "0", "duck", 0.90, "ok"),
                (CR, "class-0", "0", "1", "duck", 0.94, "ok"),
                (CR, "class-0", "0", "0", "other", 0.95, "ok"),
                (CR, "class-0", "1", "0", "duck", 0.90, "ok"),
                (CR, "class-0", "1", "0", "other", 0.96, "ok"),
                (CR, "class-8", "0", "0", "duck", 0.90, "ok"),
                (CR, "class-8", "0", "0", "other", 0.10, "diverged"),
                (CR, "class-8", "1", "0", "other", 0.50, "ok"),
                (HR, "seed-0", "0", "0", "other", 0.50, "ok"),
                (CR, "class-0", "0", "0", "unasked", 0.50, "ok"),
            ]
        ),
        ["other", "duck"],
    )
    assert list(found["method"]) == ["other"]  # homogeneous removal has no duck beside it
    row = found.iloc[0]
    assert (row["n"], row["aus_n"]) == (2, 3)
    assert row["difference"] == pytest.approx((0.95 - 0.92 + 0.96 - 0.90) / 2)
    assert row["aus"] == pytest.approx((0.95 + 0.96 + 0.50) / 3)


def row_of(method, scenario=CR, **numbers):
    row = {"experiment": "e", "dataset": "d", "arch": "a", "scenario": scenario, "method": method}
    return row | {"n": 2, "low": -0.1, "high": 0.2, "p_holm": 1.0} | numbers


def test_a_cell_says_the_change_or_why_there_is_none():
    found = pd.DataFrame(
        [
            row_of("one", difference=0.05),
            row_of("two", difference=-0.00004, low=math.nan, high=math.nan, n=1),
            row_of("one", difference=0.06, dataset="D", low=0.01, p_holm=0.049),
        ],
        columns=[*EFFECT, "p_holm"],
    )
    made = table(
        [
            decision(ablation=["two"], numbers=["D3", "D4"], without_effect=[HR]),
            decision(decision="more", ablation=["two", "one"]),
            decision(decision="none"),
        ],
        found,
    )
    assert list(made.columns) == COLUMNS
    assert list(made["decision"]) == ["steps (D3, D4)", "more", "none"]
    assert list(made[HR]) == [NOTHING, NOT_MEASURED, NOT_MEASURED]
    assert list(made[CR]) == [
        "+0.000 (n = 1)",
        "two on d: +0.000 (n = 1); one on d: +0.050 [-0.100, +0.200] (n = 2); "
        "one on D: +0.060 [+0.010, +0.200] (n = 2) *",
        NOT_MEASURED,
    ]


def test_a_switch_that_does_nothing_hides_its_measurement():
    found = pd.DataFrame([row_of("one", difference=0.05)], columns=[*EFFECT, "p_holm"])
    made = table([decision(ablation=["one"], without_effect=[CR])], found)
    assert made[CR].tolist() == [NOTHING]
    assert change(next(found.itertuples())) == "+0.050 [-0.100, +0.200] (n = 2)"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([ENTRY | {"who": "x"}], r"entry 1 \('steps'\): who: Extra inputs"),
        ([ENTRY, {k: v for k, v in ENTRY.items() if k != "paper"}], "entry 2 .*: paper: Field req"),
        ([ENTRY | {"part": "Elsewhere"}], "part: .*What DUCK does inside"),
        ([ENTRY | {"reason": ""}], "reason: .*at least 1 char"),
        ([ENTRY | {"here": True}], "here: .*valid string"),
        ([ENTRY | {"numbers": ["3"]}], r"numbers\.0: "),
        ([ENTRY | {"without_effect": ["both"]}], r"without_effect\.0: "),
        ([ENTRY, ENTRY], "decision steps is given twice"),
        (["steps"], "entry 1: "),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(entries, message, tmp_path):
    path = written(tmp_path, *entries)
    with pytest.raises(ValueError, match=rf"deviations\.yaml: .*{message}"):
        read_decisions(path)


@pytest.mark.parametrize("text", ["a: [", "", "a: 1"])
def test_a_file_that_is_no_list_of_entries_is_named(text, tmp_path):
    (tmp_path / "deviations.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"deviations\.yaml: "):
        read_decisions(tmp_path / "deviations.yaml")


def test_an_ablation_that_no_run_has_is_named():
    with pytest.raises(ValueError, match=r"steps: ablation 'only_nothing' is not a method of .*"):
        measure([decision(ablation=["only_nothing"])], [PROJECT / RUNS[0]])


def test_entries_come_in_the_order_of_the_parts(tmp_path):
    late = ENTRY | {"part": PARTS[3], "decision": "late"}
    middle = ENTRY | {"part": PARTS[1], "decision": "middle"}
    found = read_decisions(written(tmp_path, late, middle, ENTRY))
    assert [one.decision for one in found] == ["steps", "middle", "late"]


def test_every_departure_of_the_release_is_somebodys():
    numbers = [number for one in DECISIONS for number in one.numbers]
    assert sorted(numbers) == sorted(f"D{k}" for k in range(1, 22))


def test_every_setting_of_the_released_method_is_decided_somewhere():
    named = {w for one in DECISIONS for w in re.findall(r"\w+", f"{one.switch} {one.ablation}")}
    settings = set(load("duck_released").Settings.model_fields)
    assert {"extra_step", "lambda_forget", "stop"} <= settings
    assert settings - named == set()


def test_every_method_of_the_ablation_is_somebodys():
    config = yaml.safe_load((PROJECT / "configs/mini_ablation.yaml").read_text())
    listed = config["experiments"][0]["methods"]
    variants = {m if isinstance(m, str) else m["name"] for m in listed} - {"duck"}
    assert variants <= {method for one in DECISIONS for method in one.ablation}
    assert variants <= set(read_runs(PROJECT / RUNS[0])["method"])


def test_the_committed_documents_are_what_the_script_makes():
    for path, text in documents(PROJECT).items():
        assert (PROJECT / path).read_text(encoding="utf-8") == text, f"make {path} again"


def test_each_decision_has_one_row_and_one_reason():
    text = (PROJECT / "paper/DEVIATIONS.md").read_text(encoding="utf-8")
    for one in DECISIONS:
        assert text.count(f"\n| {one.title} | ") == 1
        assert text.count(f"\n- *{one.title}*: {one.reason}\n") == 1
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all((PROJECT / "paper" / link).is_file() for link in links)


def copied(folder):
    for path in (SOURCE, *RUNS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / path, folder / path)
    return folder


def test_one_value_moves_its_decision_and_no_other(tmp_path):
    project = copied(tmp_path)
    before = documents(project)
    assert before == documents(PROJECT)
    frame = pd.read_csv(project / RUNS[0], dtype=str, keep_default_na=False)
    cell = frame.index[(frame["method"] == "only_extra_step") & (frame["scenario"] == CR)][0]
    frame.loc[cell, "aus"] = "0.5"
    frame.to_csv(project / RUNS[0], index=False)
    after = documents(project)
    for path, text in before.items():
        lines = zip(text.splitlines(), after[path].splitlines(), strict=True)
        changed = [new for old, new in lines if old != new]
        assert any("updates a batch to forget (D3)" in line for line in changed)
        others = ("D3", "only_extra_step", "other switches beyond")
        assert all(any(name in line for name in others) for line in changed)


def test_an_edited_decision_moves_both_documents(tmp_path):
    project = copied(tmp_path)
    text = (project / SOURCE).read_text(encoding="utf-8")
    assert text.count("i ≠ y") == 1
    (project / SOURCE).write_text(text.replace("i ≠ y", "i | y"), encoding="utf-8")
    made = documents(project)
    assert "| i &#124; y |" in made[SOURCE.with_name("DEVIATIONS.md")]
    assert ",i | y," in made[SOURCE.with_suffix(".csv")]
