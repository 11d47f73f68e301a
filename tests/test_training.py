"""The training loop, its augmentation, and the stages from training to runs.csv."""

from __future__ import annotations

import copy
import csv
import itertools
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import METHOD_FILES
from torch import nn

from unlearning.config.experiment import RunConfig
from unlearning.data.batches import Images, augment, load_dataset
from unlearning.data.splits import retained
from unlearning.files import load_tensors, read_json, save_tensors, write_json
from unlearning.methods import ORIGINALS
from unlearning.models import build
from unlearning.models.base import Classifier
from unlearning.plan import grid
from unlearning.recipe import Recipe, lr_factor
from unlearning.results import collected
from unlearning.seeds import seed_for
from unlearning.stages import attack, collect, score, unlearn
from unlearning.stages import split as split_stage
from unlearning.stages import train as train_stage
from unlearning.training import loop
from unlearning.training.loop import Diverged, train
from unlearning.training.start import new_model

RECIPE = {"epochs": 4, "batch_size": 10, "lr": 0.05, "weight_decay": 0.001, "nesterov": True}
AUGMENTED = Recipe(**RECIPE, schedule="onecycle", label_smoothing=0.1, flip=True, crop=1)


def quiet(_):
    pass


def bits(model) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


# --- the same bits ---


@pytest.fixture
def trained(make_images, make_cnn):
    def make(seed=1, state=None, start=0, recipe=AUGMENTED):
        model = make_cnn(seed=start, head_dropout=0.3)
        data = make_images()
        train(model, data, torch.arange(len(data)), recipe, seed, state, quiet)
        return bits(model)

    return make


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(trained):
    first = trained()
    assert first == trained()
    assert first != trained(seed=2)
    assert first != trained(start=1)


@pytest.fixture
def interrupted(trained, monkeypatch, tmp_path):
    """The state file of a training that was killed in its third epoch."""
    with monkeypatch.context() as patch:
        real = loop._epoch

        def dying(*arguments):
            if arguments[6].epoch == 2:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(loop, "_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            trained(state=tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(trained, interrupted):
    assert load_tensors(interrupted)["at.progress"][0] == 2
    assert trained(state=interrupted, start=9) == trained()


def test_resuming_with_another_seed_gives_other_weights(trained, interrupted):
    assert trained(state=interrupted, seed=2) != trained()


def test_resuming_without_the_momentum_gives_other_weights(trained, interrupted):
    tensors = load_tensors(interrupted)
    save_tensors(interrupted, {k: v for k, v in tensors.items() if not k.startswith("optim.")})
    assert trained(state=interrupted) != trained()


def test_a_resumed_training_counts_the_seconds_of_all_its_sessions(
    make_images, make_model, interrupted, make_cnn
):
    tensors = load_tensors(interrupted)
    tensors["at.progress"][2] = 1000.0
    save_tensors(interrupted, tensors)
    data = make_images()
    model = make_cnn(head_dropout=0.3)
    seconds = train(model, data, torch.arange(len(data)), AUGMENTED, 1, interrupted, quiet)
    assert 1000 < seconds < 1060


# --- the learning rate ---


def test_the_cosine_schedule_is_that_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for step in range(40):
        assert lr_factor("cosine", step / 40) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        assert lr_factor("constant", step / 40) == 1.0
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0, 0.04), (0.125, 0.52), (0.25, 1), (0.5, 0.75), (0.625, 0.5), (0.75, 0.25), (1, 0)],
)
def test_onecycle_rises_linearly_and_falls_as_a_cosine(progress, expected):
    assert lr_factor("onecycle", progress) == pytest.approx(expected, abs=1e-12)


# --- images ---


