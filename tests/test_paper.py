"""The document: built from a run alone, whole or not at all, the same twice, no number typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from document import PAPER, asked_for, claims_asked_for, text
from test_quotes import CONFIG, METHODS, finished_run, manifest_of, texts
from test_tables import synthetic_runs
from workspace import PROJECT

from unlearning.claims.statements import read_claims
from unlearning.config.parsing import parse
from unlearning.frames import read_table
from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.manifest import recorded_settings
from unlearning.stages import tabulate_studies
from unlearning.stages.typeset import (
    audit_rows,
    claim_rows,
    contents,
    recipe_rows,
    settings_rows,
    typeset,
)

SOURCE = re.compile(r"(\w+): \(<(\w+)>, ")  # a method and the reference that describes it
MINI = PROJECT / "paper/reference/mini"
SCENARIOS = ("class_removal", "homogeneous_removal")
FIGURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90pt" height="40pt" viewBox="0 0 90 40">'
    '<text x="5" y="20" font-size="8" font-family="DejaVu Sans">drawn</text></svg>'
)


@pytest.fixture
def run(tmp_path) -> Path:
    """A small finished run with one figure."""
    folder = finished_run(tmp_path / "run", synthetic_runs(METHODS))
    (folder / "figures").mkdir()
    (folder / "figures/aus_vs_time.svg").write_text(FIGURE)
    return folder


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """The reference of the embedded run with its tables, a manifest, small audit and claims."""
    folder = tmp_path_factory.mktemp("mini")
    runs = pd.read_csv(MINI / "runs.csv", dtype=str, keep_default_na=False)
    finished_run(folder, runs)
    for file in [*MINI.glob("*.csv"), MINI / "config.json"]:
        shutil.copy(file, folder)
    manifest_of(runs).to_csv(folder / "manifest.csv", index=False)
    tabulate_all(folder)
    return folder


def tabulate_all(folder: Path) -> None:
    """Make the studies' tables of a folder again."""
    kinds = ("studies", "features", "attributions", "shortcut")
    files = [word for kind in kinds for word in (f"--{kind}", str(folder / f"{kind}.csv"))]
    tabulate_studies.main([*files, "--out", str(folder / "tables")])


