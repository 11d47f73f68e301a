"""A number is followed back to its cells, and a number that is not theirs is caught."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from document import asked_for, claims_asked_for
from workspace import PROJECT

from unlearning.data.catalogue import catalogue
from unlearning.files import sha256_file
from unlearning.report import facts
from unlearning.report.traced import Paper
from unlearning.stages.trace import main
from unlearning.tables.layouts import LAYOUTS, tabulate
from unlearning.tables.table import NAMES, write
from unlearning.trace.known import known_tables
from unlearning.trace.numbers import trace
from unlearning.trace.run import NotFound, Run

REFERENCES = ("mini", "fashion")
KNOWN = known_tables(PROJECT / "paper", PROJECT / "configs/paper.yaml")
DUCK = ("class_removal", "duck", "aus")


@functools.cache
def reference(name):
    folder = PROJECT / "paper/reference" / name
    return Run(folder, folder)


def found(run, table, *words):
    return trace(run, KNOWN, table, words)


@pytest.fixture
def copied(tmp_path):
    """The embedded reference in a folder whose files a test may change."""
    folder = tmp_path / "mini"
    shutil.copytree(PROJECT / "paper/reference/mini", folder)
    return Run(folder, folder)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("name", REFERENCES)
def test_a_mean_of_a_committed_run_leads_to_the_cells_of_runs_csv(name):
    got = found(reference(name), *DUCK)
    runs = pd.read_csv(PROJECT / f"paper/reference/{name}/runs.csv")
    cells = runs[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")]
    assert [v["value"] for v in got["values"]] == cells["aus"].tolist()
    assert float(got["value"]) == pytest.approx(cells["aus"].mean(), rel=1e-12)
    assert [c["code_sha256"] for c in got["cells"]] == cells["code_sha256"].tolist()
    assert {c["here"]["record"] for c in got["cells"]} == {"not here"}
    assert [copy["column"] for copy in got["copies"]] == ["AUS"]
    assert got["wrong"] == []


TRACED = [
    ("statistics", "aus", "class_removal", "fine_tuning", "p_holm"),
    ("statistics", "aus", "class_removal", "duck", "rank"),
    ("variance", "class_removal", "duck", "interaction"),
    ("membership", "class_removal", "duck", "lira_auc"),
    ("oracle_distance", "homogeneous_removal", "duck", "js_forget"),
    ("feature_space", "embedding", "margin", "quantity=forget, duck", "against=", "mean"),
    ("attributions", "true", "duck~oracle", "mean"),
    ("shortcut", "duck", "strength"),
    ("multiple_classes", "8", "duck", "difference"),
    ("ablation", "euclidean", "aus"),
    ("architectures", "resnet18", "class_removal", "duck", "aus"),
    ("claims", "forgets_class", "value"),
]


@pytest.mark.parametrize(
    ("name", "words"),
    [("mini", words) for words in TRACED] + [("fashion", words) for words in TRACED[2:5]],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_every_table_of_a_committed_run_prints_what_its_cells_give(name, words):
    got = found(reference(name), *words)
    assert got["value"] and got["values"] and got["wrong"] == []
    assert got["copies"] or words[-1] == "rank"
    traced = {cell["method"] for cell in got["cells"]}
    if name == "mini":  # has the studies' manifest
        assert traced >= {value["method"] for value in got["values"]}


def test_a_difference_takes_the_cells_of_both_methods():
    got = found(reference("mini"), "statistics", "aus", "class_removal", "scrub", "difference")
    by_method = pd.DataFrame(got["values"]).groupby("method")["value"].mean()
    assert set(by_method.index) == {"scrub", "duck"}
    assert float(got["value"]) == pytest.approx(by_method["scrub"] - by_method["duck"])


def test_the_printed_header_is_a_column_too():
    got = found(reference("mini"), "class_removal", "duck", "aus of means")
    assert got["column"] == "aus_of_means"
    assert {value["method"] for value in got["values"]} == {"duck", "original"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clas_removal", "duck", "aus"), "did you mean class_removal?"),
        (("class_removal", "dukc", "aus"), "did you mean duck?"),
        (("class_removal", "duck", "forget_test"), "did you mean forget_test_accuracy"),
        (("class_removal", "aus"), "21 rows fit"),
        (("class_removal",), "name a row and a column"),
        (("ensembles", "duck", "klom_forget"), "no row of it"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(words, said):
    with pytest.raises(NotFound, match=said.replace("?", r"\?")):
        found(reference("mini"), *words)


def test_a_changed_printed_digit_is_caught(copied):
    printed = found(copied, *DUCK)["copies"][0]["expected"]
    path = copied.made / "tables/class_removal.md"
    row = next(line for line in path.read_text().splitlines() if line.startswith("| duck "))
    mean = printed.split()[0]
    edit(path, row, row.replace(mean, f"{float(mean) + 0.001:.3f}", 1))
    got = found(copied, *DUCK)
    assert len(got["wrong"]) == 1 and "tables/class_removal.md, AUS" in got["wrong"][0]
    assert found(copied, "class_removal", "oracle", "aus")["wrong"] == []


def test_a_changed_cell_of_runs_csv_is_caught(copied):
    first = found(copied, *DUCK)["values"][0]["value"]
    path = copied.folder / "runs.csv"
    rows = path.read_text().splitlines()
    row = next(r for r in rows if ",class_removal,class-0,duck,0," in r)
    edit(path, row, row.replace(repr(first), repr(first - 0.04)))  # others may have this value too
    got = found(Run(copied.folder, copied.made), *DUCK)
    assert any("tables/class_removal.md, AUS" in line for line in got["wrong"])


def test_a_changed_table_csv_is_caught_to_the_last_bit(copied):
    path = copied.made / "tables/class_removal.csv"
    KNOWN["class_removal"].table(copied).frame.to_csv(path, index=False)
    asked = ("class_removal", "l1_sparse", "aus")
    assert found(copied, *asked)["wrong"] == []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    (row,) = table.index[table["method"] == "l1_sparse"]
    value = table.loc[row, "aus_mean"]
    table.loc[row, "aus_mean"] = value[:-1] + ("1" if value[-1] != "1" else "2")
    table.to_csv(path, index=False)
    assert any("tables/class_removal.csv" in line for line in found(copied, *asked)["wrong"])


@pytest.fixture
def traced_run(tiny_run, tmp_path):
    """The finished tiny run, copied, its table of class removal beside it."""
    shutil.copytree(tiny_run.folder, tmp_path / "all")
    folder = tmp_path / "all/results/tiny"
    run = Run(folder, folder)
    (folder / "tables").mkdir()
    KNOWN["class_removal"].table(run).frame.to_csv(folder / "tables/class_removal.csv", index=False)
    return run


def test_a_run_that_is_here_has_its_records_models_and_commands(traced_run):
    got = found(traced_run, *DUCK)
    (cell,) = got["cells"]
    record = traced_run.folder / cell["record"]
    assert cell["record_sha256"] == sha256_file(record)
    assert cell["command"] == json.loads(record.read_text())["command"]
    assert cell["here"]["record"] == "same"
    assert [m["metric"] for m in cell["measured"]] == ["aus"]
    assert got["wrong"] == []


def test_a_changed_record_and_a_changed_score_are_caught(traced_run):
    cell = found(traced_run, *DUCK)["cells"][0]
    with open(traced_run.folder / cell["record"], "a") as handle:
        handle.write("\n")
    assert any("its record differs" in line for line in found(traced_run, *DUCK)["wrong"])
    path = Path(cell["measured"][0]["file"])
    scores = json.loads(path.read_text())
    scores["cells"]["duck/unlearn-0"]["metrics"]["aus"] += 0.01
    path.write_text(json.dumps(scores))
    assert sum("aus is" in line for line in found(traced_run, *DUCK)["wrong"]) == 1


@pytest.mark.parametrize(("metric", "factor"), [("A_r^t (%)", 100), ("AUS", 1)])
def test_a_reported_number_leads_to_our_cells_in_its_unit(metric, factor):
    run = reference("mini")
    row = {"metric": metric, "trace": "fashion_mnist_mini-strided_cnn/class_removal/duck"}
    values = KNOWN["audit"].values(run, row, "ours")
    cells = run.runs[(run.runs["method"] == "duck") & (run.runs["scenario"] == "class_removal")]
    column = {"A_r^t (%)": "retain_test_accuracy", "AUS": "aus"}[metric]
    assert values["value"].tolist() == (factor * cells[column]).tolist()
    assert values["metric"].unique().tolist() == [f"100 x {column}" if factor > 1 else column]
    assert values["train_seed"].tolist() == cells["train_seed"].tolist()


def test_a_reported_number_without_a_cell_of_ours_says_so():
    got = found(reference("mini"), "audit", "row=92", "ours")
    assert got["value"] == "" and got["values"] == got["cells"] == []
    assert found(reference("mini"), "audit", "row=92", "verdict")["value"] == "not comparable"


def test_a_changed_number_or_text_of_the_json_is_caught(copied):
    path = copied.made / "tables/class_removal.json"
    asked = ("class_removal", "l1_sparse", "aus")
    for change in ("value", "text"):
        write(path.parent, KNOWN["class_removal"].table(copied))
        assert found(copied, *asked)["wrong"] == []
        table = json.loads(path.read_text(encoding="utf-8"))
        if change == "value":
            row = next(r for r in table["rows"] if "l1_sparse" in r)
            row[table["columns"].index("aus_mean")] += 1e-12
        else:
            rows = table["sections"][0]["rows"]
            row = next(r for r in rows if r[0]["text"] == "l1_sparse")
            next(c for c in row if c.get("rests_on") and "±" in c["text"])["text"] += " "
            headers = [column["header"] for column in table["sections"][0]["columns"]]
            row[headers.index("AUS")]["text"] += "1"
        path.write_text(json.dumps(table), encoding="utf-8")
        wrong = found(copied, *asked)["wrong"]
        assert len(wrong) == 1 and "tables/class_removal.json, " in wrong[0]
        assert found(copied, "class_removal", "oracle", "aus")["wrong"] == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_column_prints_the_numbers_that_it_says_and_no_others(name):
    """Each number of a row is changed in turn: other texts change only where it is declared."""
    data = reference("mini").file(LAYOUTS[name].file)
    table = KNOWN[name].table(reference("mini"))
    if table.frame.empty:
        pytest.skip("no row in this run")
    row = len(table.frame) // 2
    numbers = table.frame.select_dtypes("number").columns.difference(NAMES)
    for column in numbers.difference(["shadow_models_mean"]):  # in a header
        frame = table.frame.copy()
        whole = pd.api.types.is_integer_dtype(frame[column])
        frame[column] = frame[column].astype(int if whole else float)
        frame.loc[row, column] = frame.loc[row, column] + 1 if whole else 0.123456
        other = dataclasses.replace(LAYOUTS[name], frame=lambda _, f=frame: f, rests=None)
        for before, after in zip(table.parts, other.build(data).parts, strict=True):
            columns = {column.header: k for k, column in enumerate(after.columns)}
            for one, two in zip(before.rows, after.rows, strict=True):
                for named, cell in zip(before.columns, one, strict=True):
                    if cell.text != two[columns[named.header]].text:
                        assert cell.row == row and column in named.numbers, (column, named.header)


def check_texts(run, names):
    """Every text of these names that the run has leads to numbers or files, and all agree."""
    paper, named = Paper(run, KNOWN), {}
    for name in sorted(names.intersection(paper.texts)):
        got = paper.trace(name)
        assert got["wrong"] == [], name
        assert got["numbers"] or got["files"], name
        named |= {one["table"]: one for one in got["numbers"][:1]}
    for one in named.values():  # the words of the command lead there: one of each table
        table, *words = one["words"]
        again = trace(run, KNOWN, table, words)
        assert (again["value"], again["row"]) == (one["value"], one["row"])
    return paper.texts


def test_every_number_of_the_paper_is_traced_in_the_embedded_reference(monkeypatch):
    monkeypatch.chdir(PROJECT)
    asked, claims = asked_for("n"), claims_asked_for()
    assert len(asked) > 100 and len(claims) > 40
    texts = check_texts(reference("mini"), asked | claims)
    assert asked - set(texts) <= asked_for("known")  # which the document may do without
    assert {name.rpartition(".")[2] for name in claims - set(texts)} <= {"value"}  # not tested


def test_every_text_of_a_run_is_traced_and_one_of_other_tables_is_caught(traced_run, monkeypatch):
    monkeypatch.chdir(PROJECT)
    known = {"tiny": catalogue()["fashion_mnist_mini"]}  # its data are of no catalogue
    monkeypatch.setattr(facts, "catalogue", lambda: known)
    folder = traced_run.folder
    tabulate(folder / "runs.csv", folder / "tables", folder / "ensembles.csv")
    for name in ("audit", "claims"):
        KNOWN[name].table(traced_run).frame.to_csv(folder / f"{name}.csv", index=False)
    check_texts(traced_run, asked_for("n") | claims_asked_for())
    path = folder / "tables/class_removal.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    duck = next(row for row in table["rows"] if "duck" in row)
    duck[table["columns"].index("aus_mean")] += 0.1
    path.write_text(json.dumps(table), encoding="utf-8")
    wrong = Paper(traced_run, KNOWN).trace("class_removal.duck.aus")["wrong"]
    assert any("its tables give" in line for line in wrong) and len(wrong) == 2


def test_a_text_that_is_not_there_is_said_with_what_is():
    with pytest.raises(NotFound, match=r"did you mean class_removal\.duck\.aus\?"):
        Paper(reference("mini"), KNOWN).trace("class_removal.dukc.aus")


def test_the_command_says_everything_and_its_status_is_the_answer(copied, capsys):
    paper = ["--paper", str(PROJECT / "paper"), "--paper-grid", str(PROJECT / "configs/paper.yaml")]
    words = [str(copied.folder), *DUCK, *paper]
    for status in (0, 1):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == status
        text = capsys.readouterr().out
        assert "class-8, train_seed 1" in text and "python -m unlearning unlearn" in text
        assert ("All files that are here agree." in text) == (status == 0)
        if status == 0:
            edit(copied.made / "tables/class_removal.md", "| duck ", "| kcud ")
    with pytest.raises(SystemExit) as ended:
        main([*words[:2], "dukc", "aus"])
    assert ended.value.code == 2 and "did you mean duck?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 4


def test_no_torch_is_imported():
    code = (
        "import sys, unlearning.stages.trace; assert 'torch' not in sys.modules, 'torch imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
