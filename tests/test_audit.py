"""The audit's verdict rule by hand and against Welch's test, and every verdict and reason."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats as scipy_stats

from unlearning.audit.pages import ROWS, documents, sections
from unlearning.audit.reported import METRICS, Reported, read_reported
from unlearning.audit.rows import COLUMNS, audit
from unlearning.audit.rule import Ours, decide, margin, measure
from unlearning.audit.words import GRADES, REASONS, VERDICTS
from unlearning.config.parsing import parse
from unlearning.metrics import names
from unlearning.results.runs import TEXT
from unlearning.tables.render import Section

ROOT = Path(__file__).parents[1]
COMMAND = "snakemake audit --configfile configs/paper.yaml --cores 16 --resources gpu=1"
RAW = yaml.safe_load((ROOT / "configs/paper_extended.yaml").read_text())
PAPER = parse(RAW, "paper.yaml")
FAST = parse(yaml.safe_load((ROOT / "configs/cifar10_fast.yaml").read_text()), "fast")
CIFAR100 = "cifar100-resnet18_3x3"
PERCENT, AUS = METRICS["A_r^t (%)"], METRICS["AUS"]


def a_number(mean=70.0, spread=math.nan, error=0.0, **given) -> Reported:
    usual = {
        "row": 2,
        "source": "a table",
        "version": "v1",
        "table_or_figure": "Table 1",
        "dataset": "CIFAR100",
        "scenario": "CR",
        "method": "DUCK",
        "metric": "A_r^t (%)",
        "printed": f"{mean}",
        "spread_over": "" if math.isnan(spread) else "classes",
        "exactness": "text",
        "note": "",
    }
    return Reported(**usual | {"mean": mean, "spread": spread, "error": error} | given)


def our_number(mean=70.0, sets_sd=1.0, sets=10, seeds_sd=math.nan, seeds=1) -> Ours:
    return Ours(mean, mean - 1, mean + 1, sets * seeds, sets_sd, sets, seeds_sd, seeds)


def variant_of(**changes) -> list:
    """The paper's grid with the CIFAR-100 experiment changed."""
    raw = yaml.safe_load((ROOT / "configs/paper_extended.yaml").read_text())
    main = next(e for e in raw["experiments"] if e["dataset"] == "cifar100")
    main |= changes
    return raw


def some_runs(experiment=CIFAR100, methods=("original", "duck"), seeds=(42,), sets=10, **given):
    """A class removal on `sets` classes: A_r^t is 70 % + 0.2 x set + seed's place, A_f^t 1 %."""
    rows = []
    for method in methods:
        for place, seed in enumerate(seeds):
            for number in range(sets):
                row = dict.fromkeys(TEXT, "") | dict.fromkeys(names.METRICS, math.nan)
                row |= {"experiment": experiment, "dataset": "cifar100", "method": method}
                row |= {"scenario": "class_removal", "split": f"class-{number}", "status": "ok"}
                row |= {"train_seed": str(seed), "unlearn_seed": "0", "unlearning_seconds": 12.5}
                row |= {"retain_test_accuracy": 0.7 + 0.002 * number + 0.01 * place}
                row |= {"forget_test_accuracy": 0.01, "aus": 0.93 + 0.001 * number}
                rows.append(row | {"forget_train_accuracy": 0.75, "test_accuracy": 0.7} | given)
    return pd.DataFrame(rows)


def judged(number=None, runs=None, ours=PAPER, paper=PAPER) -> pd.Series:
    runs = some_runs() if runs is None else runs
    found = audit([number or a_number()], runs, ours, paper, COMMAND)
    assert list(found) == COLUMNS and len(found) == 1
    return found.iloc[0]


# ---- the rule ----


@pytest.mark.parametrize(("theirs", "mine", "sets"), [(0.63, 0.9, 10), (2.0, 0.1, 10), (1, 3, 4)])
def test_with_one_original_the_rule_is_welchs_test(theirs, mine, sets):
    h = margin(a_number(spread=theirs), our_number(sets_sd=mine, sets=sets))
    test = scipy_stats.ttest_ind_from_stats(h, mine, sets, 0, theirs, 10, equal_var=False)
    assert test.pvalue == pytest.approx(0.05, abs=1e-9)


