"""The stages that measure: who is attacked with what, and what is beside what."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.files import read_json
from unlearning.metrics.accuracy import by_part
from unlearning.records.record import RECORD, write_record
from unlearning.stages import attack, ensemble, score, shadow

CLASSES = 3
SEEN = 0.5
"""How much a model's right answers grow by training on the image."""


def test_halves_are_random_balanced_and_complementary():
    halves = [shadow.half("data", k, 101) for k in range(6)]
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        assert (first ^ second).all() and first.sum() == 50
    assert not np.array_equal(halves[0], halves[2])
    assert not np.array_equal(halves[0], shadow.half("other", 0, 101))
    assert np.array_equal(halves[4], shadow.half("data", 4, 101))


def logits_of(labels, seen, rng, gain):
    """Logits whose right entry is higher by `gain` for images that were trained on."""
    found = rng.normal(size=(len(labels), CLASSES))
    found[np.arange(len(labels)), labels] += 2 + gain * seen
    return found.astype(np.float32)


@pytest.fixture
def world(tmp_path):
    """Shadow models on 1,200 training and 600 test images, and labels of both."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 1800)
    paths = []
    for k in range(8):
        trained_on = shadow.half("world", k, 1800)
        logits = logits_of(labels, trained_on, rng, gain=2.0)
        paths.append(tmp_path / str(k) / "outputs.safetensors")
        paths[-1].parent.mkdir()
        save_file({"logits": logits, "trained_on": trained_on}, paths[-1])
        write_record(paths[-1].with_name(RECORD), {}, {"outputs": paths[-1]})
    return labels, paths, rng


def model_of(labels, seen, rng):
    logits = logits_of(labels, seen, rng, gain=2.0)
    return {
        "train_logits": logits[:1200],
        "train_labels": labels[:1200],
        "test_logits": logits[1200:],
        "test_labels": labels[1200:],
    }


def split_of(labels, scenario):
    if scenario == "class_removal":
        forget = np.flatnonzero(labels[:1200] == 1)
        return {"forget": forget.tolist(), "classes": [1], "test": None, "validation": None}
    half = {"test": list(range(0, 600, 2)), "validation": list(range(1, 600, 2))}
    return {"forget": list(range(0, 1200, 3)), "classes": [], **half}


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_an_original_leaks_and_its_oracle_does_not(world, scenario):
    labels, paths, rng = world
    split = split_of(labels, scenario)
    everything = np.arange(1800) < 1200
    retained = everything.copy()
    retained[split["forget"]] = False
    original, oracle = (model_of(labels, seen, rng) for seen in (everything, retained))
    candidates = attack.load_candidates(original, split, paths, "global")
    for name in ("lira_auc", "lira_offline_auc", "released_attack_auc"):
        leaking = attack.attack(original, candidates, 0)["metrics"]
        clean = attack.attack(oracle, candidates, 0)["metrics"]
        assert leaking[name] > 0.8
        assert abs(clean[name] - 0.5) < 4 * clean["lira_auc_error"]
    assert leaking["shadow_models"] == 8 and leaking["svc_f1"] > clean["svc_f1"]


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_the_candidates_are_forgotten_and_unseen_images_of_the_same_kind(world, scenario):
    labels, paths, rng = world
    split = split_of(labels, scenario)
    outputs = model_of(labels, np.zeros(1800), rng)
    found = attack.load_candidates(outputs, split, paths, "global")
    assert found.members.tolist() == split["forget"]
    if scenario == "class_removal":
        assert set(outputs["test_labels"][found.others]) == {1}
        assert len(found.others) == (outputs["test_labels"] == 1).sum()
    else:
        assert found.others.tolist() == split["test"]
    logits, its_labels = found.of(outputs)
    assert its_labels.tolist() == labels[[*found.members, *(1200 + found.others)]].tolist()
    assert np.array_equal(logits[0], outputs["train_logits"][found.members[0]])
    assert np.array_equal(logits[-1], outputs["test_logits"][found.others[-1]])
    trained_on = shadow.half("world", 5, 1800)
    assert np.array_equal(found.trained_on[5], trained_on[[*found.members, *(1200 + found.others)]])


def test_the_roc_ends_at_one_and_is_kept_where_it_resolves(world):
    labels, paths, rng = world
    split = split_of(labels, "homogeneous_removal")
    outputs = model_of(labels, np.arange(1800) < 1200, rng)
    found = attack.attack(outputs, attack.load_candidates(outputs, split, paths, "global"), 0)
    known = [rate for rate in found["roc"] if rate is not None]
    rates = attack.FALSE_POSITIVE_RATES
    assert len(known) == sum(rates >= 1 / 300) and len(found["roc"]) == len(rates)
    assert known[-1] == 1.0 and known == sorted(known)
    assert found["metrics"]["lira_tpr_at_01_percent"] is None
    assert found["metrics"]["lira_tpr_at_1_percent"] == pytest.approx(
        dict(zip(rates.round(6), found["roc"], strict=True))[0.01]
    )


def test_distances_are_from_the_oracle_on_each_part(world):
    labels, _, rng = world
    split = split_of(labels, "class_removal") | {"settings": {"scenario": "class_removal"}}
    oracle = model_of(labels, np.ones(1800), rng)
    same = score.distances(oracle, oracle, split)
    assert {same[name] for name in same if not name.startswith("agreement")} == {0.0}
    assert {same[name] for name in same if name.startswith("agreement")} == {1.0}
    changed = {name: array.copy() for name, array in oracle.items()}
    forget = split["forget"]
    changed["train_logits"][forget] = np.roll(changed["train_logits"][forget], 1, axis=1)
    found = score.distances(changed, oracle, split)
    assert found["js_forget"] > 0.1 and found["agreement_forget"] == 0.0
    assert (found["js_retain"], found["l2_test"], found["agreement_test"]) == (0.0, 0.0, 1.0)
    right = oracle["train_logits"][forget].argmax(1) == 1
    rolled = changed["train_logits"][forget].argmax(1) == 1
    assert found["accuracy_gap"] == pytest.approx(abs(right.mean() - rolled.mean()) / 4)


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_parts_are_disjoint_and_whole(world, scenario):
    labels, _, rng = world
    split = split_of(labels, scenario)
    outputs = model_of(labels, np.ones(1800), rng)
    found = by_part(outputs, split)
    assert len(found["forget"][1]) + len(found["retain"][1]) == 1200
    joined = np.concatenate([found["forget"][0], found["retain"][0]])
    assert np.allclose(np.sort(joined[:, 0]), np.sort(outputs["train_logits"][:, 0]))
    assert len(found["test"][1]) == (600 if scenario == "class_removal" else 300)


def test_an_ensemble_tells_unlearned_models_from_oracles_where_they_differ():
    rng = np.random.default_rng(0)
    oracles = {part: rng.normal(size=(8, 50)) for part in ("forget", "retain", "test")}
    like = {part: rng.normal(size=(8, 50)) for part in oracles}
    other = like | {"forget": like["forget"] + 5}
    clean, leaking = (ensemble.ensemble(own, oracles, "global") for own in (like, other))
    assert leaking["u_lira_auc"] > 0.99 and abs(clean["u_lira_auc"] - 0.5) < 0.1
    assert leaking["klom_forget"] > 4 * clean["klom_forget"]
    assert leaking["klom_test"] == clean["klom_test"]


def test_a_run_with_one_training_seed_has_no_ensemble(tiny_run):
    cell = next(cell for cell in tiny_run.cells if cell.scenario == "homogeneous_removal")
    found = read_json(tiny_run.root / cell.ensemble)["methods"]
    assert {(entry["models"], *entry["metrics"]) for entry in found.values()} == {(1,)}
    assert len((tiny_run.root / "ensembles.csv").read_text().splitlines()) == 1