def test_augmentation_is_one_flip_and_crop_of_the_padded_image_for_each_sample():
    crop, height, width = 1, 5, 6
    images = np.random.default_rng(0).integers(0, 256, (600, 2, height, width), dtype=np.uint8)
    found = augment(torch.from_numpy(images), True, crop, torch.Generator().manual_seed(0)).numpy()
    seen = []
    for image, result in zip(images, found, strict=True):
        padded = np.zeros((2, height + 2 * crop, width + 2 * crop), dtype=np.uint8)
        padded[:, crop:-crop, crop:-crop] = image
        matches = []
        for flip, y, x in itertools.product((0, 1), range(2 * crop + 1), range(2 * crop + 1)):
            source = padded[:, :, ::-1] if flip else padded
            if (source[:, y : y + height, x : x + width] == result).all():
                matches.append((flip, y, x))
        assert len(matches) == 1
        seen += matches
    counts = [seen.count(variant) for variant in sorted(set(seen))]
    assert len(counts) == 18  # all of them, and none much more often than the others
    assert max(abs(n - 600 / 18) for n in counts) < 4 * (600 / 18) ** 0.5


def test_without_flip_and_crop_the_images_stay_as_they_are(make_images):
    images = make_images().images
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, False, 0, generator), images)
    assert not torch.equal(augment(images, True, 0, generator), images)
    assert not torch.equal(augment(images, False, 1, generator), images)


def test_normalisation_equals_its_formula():
    images = torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    found = Images(images, torch.zeros(6), mean, std).normalise(images)
    for n, c, y, x in itertools.product(range(6), range(3), range(4), range(5)):
        expected = (images[n, c, y, x].item() / 255 - mean[c].item()) / std[c].item()
        assert found[n, c, y, x].item() == pytest.approx(expected, abs=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


# --- the loop ---


def linear(seed=0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(nn.Flatten(), nn.Linear(144, 4)).double()


def train_by_hand(model, data, recipe, batches):
    """SGD with momentum on smoothed cross-entropy; returns weights and each epoch's loss."""
    weight, bias = (p.detach().clone() for p in (model.head.weight, model.head.bias))
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    losses, step, steps = [], 0, sum(map(len, batches))
    for epoch in batches:
        total = 0.0
        for positions in epoch:
            images, labels = data.batch(positions)
            x = images.flatten(1)
            scores = x @ weight.T + bias
            log_p = scores - scores.exp().sum(1, keepdim=True).log()
            wanted = torch.full_like(log_p, recipe.label_smoothing / 4)
            for row, label in enumerate(labels.tolist()):
                wanted[row, label] += 1 - recipe.label_smoothing
            total -= (wanted * log_p).sum().item()
            error = (log_p.exp() - wanted) / len(x)
            decay = recipe.weight_decay
            gradients = error.T @ x + decay * weight, error.sum(0) + decay * bias
            moved = [recipe.momentum * m + g for m, g in zip(moved, gradients, strict=True)]
            ahead = moved
            if recipe.nesterov:
                ahead = [g + recipe.momentum * m for m, g in zip(moved, gradients, strict=True)]
            lr = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            weight, bias = weight - lr * ahead[0], bias - lr * ahead[1]
            step += 1
        losses.append(total / sum(map(len, epoch)))
    return weight, bias, losses


def batches_of(recipe, count, seed):
    """The order that each epoch draws from its own seed."""
    for epoch in range(recipe.epochs):
        generator = torch.Generator().manual_seed(seed_for(seed, epoch))
        yield torch.randperm(count, generator=generator).split(recipe.batch_size)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}, {"nesterov": True}])
