"""A run's crate: opened by the crate library, complete, and enough to compute a cell again."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate
from workspace import PROJECT

from unlearning.data.catalogue import catalogue
from unlearning.deposit.actions import actions
from unlearning.deposit.cards import cards
from unlearning.deposit.code import export
from unlearning.deposit.crate import PROFILES, write_crate
from unlearning.files import load_tensors, read_json, save_tensors, sha256_file
from unlearning.records.record import read_record
from unlearning.results.manifest import read_manifest
from unlearning.stages import verify
from unlearning.stages.trace import main as trace

MINI = PROJECT / "paper/reference/mini"
DATASETS = catalogue(PROJECT / "configs/datasets.csv")


@pytest.fixture(scope="module")
def full(tiny_run, tmp_path_factory):
    """The full crate of the tiny run: its folder and, opened, its metadata."""
    out = tmp_path_factory.mktemp("deposit") / "full_crate"
    write_crate(tiny_run.root, tiny_run.root, out, DATASETS, full=True, checkout=PROJECT)
    return out, ROCrate(out)


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The same of the committed embedded run, which has no records."""
    out = tmp_path_factory.mktemp("deposit") / "crate"
    write_crate(MINI, MINI, out, DATASETS, checkout=PROJECT)
    return out, ROCrate(out)


def jobs_of(crate):
    return [one for one in crate.get_by_type("CreateAction") if one.id.startswith("#job-")]


@pytest.mark.parametrize("which", ["full", "committed"])
def test_every_file_is_listed_with_its_hash(which, request):
    folder, crate = request.getfixturevalue(which)
    listed = {one.id: one for one in crate.data_entities if one.get("sha256")}
    assert {path: one["sha256"] for path, one in listed.items()} == {
        path: sha256_file(folder / path) for path in listed
    }
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    inside = {path for path in here if not path.startswith("code/")}
    assert inside - set(listed) == {"ro-crate-metadata.json"}
    assert crate.mainEntity.id == "code/Snakefile"
    assert {"code/Snakefile", "code/workflow/rules/train.smk", "code/configs/mini.yaml"} <= here
    assert {one.id for one in crate.root_dataset["conformsTo"]} == set(PROFILES)


def test_every_record_is_a_job_with_what_it_read_and_wrote(tiny_run, full):
    _, crate = full
    records = sorted(tiny_run.root.rglob("record.json"))
    assert len(jobs_of(crate)) == len(records) > 40
    for path in records:
        record, folder = read_record(path), path.parent.relative_to(tiny_run.root).as_posix()
        job = crate.get(f"#job-{folder}")
        read = {one["sha256"] for one in job["object"] if one.get("sha256")}
        assert read == set(record["inputs"].values()) and read
        wrote = [one["sha256"] for one in job["result"]]
        assert wrote == [*record["outputs"].values(), sha256_file(path)]
        assert record["started"] == job["startTime"] <= job["endTime"] == record["ended"]
        software = {one["name"]: one["softwareVersion"] for one in needs(job)}
        assert software == record["software"]


def needs(job):
    found = job["instrument"]["softwareRequirements"]
    return found if isinstance(found, list) else [found]


def test_each_job_has_its_place_in_the_workflow(full):
    _, crate = full
    controls = crate.get("#organise")["object"]
    assert {one["object"].id for one in controls} == {job.id for job in jobs_of(crate)}
    steps = {step.id for step in crate.mainEntity["step"]}
    assert steps == {f"#step-{verb}" for verb in ("train", "evaluate", "shadow", "unlearn")}
    assert {one["instrument"].id for one in controls} == steps