def test_an_unknown_spread_is_ours_and_one_estimate():
    """sqrt(1/10 + 1/10) = 0.4472136 and Student's quantile at 9 is 2.262157."""
    assert margin(a_number(), our_number()) == pytest.approx(0.4472136 * 2.262157, rel=1e-6)
    assert margin(a_number(error=0.25), our_number()) == pytest.approx(1.261668, rel=1e-6)


def test_training_seeds_widen_it_by_the_reported_original_too():
    """0.3 sqrt(1 + 1/3) = 0.3464102 times Student's quantile at 2, 4.302653."""
    ours = our_number(sets_sd=0.0, seeds_sd=0.3, seeds=3)
    assert margin(a_number(spread=0.0), ours) == pytest.approx(1.490483, rel=1e-6)
    # with 1²/10 twice: 0.32 and, by Welch and Satterthwaite, 0.32² / (2 x 0.1²/9 + 0.12²/2)
    ours = our_number(sets_sd=1.0, seeds_sd=0.3, seeds=3)
    freedom = 0.1024 / (0.02 / 9 + 0.0072)
    expected = scipy_stats.t.ppf(0.975, freedom) * math.sqrt(0.32)
    assert margin(a_number(spread=1.0), ours) == pytest.approx(expected, rel=1e-12)
    assert freedom == pytest.approx(10.8679, rel=1e-4)


def test_without_any_spread_the_reading_error_decides():
    ours = our_number(mean=71.74, sets_sd=0.0)
    assert margin(a_number(spread=0.0, error=0.1), ours) == 0.1
    assert decide(a_number(71.64, 0.0, 0.1), ours, PERCENT)[0] == "reproduced"
    assert decide(a_number(71.63, 0.0, 0.1), ours, PERCENT)[0] == "differs"
    assert decide(a_number(71.74, 0.0, 0.0), ours, PERCENT)[0] == "reproduced"


def test_the_edge_of_differs():
    h = margin(a_number(spread=0.63), our_number())
    for side in (-1, 1):
        just = a_number(70 + side * h, spread=0.63)
        over = a_number(70 + side * h * 1.000001, spread=0.63)
        assert decide(just, our_number(), PERCENT) == ("reproduced", ["one_original"])
        assert decide(over, our_number(), PERCENT) == ("differs", ["one_original"])


def test_the_edge_of_too_uncertain():
    """h is the reading error alone: 3 points or 0.03 will do, more will not; differs is first."""
    for metric, limit in ((PERCENT, 3.0), (AUS, 0.03)):
        ours = our_number(mean=0.5, sets_sd=0.0, seeds_sd=0.0, seeds=3)
        assert decide(a_number(0.5, 0.0, limit), ours, metric) == ("reproduced", [])
        wide = a_number(0.5, 0.0, limit * 1.0001)
        reason = "too_uncertain: more classes would not settle it"
        assert decide(wide, ours, metric) == ("not comparable", [reason])
        far = a_number(0.5 + 2 * limit, 0.0, limit * 1.0001)
        assert decide(far, ours, metric) == ("differs", [])


def test_what_is_shown_and_not_compared():
    one = our_number(sets_sd=math.nan, sets=1)
    assert decide(a_number(), one, PERCENT) == (
        "not comparable",
        ["one_forget_set", "one_original"],
    )
    seconds = METRICS["UT (s)"]
    assert decide(a_number(), our_number(seeds=2, seeds_sd=0.0), seconds) == (
        "not comparable",
        ["other_hardware"],
    )