def test_training_equals_sgd_by_hand(make_images, capsys, options):
    data, model = make_images(count=22, double=True), linear()
    recipe = Recipe(epochs=2, batch_size=8, lr=0.1, weight_decay=0.01, **options)
    batches = list(batches_of(recipe, 22, seed=3))
    assert [len(b) for b in batches[0]] == [8, 8, 6]

    def by_hand(**change):
        return train_by_hand(linear(), data, recipe.model_copy(update=change), batches)

    weight, bias, losses = by_hand()
    train(model, data, torch.arange(22), recipe, 3)
    assert (model.head.weight - weight).abs().max() < 1e-12
    assert (model.head.bias - bias).abs().max() < 1e-12
    logged = [float(value) for value in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert logged == pytest.approx(losses, abs=6e-5)
    others = [{"momentum": 0.8}, {"label_smoothing": 0.1}, {"weight_decay": 0.0}]
    for change in (*others, {"nesterov": not recipe.nesterov}):
        assert (model.head.weight - by_hand(**change)[0]).abs().max() > 1e-5


def test_every_image_is_used_in_every_epoch_the_last_incomplete_batch_too(
    make_images, make_model, watch
):
    data = watch(make_images(count=10))
    chosen = torch.tensor([1, 2, 3, 5, 6, 8, 9])
    train(make_model(), data, chosen, Recipe(epochs=2, batch_size=3, lr=0.1), 0, log=quiet)
    assert [len(batch) for batch in data.images.asked] == [3, 4, 3, 4]
    epochs = data.images.asked[:2], data.images.asked[2:]
    first, second = ([position for batch in epoch for position in batch] for epoch in epochs)
    assert sorted(first) == sorted(second) == chosen.tolist()
    assert first != second


def test_each_line_of_the_log_is_written_at_once():
    """A job that is killed has lost no line: the process ends without flushing."""
    code = (
        "import os, torch\n"
        "from unlearning.data.batches import Images\n"
        "from unlearning.models import build\n"
        "from unlearning.recipe import Recipe\n"
        "from unlearning.training.loop import train\n"
        "images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)\n"
        "data = Images(images, torch.arange(4), torch.zeros(1), torch.ones(1))\n"
        "recipe = Recipe(epochs=2, batch_size=4, lr=0.1)\n"
        "train(build('strided_cnn', 4, 1), data, torch.arange(4), recipe, 0)\n"
        "os._exit(0)\n"
    )
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=buffered
    )
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["1/2", "2/2"], done.stderr


def test_the_schedule_advances_by_one_step_of_the_whole_training(
    make_images, make_model, monkeypatch
):
    seen = []
    monkeypatch.setattr(loop, "lr_factor", lambda _, progress: seen.append(progress) or 1.0)
    data = make_images(count=10)
    recipe = Recipe(epochs=3, batch_size=4, lr=0.1)
    train(make_model(), data, torch.arange(10), recipe, 0, log=quiet)
    assert seen == pytest.approx([step / 9 for step in range(9)])


def test_a_loss_that_is_not_finite_ends_the_training(make_images, make_model):
    model, data = make_model(), make_images()
    recipe = Recipe(epochs=2, batch_size=8, lr=0.1)
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    with pytest.raises(Diverged, match="nan in epoch 1"):
        train(model, data, torch.arange(48), recipe, 0, log=quiet)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("function", [loop.predict, loop.embed])
def test_evaluation_leaves_mode_and_batch_statistics_alone(make_images, make_cnn, function, mode):
    model, data = make_cnn().train(mode), make_images()
    before = bits(model)
    function(model, data)
    assert model.training is mode and bits(model) == before
    model.train()(data.batch(torch.arange(48))[0])
    assert bits(model) != before  # what evaluation in training mode would have done


def test_predictions_are_those_of_evaluation_mode_in_chunks_of_any_size(
    make_images, make_cnn, monkeypatch
):
    model, data = make_cnn(head_dropout=0.5), make_images()
    chosen = torch.tensor([40, 3, 17, 8, 9])
    expected = copy.deepcopy(model).eval()(data.batch(chosen)[0])
    monkeypatch.setitem(loop.EVALUATION_BATCH, "cpu", 2)
    torch.testing.assert_close(loop.predict(model.train(), data, chosen), expected)
    logits = loop.predict(model, data)
    assert logits.shape == (48, 4)
    share = sum(int(row.argmax()) == int(y) for row, y in zip(logits, data.labels, strict=True))
    assert loop.accuracy(model, data) == pytest.approx(share / 48)


