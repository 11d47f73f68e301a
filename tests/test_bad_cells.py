"""One bad cell ends no run: what is recorded of it, and that all others are still measured."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
import yaml
from conftest import SHADOWS, TinyRun
from safetensors.numpy import save_file
from torch import nn
from workspace import Workspace

from unlearning.config import hyperparameters
from unlearning.config.blocks import Attributions, Features
from unlearning.config.parsing import parse
from unlearning.data.batches import Dataset
from unlearning.data.splits import make_split
from unlearning.files import load_arrays, load_tensors, read_json, write_sealed
from unlearning.methods import fine_tuning, scar
from unlearning.methods.base import Impossible
from unlearning.metrics import Unmeasurable, listed, measure
from unlearning.metrics.relearning import relearn_steps
from unlearning.metrics.representation import linear_cka
from unlearning.models import build
from unlearning.plan import grid
from unlearning.records.group import Group
from unlearning.records.record import RECORD, read_record, write_record
from unlearning.results import collected
from unlearning.stages import attack, ensemble, examine, explain, score, shortcut
from unlearning.stages import map as map_stage

HUGE = np.float32(1e35)
HR = {"scenario": "homogeneous_removal", "seed": 0, "fraction": None, "count": 8}
HR |= {"indices": "own", "evaluation": "test"}
CR = {"scenario": "class_removal", "classes": [1], "evaluation": "test"}


def as_json(value) -> str:
    """What a stage would write; ValueError for what JSON does not have."""
    return json.dumps(value, allow_nan=False)


def test_only_what_the_data_do_not_allow_is_left_out():
    gaps = {}

    def few():
        raise Unmeasurable("too few\nimages")

    assert measure(gaps, "good", lambda: 0.5) == 0.5
    assert measure(gaps, "none", lambda: None) is None
    assert measure(gaps, "nan", lambda: float("nan")) is None
    assert measure(gaps, "inf", lambda: -np.float64("inf")) is None
    assert measure(gaps, "few", few) is None and measure(gaps, "also", few) is None
    assert gaps["few"] == "too few images" and set(gaps) == {"nan", "inf", "few", "also"}
    assert "few, also: too few images" in listed(gaps) and listed({}) == ""
    with pytest.raises(ValueError, match="broadcast"):
        measure(gaps, "mistake", lambda: np.ones(2) + np.ones(3))


# --- the cell: unlearn ---


@pytest.fixture(scope="module")
def started(tmp_path_factory, _one_thread):
    """A tiny run with its originals, oracles and shadow models, before any method ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNING_DEVICE", "cpu")
        run = TinyRun(tmp_path_factory.mktemp("bad"))
        run.train()
        run.evaluate()
        for split in run_splits(run):
            run.call("split", data=run.data, settings=split.settings, out=run.split_file(split))
            run.train(split)
        for number in range(SHADOWS):
            run.shadow(number)
    return run


def run_splits(run):
    return grid.splits(run.experiment)


def unlearned(run, method, split, monkeypatch):
    """Run a method's cell and return its record and folder."""
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    cell = next(c for c in run.cells if (c.method, c.split) == (method, split.key))
    run.unlearn(cell, split)
    folder = run.root / cell.folder
    return read_record(folder / RECORD), folder


def test_finite_weights_with_infinite_logits_are_diverged(started, monkeypatch):
    split = run_splits(started)[0]

    def explode(model, problem, settings):
        model.head.weight.data.fill_(3e38)
        return model

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "unlearn", explode)
        record, folder = unlearned(started, "fine_tuning", split, patch)
    assert (record["status"], record["reason"]) == ("diverged", "logits are not finite")
    assert record["unlearning_seconds"] is None
    assert not np.isfinite(load_arrays(folder / "outputs.safetensors")["test_logits"]).all()


