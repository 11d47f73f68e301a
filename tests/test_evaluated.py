"""The evaluation of an original once, and cells on D_f and a sample of the retained images."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import SHADOWS, TinyRun

from unlearning.data.batches import load_dataset
from unlearning.data.splits import retained
from unlearning.files import DamagedFile, load_arrays, read_json
from unlearning.methods import duck, scrub
from unlearning.metrics.accuracy import accuracies, by_part
from unlearning.metrics.evaluated import check_same_images, chosen, forget_and_retain, train_rows
from unlearning.plan import grid
from unlearning.records.record import RECORD, read_record, write_record
from unlearning.records.stored import cell_model
from unlearning.stages import attack, score, unlearn
from unlearning.training.loop import predict

SAMPLE = 7
REST = {"dataset": "data"}


def split_of(forget):
    settings = {"scenario": "homogeneous_removal"}
    half = list(range(0, 20, 2))
    return (
        REST
        | {"forget": forget, "classes": [], "settings": settings, "test": half}
        | {"validation": [k + 1 for k in half]}
    )


# --- which images ---


def test_the_sample_is_all_of_the_forget_set_and_the_same_others_for_nearly_all_sets():
    rng = np.random.default_rng(0)
    forgets = [np.sort(rng.choice(5000, 300, replace=False)).tolist() for _ in range(2)]
    found = [chosen(split_of(forget), 5000, 400) for forget in forgets]
    others = []
    for at, forget in zip(found, forgets, strict=True):
        assert len(at) == 700 and (np.diff(at) > 0).all() and set(forget) <= set(at)
        others.append(set(at) - set(forget))
    assert len(others[0] & others[1]) > 340  # each loses 6 in 100 of them, and takes up others
    again = chosen(split_of(forgets[0]), 5000, 400)
    assert np.array_equal(again, found[0])
    other = chosen(split_of(forgets[0]) | {"dataset": "other"}, 5000, 400)
    assert len(set(other) & others[0]) < 100
    assert set(chosen(split_of(forgets[0]), 5000, 100)) < set(found[0])


@pytest.mark.parametrize("sample", [None, 45, 50, 1000])
def test_all_images_are_evaluated_without_a_sample_or_with_one_as_large(sample):
    assert chosen(split_of([1, 2, 3, 4, 5]), 50, sample) is None


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="retain_evaluated must be at least 1 or null, not 0"):
        chosen(split_of([1]), 50, 0)


def outputs(rng, train=40, test=20, classes=4):
    return {
        "train_logits": rng.normal(size=(train, classes)).astype(np.float32),
        "train_labels": rng.integers(0, classes, train),
        "test_logits": rng.normal(size=(test, classes)).astype(np.float32),
        "test_labels": rng.integers(0, classes, test),
    }


def sampled(whole, at):
    rows = {name: whole[name][at] for name in ("train_logits", "train_labels")}
    return whole | rows | {"train_positions": at}


def test_rows_are_found_by_position_in_both_forms():
    whole = outputs(np.random.default_rng(0))
    forget = [3, 9, 30]
    at = chosen(split_of(forget), 40, SAMPLE)
    part = sampled(whole, at)
    for one in (whole, part):
        rows = train_rows(one, [30, 3])
        assert np.array_equal(one["train_logits"][rows], whole["train_logits"][[30, 3]])
        forgotten, kept = forget_and_retain(one, forget)
        assert np.array_equal(one["train_labels"][forgotten], whole["train_labels"][forget])
        assert len(forgotten) + len(kept) == len(one["train_labels"])
    absent = next(k for k in range(40) if k not in at)
    with pytest.raises(ValueError, match=f"training image {absent} was not evaluated"):
        train_rows(part, [3, absent])
    with pytest.raises(ValueError, match="training image 40 was not evaluated"):
        train_rows(whole, [40])


def test_metrics_of_a_sample_are_those_of_its_images_alone():
    rng = np.random.default_rng(0)
    whole, other = outputs(rng), outputs(rng)
    other["train_labels"], other["test_labels"] = whole["train_labels"], whole["test_labels"]
    forget = [3, 9, 30]
    split = split_of(forget)
    at = chosen(split, 40, SAMPLE)
    kept = [k for k in at if k not in forget]
    full, part = accuracies(whole, split), accuracies(sampled(whole, at), split)
    right = whole["train_logits"].argmax(1) == whole["train_labels"]
    assert part["retain_train_accuracy"] == right[kept].mean()
    assert full | {"retain_train_accuracy": 0} == part | {"retain_train_accuracy": 0}
    assert full["retain_train_accuracy"] == right[retained(np.array(forget), 40)].mean()
    parts = by_part(sampled(whole, at), split)
    assert np.array_equal(parts["retain"][0], whole["train_logits"][kept])
    assert np.array_equal(parts["forget"][0], whole["train_logits"][forget])
    all_images = score.distances(whole, other, split)
    of_sample = score.distances(sampled(whole, at), sampled(other, at), split)
    changed = {name for name in all_images if all_images[name] != of_sample[name]}
    assert changed == {"accuracy_gap", "js_retain", "l2_retain", "agreement_retain"}


def test_models_on_different_images_are_not_compared():
    whole = outputs(np.random.default_rng(0))
    split = split_of([3, 9, 30])
    parts = [sampled(whole, chosen(split, 40, n)) for n in (7, 8)]
    parts.append(sampled(whole, np.sort(np.append(chosen(split, 40, 6), 39))))
    assert len(parts[2]["train_labels"]) == len(parts[0]["train_labels"])
    for one, other in ((whole, parts[0]), (parts[0], parts[1]), (parts[0], parts[2])):
        with pytest.raises(ValueError, match="different training images"):
            check_same_images(one, other)
        with pytest.raises(ValueError, match="different training images"):
            score.distances(one, other, split)
    check_same_images(parts[0], dict(parts[0]))


# --- the stages ---


@pytest.fixture(scope="module")
def run(tmp_path_factory, _one_thread):
    """A tiny run with its original, oracles, splits, shadow models and the evaluated original."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNING_DEVICE", "cpu")
        found = TinyRun(tmp_path_factory.mktemp("evaluated"))
        found.train()
        found.evaluate()
        for split in grid.splits(found.experiment):
            out = found.split_file(split)
            found.call("split", data=found.data, settings=split.settings, out=out)
            found.train(split)
        for number in range(SHADOWS):
            found.shadow(number)
    return found


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch):
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")