def test_spreads_and_interval_by_hand():
    """Two classes, three seeds; of unlearning seeds the mean counts."""
    values = {("a", "0"): [1.0, 3.0], ("b", "0"): [4.0], ("a", "1"): [3.0], ("b", "1"): [5.0]}
    values |= {("a", "2"): [4.0], ("b", "2"): [6.0]}
    cells = pd.DataFrame(
        [
            {"split": split, "train_seed": seed, "value": value}
            for (split, seed), given in values.items()
            for value in given
        ]
    )
    found = measure(cells, ("x",))
    assert (found.n, found.sets, found.seeds) == (7, 2, 3)
    assert found.mean == pytest.approx(26 / 7)
    assert found.sets_sd == pytest.approx(math.sqrt(2))  # 3 and 5
    assert found.seeds_sd == pytest.approx(1.0)  # 3, 4 and 5
    assert (found.low, found.high) == pytest.approx((1.515862, 6.484138))  # 4 ± 4.302653/sqrt(3)
    # without b at seeds 1 and 2 one seed is whole: Student over the sets, 3 and 4
    holes = measure(cells.drop([4, 6]), ("x",))
    assert (holes.sets, holes.seeds, holes.n) == (2, 1, 5)
    assert math.isnan(holes.seeds_sd)
    assert (holes.low, holes.high) == pytest.approx((3.5 - 12.706205 / 2, 3.5 + 12.706205 / 2))
    alone = measure(cells[:1], ("x",))
    assert (alone.mean, alone.n) == (1.0, 1) and math.isnan(alone.low)


# ---- rows ----


def test_ours_stands_beside_in_the_reported_unit():
    """A_r^t of ten classes, 70.0, 70.2, …: mean 70.9, sd 0.605530, one original."""
    row = judged(a_number(71.57, error=0.005))
    assert row["ours"] == pytest.approx(70.9)
    assert row["difference"] == pytest.approx(-0.67)
    room = 2.262157 * 0.6055301 / math.sqrt(10)
    assert (row["low"], row["high"]) == pytest.approx((70.9 - room, 70.9 + room))
    # h = 2.262157 x 0.6055301 x sqrt(0.2) + 0.005 = 0.6176
    assert (row["verdict"], row["reason"]) == ("differs", "one_original; spread_unknown")
    assert (row["n"], row["command"]) == (10, "")
    assert row["trace"] == f"{CIFAR100}/class_removal/duck"
    assert judged(a_number(71.51, error=0.005))["verdict"] == "reproduced"


def test_a_changed_value_changes_that_row_alone():
    numbers = [a_number(70.9), a_number(70.9, method="Original")]
    before = audit(numbers, some_runs(), PAPER, PAPER, COMMAND)
    runs = some_runs()
    cell = (runs["method"] == "duck") & (runs["split"] == "class-0")
    runs.loc[cell, "retain_test_accuracy"] = 0.5
    after = audit(numbers, runs, PAPER, PAPER, COMMAND)
    assert list(before["verdict"]) == ["reproduced", "reproduced"]
    assert after.loc[0, "ours"] == pytest.approx(70.9 - 2.0)
    assert after.loc[0, "difference"] == pytest.approx(-2.0)
    # 50 beside 70.2 … 71.8: sd 6.66, h = 6.7 points
    assert after.loc[0, ["verdict", "reason"]].tolist() == [
        "not comparable",
        "too_uncertain: more classes would not settle it; one_original; spread_unknown",
    ]
    pd.testing.assert_series_equal(before.loc[1], after.loc[1])
    runs = some_runs()
    runs.loc[runs["method"] == "duck", "retain_test_accuracy"] -= 0.1
    assert audit(numbers, runs, PAPER, PAPER, COMMAND).loc[0, "verdict"] == "differs"


def test_training_seeds_give_the_interval():
    """Seeds of means 70.9, 71.9 and 72.9: ± 4.302653 / sqrt(3)."""
    ours = parse(variant_of(train_seeds=[0, 1, 2]), "ours")
    row = judged(a_number(71.0, 1.0), some_runs(seeds=(0, 1, 2)), ours)
    assert (row["low"], row["high"]) == pytest.approx((69.415862, 74.384138))
    # the seeds alone: 4.302653 x 1 x sqrt(4/3) = 4.97 points
    reason = "too_uncertain: more classes would not settle it"
    assert (row["n"], row["reason"]) == (30, reason)


def test_the_gap_is_computed_a_cell():
    runs = some_runs(scenario="homogeneous_removal")
    runs.loc[::2, "forget_train_accuracy"] = 0.65  # |A_f - A^t| stays 5 points
    number = a_number(5.0, scenario="HR (10%)", metric="|A_f - A^t| (pp)")
    row = judged(number, runs)
    assert (row["ours"], row["verdict"]) == (pytest.approx(5.0), "reproduced")
    shares = judged(a_number(0.71, metric="retain_test_accuracy", method="duck"))
    assert shares["ours"] == pytest.approx(0.709)