def test_a_cell_that_failed_is_a_job_that_failed(tmp_path):
    """The first cell of a copied run is marked so in its manifest."""
    run = shutil.copytree(MINI, tmp_path / "run")
    lines = (run / "manifest.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines[1] = lines[1].replace(",ok,", ",diverged,", 1)
    (run / "manifest.csv").write_text("".join(lines), encoding="utf-8")
    write_crate(run, run, tmp_path / "crate", DATASETS, checkout=PROJECT)
    jobs = jobs_of(ROCrate(tmp_path / "crate"))
    failed = [job for job in jobs if job["actionStatus"].endswith("/FailedActionStatus")]
    assert [job["error"] for job in failed] == ["diverged"]
    done = [job for job in jobs if job["actionStatus"].endswith("/CompletedActionStatus")]
    assert len(done) == len(jobs) - 1 and not any("error" in job for job in done)


def test_a_committed_run_has_its_cells_as_jobs(committed):
    folder, crate = committed
    rows = [read_manifest(MINI / f"{name}.csv") for name in ("manifest", "study_manifest")]
    rows = [row for table in rows for row in table.to_dict("records") if row["record"]]
    jobs = {job.id: job for job in jobs_of(crate)}
    assert len(jobs) == len(rows)
    for row in rows:
        job = jobs[f"#job-{Path(row['record']).parent.as_posix()}"]
        assert (job["startTime"], job.get("endTime", "")) == (row["started"], row["ended"])
        read = {one["sha256"] for one in job["object"] if one.get("sha256")}
        assert read == {row[f"{role}_sha256"] for role in ("data", "split", "start")}
        model, record = job["result"][1], job["result"][0]
        assert (record["sha256"], model["sha256"]) == (row["record_sha256"], row["model_sha256"])
        assert model.type == "CreativeWork"  # named with its hash, and not in the crate
    assert not list(folder.rglob("*.safetensors"))


def test_documented_lines_compute_a_cell_again(full):
    folder, _ = full
    text = (PROJECT / "docs/deposit.md").read_text(encoding="utf-8")
    lines = re.search(r"## Compute a cell again.*?```python\n(.*?)```", text, re.S)[1]
    assert '"results/mini/full_crate"' in lines
    found: dict = {}
    exec(lines.replace('"results/mini/full_crate"', repr(str(folder))), found)
    with open(folder / "runs.csv", newline="", encoding="utf-8") as table:
        (row,) = [
            row
            for row in csv.DictReader(table)
            if (row["method"], row["scenario"]) == ("duck", "class_removal")
        ]
    assert {name: float(row[name]) for name in found["accuracies"]} == found["accuracies"]
    assert len(set(found["accuracies"].values())) > 2


def test_documented_lines_read_a_crate(committed, capsys):
    folder, crate = committed
    text = (PROJECT / "docs/deposit.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(from rocrate.*?)```", text, re.S)[1]
    exec(lines.replace('"results/mini/crate"', repr(str(folder))), {})
    assert capsys.readouterr().out.count("\n") == len(crate.get_by_type("CreateAction"))


def test_trace_ends_at_the_logits_and_sees_others(full, tmp_path, capsys):
    folder = shutil.copytree(full[0], tmp_path / "crate")
    words = [str(folder), "class_removal", "duck", "aus", "--paper", str(PROJECT / "paper")]
    words += ["--paper-grid", str(PROJECT / "configs/paper.yaml")]
    record = next(job for job in actions(folder) if job.settings.get("method") == "duck")
    stated = record.outputs["outputs"]
    with pytest.raises(SystemExit) as ended:
        trace(words)
    assert f"outputs  {stated.sha256} (same)" in capsys.readouterr().out and ended.value.code == 0
    changed = load_tensors(folder / stated.path)
    changed["test_logits"][0] += 1
    save_tensors(folder / stated.path, changed)
    with pytest.raises(SystemExit) as ended:
        trace(words)
    assert "its outputs differs from the manifest" in capsys.readouterr().out
    assert ended.value.code == 1


def test_verify_reads_a_full_crate(full, tmp_path):
    assert verify.Check(full[0], tmp_path).problems == []


def test_a_crate_replaces_a_crate_and_nothing_else(tiny_run, tmp_path):
    out = tmp_path / "crate"
    out.mkdir()
    (out / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(ValueError, match="is no crate"):
        write_crate(tiny_run.root, tiny_run.root, out, DATASETS, checkout=PROJECT)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").rename(out / "ro-crate-metadata.json")
    write_crate(tiny_run.root, tiny_run.root, out, DATASETS, checkout=PROJECT)
    assert ROCrate(out).mainEntity is not None and not list(out.rglob("*.safetensors"))


def test_code_that_git_does_not_know_is_the_checkouts(tmp_path):
    assert not export(PROJECT, "0" * 40, tmp_path / "code")
    copied = (tmp_path / "code/Snakefile").read_bytes()
    assert copied == (PROJECT / "Snakefile").read_bytes()
    assert not (tmp_path / "code/paper/reference").exists()


def test_a_card_has_the_facts_of_its_training(tiny_run):
    found = cards(tiny_run.root, DATASETS)
    assert sorted(found) == [
        "tiny-strided_cnn-original-train-0.md",
        "tiny-strided_cnn-original_erm-train-0.md",
    ]
    text = found["tiny-strided_cnn-original-train-0.md"]
    record = read_record(tiny_run.root / "original/record.json")
    for fact in (record["outputs"]["model"], record["started"], record["inputs"]["data"]):
        assert fact in text
    assert f"| lr | {record['settings']['training']['lr']} |" in text
    with open(tiny_run.root / "runs.csv", newline="", encoding="utf-8") as table:
        row = next(row for row in csv.DictReader(table) if row["method"] == "original")
    assert f"| test | {float(row['test_accuracy']):.4f} |" in text
    assert "ERM-KTP" in found["tiny-strided_cnn-original_erm-train-0.md"] and "ERM-KTP" not in text


def test_cards_of_a_committed_run_say_what_is_not_known():
    found = cards(MINI, DATASETS)
    config = read_json(MINI / "config.json")["experiments"]
    trained = [one for one in config if not one["models_of"]]
    assert len(found) == sum(len(one["train_seeds"]) for one in trained) + 2  # of ERM-KTP
    text = found["fashion_mnist_mini-strided_cnn-original-train-1.md"]
    assert "| Trained | not stated in this run's files |" in text and "Licence:\nMIT." in text
    assert f"| epochs | {trained[0]['training']['epochs']} |" in text


def test_a_run_without_its_records_has_the_times_of_its_manifest(tiny_run, tmp_path):
    for name in ("config.json", "runs.csv", "manifest.csv"):
        shutil.copy(tiny_run.root / name, tmp_path / name)
    cells = {job.name: job for job in actions(tmp_path)}
    recorded = {job.name: job for job in actions(tiny_run.root) if job.verb == "unlearn"}
    assert cells.keys() == recorded.keys() and cells
    for name, job in cells.items():
        other = recorded[name]
        assert (job.started, job.ended, job.status) == (other.started, other.ended, other.status)
        assert job.ended and job.outputs["record"] == other.outputs["record"]
        assert job.inputs["start"].sha256 == other.inputs["start"].sha256