def words(pdf: Path) -> str:
    """The text of the PDF, white space as single blanks."""
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext is not installed")
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def by_command(run: Path, out: Path) -> subprocess.CompletedProcess:
    options = ["--document", PAPER, "--source", run, "--made", run, "--out", out]
    return subprocess.run(
        [sys.executable, "-m", "unlearning", "typeset", *map(str, options)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
    )


def test_the_same_run_gives_the_same_bytes_without_a_warning(run, tmp_path):
    for name in ("one", "two"):
        assert typeset(PAPER, run, run, tmp_path / f"{name}.pdf") == []
    one = (tmp_path / "one.pdf").read_bytes()
    assert one.startswith(b"%PDF") and one == (tmp_path / "two.pdf").read_bytes()
    assert b"CreationDate" not in one


def test_an_edited_cell_changes_the_pdf(run, tmp_path):
    typeset(PAPER, run, run, tmp_path / "before.pdf")
    before = texts(run)["class_removal.duck.aus"]
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    mine = runs.index[(runs["method"] == "duck") & (runs["scenario"] == "class_removal")][0]
    runs.loc[mine, "aus"] = str(float(runs.loc[mine, "aus"]) + 0.2)
    finished_run(run, runs)
    typeset(PAPER, run, run, tmp_path / "after.pdf")
    after = texts(run)["class_removal.duck.aus"]
    assert after != before
    assert before in words(tmp_path / "before.pdf")
    shown = words(tmp_path / "after.pdf")
    assert after in shown and before not in shown


@pytest.mark.parametrize("method", ["duck", "oracle", "original"])
def test_a_lost_method_stops_the_build_with_the_name(run, tmp_path, method):
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    finished_run(run, runs[runs["method"] != method])
    out = tmp_path / "paper.pdf"
    done = by_command(run, out)
    assert done.returncode == 1
    assert re.search(rf"no number named class_removal\.({method}\.|duck_oracle)", done.stderr)
    assert not out.exists() and not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


def test_where_duck_diverged_one_line_says_so(run, tmp_path):
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    duck = (runs["method"] == "duck") & (runs["scenario"] == "class_removal")
    runs.loc[duck, ["status", "reason", "aus"]] = ["diverged", "loss is nan", ""]
    finished_run(run, runs)
    done = by_command(run, tmp_path / "paper.pdf")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: ")
    assert "duck in class removal: " in line and "diverged, reason: loss is nan" in line


def test_a_failed_build_leaves_the_old_pdf(run, tmp_path):
    out = tmp_path / "paper.pdf"
    out.write_bytes(b"old")
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    finished_run(run, runs[runs["method"] != "duck"])
    with pytest.raises(ValueError, match="no number named class_removal"):
        typeset(PAPER, run, run, out)
    assert out.read_bytes() == b"old"


def test_a_single_cell_a_scenario_is_enough(run, tmp_path):
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    few = runs[runs["method"].isin(["original", "oracle", "duck"]) & (runs["train_seed"] == "0")]
    finished_run(run, few[few["split"].isin(["class-0", "seed-0"])])
    assert typeset(PAPER, run, run, tmp_path / "paper.pdf") == []
    assert "which no test can judge" in words(tmp_path / "paper.pdf")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_scenario_is_enough(run, tmp_path, scenario):
    runs = pd.read_csv(run / "runs.csv", dtype=str, keep_default_na=False)
    finished_run(run, runs[runs["scenario"] == scenario])
    assert typeset(PAPER, run, run, tmp_path / "paper.pdf") == []


def test_the_embedded_run_with_its_studies_is_typeset(mini, tmp_path):
    (mini / "figures").mkdir(exist_ok=True)
    for name in ("aus_vs_time", "density", "attributions", "multiple_classes", "ablation"):
        (mini / f"figures/{name}.svg").write_text(FIGURE)
    assert typeset(PAPER, mini, mini, tmp_path / "paper.pdf") == []
    shown = words(tmp_path / "paper.pdf")
    for name, said in texts(mini).items():
        if name in ("class_removal.duck.aus", "ablation.duck", "multiple_classes.most.duck"):
            assert said in shown, name


def test_a_study_that_lost_a_measure_stops_the_build(mini, tmp_path):
    broken = shutil.copytree(mini, tmp_path / "mini")
    features = pd.read_csv(broken / "features.csv", dtype=str, keep_default_na=False)
    features[features["measure"] != "reached"].to_csv(broken / "features.csv", index=False)
    tabulate_all(broken)
    with pytest.raises(ValueError, match=r"no number named feature_space\.embedding\.reached"):
        typeset(PAPER, broken, broken, tmp_path / "paper.pdf")


def test_every_name_in_the_document_is_known_for_the_embedded_run(mini):
    asked = asked_for("n")
    assert len(asked) > 100
    assert asked - asked_for("known") <= set(texts(mini))


def test_the_document_names_claims_that_are_asked():
    claims = {claim.claim for claim in read_claims(PROJECT / "paper/claims.yaml")}
    named = {name.split(".")[1] for name in claims_asked_for()}
    assert len(named) > 15 and named <= claims


def test_no_result_is_typed_into_the_document():
    assert re.findall(r"\d+\.\d\d+", text()) == []
    assert not re.findall(r"\d ?±|± ?\d", text())


def test_every_reference_is_cited_and_every_citation_is_known():
    entries = re.findall(r"^@\w+\{(\w+),", (PAPER.parent / "references.bib").read_text(), re.M)
    assert len(entries) == len(set(entries)) > 20
    labels = set(re.findall(r"<([\w-]+)>", text()))
    cited = set(re.findall(r"@(\w+)", text()))
    assert set(entries) == (cited | {source for _, source in SOURCE.findall(text())}) & set(entries)
    assert cited <= set(entries) | labels


def test_every_method_of_the_project_has_its_source_cited():
    named = {name for name, _ in SOURCE.findall(text())}
    methods = {path.stem for path in (PROJECT / "configs/methods").glob("*.yaml")}
    assert methods - {"original", "oracle", "original_erm", "duck", "duck_ablated"} == named


def test_settings_are_those_that_the_cells_resolve(mini):
    raw = CONFIG | {"experiments": [CONFIG["experiments"][0] | {"methods": ["erm_ktp", "duck"]}]}
    variant = {"name": "slow", "method": "duck", "settings": {"epochs": 77}}
    raw["experiments"][0]["methods"].append(variant)
    rows = settings_rows(parse(raw, "test"), {})
    assert [row[1] for row in rows if row[0] == "erm_ktp"] == ["mini (CR)"]
    assert all("epochs 77" in row[2] for row in rows if row[0] == "slow")
    assert not any("epochs 77" in row[2] for row in rows if row[0] == "duck")
    ran = {("mini", "class_removal", "duck"): {"epochs": 8, "lr": 0.5}}
    by_record = settings_rows(parse(raw, "test"), ran)
    assert ["duck", "mini (CR)", "epochs 8, lr 0.5"] in by_record and len(by_record) >= len(rows)
    (recipe,) = recipe_rows(parse(raw, "test"))
    assert recipe[:4] == ["mini", "fashion_mnist_mini", "strided_cnn", "0, 1, 2"]
    assert "7 epochs" in recipe[4]
    assert set(contents(mini, mini)["parts"]) >= set(STUDY_TABLES)


def test_settings_of_a_run_of_parts_are_those_of_the_parts_that_list_them():
    raw = yaml.safe_load((PROJECT / "configs/cifar.yaml").read_text(encoding="utf-8"))
    rows = settings_rows(parse(raw, "cifar.yaml"), {})
    where = {name: [places for one, places, _ in rows if one == name] for name, *_ in rows}
    assert where["unsir"] == ["cifar10-resnet18 (CR)"]  # not defined for a random share
    assert "cifar100-resnet18_3x3 (CR, HR)" in where["negative_gradient"]
    assert where["random_labels"][0].startswith("cifar100-resnet18_3x3 (CR); ")
    assert sum("c3-shortcut (SR)" in places for places in where["duck"]) == 1


def test_settings_are_read_from_the_commands_of_the_records(run):
    manifest = pd.read_csv(run / "manifest.csv", dtype=str, keep_default_na=False)
    duck = (manifest["method"] == "duck") & (manifest["scenario"] == "class_removal")
    command = (
        'python -m unlearning unlearn --settings \'{"hyperparameters":{"lr":0.25}}\' --model m'
    )
    manifest.loc[duck, "command"] = command
    manifest.to_csv(run / "manifest.csv", index=False)
    experiment = manifest.loc[duck, "experiment"].iloc[0]
    assert recorded_settings(run)[experiment, "class_removal", "duck"] == {"lr": 0.25}
    rows = contents(run, run)["settings"]
    assert [experiment + " (CR)", "lr 0.25"] in [row[1:] for row in rows if row[0] == "duck"]


def test_claims_and_audit_are_printed_as_they_were_judged(run):
    first, second, third, fourth = claim_rows(read_table(run / "claims.csv"))
    assert first[2:] == ["3.250 [3.000, 3.500] times", "6", "classes and seeds", "< 0.001", "holds"]
    assert second[2:] == ["2.000 times", "1", "–", "–", "not tested (one_cell)"]
    assert third[2] == "−0.012 [−0.020, −0.010] AUS" and third[6] == "does not hold"
    assert fourth[2:] == ["–", "–", "–", "–", "not told apart"]
    assert audit_rows(read_table(run / "audit.csv")) == [
        [
            *("CIFAR100", "CR", "DUCK", "A_r^t (%)", "71.57", "70.12"),
            *("A_or − A_r^t", "−1.45", "B", "differs", ""),
        ],
        [
            "CIFAR10",
            "HR",
            "Original",
            "A^t (%)",
            "88.72 ± 0.28",
            "–",
            "–",
            "–",
            "–",
            "ours not run",
            "no cells",
        ],
    ]
