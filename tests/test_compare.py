"""Two runs of one config have the same bits, and whatever differs is found."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pandas as pd
import pytest
from workspace import PROJECT, Workspace

from unlearning.records.provenance import cpu_model
from unlearning.results.manifest import read_manifest
from unlearning.stages.compare import main
from unlearning.trace.compare import ASIDE, aside, compare
from unlearning.trace.known import known_tables
from unlearning.trace.numbers import trace
from unlearning.trace.run import Run

REFERENCE = PROJECT / "paper/reference/mini"
MADE_HERE = PROJECT / "results/mini"
SMALL = """run: small
experiments:
  - dataset: fashion_mnist_mini
    arch: strided_cnn
    training: {epochs: 1, batch_size: 128, lr: 0.1, schedule: onecycle}
    train_seeds: [0]
    scenarios: {class_removal: {forget: [0]}}
    methods: [{name: duck, method: duck, settings: {epochs: 1}}]
"""


def _workspace(root):
    space = Workspace.create(root)
    (space.root / "configs/small.yaml").write_text(SMALL)
    return space


def _tables(cores):
    return ("tables", "--cores", cores, "--configfile", "configs/small.yaml")


def _finish(space, cores):
    status, text = space.command("snakemake", *_tables(cores))
    assert status == 0, text


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """The folders of two runs of one config: on one core, and on two, ended half way, resumed."""
    whole, broken = (_workspace(tmp_path_factory.mktemp(name)) for name in ("whole", "broken"))
    _finish(whole, "1")
    made = broken.root / "results/small/fashion_mnist_mini-strided_cnn/originals"
    with broken.begun(*_tables("2")) as first:
        first.until(lambda: list(made.glob("*/record.json")))
        os.killpg(first.process.pid, signal.SIGTERM)
        assert first.ended(60)[0] != 0
    assert not (broken.root / "results/small/runs.csv").exists()
    _finish(broken, "2")
    return [space.root / "results/small" for space in (whole, broken)]


@pytest.fixture
def copy(twice, tmp_path):
    """The first run, and a copy of the second whose files a test may change."""
    return twice[0], shutil.copytree(twice[1], tmp_path / "copy")


def test_two_runs_have_the_same_bits_whatever_the_cores_and_one_of_them_interrupted(twice):
    found = compare(*twice)
    assert [str(line) for line in found.differences] == []
    weights = [name for name in found.files if name.endswith("model.safetensors")]
    assert len(weights) >= 4  # an original, an oracle, their cells and DUCK
    assert {"runs.csv", "manifest.csv", "tables/statistics.csv"} <= set(found.files)
    times = [pd.read_csv(folder / "runs.csv")["unlearning_seconds"] for folder in twice]
    assert (times[0] != times[1]).any()  # two runs, not one


def test_a_changed_digit_is_found_where_it_is(copy):
    path = copy[1] / "runs.csv"
    runs = pd.read_csv(path, dtype=str, keep_default_na=False)
    value = runs.loc[2, "aus"]
    runs.loc[2, "aus"] = value[:-1] + ("1" if value[-1] != "1" else "2")
    runs.loc[1, "unlearning_seconds"] = "99"
    runs.to_csv(path, index=False)
    (only,) = compare(*copy).differences
    assert (only.file, only.column, only.one) == ("runs.csv", "aus", value)
    assert only.row.startswith("line 4 (") and runs.loc[2, "method"] in only.row
    assert "difference" in str(only)


def test_one_changed_bit_of_a_model_is_found(copy):
    path = next(copy[1].rglob("model.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (only,) = compare(*copy).differences
    assert only.file == str(path.relative_to(copy[1]))


def test_a_row_or_a_file_that_one_run_lacks_is_found(copy):
    path = copy[1] / "manifest.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    (copy[1] / "tables/variance.csv").unlink()
    assert {found.file for found in compare(*copy).differences} == {
        "manifest.csv",
        "tables/variance.csv",
    }
    assert {found.file for found in compare(*copy, shared=True).differences} == {"manifest.csv"}


def test_another_seed_differs(twice, tmp_path):
    space = _workspace(tmp_path)
    space.edit("configs/small.yaml", "train_seeds: [0]", "train_seeds: [1]")
    for name in ("aus", "test_accuracy"):
        assert not aside(name)
    status, text = space.snakemake("results/small/runs.csv", config="configs/small.yaml")
    assert status == 0, text
    found = compare(twice[0], space.root / "results/small", shared=True).differences
    columns = {line.column for line in found if line.file == "runs.csv"}
    assert {"train_seed", "test_accuracy"} <= columns
    assert "config.json" in {line.file for line in found}


def test_time_memory_machine_and_code_alone_are_left_aside():
    runs = pd.read_csv(REFERENCE / "runs.csv", nrows=1)
    left = {name for name in runs if aside(name)}
    assert left == {
        *("unlearning_seconds", "official_seconds", "peak_memory_mb", "commit", "code_sha256")
    }
    manifest = read_manifest(REFERENCE / "manifest.csv")
    assert {name for name in manifest if aside(name)} == set(ASIDE)


def test_a_row_about_time_is_left_aside_and_no_other(tmp_path):
    for name, seconds, aus in (("one", 1, 0.5), ("other", 2, 0.5), ("wrong", 1, 0.6)):
        (tmp_path / name / "figures").mkdir(parents=True)
        text = f"method,metric,value\nduck,unlearning_seconds,{seconds}\nduck,aus,{aus}\n"
        (tmp_path / name / "figures/ablation.csv").write_text(text)
    assert compare(tmp_path / "one", tmp_path / "other").differences == []
    (only,) = compare(tmp_path / "one", tmp_path / "wrong").differences
    assert only.row == "line 3 (duck aus)"


def test_the_command_says_what_differs(copy, capsys):
    for status, said in ((0, "no difference"), (1, "config.json")):
        with pytest.raises(SystemExit) as ended:
            main([str(folder) for folder in copy])
        assert ended.value.code == status and said in capsys.readouterr().out
        (copy[1] / "config.json").write_text(json.dumps({"run": "other"}))
    with pytest.raises(SystemExit) as ended:
        main([str(copy[0]), str(PROJECT / "docs")])
    assert ended.value.code == 2 and "no CSV file in common" in capsys.readouterr().err


def test_a_number_of_a_real_run_is_traced_to_models_that_are_there(twice):
    known = known_tables(PROJECT / "paper", PROJECT / "configs/paper.yaml")
    found = trace(Run(twice[0], twice[0]), known, "class_removal", ["duck", "aus"])
    assert found["wrong"] == []
    assert len(found["copies"]) == 4  # the number in CSV and JSON, its text in JSON and Markdown
    (cell,) = found["cells"]
    assert set(cell["here"].values()) == {"same"}
    assert cell["cpu"] == cpu_model() and cell["deterministic"] == "False"
    assert [(m["role"], m["weights_here"]) for m in found["models"]] == [
        ("start", "same"),
        ("oracle", "same"),
    ]
    assert all(m["command"].startswith("python -m unlearning train") for m in found["models"])


def test_the_run_made_here_is_the_committed_one():
    if not (MADE_HERE / "manifest.csv").exists():
        pytest.skip("results/mini is not there: `make reproduce` makes it")
    cpus = [set(read_manifest(f / "manifest.csv")["cpu"]) - {""} for f in (MADE_HERE, REFERENCE)]
    if not cpus[1]:
        pytest.skip("the committed run does not say on which CPU it was made")
    if cpus[0] != cpus[1]:
        pytest.skip(f"made on {cpus[0]}, the committed run on {cpus[1]}: other sums")
    differences = compare(MADE_HERE, REFERENCE, shared=True).differences
    assert [str(line) for line in differences[:20]] == []
