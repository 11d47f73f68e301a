"""The page of a run: what it shows, and that it needs nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from finished_run import PNG, TEMPLATE, Elements, claims_and_audit, edit, finished_run, page
from markupsafe import Markup
from test_rulegraph import DOT

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.files import write_json
from unlearning.report import plot
from unlearning.report.page import duration
from unlearning.results.manifest import COLUMNS as MANIFEST
from unlearning.results.manifest import trace_id
from unlearning.stages import report as stage
from unlearning.tables.layouts import tabulate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may edit."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def text(finished: Path) -> str:
    """The page of the run as it is."""
    return page(finished)


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """Equal points are drawn once for all tests: drawing takes most of a page's time."""
    known: dict[str, Markup] = {}

    def remembered(panel, traced):
        key = repr((panel, sorted(traced)))
        if key not in known:
            known[key] = plot.drawing(panel, traced)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearning.report.page.drawing", remembered)
        yield


def test_the_sections_stand_in_order(text):
    wanted = ["plot", "claims", "audit", "figures", "tables", "run", "rules", "times"]
    wanted += ["versions", "seeds", "provenance"]
    assert re.findall(r'^<section id="(\w+)">\n<h2>', text, re.MULTILINE) == wanted
    assert re.findall(r'^<li><a href="#(\w+)">', text, re.MULTILINE) == wanted


def test_the_page_opens_with_the_answer(text, finished):
    """Sentence, tiles, the claim that fails, what it rests on and the command, before all else."""
    opening = text.split('<header id="answer">')[1].split("</header>")[0]
    plain = html.unescape(" ".join(re.sub("<[^>]+>", " ", opening).split()))
    parts = [
        "On Fashion-MNIST (mini), strided CNN, of 3 claims about the unlearning method DUCK, "
        "1 holds",
        "Claims 1 of 3 claims holds 1 does not 1 was not tested",
        "Reported numbers 6 of 10 reported numbers judged 2 ours not run (grade A)",
        "Cells 72 of 81 cells run 9 missing",
        "strongest claim that fails: DUCK is near found 0.2 [-0.02, 0.0333], claimed < 0.05",
        "Grade A: Data, network and recipe of the original are the paper's: judged; B: ",
        "training seeds 0, 1, 2; unlearning seeds 0; forget sets seed-0, seed-1, seed-2, class-0",
        "Made commit 0123456789, clean; 2026-01-02",
        "Checks 9 passed, 1 failed: every cell ended",
        f"snakemake --cores 2 --config runs={finished.as_posix()}",
    ]
    places = [plain.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)] + " is not in: " + plain
    assert places == sorted(places)


def test_the_paragraph_says_what_the_run_is(text):
    text = " ".join(text.split())
    assert "fashion_mnist_mini with strided_cnn: 9 methods, references included" in text
    assert "81 cells (ok 72, missing 9); training seeds 0, 1, 2, unlearning seeds 0." in text
    assert '72 records made on 2026-01-02 at commit <code title="0123456789abcdef' in text


def test_printed_tables_are_those_of_the_folder(text, finished):
    """Every cell's text of class_removal is as in the Markdown, symbols and all."""
    lines = (finished / "tables" / "class_removal.md").read_text().splitlines()
    rows = [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in lines if line.startswith("|")]
    plain = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows[:1] + rows[2:]]
    marks = [[re.sub(r"(?<=A)_(\w+)|\^(t)", r"\1\2", cell) for cell in plain[0]], *plain[1:]]
    assert Elements(text).tables["class_removal-1"] == marks
    assert len(marks) == 10


def test_a_table_without_rows_says_so(text):
    assert "<p>No attack in this run.</p>" in text


