"""The page of a run: what it shows, that it needs nothing else, and that it works in a browser."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from test_rulegraph import DOT
from test_tables import synthetic_runs

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.files import write_json
from unlearning.report.drawings import LIMIT
from unlearning.report.page import duration, report
from unlearning.results.manifest import COLUMNS as MANIFEST
from unlearning.results.manifest import trace_id
from unlearning.stages import report as stage
from unlearning.tables.layouts import tabulate

TEMPLATE = Path(__file__).parents[1] / "workflow" / "report" / "report.html"
SCRIPT = "<script>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="9"/></svg>'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def manifest_of(runs: pd.DataFrame) -> pd.DataFrame:
    """A record for each cell but those of `boundary_shrink`, which did not run."""
    found = runs.reindex(columns=MANIFEST).astype(str)
    number = pd.Series(range(len(runs)), index=runs.index)
    made = {
        "record": number.map("mini/cell-{}/record.json".format),
        "record_sha256": number.map("{:064x}".format),
        "data_sha256": "d" * 64,
        "split_sha256": "5" * 64,
        "start_sha256": "a" * 64,
        "settings_sha256": "e" * 64,
        "code_sha256": "c" * 64,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": "False",
        "device": "cpu",
        "machine": "x86_64",
        "software": '{"numpy":"2.4.6","python":"3.11.7"}',
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": runs["unlearning_seconds"].astype(str),
        "command": "python -m unlearning unlearn --settings '{\"lr\": 0.1}'",
    }
    found = found.assign(**made)
    lost = found["method"] == "boundary_shrink"
    found.loc[lost, list(made)] = ""
    found.loc[lost, "status"] = "missing"
    return found


def claims_and_audit(where: Path) -> None:
    """Three claims and ten audited numbers, with every verdict."""
    place = {"experiment": "mini", "dataset": "fashion_mnist_mini", "arch": "small_cnn"}
    duck, oracle = "mini/class_removal/duck", "mini/class_removal/oracle"
    common = {**place, "scenario": "class_removal", "low": -0.02, "high": 0.033333, "n": 6}
    claims = [
        {"statement": "DUCK <i>forgets</i>", "verdict": "holds", "value": 0.01, "p": 1e-7},
        {"statement": "DUCK is near", "verdict": "does not hold", "trace": f"{duck} {oracle}"},
        {"statement": "DUCK is fast", "verdict": "not tested", "reason": "no studies.csv"},
    ]
    claims = pd.DataFrame([common | claim for claim in claims])
    claims.reindex(columns=CLAIMS).to_csv(where / "claims.csv", index=False)
    verdicts = ("reproduced", "differs", "ours not run", "not comparable")
    audit = [
        {
            "row": n + 2,
            "source": "paper",
            "verdict": verdicts[n % 4],
            "grade": "AB"[n % 2],
            "metric": "AUS",
            "quantity": "AUS" if n else "A_or − A_r^t",
            "reported_quantity": 5.98,
            "our_quantity": 6.0,
            "reason": f"reason_{n % 4}",
            "reported": 70 + n,
            "ours": 71.23456 + n if n % 4 != 2 else None,
            "trace": duck if n % 4 != 2 else "",
            "command": "snakemake audit" if n % 4 == 2 else "",
        }
        for n in range(10)
    ]
    pd.DataFrame(audit).reindex(columns=AUDIT).to_csv(where / "audit.csv", index=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with what was made of it; SCRUB is called `<script>` there."""
    folder = tmp_path_factory.mktemp("finished")
    runs = synthetic_runs().replace({"method": {"scrub": SCRIPT}})
    runs.loc[runs["method"] == "boundary_shrink", "status"] = "missing"
    runs.to_csv(folder / "runs.csv", index=False)
    manifest_of(runs).to_csv(folder / "manifest.csv", index=False)
    write_json(folder / "config.json", {"run": "tried", "experiments": [{"study": None}]})
    claims_and_audit(folder)
    tabulate(folder / "runs.csv", folder / "tables")
    figures = folder / "figures"
    figures.mkdir()
    (figures / "ranks.svg").write_text(SVG)
    (figures / "ranks.csv").write_text("method,rank\nduck,1.5\n")
    (figures / "aus_vs_time.svg").write_text(SVG + " " * LIMIT)
    (figures / "aus_vs_time.png").write_bytes(PNG)
    (figures / "odd_one.svg").write_text(SVG)
    (folder / "rules.dot").write_text(DOT)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may edit."""
    return shutil.copytree(finished, tmp_path / "run")


def page(run: Path) -> str:
    return report(TEMPLATE, run, run, run / "rules.dot")


def edit(path: Path, **columns: object) -> None:
    """Set columns of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.assign(**columns).to_csv(path, index=False)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the cells of tables by sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        if attributes.get("class") == "sheet":
            self._rows = self.tables[attributes["id"]] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = True
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._cell:
            self._rows[-1][-1] += data