@pytest.fixture
def nearly_all(started):
    """The homogeneous split with all images of class 1 but one forgotten, others too."""
    split = run_splits(started)[1]
    path = started.split_file(split)
    kept, before = [0, 1, 2, 3, 4], path.read_bytes()
    labels = np.arange(40) % 4
    found = make_split(split.settings | {"count": 35}, "tiny", labels, 20)
    found |= {"forget": [k for k in range(40) if k not in kept]}
    write_sealed(path, {key: value for key, value in found.items() if key != "sha256"})
    yield split
    path.write_bytes(before)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("scar", "fewer than two retained samples of class 1: no covariance"),
        ("duck", "no retained sample of class 1: it has no centroid"),
        ("duck_released", "no retained sample of class 1: it has no centroid"),
    ],
)
def test_what_a_method_cannot_do_is_a_failed_cell(
    started, nearly_all, method, reason, monkeypatch, tmp_path
):
    if method != "scar":
        path = started.split_file(nearly_all)
        split = read_json(path)
        split["forget"] = sorted({*split["forget"], 1})
        write_sealed(path, {key: value for key, value in split.items() if key != "sha256"})
    record, folder = unlearned(started, method, nearly_all, monkeypatch)
    assert (record["status"], record["reason"]) == ("failed", reason)
    start = load_tensors(started.model_folder() / "model.safetensors")
    model = load_tensors(folder / "model.safetensors")
    assert all(torch.equal(model[name], tensor) for name, tensor in start.items())
    assert len(load_arrays(folder / "outputs.safetensors")["train_logits"]) == 40


def test_a_batch_of_one_image_fails_the_cell_and_leaves_the_start(started, monkeypatch):
    def one_image(model, problem, settings):
        model.head.weight.data.zero_()
        return nn.BatchNorm1d(3)(torch.ones(1, 3))

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "unlearn", one_image)
        record, folder = unlearned(started, "fine_tuning", run_splits(started)[1], patch)
    assert record["status"] == "failed" and "more than 1 value per channel" in record["reason"]
    assert load_tensors(folder / "model.safetensors")["head.weight"].any()


def test_a_mistake_of_the_code_still_ends_the_job(started, monkeypatch):
    def mistaken(model, problem, settings):
        raise ValueError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "unlearn", mistaken)
        with pytest.raises(ValueError, match="a mistake"):
            unlearned(started, "fine_tuning", run_splits(started)[1], patch)


