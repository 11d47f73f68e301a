"""A run that takes another's models as given: what is taken, what is refused, what stays."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import yaml
from conftest import METHOD_FILES
from workspace import Workspace

from unlearning.config.parsing import ConfigError, parse
from unlearning.data.catalogue import catalogue
from unlearning.files import read_json, sha256_file, write_json
from unlearning.jobs import adoption
from unlearning.jobs.run import Jobs
from unlearning.plan import grid, identity
from unlearning.records.record import RECORD, SEAL, check_made, read_record, write_record
from unlearning.stages import adopt, verify
from unlearning.trace.compare import compare

SMALL = {
    "run": "small",
    "experiments": [
        {
            "name": "main",
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 1, "batch_size": 128, "lr": 0.1},
            "train_seeds": [0],
            "scenarios": {"class_removal": {"forget": [0]}},
            "methods": [{"name": "duck", "method": "duck", "settings": {"epochs": 1}}],
            "attacks": {"shadows": 4},
        }
    ],
}
MAKING = ("train_original", "train_oracle", "train_shadow", "evaluate", "unlearn")
CONFIG = "configs/small.yaml"
RUNS = "results/small/runs.csv"
DATASETS = catalogue()


def changed(models, **experiment):
    raw = json.loads(json.dumps(SMALL)) | {"models": models}
    raw["experiments"][0] |= experiment
    return raw


# --- without Snakemake: a run of made-up files ---


def planned(raw, root, data):
    """What a run in `root` takes, and all that it needs; data: where the packed data set is."""
    config = parse(raw, "small.yaml")
    needs = adoption.wanted(Jobs(config, DATASETS, methods=METHOD_FILES))
    for one in needs.values():
        object.__setattr__(one, "data", str(data))
    return adoption.given(config, needs, root, "small.yaml"), needs


def finish(root, raw, data):
    """Records, weights and forget sets of a whole run, as its jobs would leave them."""
    config = parse(raw, "small.yaml")
    (experiment,) = config.experiments
    for split in grid.splits(experiment):
        content = {"settings": split.settings, "forget": [1]}
        write_json(root / experiment.label / split.path, content)
    wanted = adoption.wanted(Jobs(config, DATASETS, methods=METHOD_FILES))
    for folder, one in wanted.items():
        inputs = {"data": sha256_file(data)}
        inputs |= {"split": sha256_file(root / one.split_file)} if one.split else {}
        for role, start in one.made_from.items():
            made = read_record(root / start / RECORD)["outputs"]
            inputs[role] = made["outputs" if role == "evaluated" else "model"]
        (root / folder).mkdir(parents=True, exist_ok=True)
        files = {r: root / folder / f"{r}.safetensors" for r in adoption.FILES[one.verb]}
        for role, file in files.items():
            file.write_bytes(f"{folder} {role}".encode())
        command = f"python -m unlearning {one.verb} --record results/{root.name}/{folder}/{RECORD}"
        record = {"settings": one.settings, "inputs": inputs, "code_sha256": "c" * 64}
        write_record(root / folder / RECORD, record | {"command": command}, files)


@pytest.fixture
def other(tmp_path):
    """The folder of a finished run, and its data."""
    data = tmp_path / "data.safetensors"
    data.write_bytes(b"images")
    write_json(data.with_suffix(".json"), {"sha256": sha256_file(data)})
    finish(tmp_path / "other", SMALL, data)
    return tmp_path / "other", data


def take(given, needs, root, folder):
    """The job that takes one model."""
    one = needs[folder]
    words = ["--source", given.source, "--root", str(root), "--folder", folder]
    words += ["--record-sha256", given.taken[folder], "--verb", one.verb, "--data", one.data]
    adopt.main(words)


def test_all_of_the_same_run_is_taken_the_needed_first(other, tmp_path):
    given, needs = planned(changed(str(other[0])), tmp_path / "new", other[1])
    assert list(given.taken) == list(needs) and not given.refused
    assert "main/oracles/class_removal/class-0/train-0" in needs
    assert "main/originals/train-0/evaluated" in needs and "main/shadows/3" in needs
    assert len(needs) == 3 + 3 + 4  # models with the original's logits, cells, shadows


@pytest.mark.parametrize(
    ("change", "reason", "kept"),
    [
        ({"training": SMALL["experiments"][0]["training"] | {"lr": 0.2}}, "training.lr", 0),
        ({"train_seeds": [1]}, None, 4),
        ({"arch": "allcnn_small"}, "arch is 'strided_cnn' there, 'allcnn_small' here", 0),
        ({"precision": "bfloat16"}, "precision is 'float32' there, 'bfloat16' here", 0),
        ({"methods": ["duck"]}, "hyperparameters.epochs is 1 there", 9),
        ({"retain_evaluated": 50}, "retain_evaluated is None there, 50 here", 7),
        ({"resources": {"threads": 2}}, None, 10),
        ({"scenarios": {"class_removal": {"forget": [1]}}}, None, 6),
    ],
)
def test_another_setting_is_not_taken_and_the_first_reason_is_told(
    other, tmp_path, change, reason, kept
):
    given, _ = planned(changed(str(other[0]), **change), tmp_path / "new", other[1])
    assert len(given.taken) == kept
    assert (reason or "none refused") in given.line()


@pytest.mark.parametrize(("here", "taken"), [("w", 10), ("v", 0), (None, 10)])
def test_a_training_from_other_weights_is_not_taken(tmp_path, monkeypatch, other, here, taken):
    """Nor what was made from it; weights that are not packed here say nothing."""
    monkeypatch.chdir(tmp_path)
    started = changed(None, arch="resnet18", pretrained=True)
    del started["models"]
    root = tmp_path / "pretrained"
    finish(root, started, other[1])
    for folder in ("originals/train-0", "oracles/class_removal/class-0/train-0", "shadows"):
        for file in (root / "main" / folder).rglob(RECORD):
            if "evaluated" not in file.parts:
                record = read_record(file)
                record["inputs"]["pretrained"] = "w" * 64
                models = {r: file.with_name(f"{r}.safetensors") for r in record["outputs"]}
                write_record(file, record, models)
    if here:
        (tmp_path / "data/weights").mkdir(parents=True)
        write_json(tmp_path / "data/weights/resnet18.json", {"sha256": here * 64})
    given, _ = planned(started | {"models": str(root)}, tmp_path / "new", other[1])
    assert len(given.taken) == taken
    assert ("other weights" in given.line()) == (taken == 0)


def test_a_forget_set_of_the_same_name_but_other_images_is_not_taken(tmp_path, other):
    def drawn(count):
        return {"homogeneous_removal": {"count": count, "split_seeds": [0]}}

    finish(tmp_path / "tenth", changed(None, scenarios=drawn(50)), other[1])
    source = str(tmp_path / "tenth")
    assert not planned(changed(source, scenarios=drawn(50)), tmp_path / "a", other[1])[0].refused
    given, _ = planned(changed(source, scenarios=drawn(60)), tmp_path / "b", other[1])
    assert "another forget set seed-0: count is 50 there, 60 here" in given.line()
    assert not any("seed-0" in folder for folder in given.taken)


def test_other_data_are_not_taken_and_unknown_ones_are_compared_by_the_job(other, tmp_path):
    source, data = other
    facts = data.with_suffix(".json")
    write_json(facts, {"sha256": "0" * 64})
    given, _ = planned(changed(str(source)), tmp_path / "new", data)
    assert not given.taken and "other data than" in given.line()
    facts.unlink()
    given, needs = planned(changed(str(source)), tmp_path / "new", data)
    assert len(given.taken) == len(needs)
    data.write_bytes(b"other images")
    with pytest.raises(ValueError, match=r"made with another data than .*run again"):
        take(given, needs, tmp_path / "new", "main/originals/train-0")
    assert not (tmp_path / "new/main/originals/train-0/model.safetensors").exists()


def test_what_started_from_a_model_that_is_not_taken_is_not_taken(other, tmp_path):
    source, data = other
    (source / "main/originals/train-0/record.json").unlink()  # not finished there
    given, _ = planned(changed(str(source)), tmp_path / "new", data)
    assert "main/oracles/class_removal/class-0/train-0" in given.taken
    assert set(given.refused.values()) == {"made from main/originals/train-0, which is not taken"}
    assert len(given.refused) == 3  # its logits, original and duck


def test_a_taken_model_keeps_its_code_and_names_its_run(other, tmp_path):
    source, data = other
    folder = "main/runs/class_removal/class-0/train-0/duck/unlearn-0"
    given, needs = planned(changed(str(source)), tmp_path / "new", data)
    take(given, needs, tmp_path / "new", folder)
    record = read_record(tmp_path / "new" / folder / RECORD)
    theirs = read_record(source / folder / RECORD)
    assert record["code_sha256"] == theirs["code_sha256"] == "c" * 64
    assert record["adopted"]["run"] == "other"
    assert record["adopted"]["record_sha256"] == theirs[SEAL]
    assert len(record["adopted"]["code_sha256"]) == 64
    assert record["command"].endswith(f"--record {tmp_path / 'new' / folder / RECORD}")
    for role in ("model", "outputs"):
        check_made(tmp_path / "new" / folder / f"{role}.safetensors", role, record)
    shutil.rmtree(source)
    with pytest.raises(ConfigError, match=r"small.yaml: models: .*other is not a folder"):
        planned(changed(str(source)), tmp_path / "new", data)  # its start is nowhere


def test_what_was_taken_stays_taken_whatever_becomes_of_the_other_run(other, tmp_path):
    source, data = other
    given, needs = planned(changed(str(source)), tmp_path / "new", data)
    for folder in needs:
        take(given, needs, tmp_path / "new", folder)
    shutil.copytree(source / "main/splits", tmp_path / "new/main/splits")
    shutil.rmtree(source)
    assert planned(changed(str(source)), tmp_path / "new", data)[0] == given
    third, _ = planned(changed(str(tmp_path / "new")), tmp_path / "third", data)
    assert list(third.taken) == list(needs)
    wrong, _ = planned(changed(str(source), train_seeds=[1]), tmp_path / "new", data)
    assert all("shadows" in folder for folder in wrong.taken)


def test_a_run_keeps_what_it_made_itself(other, tmp_path):
    source, data = other
    finish(tmp_path / "new", SMALL, data)
    given, _ = planned(changed(str(source)), tmp_path / "new", data)
    assert given.taken == given.refused == {}
    with pytest.raises(ConfigError, match="is this run's own folder"):
        planned(changed(str(source)), source, data)


def test_a_damaged_file_is_refused_in_one_line_and_made_here_the_next_time(other, tmp_path):
    source, data = other
    shadow, original = "main/shadows/1", "main/originals/train-0"
    record = source / shadow / RECORD
    record.write_text(record.read_text().replace("strided_cnn", "small_cmm"))
    weights = source / original / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    given, needs = planned(changed(str(source)), tmp_path / "new", data)
    assert given.refused == {shadow: "its content does not match its hash"}
    assert original in given.taken  # weights are hashed when they are taken
    with pytest.raises(ValueError, match=r"other/main/originals.*does not match the hash"):
        take(given, needs, tmp_path / "new", original)
    assert not (tmp_path / "new" / original / "model.safetensors").exists()
    given, _ = planned(changed(str(source)), tmp_path / "new", data)
    assert given.refused[original] == "its content does not match the hash in its record"
    assert "main/runs/class_removal/class-0/train-0/duck/unlearn-0" in given.refused


def test_a_replaced_record_is_not_taken_unseen(other, tmp_path):
    source, data = other
    folder = "main/originals/train-0"
    given, needs = planned(changed(str(source)), tmp_path / "new", data)
    record = read_record(source / folder / RECORD)
    weights = {"model": source / folder / "model.safetensors"}
    write_record(source / folder / RECORD, record | {"started": "later"}, weights)
    with pytest.raises(ValueError, match="was replaced since this was planned"):
        take(given, needs, tmp_path / "new", folder)


def test_jobs_elsewhere_read_what_the_run_decided(other, tmp_path):
    given, _ = planned(changed(str(other[0])), tmp_path / "new", other[1])
    given.write(tmp_path / "new")
    assert adoption.Given.read(given.source, tmp_path / "new") == given


def test_a_setting_that_a_record_does_not_have_yet_is_null_or_the_recipes_default():
    (experiment,) = parse(SMALL, "small.yaml").experiments
    here = json.loads(json.dumps(identity.original(experiment, 0)))
    there = json.loads(json.dumps(here))
    del there["training"]["padding"], there["training"]["resolutions"]
    assert adoption.difference(there, here | {"later": None}) is None
    assert adoption.difference(there, here | {"later": 1}) == "later is None there, 1 here"
    here["training"]["padding"] = "reflect"
    assert adoption.difference(there, here) == "training.padding is 'zeros' there, 'reflect' here"


# --- the real DAG: a second clone takes the models of the first ---


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """A clone in which the grid has run, and one that names it and has run its collection."""
    first, second = (Workspace.create(tmp_path_factory.mktemp(f"clone{n}")) for n in (1, 2))
    (first.root / CONFIG).write_text(yaml.safe_dump(SMALL))
    status, text = first.snakemake(RUNS, "--quiet", "all", config=CONFIG)
    assert status == 0, text
    shutil.copytree(first.root / "data", second.root / "data")
    configure(second, "$FIRST_RUN")
    return first, second


@pytest.fixture
def second(clones, monkeypatch):
    """The second clone; FIRST_RUN is the first one's run."""
    monkeypatch.setenv("FIRST_RUN", str(clones[0].root / "results/small"))
    with clones[1].restored():
        yield clones[1]