def test_the_sections_stand_in_order(run):
    text = page(run)
    wanted = ["run", "claims", "audit", "tables", "figures", "rules", "times", "versions"]
    wanted += ["seeds", "provenance"]
    assert re.findall(r'^<section id="(\w+)">\n<h2>', text, re.MULTILINE) == wanted
    assert re.findall(r'^<li><a href="#(\w+)">', text, re.MULTILINE) == wanted


def test_the_paragraph_says_what_the_run_is(run):
    text = " ".join(page(run).split())
    assert "fashion_mnist_mini with small_cnn: 9 methods, references included" in text
    assert "81 cells (ok 72, missing 9); training seeds 0, 1, 2, unlearning seeds 0." in text
    assert '72 records made on 2026-01-02 at commit <code title="0123456789abcdef' in text


def test_printed_tables_are_those_of_the_folder(run):
    """Every cell's text of class_removal is as in the Markdown, symbols and all."""
    lines = (run / "tables" / "class_removal.md").read_text().splitlines()
    rows = [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in lines if line.startswith("|")]
    plain = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows[:1] + rows[2:]]
    marks = [[re.sub(r"(?<=A)_(\w+)|\^(t)", r"\1\2", cell) for cell in plain[0]], *plain[1:]]
    assert Elements(page(run)).tables["class_removal-1"] == marks
    assert len(marks) == 10


def test_a_table_without_rows_says_so(run):
    assert "<p>No attack in this run.</p>" in page(run)


def test_claims_and_audit_show_every_row(run):
    tables = Elements(page(run)).tables
    claims = tables["claims-table"]
    assert [row[:2] for row in claims[1:]] == [
        ["DUCK <i>forgets</i>", "holds"],
        ["DUCK is near", "does not hold"],
        ["DUCK is fast", "not tested"],
    ]
    shown = dict(zip(*claims[:2], strict=True))
    assert (shown["Value [95 %]"], shown["p"], shown["n"]) == (
        "0.01 [-0.02, 0.03333]",
        "< 0.001",
        "6",
    )
    audit = tables["audit-table"]
    assert [row[0] for row in audit[1:]] == [str(n) for n in range(2, 12)]
    assert [row[audit[0].index("Ours [95 %]")] for row in audit[1:4]] == ["71.23", "72.23", "–"]
    assert [row[audit[0].index("Judged")] for row in audit[1:3]] == [
        "A_or − A_r^t: 5.98, ours 6",
        "–",
    ]
    assert tables["audit-counts"][1:] == [
        ["A", "reproduced", "reason_0", "3"],
        ["B", "differs", "reason_1", "3"],
        ["A", "ours not run", "reason_2", "2"],
        ["B", "not comparable", "reason_3", "2"],
    ]
    assert "Grade A: 3 reproduced, 2 ours not run; grade B: 3 differs, 2 not" in page(run)