def test_a_covariance_without_a_root_is_said_by_scar(make_images, make_model, make_problem):
    cell = {"dataset": "d", "arch": "a", "scenario": "class_removal"}
    settings = scar.Settings(**hyperparameters.resolve("scar", cell, {}, "configs/methods"))
    data, model = make_images(), make_model()
    model.backbone[1].weight.data.zero_()
    model.backbone[1].bias.data.fill_(1.0)
    problem = make_problem(data, touches=("retain", "forget", "surrogate"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scar, "correlation", lambda covariance: -torch.eye(len(covariance)))
        with pytest.raises(Impossible, match="class 0 is not positive definite"):
            scar.unlearn(model, problem, settings)


# --- the group: score, attack, probe ---


@pytest.fixture
def group(started, monkeypatch):
    """Original, oracle and DUCK of the class removal, and a way to spoil the record of one."""
    split = run_splits(started)[0]
    for method in ("original", "oracle", "duck"):
        _, folder = unlearned(started, method, split, monkeypatch)
    return split, folder.parents[1]


def spoil(folder):
    """Say of a cell that it diverged."""
    record = {k: v for k, v in read_record(folder / RECORD).items() if k != "record_sha256"}
    files = {"model": folder / "model.safetensors", "outputs": folder / "outputs.safetensors"}
    write_record(folder / RECORD, record | {"status": "diverged", "reason": "told"}, files)


def measured(run, split, folder, out):
    """Scores, attacks and probes of the three cells, each as it was written."""
    cells = {f"{m}/unlearn-0": "original/unlearn-0" for m in ("original", "oracle", "duck")}
    shared = {"folder": folder, "split": run.split_file(split)}
    oracle = {"oracle": "oracle/unlearn-0"}
    shadows = [run.root / f"shadow-{k}" / "outputs.safetensors" for k in range(SHADOWS)]
    run.call("score", cells=cells, **shared, **oracle, out=out / "score")
    run.call("probe", cells=cells, data=run.data, **shared, **oracle, out=out / "probe")
    options = {"shadows": shadows, "variance": "global"}
    run.call("attack", cells=list(cells), **shared, **options, out=out / "attack")
    return {verb: read_json(out / verb)["cells"] for verb in ("score", "attack", "probe")}


@pytest.mark.parametrize("bad", ["duck", "oracle", "original"])
def test_the_others_are_measured_without_the_bad_one(started, group, bad, tmp_path):
    split, folder = group
    spoil(folder / bad / "unlearn-0")
    found = measured(started, split, folder, tmp_path)
    for verb, cells in found.items():
        values = {name.split("/")[0]: cell["metrics"].values() for name, cell in cells.items()}
        assert all(value is None for value in values[bad]), verb
        other = "original" if bad == "duck" else "duck"
        assert any(value is not None for value in values[other]), verb
    scores, probes = (found[verb]["duck/unlearn-0"] for verb in ("score", "probe"))
    if bad == "oracle":
        for name in ("js_forget", "accuracy_gap"):
            assert scores["metrics"][name] is None and "oracle" in scores["unmeasured"][name]
        assert scores["metrics"]["aus"] is not None
        assert probes["metrics"]["cka_test"] is None and "relearn_steps" in probes["metrics"]
    if bad == "original":
        assert scores["metrics"]["aus"] is None and "original" in scores["unmeasured"]["aus"]
        assert scores["metrics"]["js_forget"] is not None
        assert probes["metrics"]["relearn_steps"] is None
        assert probes["metrics"]["cka_test"] is not None


def arrays(rng, classes=3, scale=1.0, train=60, test=30):
    """Outputs of a model; each class has a third of either part."""
    return {
        "train_logits": (scale * rng.normal(size=(train, classes))).astype(np.float32),
        "train_labels": np.arange(train) % classes,
        "test_logits": (scale * rng.normal(size=(test, classes))).astype(np.float32),
        "test_labels": np.arange(test) % classes,
    }


def removal(forget, classes=(), test=None):
    kind = "class_removal" if classes else "homogeneous_removal"
    found = {"settings": {"scenario": kind}, "forget": forget, "classes": list(classes)}
    return found | {"test": test, "validation": test}


@pytest.fixture
def pool(tmp_path):
    """A function that writes shadow models for 60 training and 30 test images."""

    def make(broken=None):
        rng, paths = np.random.default_rng(1), []
        for k in range(4):
            logits = rng.normal(size=(90, 3)).astype(np.float32)
            if k == broken:
                logits[:] = np.nan
            paths.append(tmp_path / str(k) / "outputs.safetensors")
            paths[-1].parent.mkdir()
            trained_on = (np.arange(90) % 2 == 0) ^ (k % 2 == 1)
            save_file({"logits": logits, "trained_on": trained_on}, paths[-1])
            write_record(paths[-1].with_name(RECORD), {}, {"outputs": paths[-1]})
        return paths

    return make


def test_logits_whose_squares_overflow_are_measured(pool):
    rng = np.random.default_rng(0)
    huge, plain = arrays(rng, scale=HUGE), arrays(rng)
    split = removal(list(range(20)), test=list(range(15)))
    gaps = {}
    found = score.score(huge, plain, split, gaps) | score.distances(huge, plain, split, gaps)
    assert gaps == {} and found["js_forget"] > 0
    candidates = attack.load_candidates(plain, split, pool(), "global")
    attacked = attack.attack(huge, candidates, 0)
    assert attacked["unmeasured"] == {} and attacked["metrics"]["svc_f1"] is not None
    margins = {"forget": HUGE * rng.normal(size=(5, 20)), "retain": rng.normal(size=(5, 20))}
    gaps = {}
    several = ensemble.ensemble(margins, margins, "global", gaps)
    assert gaps == {}
    as_json([found, attacked, several])


def test_embeddings_whose_squares_overflow_have_the_cka_of_their_directions():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(50, 8)).astype(np.float32) for _ in range(2))
    assert linear_cka(x, y) == linear_cka(np.ldexp(x, 120), np.ldexp(y, 110))
    assert linear_cka(np.ldexp(x, 120), np.ldexp(x, 120)) == pytest.approx(1)
    with pytest.raises(Unmeasurable, match="not finite"):
        linear_cka(x, y * np.nan)