EVERY = [
    # what is reported, runs and config of ours, verdict, reason
    ({"method": "SCAR self-forget"}, {}, "not comparable", "no_counterpart: method"),
    (
        {"dataset": "VGGFace2-10subj", "metric": "train accuracy (%)"},
        {},
        "not comparable",
        "no_counterpart: data set, metric",
    ),
    ({"dataset": "FashionMNIST"}, {}, "ours not run", "no_config"),
    (
        {"dataset": "fashion_mnist_mini"},
        {"more": True, "experiment": "fashion_mnist_mini-resnet18"},
        "not judged",
        "no_paper_recipe",
    ),
    ({"dataset": "TinyImageNet"}, {}, "ours not run", "not_in_run"),
    ({"dataset": "TinyImageNet"}, {"ours": FAST}, "ours not run", "not_in_run"),
    ({"method": "SCRUB"}, {}, "ours not run", "not_in_run"),
    ({"scenario": "HR"}, {}, "ours not run", "not_in_run"),
    ({"metric": "lira_auc"}, {}, "ours not run", "not_measured"),
    (
        {"dataset": "CIFAR10"},
        {"ours": FAST, "experiment": FAST.experiments[0].label},
        "not judged",
        "other_architecture: resnet18_3x3",
    ),
    (
        {},
        {"change": {"precision": "bfloat16", "head_dropout": 0.1}},
        "not judged",
        "other_recipe: head_dropout, precision; original_unreported",
    ),
    (
        {},
        {"change": {"evaluation": "validation"}},
        "not judged",
        "other_data: validation images",
    ),
    (
        {"method": "Original"},
        {"change": {"pretrained": False}},
        "not judged",
        "other_recipe: pretrained; absolute",
    ),
    (
        {"metric": "AUS"},
        {"change": {"pretrained": False}},
        "not judged",
        "other_recipe: pretrained; originals_unknown",
    ),
    (
        {},
        {"change": {"methods": [{"name": "duck", "method": "duck", "settings": {"lr": 1.0}}]}},
        "not judged",
        "one_original; spread_unknown; other_settings: lr",
    ),
    (
        {"method": "RL", "mean": 70.9},
        {"methods": ("random_labels",)},
        "reproduced",
        "one_original; spread_unknown; settings_unstated: lr, epochs, milestones",
    ),
    ({"metric": "UT (s)"}, {}, "not comparable", "other_hardware; one_original"),
    ({}, {"sets": 1}, "not comparable", "one_forget_set; one_original"),
    ({"mean": 70.9, "error": 4.0}, {}, "not comparable", "too_uncertain: more classes would not"),
    ({"mean": 70.9, "spread": 0.5}, {}, "reproduced", "one_original"),
    ({"mean": 71.0}, {}, "reproduced", "one_original; spread_unknown"),
    ({"mean": 75.0, "spread": 0.5}, {}, "differs", "one_original"),
    (
        {"metric": "A_f^t (%)", "mean": 3.0},
        {},
        "not comparable",
        "no_spread; one_original; spread_unknown",
    ),
]


OF_GRADES = {
    "original_not_run",
    "originals_elsewhere",
    "moves_with_original",
    "plain_original",
    "stand_ins",
    "machines",
    "too_few_methods",
    "left_out",
}
"""Reasons that tests/test_grades.py meets."""


@pytest.mark.parametrize(("number", "run", "verdict", "reason"), EVERY)
def test_every_verdict(number, run, verdict, reason):
    ours = run.get("ours", PAPER)
    raw = variant_of(**run.get("change", {}))
    if "change" in run:
        raw["experiments"] = [e for e in raw["experiments"] if e.get("study") is None]
        ours = parse(raw, "ours")
    if "more" in run:
        raw["experiments"].append(raw["experiments"][0] | {"dataset": "fashion_mnist_mini"})
        ours = parse(raw, "ours")
    given = {key: run[key] for key in ("sets", "experiment", "methods") if key in run}
    row = judged(a_number(**number), some_runs(**given), ours)
    assert row["verdict"] == verdict
    assert row["reason"].startswith(reason)
    shown = not math.isnan(row["ours"])
    assert bool(row["trace"]) == shown == (row["n"] is not pd.NA)
    code = row["reason"].partition(":")[0]
    runnable = not shown and code not in ("no_counterpart", "no_config")
    runnable |= code in ("other_data", "other_architecture")
    assert row["command"] == (COMMAND if runnable else "")