def cell_of(run, method, split):
    return next(c for c in run.cells if (c.method, c.split) == (method, split.key))


def unlearned(run, method, split, **changes):
    cell = cell_of(run, method, split)
    run.unlearn(cell, split, **changes)
    return run.root / cell.folder


def test_an_evaluated_original_has_the_bits_of_a_direct_evaluation(run):
    split = grid.splits(run.experiment)[1]
    folder = unlearned(run, "original", split)
    dataset = load_dataset(run.data)
    model = cell_model(folder, dataset)
    stored, found = load_arrays(run.evaluated()), load_arrays(folder / "outputs.safetensors")
    assert set(stored) == set(found) and "train_positions" not in found
    for part in ("train", "test"):
        direct = predict(model, getattr(dataset, part)).numpy()
        assert stored[f"{part}_logits"].tobytes() == direct.tobytes()
        assert found[f"{part}_logits"].tobytes() == direct.tobytes()
        labels = getattr(dataset, part).labels.numpy()
        assert np.array_equal(found[f"{part}_labels"], labels)


def test_a_sample_is_cut_for_the_original_and_evaluated_for_the_others(run):
    split = grid.splits(run.experiment)[1]
    at = chosen(read_json(run.split_file(split)), 40, SAMPLE)
    assert len(at) == 8 + SAMPLE
    dataset, stored = load_dataset(run.data), load_arrays(run.evaluated())
    for method in ("original", "oracle", "duck"):
        folder = unlearned(run, method, split, retain_evaluated=SAMPLE)
        found = load_arrays(folder / "outputs.safetensors")
        assert np.array_equal(found["train_positions"], at)
        assert np.array_equal(found["train_labels"], dataset.train.labels[at].numpy())
        assert len(found["test_logits"]) == 20
        model = cell_model(folder, dataset)
        direct = predict(model, dataset.train, torch.from_numpy(at)).numpy()
        if method == "original":
            assert np.array_equal(found["train_logits"], stored["train_logits"][at])
            assert found["train_logits"] == pytest.approx(direct, abs=1e-5)
        else:
            assert np.array_equal(found["train_logits"], direct)


def test_a_method_that_is_given_a_share_sees_no_other_image_and_is_measured_on_all(
    run, monkeypatch
):
    """`given: 1/3` of 8 and of 32 images, the same ones for every method."""
    split, seen = grid.splits(run.experiment)[1], []
    forget = set(read_json(run.split_file(split))["forget"])

    def watched(module):
        whole = module.unlearn

        def unlearn(model, problem, settings):
            seen.append((set(problem.forget.tolist()), set(problem.retain.tolist())))
            return whole(model, problem, settings)

        monkeypatch.setattr(module, "unlearn", unlearn)

    watched(duck)
    watched(scrub)
    for method in ("duck", "scrub"):
        folder = unlearned(run, method, split, given="1/3")
        assert len(load_arrays(folder / "outputs.safetensors")["train_labels"]) == 40
    for some, others in seen:
        assert len(some) == 3 and some < forget
        assert len(others) == 11 and not others & forget
    assert seen[0] == seen[1] and len(seen) == 2