def test_claims_stand_under_what_they_ask(text):
    """A row a claim: verdict, statement with its details folded, plot, value, bound, n."""
    tables = Elements(text).tables
    shown = {key: rows for key, rows in tables.items() if key.startswith("claims-")}
    assert [[row[0] for row in rows[1:]] for rows in shown.values()] == [
        ["holds", "does not hold"],
        ["not tested"],
    ]
    (holds, fails), (untested,) = (rows[1:] for rows in shown.values())
    assert holds[1].startswith("DUCK <i>forgets</i>") and "< 0.001" in holds[1]
    assert holds[3:] == ["0.01 [-0.02, 0.0333]", "< 0.05", "6"]
    assert "Cellsduck, oracle" in fails[1]
    assert "Reasonno studies.csv" in untested[1] and untested[3] == "– [-0.02, 0.0333]"
    plots = re.findall(r'<svg class="marks" role="img" aria-label="([^"]+)"', text)
    assert plots[0] == "0.2 [-0.02, 0.0333], claimed &lt; 0.05 fraction"  # the failing one, on top
    assert plots[1:3] == [plots[0].replace("0.2 ", "0.01 "), plots[0]]
    assert len(plots) == 3 + 10


def test_the_audit_shows_every_row(text):
    tables = Elements(text).tables
    audit = tables["audit-table"]
    where = audit[0].index("Where")
    rows = [re.search(r"Row(\d+)", row[where])[1] for row in audit[1:]]
    assert rows == [str(n) for n in range(2, 12)]
    assert [row[-1] for row in audit[1:4]] == [
        "71.2",
        "72.2",
        "–",
    ]
    assert "JudgedA_or − A_r^t: 5.98, ours 6" in audit[1][where]
    assert "Judged" not in audit[2][where]
    assert tables["audit-counts"][1:] == [
        ["A", "reproduced", "reason_0", "3"],
        ["B", "differs", "reason_1", "3"],
        ["A", "ours not run", "reason_2", "2"],
        ["B", "not comparable", "reason_3", "2"],
    ]
    assert "Grade A: 3 reproduced, 2 ours not run; grade B: 3 differs, 2 not" in text


def test_every_number_leads_to_its_cells(text):
    """Methods of tables, audit and claims link to the cells' section, and no link is dead."""
    found = Elements(text).found
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    links = [a["href"][1:] for tag, a in found if tag == "a" and a.get("href", "").startswith("#")]
    assert len(set(ids)) == len(ids)
    assert set(links) <= set(ids)
    # tables 3, times 1, plot and its table 2; values and details of 8 audit rows and of 2 claims
    assert links.count("trace-mini-class_removal-duck") == 3 + 1 + 2 + 2 * (8 + 2)
    assert "trace-mini-homogeneous_removal-~3cscript~3e" in links
    assert trace_id("a b", "c", "d/é") == "trace-a~20b-c-d~2f~e9"


def test_a_method_leads_to_the_cells_of_its_own_experiment(run):
    """Two experiments on one data set and network: each row's link is of its own."""
    for name in ("runs.csv", "manifest.csv"):
        frame = pd.read_csv(run / name, dtype=str, keep_default_na=False)
        both = pd.concat([frame, frame.assign(experiment="second")])
        both.to_csv(run / name, index=False)
    tabulate(run / "runs.csv", run / "tables")
    sheets = page(run).split('<div class="sheet" id="')
    for number, experiment in enumerate(("mini", "second"), start=1):
        (sheet,) = [text for text in sheets if text.startswith(f'class_removal-{number}"')]
        links = re.findall(r'href="#trace-(\w+)-class_removal-duck"', sheet)
        assert links == [experiment]


def test_a_trace_that_the_manifest_lacks_is_no_link(run):
    edit(run / "claims.csv", trace="other/class_removal/duck")
    text = page(run)
    assert "Cellsother/class_removal/duck" in Elements(text).tables["claims-1"][1][1]
    assert "trace-other" not in text


def test_cells_show_what_made_them(text, finished):
    text = text.split('id="trace-mini-class_removal-duck"')[1].split('class="trace"')[0]
    plain = html.unescape(" ".join(re.sub("<[^>]+>", " ", text).split()))
    own = pd.read_csv(finished / "manifest.csv", dtype=str)
    own = own[(own["method"] == "duck") & (own["scenario"] == "class_removal")]
    assert all(
        f"{record} , {sha[:10]}" in plain for record, sha in own[["record", "record_sha256"]].values
    )
    assert plain.count("python -m unlearning unlearn --settings '{\"lr\": 0.1}'") == 6
    assert "class-8, training seed 2, unlearning seed 0 : ok" in plain