def test_every_number_leads_to_its_cells(run):
    """Methods of tables, audit and claims link to the cells' section, and no link is dead."""
    found = Elements(page(run)).found
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    links = [a["href"][1:] for tag, a in found if tag == "a" and a.get("href", "").startswith("#")]
    assert len(set(ids)) == len(ids)
    assert set(links) <= set(ids)
    assert links.count("trace-mini-class_removal-duck") == 13  # tables 3, times 1, audit 8, claim 1
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
    row = Elements(page(run)).tables["claims-table"][1]
    assert row[-2] == "other/class_removal/duck"
    assert "trace-other" not in page(run)


def test_cells_show_what_made_them(run):
    text = page(run).split('id="trace-mini-class_removal-duck"')[1].split('class="trace"')[0]
    plain = html.unescape(" ".join(re.sub("<[^>]+>", " ", text).split()))
    own = pd.read_csv(run / "manifest.csv", dtype=str)
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


def test_run_times_add_up(run):
    rows = Elements(page(run)).tables["times-table"]
    shown = dict(zip(rows[0], rows[[row[2] for row in rows].index("duck")], strict=True))
    runs = pd.read_csv(run / "runs.csv")
    own = runs[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")]
    own = own["unlearning_seconds"]
    assert shown["Jobs"] == "6"
    assert float(shown["Total (s)"]) == pytest.approx(own.sum(), rel=5e-3)
    assert float(shown["Mean (s)"]) == pytest.approx(own.mean(), rel=5e-3)
    assert float(shown["Longest (s)"]) == pytest.approx(own.max(), rel=5e-3)
    assert "boundary_shrink" not in [row[2] for row in rows]
    spent = runs.loc[runs["method"] != "boundary_shrink", "unlearning_seconds"].sum()
    assert f"72 jobs made the models of the cells, {duration(spent)} in all" in page(run)


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


def test_figures_are_in_the_page(run):
    """SVG as such, a large one as PNG; known ones first, in order; numbers as download."""
    found = Elements(page(run)).found
    images = [a for tag, a in found if tag == "img"]
    kinds = [a["src"].partition(",")[0] for a in images]
    assert kinds == ["data:image/png;base64", *["data:image/svg+xml;base64"] * 2]
    assert base64.b64decode(images[0]["src"].partition(",")[2]) == PNG
    assert all(a["alt"] for a in images) and images[2]["alt"] == "Odd one"
    downloads = {a["download"]: a["href"] for _, a in found if "download" in a}
    assert base64.b64decode(downloads["ranks.csv"].partition(",")[2]).startswith(b"method,rank")
    table = base64.b64decode(downloads["class_removal.csv"].partition(",")[2])
    assert table == (run / "tables" / "class_removal.csv").read_bytes()


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


def test_nothing_is_fetched(run):
    text = page(run)
    for tag, attributes in Elements(text).found:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, name, target[:80])
        assert tag not in ("base", "iframe", "object", "embed", "meta http-equiv")
    own = re.sub(r"data:[\w/+]+;base64,[\w+/=]*", "", text)
    assert not re.search(r"https?://|@import|\bfetch\(|XMLHttpRequest|import\(", own)
    assert re.findall(r"url\([^)]*\)", own) == ["url(#arrow)"] * own.count("url(")


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