def test_a_group_of_samples_is_scored_and_attacked_as_a_whole_one_is(run, tmp_path):
    split = grid.splits(run.experiment)[1]
    methods = ("original", "oracle", "duck")
    found = []
    for sample in (None, SAMPLE):
        folders = [unlearned(run, m, split, retain_evaluated=sample) for m in methods]
        root = folders[0].parents[1]
        cells = {f"{m}/unlearn-0": "original/unlearn-0" for m in methods}
        shared = {"folder": root, "split": run.split_file(split)}
        oracle = {"oracle": "oracle/unlearn-0"}
        shadows = [run.root / f"shadow-{k}" / "outputs.safetensors" for k in range(SHADOWS)]
        run.call("score", cells=cells, **shared, **oracle, out=tmp_path / "score")
        run.call("probe", cells=cells, data=run.data, **shared, **oracle, out=tmp_path / "probe")
        pool = {"shadows": shadows, "variance": "global"}
        run.call("attack", cells=list(cells), **shared, **pool, out=tmp_path / "attack")
        verbs = ("score", "probe", "attack")
        found.append({v: read_json(tmp_path / v)["cells"] for v in verbs})
    for verb, whole in found[0].items():
        for cell, entry in whole.items():
            part = found[1][verb][cell]["metrics"]
            for name, value in entry["metrics"].items():
                if "retain" not in name and name != "accuracy_gap":
                    assert part[name] == pytest.approx(value, abs=1e-5), (verb, cell, name)
    candidates = [
        attack.load_candidates(one, read_json(run.split_file(split)), shadows, "global")
        for one in (load_arrays(run.evaluated()), load_arrays(folders[0] / "outputs.safetensors"))
    ]
    assert np.array_equal(candidates[0].shadows, candidates[1].shadows)
    assert np.array_equal(candidates[0].trained_on, candidates[1].trained_on)


def argv_of(run, method, split, tmp_path, evaluated):
    """The command of a cell, writing elsewhere, with this `--evaluated` or without any."""
    unlearned(run, method, split)
    words = list(run.commands["unlearn", method, split.key])
    if "--evaluated" in words:
        at = words.index("--evaluated")
        del words[at : at + 2]
    for option in ("--model", "--outputs", "--record"):
        words[words.index(option) + 1] = str(tmp_path / option.strip("-"))
    return words + (["--evaluated", str(evaluated)] if evaluated else [])


def test_the_reference_of_the_stop_rule_is_the_same_from_stored_logits(run, tmp_path):
    split = grid.splits(run.experiment)[1]
    records = []
    for evaluated in (None, run.evaluated()):
        unlearn.main(argv_of(run, "duck", split, tmp_path, evaluated))
        records.append(read_record(tmp_path / "record"))
    assert records[0]["stop_reference"] == records[1]["stop_reference"]
    assert set(records[0]["stop_reference"]) == {"test", "validation"}
    assert records[0]["outputs"] == records[1]["outputs"]
    seconds = read_record(run.evaluated().with_name(RECORD))["test_seconds"]
    assert 0 < seconds < records[1]["official_seconds"]


def test_an_original_needs_its_evaluation_and_the_oracle_takes_none(run, tmp_path):
    split = grid.splits(run.experiment)[1]
    with pytest.raises(ValueError, match="original needs --evaluated"):
        unlearn.main(argv_of(run, "original", split, tmp_path, None))
    with pytest.raises(ValueError, match="oracle takes no --evaluated"):
        unlearn.main(argv_of(run, "oracle", split, tmp_path, run.evaluated()))


@pytest.mark.parametrize("wrong", ["data", "start", "outputs"])
def test_an_evaluation_of_something_else_is_refused(run, wrong, tmp_path):
    split = grid.splits(run.experiment)[1]
    path = tmp_path / "evaluated" / "outputs.safetensors"
    shutil.copytree(run.evaluated().parent, path.parent)
    record = {k: v for k, v in read_record(path.with_name(RECORD)).items() if k != "record_sha256"}
    if wrong == "outputs":
        shutil.copy(run.root / "shadow-0" / "outputs.safetensors", path)
    else:
        inputs = record["inputs"] | {wrong: "0" * 64}
        write_record(path.with_name(RECORD), record | {"inputs": inputs}, {"outputs": path})
    said = "its content does not match" if wrong == "outputs" else f"another {wrong}"
    with pytest.raises(DamagedFile, match=said):
        unlearn.main(argv_of(run, "original", split, tmp_path, path))


def test_the_record_of_an_evaluation_states_what_it_is_of(run):
    record = read_record(run.evaluated().with_name(RECORD))
    start = read_record(run.model_folder() / RECORD)
    assert record["inputs"]["start"] == start["outputs"]["model"]
    assert record["settings"] == start["settings"]
    assert record["start_code_sha256"] == start["code_sha256"]
    assert json.dumps(record, allow_nan=False)