def test_cells_that_are_not_ok_are_seen():
    runs = some_runs()
    lost = (runs["method"] == "duck") & (runs["split"] == "class-3")
    runs.loc[lost, ["status", "reason"]] = ["diverged", "loss is NaN"]
    row = judged(a_number(71.0), runs)
    assert row["n"] == 9
    assert row["reason"].startswith("one_original; spread_unknown; some_not_ok: 1 of 10 cells div")
    assert "class-3" in row["reason"] and "loss is NaN" in row["reason"]
    runs.loc[lost, ["status", "retain_test_accuracy"]] = ["ok", math.nan]
    assert "some_not_ok: 1 of 10 cells without this metric" in judged(None, runs)["reason"]
    for status, verdict, start in (
        ("diverged", "not comparable", "none_ok: 10 of 10 cells diverged"),
        ("not_defined", "not comparable", "none_ok: 10 of 10 cells not defined"),
        ("missing", "ours not run", "not_in_run; none_ok: 10 of 10 cells missing"),
    ):
        row = judged(None, some_runs(status=status))
        assert (row["verdict"], row["trace"]) == (verdict, "")
        assert row["reason"].startswith(start)
        assert math.isnan(row["ours"])
        assert bool(row["command"]) == (status == "missing")


def test_two_experiments_never_share_a_mean():
    """Of two with the paper's recipe the first that has cells counts, before another recipe's."""
    raw = variant_of()
    raw["experiments"] = [e for e in raw["experiments"] if e["dataset"] == "cifar100"][:1]
    raw["experiments"] += [raw["experiments"][0] | {"name": name} for name in ("b", "c")]
    raw["experiments"][1] |= {"precision": "bfloat16"}
    ours = parse(raw, "ours")
    other = some_runs("b", retain_test_accuracy=0.1)
    twin = some_runs("c", retain_test_accuracy=0.5)
    row = judged(None, pd.concat([other, twin], ignore_index=True), ours)
    assert (row["ours"], row["n"]) == (pytest.approx(50.0), 10)
    assert row["trace"] == "c/class_removal/duck"
    both = judged(None, pd.concat([other, some_runs(), twin], ignore_index=True), ours)
    assert (both["ours"], both["n"]) == (pytest.approx(70.9), 10)


def test_a_study_is_no_part_of_the_grid():
    """A run with CIFAR-100 in the study of architectures alone has no cell to compare."""
    raw = variant_of()
    studies = [e for e in raw["experiments"] if e.get("study") == "architectures"]
    raw["experiments"] = [e for e in studies if e["dataset"] == "cifar100" and "models_of" not in e]
    row = judged(ours=parse(raw, "ours"))
    assert (row["verdict"], row["reason"]) == ("ours not run", "not_in_run")


def test_every_reason_and_verdict_is_explained_and_met():
    met = {part.partition(":")[0] for *_, reason in EVERY for part in reason.split("; ")}
    assert met | {"some_not_ok", "none_ok"} | OF_GRADES == set(REASONS)
    assert {verdict for *_, verdict, _ in EVERY} == set(VERDICTS)
    page = (ROOT / "paper/AUDIT.md").read_text()
    assert all(f"`{code}`" in page for code in REASONS)
    assert all(f"*{verdict}*" in page for verdict in VERDICTS)
    assert all(f"| {grade} |" in page for grade in GRADES)


# ---- the page ----