def test_studies_cells_are_traced_too(run):
    frame = pd.read_csv(run / "manifest.csv", dtype=str, keep_default_na=False)
    frame.assign(experiment="ablation").to_csv(run / "study_manifest.csv", index=False)
    config = {"run": "tried", "experiments": [{"study": "ablation"}]}
    write_json(run / "config.json", config)
    text = page(run)
    assert 'id="trace-ablation-class_removal-duck"' in text
    assert "81 further cells belong to the studies: ablation." in text


def test_run_times_add_up(text, finished):
    rows = Elements(text).tables["times-table"]
    shown = dict(zip(rows[0], rows[[row[2] for row in rows].index("duck")], strict=True))
    runs = pd.read_csv(finished / "runs.csv")
    own = runs[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")]
    own = own["unlearning_seconds"]
    assert shown["Jobs"] == "6"
    assert float(shown["Total (s)"]) == pytest.approx(own.sum(), rel=5e-3)
    assert float(shown["Mean (s)"]) == pytest.approx(own.mean(), rel=5e-3)
    assert float(shown["Longest (s)"]) == pytest.approx(own.max(), rel=5e-3)
    assert "boundary_shrink" not in [row[2] for row in rows]
    spent = runs.loc[runs["method"] != "boundary_shrink", "unlearning_seconds"].sum()
    assert f"72 jobs made the models of the cells, {duration(spent)} in all" in text


@pytest.mark.parametrize(
    ("s", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations(s, text):
    assert duration(s) == text


def test_records_that_differ_are_warned_of(run):
    assert 'class="warning"' not in page(run)
    frame = pd.read_csv(run / "manifest.csv", dtype=str, keep_default_na=False)
    frame.loc[0, "software"] = '{"numpy":"1.0"}'
    frame.loc[0, "dirty"] = "True"
    frame.loc[0, "commit"] = "f" * 40
    frame.to_csv(run / "manifest.csv", index=False)
    text = page(run)
    assert "Not all records were made with the same versions." in text
    assert "1 of 72 records were made with uncommitted changes." in text
    assert "The records come from 2 commits." in text
    assert Elements(text).tables["software-table"][1:] == [
        ["numpy", "1.0", "1", "records differ"],
        ["numpy", "2.4.6", "71", "records differ"],
        ["python", "3.11.7", "71", "records differ"],
        ["python", "not there", "1", "records differ"],
    ]


def test_figures_are_in_the_page(text, finished):
    """SVG as such, a large one as PNG; known ones first, in order; numbers as download."""
    found = Elements(text).found
    images = [a for tag, a in found if tag == "img"]
    kinds = [a["src"].partition(",")[0] for a in images]
    assert kinds == ["data:image/png;base64", *["data:image/svg+xml;base64"] * 2]
    assert base64.b64decode(images[0]["src"].partition(",")[2]) == PNG
    assert all(a["alt"] for a in images) and images[2]["alt"] == "Odd one"
    downloads = {a["download"]: a["href"] for _, a in found if "download" in a}
    assert base64.b64decode(downloads["ranks.csv"].partition(",")[2]).startswith(b"method,rank")
    table = base64.b64decode(downloads["class_removal.csv"].partition(",")[2])
    assert table == (finished / "tables" / "class_removal.csv").read_bytes()


def test_what_files_say_is_never_markup(run):
    """Each text of each file as `<script>`: the page has its own one script and no other."""
    odd = '"><script>x</script>'
    edit(run / "claims.csv", **dict.fromkeys(set(CLAIMS) - {"p"}, odd))
    edit(run / "audit.csv", **dict.fromkeys(AUDIT, odd))
    texts = set(MANIFEST) - {"software", "seconds", *("experiment", "scenario", "method")}
    software = json.dumps({odd: odd})
    edit(run / "manifest.csv", **dict.fromkeys(texts, odd), software=software)
    write_json(run / "config.json", {"run": odd, "experiments": [{"study": odd}]})
    (run / "rules.dot").write_text(DOT.replace('"plot"', f'"{odd[1:]}"'))
    text = page(run)
    tags = [tag for tag, _ in Elements(text).found]
    assert tags.count("script") == 1
    assert text.count("<script>") == 1
    assert text.count("&lt;script&gt;") > 500


def test_each_group_of_cells_has_the_command_that_traces_it(run):
    cell = pd.read_csv(run / "manifest.csv", dtype=str).iloc[-1]
    place = f"experiment={cell['experiment']} scenario={cell['scenario']}"
    wanted = f"trace {run} {cell['scenario']} {place} method={cell['method']} aus"
    assert html.unescape(page(run)).count(f"python -m unlearning {wanted}<") == 1


def test_nothing_is_fetched(text):
    for tag, attributes in Elements(text).found:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, name, target[:80])
        assert tag not in ("base", "iframe", "object", "embed", "meta http-equiv")
    own = re.sub(r"data:[\w/+]+;base64,[\w+/=]*", "", text)
    assert not re.search(r"https?://|@import|\bfetch\(|XMLHttpRequest|import\(", own)
    assert own.count("url(") == own.count("url(#") > 0


@pytest.mark.parametrize(
    "name", ["config.json", "manifest.csv", "claims.csv", "audit.csv", "rules.dot"]
)
def test_a_missing_file_is_named_and_leaves_no_page(run, name):
    (run / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: no such file"):
        write(run, run / "out.html")
    assert not (run / "out.html").exists()


def test_missing_parts_are_named(run):
    frame = pd.read_csv(run / "claims.csv").drop(columns="verdict")
    frame.to_csv(run / "claims.csv", index=False)
    with pytest.raises(ValueError, match=r"claims\.csv: no column verdict"):
        page(run)
    claims_and_audit(run)
    (run / "figures" / "aus_vs_time.png").unlink()
    with pytest.raises(ValueError, match=r"aus_vs_time\.png: no such file"):
        page(run)
    (run / "figures" / "aus_vs_time.svg").unlink()
    (run / "tables" / "statistics.json").unlink()
    with pytest.raises(ValueError, match=r"statistics\.json: no such file"):
        page(run)
    (run / "tables" / "statistics.csv").unlink()
    edit(run / "manifest.csv", software="[1, 2]", record="r.json")
    with pytest.raises(ValueError, match=r"manifest: r\.json: software is not a JSON object"):
        page(run)
    (run / "rules.dot").write_text("Error")
    with pytest.raises(ValueError, match=r"rules\.dot: no rule in it"):
        page(run)


def test_the_page_says_what_was_taken_of_another_run(run):
    assert "taken of the run" not in page(run)
    edit(run / "manifest.csv", adopted_from="elsewhere")
    assert "cells were taken of the run elsewhere as given" in page(run)


def test_an_empty_run_has_a_page(run):
    """No cell, claim, table or figure."""
    for name in ("manifest.csv", "claims.csv", "audit.csv"):
        pd.read_csv(run / name).head(0).to_csv(run / name, index=False)
    shutil.rmtree(run / "tables")
    shutil.rmtree(run / "figures")
    text = page(run)
    assert "This run has no table." in text and "This run has no figure." in text
    assert "0 cells" in text


def write(run: Path, out: Path) -> None:
    options = ["--template", TEMPLATE, "--source", run, "--made", run]
    stage.main([str(o) for o in [*options, "--rulegraph", run / "rules.dot", "--out", out]])


def test_the_same_files_give_the_same_bytes(run, tmp_path, monkeypatch):
    """Wherever the working folder lies: a trace command names the run's folder within it."""
    monkeypatch.chdir(run.parent)
    write(Path(run.name), tmp_path / "a.html")
    moved = shutil.copytree(run, tmp_path / "elsewhere" / "deep" / run.name)
    command = [sys.executable, "-m", "unlearning", "report", "--template", TEMPLATE]
    command += ["--source", run.name, "--made", run.name, "--rulegraph", f"{run.name}/rules.dot"]
    subprocess.run([*map(str, command), "--out", "b.html"], check=True, cwd=moved.parent)
    assert (moved.parent / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()