def test_with_too_few_images_the_svc_is_empty_and_lira_stands(pool):
    rng = np.random.default_rng(0)
    split = removal([0, 1, 2, 3], test=list(range(15)))
    outputs = arrays(rng)
    found = attack.attack(outputs, attack.load_candidates(outputs, split, pool(), "global"), 0)
    empty = {name for name, value in found["metrics"].items() if value is None}
    assert empty - {"lira_tpr_at_1_percent", "lira_tpr_at_01_percent"} == set(found["unmeasured"])
    assert set(found["unmeasured"]) == {"svc_f1", "svc_chance_distance"}
    assert "at least 5 images a side, got 4" in found["unmeasured"]["svc_f1"]
    assert found["metrics"]["lira_auc"] is not None and found["roc"][-1] == 1.0


def test_a_broken_shadow_model_empties_lira_and_the_svc_stands(pool):
    rng = np.random.default_rng(0)
    outputs, split = arrays(rng), removal(list(range(20)), test=list(range(15)))
    found = attack.attack(outputs, attack.load_candidates(outputs, split, pool(2), "global"), 0)
    assert found["metrics"]["lira_auc"] is None and found["roc"] is None
    assert found["unmeasured"]["lira_auc"] == "the logits of shadow model 2 are not finite"
    assert found["metrics"]["svc_f1"] is not None


def test_a_class_without_a_test_image_has_no_aus_and_no_attack(pool):
    rng = np.random.default_rng(0)
    outputs, oracle = arrays(rng), arrays(rng)
    outputs["test_labels"] = oracle["test_labels"] = np.arange(30) % 2
    split, gaps = removal(list(range(2, 60, 3)), classes=[2]), {}
    found = score.score(outputs, oracle, split, gaps)
    found |= score.distances(outputs, oracle, split, gaps)
    assert set(gaps) == {"aus", "accuracy_gap"} and "forget test accuracy" in gaps["aus"]
    assert found["retain_test_accuracy"] is not None and found["js_test"] is not None
    attacked = attack.attack(outputs, attack.load_candidates(outputs, split, pool(), "global"), 0)
    assert {v for k, v in attacked["metrics"].items() if k != "shadow_models"} == {None}
    as_json([found, attacked])


def test_relearning_that_diverges_has_no_number_of_steps(make_images, make_model):
    data, model = make_images(), make_model()
    model.head.weight.data.mul_(1e37)
    forget = (data.labels == 0).nonzero().flatten()  # argmax of NaN would be class 0
    with pytest.raises(Unmeasurable, match="relearning diverged"):
        relearn_steps(model, data, forget, 1.0, 0, lr=1e38, max_steps=5)


# --- several seeds ---