CHECKS = """
const found = {};
const at = (selector) => document.querySelector(selector);
const rows = (id) => [...at(`#${id} tbody`).rows].filter((row) => !row.hidden);
const column = (id, n) => rows(id).map((row) => row.cells[n].textContent.trim());
const header = (id, n) => at(`#${id} thead`).rows[0].cells[n];
function type(field, text) {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
addEventListener("load", () => {
  found.images = [...document.images].map((image) => [image.complete, image.naturalWidth]);
  const rules = at("ol.needs").getBoundingClientRect();
  found.rules = [rules.width, rules.height];
  found.sheets = document.querySelectorAll("th button").length;
  found.wide = document.documentElement.scrollWidth - innerWidth;
  found.tried = window.tried;

  const button = header("tried", 1).querySelector("button");
  found.before = column("tried", 0);
  button.click();
  found.ascending = column("tried", 1);
  found.sorted = header("tried", 1).getAttribute("aria-sort");
  button.click();
  found.descending = column("tried", 1);
  found.reversed = header("tried", 1).getAttribute("aria-sort");
  header("tried", 0).querySelector("button").click();
  found.words = column("tried", 0);
  found.others = header("tried", 1).getAttribute("aria-sort");

  const tools = at("#audit-table .tools");
  const choice = tools.querySelector("select");
  found.choices = [...choice.options].map((option) => option.textContent);
  type(choice, "differs");
  found.chosen = column("audit-table", 6);
  found.count = tools.querySelector("output").textContent;
  type(tools.querySelector("input"), "REASON_1 76");
  found.both = column("audit-table", 0);
  type(choice, "");
  type(tools.querySelector("input"), "none such");
  found.none = column("audit-table", 0).length;
  type(tools.querySelector("input"), "");
  found.all = column("audit-table", 0).length;

  const link = at('#class_removal-1 a[href="#trace-mini-class_removal-duck"]');
  found.closed = at("#trace-mini-class_removal-duck").open;
  link.click();
  setTimeout(() => {
    found.opened = at("#trace-mini-class_removal-duck").open;
    const result = document.createElement("pre");
    result.id = "found";
    result.textContent = JSON.stringify(found);
    document.body.append(result);
  }, 100);
});
"""
VALUES = ["0.93 ± 0.01", "–", "-2.5", "10.0 ± 3.0", "< 0.001", "not defined", "9.1 [8, 11]", ""]
TRIED = (
    '<div class="sheet" id="tried"><div role="region" aria-label="Tried"><table><thead><tr>'
    "<th>Name</th><th>Value</th></tr></thead><tbody>"
    + "".join(
        f"<tr><td>class-{n}</td><td>{html.escape(value)}</td></tr>"
        for n, value in zip((10, 2, 1, 3, 4, 5, 6, 7), VALUES, strict=True)
    )
    + "</tbody></table></div></div>"
)


@pytest.fixture
def browsed(run: Path, tmp_path: Path) -> dict:
    """What a headless browser found, after clicks and typing, on the page with a table of ours."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    watch = "<script>window.tried = []; onerror = (what) => window.tried.push(what);</script>"
    text = page(run).replace("<body>", f"<body>{watch}").replace("</main>", f"{TRIED}</main>")
    text = text.replace("</body>", f"<script>{CHECKS}</script></body>")
    (tmp_path / "tried.html").write_text(text)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", "--virtual-time-budget=5000"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [chromium, *options, "--window-size=500,800", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "tried.html").as_uri()], capture_output=True, text=True, timeout=300
    )
    result = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert result, done.stderr[-2000:]
    return json.loads(html.unescape(result[1]))


def test_in_a_browser(browsed):
    """Images load, tables sort and filter, links open the cells; no error, nothing too wide."""
    assert browsed["tried"] == []
    assert [loaded and width > 0 for loaded, width in browsed["images"]] == [True] * 3
    assert all(size > 100 for size in browsed["rules"])
    assert browsed["wide"] <= 0

    numbers = ["-2.5", "< 0.001", "0.93 ± 0.01", "9.1 [8, 11]", "10.0 ± 3.0"]
    last = ["not defined", "–", ""]
    assert browsed["before"] == [f"class-{n}" for n in (10, 2, 1, 3, 4, 5, 6, 7)]
    assert browsed["ascending"] == numbers + last
    assert browsed["descending"] == numbers[::-1] + last
    assert (browsed["sorted"], browsed["reversed"]) == ("ascending", "descending")
    assert browsed["words"] == [f"class-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10)]
    assert browsed["others"] == "none"

    verdicts = ["differs", "not comparable", "ours not run", "reproduced"]
    assert browsed["choices"] == ["Verdict: any", *verdicts]
    assert browsed["chosen"] == ["differs"] * 3
    assert browsed["count"] == "3 of 10 rows"
    assert browsed["both"] == ["7"]
    assert (browsed["none"], browsed["all"]) == (0, 10)
    assert (browsed["closed"], browsed["opened"]) == (False, True)