def configure(space, models, **experiment):
    (space.root / CONFIG).write_text(yaml.safe_dump(changed(models, **experiment)))


def rows(space, name="runs"):
    with open(space.root / f"results/small/{name}.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_second_run_trains_and_unlearns_nothing_and_finds_the_same(clones, second, monkeypatch):
    first, base = clones[0].root / "results/small", second.root / "results/small"
    plan = second.planned(RUNS, config=CONFIG)
    assert not set(MAKING) & set(plan)
    assert (plan["adopt_model"], plan["adopt_outputs"], plan["adopt_cell"]) == (2, 5, 3)
    status, text = second.snakemake("estimate", config=CONFIG)
    assert status == 0 and "10 models and cells taken from $FIRST_RUN, none refused" in text
    assert "train_original" not in text.partition("Estimate of run")[2]
    status, text = second.snakemake(RUNS, config=CONFIG)
    assert status == 0, text
    assert "models: 10 models and cells taken from $FIRST_RUN, none refused" in text
    assert rows(second) == rows(clones[0])
    assert compare(first, base).differences == []
    monkeypatch.chdir(second.root)
    checked = verify.Check(base.relative_to(second.root), verify.Path("data"))
    assert checked.problems == [] and checked.checked > 20
    made = rows(second, "manifest")
    assert {row["adopted_from"] for row in made} == {"small"}
    assert all(row["code_sha256"] == row["adopting_code_sha256"] for row in made)
    kept = [row["code_sha256"] for row in rows(clones[0], "manifest")]
    assert [row["code_sha256"] for row in made] == kept
    assert str(clones[0].root) not in (base / "manifest.csv").read_text()
    words = ("python", "-m", "unlearning", "trace", "results/small", "class_removal", "duck", "aus")
    status, text = second.command(*words)
    assert status == 0 and "taken of small, as given" in text and "not here" not in text, text

    # Neither an edit of the code nor of a file's time makes what was taken again.
    second.edit("src/unlearning/training/loop.py", '"cpu": 100', '"cpu": 50')
    (second.root / "data/fashion_mnist_mini.safetensors").touch()
    plan = second.planned(RUNS, config=CONFIG)
    assert not {*MAKING, "adopt_model", "adopt_outputs", "adopt_cell"} & set(plan)

    # One method more: that alone is made, of the model that was taken, beside cells of older code.
    more = [*SMALL["experiments"][0]["methods"], "delete"]
    configure(second, "$FIRST_RUN", methods=more)
    plan = second.planned(RUNS, config=CONFIG)
    assert plan["unlearn"] == 1 and not set(MAKING[:-1]) & set(plan)
    configure(second, "$FIRST_RUN", methods=more, attacks=None)  # no attack tells more of it
    status, text = second.snakemake(RUNS, "--quiet", "all", config=CONFIG)
    assert status == 0, text
    taken = {row["method"]: row["adopted_from"] for row in rows(second, "manifest")}
    assert taken == {"original": "small", "oracle": "small", "duck": "small", "delete": ""}

    # Another recipe: nothing is taken.
    configure(second, "$FIRST_RUN", training=SMALL["experiments"][0]["training"] | {"lr": 0.2})
    status, text = second.snakemake(RUNS, "-n", config=CONFIG)
    assert "models: 0 models and cells taken" in text and "training.lr is 0.1 there, 0.2" in text
    assert second.planned(RUNS, config=CONFIG)["train_original"] == 1


def test_a_folder_that_is_none_is_an_error_before_anything_runs(second):
    configure(second, "results/nowhere", train_seeds=[5], attacks=None)
    status, text = second.snakemake(RUNS, "-n", config=CONFIG)
    assert status != 0 and "Traceback" not in text
    assert f"{CONFIG}: models: results/nowhere is not a folder; name a run's" in text


def test_weights_that_rotted_there_end_their_job_in_one_line(clones, second):
    source = second.root / "rotten"
    shutil.copytree(clones[0].root / "results/small", source)
    weights = source / "main/originals/train-0/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    configure(second, "rotten")
    raw = yaml.safe_load((second.root / CONFIG).read_text()) | {"run": "rot"}
    (second.root / CONFIG).write_text(yaml.safe_dump(raw))
    wanted = "results/rot/main/originals/train-0/record.json"
    status, _ = second.snakemake(wanted, "--quiet", "all", config=CONFIG)
    assert status != 0
    log = (second.root / "results/rot/logs/adopt/main/originals/train-0.log").read_text()
    (error,) = [line for line in log.splitlines() if line.startswith("error: ")]
    assert "rotten/main/originals/train-0/model.safetensors" in error and "Traceback" not in log
    assert second.planned(wanted, config=CONFIG) == {"train_original": 1}
    note = read_json(second.root / "results/rot/main/originals/train-0/refused.json")
    assert note["reason"] == "its content does not match the hash in its record"