# --- the oracle never sees what is forgotten ---


def test_no_forgotten_image_reaches_a_batch_of_the_oracle(make_images, make_model, watch):
    forget = np.array([0, 7, 8, 30, 47])
    for indices, leaked in ((retained(forget, 48), set()), (np.arange(48), set(forget.tolist()))):
        data = watch(make_images())
        recipe = Recipe(epochs=2, batch_size=16, lr=0.1, flip=True, crop=1)
        train(make_model(), data, torch.from_numpy(indices), recipe, 0, log=quiet)
        assert data.images.positions & set(forget.tolist()) == leaked
        assert data.labels.positions & set(forget.tolist()) == leaked
        assert len(data.images.positions) == len(indices)


def test_the_oracle_of_the_stage_reads_no_forgotten_image(tiny_run, watch, monkeypatch, tmp_path):
    watched, real = [], train_stage.train

    def spy(model, data, *arguments):
        watched.append(watch(data))
        return real(model, watched[0], *arguments)

    monkeypatch.setattr(train_stage, "train", spy)
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    argv = elsewhere(tiny_run.commands["train", "oracle-class-1"], tmp_path)
    train_stage.main(argv)
    labels = load_dataset(tiny_run.data).train.labels
    assert watched[0].images.positions == set((labels != 1).nonzero().flatten().tolist())


def elsewhere(argv, folder):
    """The same command, writing into another folder."""
    argv = list(argv)
    for option in ("--model", "--record", "--outputs"):
        if option in argv:
            argv[argv.index(option) + 1] = str(folder / option.strip("-"))
    return argv


# --- the stages on a tiny data set ---


def facts(tiny_run, folder):
    return read_json(tiny_run.root / folder / "record.json")


def test_no_parameter_of_the_oracle_equals_the_originals(tiny_run):
    original = load_tensors(tiny_run.root / "original" / "model.safetensors")
    parameters = [name for name, _ in build("strided_cnn", 4, 1).named_parameters()]
    assert len(parameters) > 5
    for key in ("class-1", "seed-0"):
        oracle = load_tensors(tiny_run.root / f"oracle-{key}" / "model.safetensors")
        assert not [n for n in parameters if torch.equal(oracle[n], original[n])]


def test_original_and_oracles_start_from_weights_of_their_own(tiny_run):
    dataset = load_dataset(tiny_run.data)
    settings = tiny_run.model_settings()
    starts = []
    for extra in ({}, *({"scenario": s.scenario, "split": s.key} for s in splits(tiny_run))):
        name = train_stage.identity(settings | extra)
        model = new_model(settings, dataset, seed_for(*name, "weights"))
        starts.append(model.head.weight.detach())
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(starts, 2))


def splits(tiny_run):
    return grid.splits(tiny_run.experiment)


def test_the_record_says_what_was_trained_on(tiny_run):
    original, oracle = facts(tiny_run, "original"), facts(tiny_run, "oracle-class-1")
    assert (original["training_images"], oracle["training_images"]) == (40, 30)
    assert facts(tiny_run, "oracle-seed-0")["training_images"] == 32
    assert original["inputs"].keys() == {"data"}
    assert oracle["inputs"].keys() == {"data", "split"}
    assert oracle["inputs"]["data"] == original["inputs"]["data"]
    assert oracle["settings"]["split"] == "class-1" and "split" not in original["settings"]
    assert original["training_seconds"] > 0 and 0 <= original["train_accuracy"] <= 1
    assert not (tiny_run.root / "original" / "resume").exists()