def test_an_ensemble_pairs_the_seeds_that_are_ok_on_both_sides(tmp_path):
    split = removal(list(range(20)), test=list(range(15)))
    write_sealed(tmp_path / "split.json", split)
    cells = {"oracle": [], "duck": []}
    for method, seed in [(m, s) for m in cells for s in range(7) if (m, s) != ("duck", 3)]:
        name = f"train-{seed}/{method}/unlearn-0"
        folder = tmp_path / name
        folder.mkdir(parents=True)
        outputs = arrays(np.random.default_rng(seed))
        if (method, seed) in (("oracle", 0), ("duck", 1)):
            outputs["train_logits"][:] = np.inf
        save_file(outputs, folder / "outputs.safetensors")
        status = "ok" if np.isfinite(outputs["train_logits"]).all() else "diverged"
        made = {"outputs": folder / "outputs.safetensors"}
        write_record(folder / RECORD, {"status": status}, made)
        cells[method].append(name)
    argv = ["--folder", str(tmp_path), "--cells", as_json(cells), "--variance", "global"]
    out = tmp_path / "found.json"
    ensemble.main([*argv, "--split", str(tmp_path / "split.json"), "--out", str(out)])
    found = read_json(out)["methods"]
    assert {method: entry["models"] for method, entry in found.items()} == {"oracle": 6, "duck": 4}
    # The same logits for each seed: any other pairing would give a distance.
    assert found["duck"]["metrics"]["klom_forget"] == 0


# --- studies ---


@pytest.fixture
def studied(make_images):
    """A group whose DUCK has infinite logits and embeddings, and its original and oracle."""
    data = make_images(count=120, size=12)
    models = {}
    for seed, name in enumerate(("original", "oracle", "duck")):
        torch.manual_seed(seed)
        models[name] = build("strided_cnn", 4, 1).eval()
    nn.init.constant_(next(models["duck"].backbone.parameters()), float("inf"))
    forget = (data.labels == 1).nonzero().flatten().tolist()
    split = removal(forget, classes=[1]) | {"sha256": "s"}
    return Group(Dataset(data, data, 4, "d"), split, models)


def without(group, *names):
    models = {name: model for name, model in group.models.items() if name not in names}
    return dataclasses.replace(group, models=models, gaps={})


def views_of(group):
    found = {
        n: measure(group.gaps, n, functools.partial(examine.view, group, n)) for n in group.models
    }
    return {name: seen for name, seen in found.items() if seen is not None}


@pytest.mark.parametrize("absent", [(), ("oracle",), ("original",)])
def test_a_study_leaves_out_the_model_that_cannot_be_looked_into(studied, absent):
    group = without(studied, *absent)
    views = views_of(group)
    assert set(views) == {"original", "oracle"} - set(absent)
    assert "not finite" in group.gaps["duck"]
    features = [*examine.space(group, views, Features(images=40, components=3))]
    arrived = [*examine.arrivals(group, views)]
    assert {row["model"] for row in features} == set(views)
    measures = {row["measure"] for row in arrived}
    assert measures == {"reached", "destination_distance"} - (
        {"destination_distance"} if absent == ("oracle",) else {"reached"} if absent else set()
    )
    as_json([features, arrived, [*examine.destinations(group, views)]])


@pytest.mark.parametrize("absent", [(), ("oracle",), ("original",)])
def test_a_map_needs_the_original_and_leaves_out_others(studied, absent):
    group = without(studied, *absent)
    rows = measure(group.gaps, "maps", lambda: map_stage.embedding_map(group, 40))
    if absent == ("original",):
        assert rows is None and "original" in group.gaps["maps"]
    else:
        assert {row["model"] for row in rows} == {"original", "oracle"} - set(absent)
        as_json(rows)


def test_attributions_leave_out_the_model_without_finite_logits(studied):
    settings = Attributions(images=2, evaluations=8, blur=3)
    found = explain.attributions(studied, settings)
    assert {row["pair"] for row in found["attributions"]} == {"original~oracle"}
    assert "not finite" in studied.gaps["attributions: duck"]
    as_json(found)
    group = without(studied, "original")
    with pytest.raises(Unmeasurable, match="original is not ok"):
        explain.attributions(group, settings)


