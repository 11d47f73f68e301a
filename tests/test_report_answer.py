"""What the page opens with: the sentence, what it rests on, checks, the plot of every method."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from finished_run import finished_run, page
from scipy import stats as scipy_stats
from test_tables import synthetic_runs

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.report.answer import failing, sentence
from unlearning.report.checks import checks
from unlearning.report.judged import number
from unlearning.report.marks import WIDTH, Scale, against_bound, beside_reported
from unlearning.report.plot import drawing
from unlearning.report.points import facets, kind_of, panels
from unlearning.results.manifest import read_manifest
from unlearning.results.runs import read_runs

MINI = [("fashion_mnist_mini", "strided_cnn")]


def claims_of(**verdicts: int) -> pd.DataFrame:
    """So many claims of each verdict, blanks written as `_`."""
    rows = [{"verdict": name.replace("_", " ")} for name, n in verdicts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=CLAIMS, dtype=object).fillna("")


def audit_of(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """So many audited numbers of each grade and verdict."""
    found = [{"grade": grade, "verdict": verdict} for grade, verdict, n in rows for _ in range(n)]
    return pd.DataFrame(found, columns=AUDIT, dtype=object).fillna("")


@pytest.mark.parametrize(
    ("claims", "audit", "said"),
    [
        (
            claims_of(not_told_apart=2, holds=5, does_not_hold=1, does_not_discriminate=1),
            audit_of(("C", "not judged", 105), ("", "not comparable", 23)),
            "of 9 claims about the unlearning method DUCK, 5 hold, 1 does not, 1 does not "
            "discriminate and 2 cannot be told; none of 128 reported numbers can be judged, as "
            "data or network are not the paper's.",
        ),
        (
            claims_of(holds=1, not_tested=1),
            audit_of(("A", "reproduced", 3), ("A", "differs", 1), ("C", "not judged", 2)),
            "of 2 claims about the unlearning method DUCK, 1 holds and 1 was not tested; "
            "of 6 reported numbers 3 are reproduced, 1 differs and 2 are not judged.",
        ),
        (
            claims_of(not_tested=2),
            audit_of(("", "not comparable", 1)),
            "none of the 2 claims about DUCK could be tested; none of 1 reported number can be "
            "judged, as nothing here can be compared with them.",
        ),
        (claims_of(), audit_of(), "no claim was asked; no reported number was looked up."),
    ],
    ids=["nothing judged", "some judged", "nothing tested", "nothing asked"],
)
def test_the_answer_is_one_sentence(claims, audit, said):
    place = "On Fashion-MNIST (mini), strided CNN, "
    assert sentence(claims, audit, MINI) == place + said
    assert sentence(claims, audit, []) == "In this run, " + said


def test_the_strongest_claim_that_fails_has_the_smallest_p():
    claims = claims_of(holds=1, does_not_hold=3)
    claims = claims.assign(p=["1e-9", "0.03", "", "0.004"], statement=list("abcd"))
    assert (failing(claims).statement, failing(claims).id) == ("d", "claim-3")
    assert failing(claims.iloc[[0, 2]]).statement == "c"
    assert failing(claims.iloc[:1]) is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def checked(finished: Path):
    """The names of the checks that a manifest fails, and how many there are."""
    made = read_manifest(finished / "manifest.csv")
    made = made[made["method"] != "boundary_shrink"].reset_index(drop=True)
    traced = set(made[["experiment", "scenario", "method"]].itertuples(index=False, name=None))
    claims = claims_of(holds=1).assign(trace="mini/class_removal/duck")

    def check(
        config=None, trace=None, status=None, recorded=True, **columns
    ) -> tuple[list[str], int]:
        grid = made.copy()
        for name, value in columns.items():
            grid.loc[0, name] = value
        if status:
            grid["status"] = status
        if not recorded:
            grid["record"] = ""
        asked = claims if trace is None else claims.assign(trace=trace)
        found = checks(config or {}, grid, grid, asked, audit_of(), traced)
        return [one.name for one in found if not one.passed], len(found)

    return check


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"status": "failed"}, "every cell ended"),
        ({"config": {"partial": True}}, "nothing was left out"),
        ({"config": {"mixed_code": True}}, "one state of the code"),
        ({"trace": "mini/class_removal/none"}, "every verdict leads to its cells"),
        ({"record_sha256": ""}, "every record has a hash"),
        ({"dirty": "True"}, "no uncommitted changes"),
        ({"commit": "f" * 40}, "one commit"),
        ({"software": "{}"}, "the same package versions"),
        ({"cpu": "another"}, "one machine, so that times compare"),
        ({"data_sha256": "9" * 64}, "one copy of each data set"),
    ],
)
def test_each_check_fails_by_itself(checked, change, name):
    assert checked(**change) == ([name], 10)


def test_a_run_in_order_passes_and_one_without_records_has_fewer_checks(checked):
    assert checked() == ([], 10)
    assert checked(status="not_defined") == ([], 10)
    assert checked(recorded=False) == ([], 4)


def test_points_are_means_with_their_intervals(tmp_path):
    """DUCK's, by hand: Student's t over the classes' means, or over the seeds', the longer one."""
    runs = synthetic_runs()
    runs.to_csv(tmp_path / "runs.csv", index=False)
    first, second = panels(read_runs(tmp_path / "runs.csv"))
    assert (first.scenario, second.scenario) == ("Class removal", "Homogeneous removal")
    duck = next(point for point in first.points if point.method == "duck")
    own = runs[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")]
    assert duck.aus.mean == pytest.approx(own["aus"].mean())
    assert duck.seconds.mean == pytest.approx(own["unlearning_seconds"].astype(float).mean())
    wide = [
        scipy_stats.t.ppf(0.975, len(means) - 1) * scipy_stats.sem(means)
        for means in (own.groupby("split")["aus"].mean(), own.groupby("train_seed")["aus"].mean())
    ]
    assert duck.aus.high - duck.aus.mean == pytest.approx(max(*wide), rel=1e-6)
    assert (duck.aus.n, duck.wanted, duck.touches) == (6, 6, "retain forget")
    original = first.points[0]
    assert (original.idle, original.seconds) == (True, None)
    assert "no time: does nothing" in original.said
    assert facets([first, second]) == {"Scenario": ["Class removal", "Homogeneous removal"]}


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("published", "published"),
        ("published elsewhere, changed", "published"),
        ("searched", "searched"),
        ("not searched", "searched"),
        ("given", ""),
        ("", ""),
    ],
)
def test_the_kind_of_settings(origin, kind):
    assert kind_of(origin) == kind


def test_a_mark_is_a_link_only_where_the_manifest_has_its_cells(tmp_path):
    synthetic_runs().to_csv(tmp_path / "runs.csv", index=False)
    (panel, _) = panels(read_runs(tmp_path / "runs.csv"))
    keys = {point.key for point in panel.points}
    svg = drawing(panel, keys - {("mini", "class_removal", "duck")})
    assert svg == drawing(panel, keys - {("mini", "class_removal", "duck")})
    points = re.findall(r'<a class="point[^>]*>', svg)
    assert len(points) == len(panel.points)
    (plain,) = [point for point in points if "href" not in point]
    assert "DUCK" in plain and 'tabindex="0"' in plain
    assert not re.search(r"#0[1-5]0\d0\d\b", svg)  # no stand-in of a colour is left


def row(**given: object) -> dict[str, str]:
    usual = {"value": "0.5", "low": "0", "high": "1", "bound": "> 0.25", "unit": "AUS"}
    usual |= {"reported": "1", "ours": "0.5"}
    return usual | {name: str(value) for name, value in given.items()}


@pytest.mark.parametrize(
    ("bound", "bands"),
    [
        ("> 0.25", [(33.0, 87.0)]),
        ("< 0.25", [(0.0, 33.0)]),
        ("within 1", [(6.0, 108.0)]),
        ("outside 1", [(0.0, 6.0), (114.0, 6.0)]),
    ],
)
def test_the_band_is_the_claimed_side(bound, bands):
    svg = against_bound(row(bound=bound), "said")
    found = re.findall(r'class="claimed" x="([\d.]+)" width="([\d.]+)"', svg)
    assert [(float(x), float(width)) for x, width in found] == bands


def test_a_ratio_is_drawn_on_a_log_axis_and_nothing_without_a_bound():
    svg = against_bound(row(value=10, low=1, high=100, bound="> 10", unit="times"), "said")
    assert f'cx="{WIDTH / 2:g}"' in svg
    assert against_bound(row(bound=""), "said") == ""
    assert against_bound(row(value=""), "said") == ""


def test_the_forest_keeps_what_lies_beyond_its_scale_at_the_edge():
    scale = Scale.around([0.0, 1.0])
    svg = beside_reported(row(low=-5, high=0.75), scale, "said")
    assert 'class="interval" x1="6"' in svg and 'x2="87"' in svg
    assert "M109 9" in svg and 'cx="60"' in svg
    assert "circle" not in beside_reported(row(ours=""), scale, "said")
    assert beside_reported(row(reported=""), scale, "said") == ""
    assert Scale.around([math.nan]) is None and Scale.around([2.0]) == Scale(1.0, 3.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("0.012345", "0.0123"), ("2.8e-17", "0"), ("-1e-18", "0"), ("1e-9", "1e-09"), ("", "–")],
)
def test_numbers_have_three_digits_and_zero_is_zero(text, said):
    assert number(text) == said


def changed(folder: Path, made: Path, change) -> str:
    """The page of the run with another runs.csv."""
    runs = pd.read_csv(folder / "runs.csv", dtype=str, keep_default_na=False)
    for path in folder.iterdir():
        if path.name != "runs.csv":
            (made / path.name).symlink_to(path)
    change(runs).to_csv(made / "runs.csv", index=False)
    return page(made)


@pytest.mark.parametrize(
    ("change", "panels_", "wanted", "absent"),
    [
        (lambda runs: runs.assign(unlearning_seconds=""), 2, "time not known", r"\d s; n = "),
        (lambda runs: runs[runs["method"] != "oracle"], 2, "Original: AUS", "Oracle: AUS"),
        (
            lambda runs: runs[runs["scenario"] == "class_removal"],
            1,
            "Class removal, Fashion-MNIST (mini), strided CNN",
            'class="chooser"',
        ),
        (
            lambda runs: runs.assign(status="failed"),
            0,
            "there is nothing to draw",
            "<svg class=.poi",
        ),
        (lambda runs: runs.head(0), 0, "there is nothing to draw", "<svg class=.poi"),
    ],
    ids=["no times", "no oracle", "one scenario", "nothing ok", "no cells"],
)
def test_a_partial_run_has_a_page(finished, tmp_path, change, panels_, wanted, absent):
    text = changed(finished, tmp_path, change)
    assert text.count('<figure class="panel"') == panels_
    assert wanted in text
    assert not re.search(absent, text)