def test_the_stage_gives_the_same_bits_again(tiny_run, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    for key in ("original", "oracle-class-1"):
        train_stage.main(elsewhere(tiny_run.commands["train", key], tmp_path))
        again = (tmp_path / "model").read_bytes()
        assert again == (tiny_run.root / key / "model.safetensors").read_bytes()


def test_an_oracle_needs_its_split_and_an_original_must_not_have_one(tiny_run, tmp_path):
    argv = elsewhere(tiny_run.commands["train", "oracle-class-1"], tmp_path)
    at = argv.index("--split")
    with pytest.raises(ValueError, match="--split"):
        train_stage.main(argv[:at] + argv[at + 2 :])
    plain = elsewhere(tiny_run.commands["train", "original"], tmp_path)
    with pytest.raises(ValueError, match="--split"):
        train_stage.main([*plain, *argv[at : at + 2]])
    assert not list(tmp_path.iterdir())


def test_a_split_that_was_edited_is_refused(tiny_run, tmp_path):
    argv = elsewhere(tiny_run.commands["train", "oracle-class-1"], tmp_path)
    split = read_json(argv[argv.index("--split") + 1])
    split["forget"] = split["forget"][:-1]
    write_json(tmp_path / "split.json", split)
    argv[argv.index("--split") + 1] = str(tmp_path / "split.json")
    with pytest.raises(ValueError, match=r"split\.json"):
        train_stage.main(argv)


def rows(tiny_run):
    with open(tiny_run.root / "runs.csv", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def by_image(tiny_run, cell):
    """Whether each image is classified rightly, by a fresh forward pass of the stored model."""
    model = build(f"strided_cnn{tiny_run.ending(cell.method)}", 4, 1).eval()
    model.load_state_dict(load_tensors(tiny_run.outputs(cell)["model"]))
    arrays = load_tensors(tiny_run.data)
    correct = {}
    for part in ("train", "test"):
        correct[part] = []
        labels = arrays[f"{part}_labels"].tolist()
        for image, label in zip(arrays[f"{part}_images"], labels, strict=True):
            with torch.no_grad():
                logits = model((image[None] / 255 - 0.5) / 0.25)[0].tolist()
            correct[part].append((logits.index(max(logits)) == label, label))
    return correct


def share(pairs):
    pairs = list(pairs)
    return sum(right for right, _ in pairs) / len(pairs)


def metrics_by_hand(tiny_run, cell, split):
    correct = by_image(tiny_run, cell)
    forget = set(split["forget"])
    train_part = list(enumerate(correct["train"]))
    found = {
        "forget_train_accuracy": share(pair for i, pair in train_part if i in forget),
        "retain_train_accuracy": share(pair for i, pair in train_part if i not in forget),
    }
    if cell.scenario == "class_removal":
        return found | {
            "retain_test_accuracy": share(p for p in correct["test"] if p[1] != 1),
            "forget_test_accuracy": share(p for p in correct["test"] if p[1] == 1),
            "test_accuracy": share(correct["test"]),
        }
    return found | {
        "test_accuracy": share(correct["test"][i] for i in split["test"]),
        "validation_accuracy": share(correct["test"][i] for i in split["validation"]),
    }


def test_every_metric_in_runs_csv_equals_a_fresh_forward_pass(tiny_run):
    table = {(r["split"], r["method"]): r for r in rows(tiny_run)}
    assert {key for key, row in table.items() if row["status"] == "ok"} == {
        (cell.split, cell.method) for cell in tiny_run.cells
    }
    files = {s.key: read_json(tiny_run.split_file(s)) for s in splits(tiny_run)}
    found = {
        (cell.split, cell.method): metrics_by_hand(tiny_run, cell, files[cell.split])
        for cell in tiny_run.cells
    }
    compared = 0
    for cell in tiny_run.cells:
        row = table[cell.split, cell.method]
        expected = dict(found[cell.split, cell.method])
        a_or = found[cell.split, row["compared_with"]]
        if cell.scenario == "class_removal":
            kept = "retain_test_accuracy"
            missing = expected["forget_test_accuracy"]
        else:
            kept = "test_accuracy"
            missing = abs(expected["forget_train_accuracy"] - expected["test_accuracy"])
        expected["aus"] = (1 - a_or[kept] + expected[kept]) / (1 + missing)
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, abs=1e-6), (cell, name)
            compared += 1
        absent = {"retain_test_accuracy", "forget_test_accuracy", "validation_accuracy"}
        assert all(row[name] == "" for name in absent - expected.keys())
    assert compared == sum(6 if c.scenario == "class_removal" else 5 for c in tiny_run.cells)


def test_a_row_carries_the_identity_and_the_clocks_of_its_cell(tiny_run):
    for row in rows(tiny_run):
        homogeneous = row["scenario"] == "homogeneous_removal"
        assert row["split_seed"] == ("0" if homogeneous else "")
        assert (row["dataset"], row["arch"], row["train_seed"]) == ("tiny", "strided_cnn", "0")
        if row["method"] in ORIGINALS or row["status"] == "not_defined":
            assert row["unlearning_seconds"] == row["official_seconds"] == ""
        else:
            assert 0 < float(row["unlearning_seconds"]) <= float(row["official_seconds"])
    oracle = next(r for r in rows(tiny_run) if (r["split"], r["method"]) == ("class-1", "oracle"))
    spent = facts(tiny_run, "oracle-class-1")["training_seconds"]
    assert float(oracle["unlearning_seconds"]) == spent


def test_unlearning_again_gives_the_same_model_and_logits(tiny_run, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    argv = tiny_run.commands["unlearn", "duck", "class-1"]
    unlearn.main(elsewhere(argv, tmp_path))
    for option in ("model", "outputs"):
        before = argv[argv.index(f"--{option}") + 1]
        with open(before, "rb") as handle:
            assert handle.read() == (tmp_path / option).read_bytes()


def with_settings(argv, **changes):
    """The same command with other settings."""
    argv = list(argv)
    at = argv.index("--settings") + 1
    argv[at] = json.dumps(json.loads(argv[at]) | changes)
    return argv


def test_unlearning_has_a_seed_of_its_own_for_each_name_and_number(tiny_run, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    command = elsewhere(tiny_run.commands["unlearn", "random_labels", "class-1"], tmp_path)
    found = []
    for changes in ({}, {"method": "random_labels-2"}, {"unlearn_seed": 1}, {"train_seed": 1}):
        unlearn.main(with_settings(command, **changes))
        found.append((tmp_path / "model").read_bytes())
    assert len(set(found)) == 4


def test_the_stop_rule_compares_with_the_originals_accuracy_on_each_half(tiny_run):
    table = {(row["split"], row["method"]): row for row in rows(tiny_run)}
    for cell in tiny_run.cells:
        record = read_json(tiny_run.outputs(cell)["record"])
        if cell.method != "oracle":  # a reference: nothing stops early
            original = table[cell.split, table[cell.split, cell.method]["compared_with"]]
            halves = ("test", "validation") if cell.scenario == "homogeneous_removal" else ()
            expected = {half: float(original[f"{half}_accuracy"]) for half in halves}
            assert record["stop_reference"] == pytest.approx(expected, abs=1e-6)


def test_with_validation_images_the_split_counts_in_what_is_left(tiny_run, tmp_path):
    for key in ("class-1", "seed-0"):
        argv = list(tiny_run.commands["split", key])
        argv[argv.index("--out") + 1] = str(tmp_path / "split.json")
        at = argv.index("--settings") + 1
        argv[at] = argv[at].replace('"evaluation":"test"', '"evaluation":"validation"')
        split_stage.main(argv)
        split = read_json(tmp_path / "split.json")
        dataset = load_dataset(tiny_run.data, "validation")
        assert (len(dataset.train), len(dataset.test)) == (32, 8)
        if key == "class-1":
            ones = (dataset.train.labels == 1).nonzero().flatten()
            assert split["forget"] == ones.tolist()
        else:
            assert max(split["forget"]) < 32
            assert sorted(split["test"] + split["validation"]) == list(range(8))


def test_a_run_that_diverges_is_recorded_and_has_no_metrics(tiny_run, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    argv = elsewhere(tiny_run.commands["unlearn", "negative_gradient", "seed-0"], tmp_path)
    hyperparameters = json.loads(argv[argv.index("--settings") + 1])["hyperparameters"]
    wild = hyperparameters | {"lr": 1e30, "batch_size": 2}
    unlearn.main(with_settings(argv, hyperparameters=wild))
    record = read_json(tmp_path / "record")
    assert record["status"] == "diverged" and "updates" in record["reason"]
    for name in ("record", "outputs"):
        files = {"record": "record.json", "outputs": "outputs.safetensors"}
        (tmp_path / name).rename(tmp_path / files[name])
    cell = next(c for c in tiny_run.cells if (c.method, c.split) == ("original", "seed-0"))
    split = read_json(next(tiny_run.split_file(s) for s in splits(tiny_run) if s.key == "seed-0"))
    original = tiny_run.root / cell.folder
    for oracle in (None, original.parents[1] / "oracle/unlearn-0"):
        found = score.score_cell(tmp_path, original, oracle, split)
        assert set(found["metrics"].values()) == {None} and found["unmeasured"] == {}
    assert attack.attack_cell(tmp_path, None) == {"metrics": {}, "roc": None}


def test_a_cell_that_was_not_run_is_a_row_that_says_so(tiny_run, tmp_path):
    config = str(tiny_run.root / "config.json")
    where = ["--root", str(tmp_path), "--methods", str(METHOD_FILES), "--out", str(tmp_path)]
    collect.main(["--config", config, *where])
    with open(tmp_path / "runs.csv", newline="", encoding="utf-8") as handle:
        table = list(csv.DictReader(handle))
    table = [row for row in table if row["status"] != "not_defined"]
    assert len(table) == len(tiny_run.cells)
    assert {(r["status"], r["reason"], r["aus"]) for r in table} == {("missing", "not run", "")}


def test_cells_of_different_code_do_not_share_a_table():
    identity = {"arch": "strided_cnn", "experiment": "e", "split": "class-1", "train_seed": 0}
    cells = [
        identity
        | {"base_method": method, "status": status, "code_sha256": code}
        | {"start_code_sha256": "s" * 64, "scores_code_sha256": "t" * 64}
        | {"attacks_code_sha256": "t" * 64, "probes_code_sha256": "t" * 64}
        for method, status, code in [
            ("duck", "ok", "a" * 64),
            ("fine_tuning", "ok", "b" * 64),
            ("duck", "missing", None),
            ("duck", "ok", "c" * 64),
        ]
    ]
    config = RunConfig.model_construct(mixed_code=False, models=None)
    collected.refuse_mixed_code(cells[:3], config)
    with pytest.raises(ValueError, match=r"duck.*a{12}.*c{12}.*mixed_code"):
        collected.refuse_mixed_code(cells, config)
    collected.refuse_mixed_code(cells, config.model_copy(update={"mixed_code": True}))
    given = config.model_copy(update={"models": "results/other"})
    collected.refuse_mixed_code(cells, given)
    with pytest.raises(ValueError, match=r"duck.*different scores_code"):
        collected.refuse_mixed_code([cells[0], cells[0] | {"scores_code_sha256": "u" * 64}], given)
    parts = ("start", "scores", "attacks", "probes")
    for part in (f"{name}_code_sha256" for name in parts):
        with pytest.raises(ValueError, match=rf"duck.*different {part[:-7]}.*(s{{12}}|t{{12}})"):
            collected.refuse_mixed_code([cells[0], cells[0] | {part: "u" * 64}], config)