def test_a_shortcut_is_not_measured_where_logits_are_not_finite(studied):
    poison = {"source": 2, "label": 3, "patch": 3, "images": 5, "seed": 0}
    group = dataclasses.replace(studied, split=studied.split | {"settings": poison})
    explained = Attributions(images=2, evaluations=8, blur=3)
    as_json(shortcut.measures(group, "original", explained))
    with pytest.raises(Unmeasurable, match="not finite"):
        shortcut.measures(group, "duck", explained)


def test_a_class_without_images_leaves_what_does_not_need_it(studied):
    labels = studied.dataset.train.labels.clone()
    labels[labels == 3] = 2
    data = dataclasses.replace(studied.dataset.train, labels=labels)
    group = without(studied, "duck")
    group = dataclasses.replace(group, dataset=Dataset(data, data, 4, "d"))
    views = views_of(group)
    features = [*examine.space(group, views, Features(images=40, components=3))]
    assert {row["measure"] for row in features} == {"log_density", "silhouette"}
    assert "class 3" in group.gaps["original: margin of embedding"]
    assert {row["by"] for row in examine.destinations(group, views)} == {"prediction"}
    assert [*examine.arrivals(group, views)] == []


# --- tables ---


def test_a_failed_cell_is_a_row_with_its_reason_even_if_nothing_was_scored(
    started, nearly_all, monkeypatch, tmp_path
):
    record, _ = unlearned(started, "scar", nearly_all, monkeypatch)
    raw = started.raw | {"partial": True}
    rows = collected.collect(parse(raw, "f"), started.root, "configs/methods")
    row = next(r for r in rows if (r["method"], r["split"]) == ("scar", nearly_all.key))
    assert (row["status"], row["reason"]) == ("failed", record["reason"])
    assert row["aus"] is None and row["unlearning_seconds"] is None


def test_an_ok_cell_says_what_could_not_be_measured(started, group, tmp_path):
    split, _ = group
    cell = next(c for c in started.cells if (c.method, c.split) == ("duck", split.key))
    file = started.root / cell.measured("scores")
    entry = {"metrics": {"aus": None}, "unmeasured": {"aus": "no image"}}
    file.parent.mkdir(parents=True)
    write_sealed(file, {"cells": {cell.name: entry}, "code_sha256": "c"})
    rows = collected.collect(started.config, started.root, "configs/methods", [cell])
    file.unlink()
    assert (rows[0]["status"], rows[0]["reason"]) == ("ok", "not measured: aus: no image")


CONFIG = {
    "run": "bad",
    "experiments": [
        {
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 1, "batch_size": 128, "lr": 0.05, "schedule": "onecycle"},
            "train_seeds": [0],
            "scenarios": {
                "class_removal": {"forget": [0]},
                "homogeneous_removal": {"count": 2990, "split_seeds": [0]},
            },
            "methods": [
                {
                    **{"name": "hot", "method": "negative_gradient"},
                    "settings": {"epochs": 2, "batch_size": 256, "lr": 1e30, "forget_target": 0.0},
                },
                {"name": "duck", "method": "duck", "settings": {"epochs": 1}},
            ],
        }
    ],
}


def test_a_run_with_cells_that_diverge_and_fail_ends_with_tables(tmp_path):
    space = Workspace.create(tmp_path)
    (space.root / "bad.yaml").write_text(yaml.safe_dump(CONFIG))
    table = "results/bad/tables/homogeneous_removal.md"
    status, text = space.snakemake("results/bad/runs.csv", table, config="bad.yaml")
    assert status == 0, text
    with open(space.root / "results/bad/runs.csv", newline="") as handle:
        rows = {(row["scenario"], row["method"]): row for row in csv.DictReader(handle)}
    assert rows["class_removal", "hot"]["status"] == "diverged"
    assert rows["class_removal", "duck"]["status"] == "ok" and rows["class_removal", "duck"]["aus"]
    row = rows["homogeneous_removal", "duck"]
    assert row["status"] == "failed" and "has no centroid" in row["reason"] and not row["aus"]
    assert "failed" in (space.root / table).read_text()