def whole_grid() -> pd.DataFrame:
    """The repository's reported numbers beside a CIFAR-100 grid with a cell that diverged."""
    runs = some_runs(methods=("original", "oracle", "duck", "fine_tuning", "scrub"))
    runs.loc[runs["method"] == "scrub", "status"] = "missing"
    lost = (runs["method"] == "duck") & (runs["split"] == "class-3")
    runs.loc[lost, ["status", "reason"]] = ["diverged", "loss is <b>NaN</b>"]
    return audit(read_reported(ROOT / "paper/reported.csv"), runs, PAPER, PAPER, COMMAND)


@pytest.fixture(scope="module")
def found():
    return whole_grid()


def test_every_reported_number_is_one_row(found):
    assert found["row"].tolist() == list(range(2, len(found) + 2))
    assert len(found) >= 128
    assert found["verdict"].isin(VERDICTS).all()
    assert (found["reason"] != "").all()


def test_the_sections_show_every_row_once(found):
    summary, *parts, grades, verdicts, reasons = sections(found)
    assert list(grades.cells["Grade"]) == list(GRADES)
    assert summary.cells["Numbers"].astype(int).sum() == len(found)
    rows = [row for part in parts for row in part.cells["Row"]]
    assert sorted(map(int, rows)) == found["row"].tolist()
    titles = [part.title for part in parts]
    assert len(set(titles)) == len(titles)
    assert "Reported numbers: cifar100, class removal" in titles
    assert list(verdicts.cells["Verdict"]) == list(VERDICTS)
    assert list(reasons.cells["Code"]) == list(REASONS)


def test_a_section_names_sources_failures_and_command_once(found):
    part = next(p for p in sections(found) if p.title.endswith("cifar100, class removal"))
    by_row = part.cells.set_index("Row")
    assert by_row.loc["74", ["Reported", "Difference", "n"]].tolist() == ["71.57", "−0.64", "9"]
    assert by_row.loc["74", "Ours [95 %]"].startswith("70.93 [")
    assert by_row.loc["74", "Reason"] == "one_original; spread_unknown; some_not_ok"
    assert by_row.loc["14", "Ours [95 %]"] == by_row.loc["14", "n"] == "–"
    assert by_row.loc["34", "Ours [95 %]"] == "12.5 [12.5, 12.5]"
    notes = "\n".join(part.notes)
    assert notes.count(COMMAND) == 1
    assert re.search(r"^Rows 10, 14, .*plot_time\.png.*read off a plot ± 1 %\.$", notes, re.M)
    assert re.search(r"^Rows 34–37, 74–76: 1 of 10 cells diverged", notes, re.M)


def test_the_documents(found):
    first = Section("Claims", "Said.", pd.DataFrame({"Statement": ["x"], "Verdict": ["holds"]}), [])
    made = documents([first], found)
    assert list(made) == ["md", "tex", "html"]
    for text in made.values():
        assert text.index("Claims") < text.index("Summary") < text.index("Reported numbers")
    cells = f"{CIFAR100}/class_removal/duck"
    anchor = f"report.html#trace-{cells.replace('/', '-')}"
    link = f'<td><a href="{anchor}" title="{cells}">duck</a></td>'
    assert made["html"].count(link) == (found["trace"] == cells).sum() > 0
    assert "<b>NaN" not in made["html"]
    assert documents([first], whole_grid()) == made


def test_latex_breaks_long_tables_and_is_well_formed(found):
    tex = documents([], found)["tex"]
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", tex, re.S)
    rows = 0
    for layout, body in tables:
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(layout) - 1 for line in lines)
        assert len(lines) - 1 <= ROWS
        assert all(len(line) < 250 for line in lines)
        rows += sum(bool(re.match(r"\d+ &", line)) for line in lines)
    assert rows == len(found)
    assert all(f"{code} &".replace("_", r"\_") in tex for code in REASONS)
    assert tex.count("(continued)") == 2  # CIFAR-100's class removal, and the reasons
    assert len(re.findall(r"(?<!\\)\{", tex)) == len(re.findall(r"(?<!\\)\}", tex))
    assert "?" not in tex  # render's sign for what pdfLaTeX has no glyph for


def test_numbers_are_finite_or_absent(found):
    shown = found[found["trace"] != ""]
    assert np.isfinite(shown[["ours", "difference", "low", "high"]].to_numpy(float)).all()
    assert found[found["trace"] == ""][["ours", "low", "n"]].isna().all(axis=None)
