"""What runs of one seed differ by on a GPU, and what it costs to have them the same bit for bit.

Each repetition trains a model and unlearns a class with DUCK, all from one seed. Without the mode
accuracies and AUS spread as the order of a GPU's sums does; with UNLEARNING_DETERMINISTIC=1 they
must not. The times are of the same repetitions.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import time
from typing import Any

import torch
from alternatives import JOB
from here import devices, embedded_data, synchronise
from part_duck import SEED, parts, problem, settings
from part_training import start

from unlearning.data.batches import load_dataset
from unlearning.methods import duck
from unlearning.metrics.aus import class_removal_aus
from unlearning.recipe import Recipe
from unlearning.runtime.device import choose_device
from unlearning.training.loop import accuracy, train

ARCH = "strided_cnn"
RECIPE = {"batch_size": 128, "lr": 0.1, "schedule": "onecycle"}
MODES = {"UNLEARNING_DETERMINISTIC=1": "1", "without": "0"}
MEASURED = ("original's A_r^t", "A_r^t", "A_f^t", "AUS")


def repetitions(mode: str, device: str, count: int, epochs: int) -> list[dict[str, float]]:
    """Seconds and MEASURED of `count` runs of one seed in this process; a first is dropped.

    For a process that has not used CUDA: the mode is read as it starts.
    """
    os.environ.update(JOB, UNLEARNING_DETERMINISTIC=mode, UNLEARNING_DEVICE=device)
    device = choose_device(1)
    return [_repetition(device, epochs) for _ in range(1 + count)][1:]


def _repetition(device: str, epochs: int) -> dict[str, float]:
    data = load_dataset(str(embedded_data()), device=device)
    begun = time.perf_counter()
    original = start(ARCH, data.train)
    everything = torch.arange(len(data.train), device=device)
    recipe = Recipe(**RECIPE, epochs=epochs)
    train(original, data.train, everything, recipe, SEED, log=lambda _: None)
    chosen = settings("fashion_mnist_mini", ARCH, epochs=epochs)
    torch.manual_seed(SEED)
    model = duck.unlearn(copy.deepcopy(original), problem(data.train), chosen)
    synchronise(device)
    seconds = time.perf_counter() - begun
    retain, forget = parts(data.test)
    kept = [accuracy(one, data.test, retain) for one in (original, model)]
    found = [*kept, accuracy(model, data.test, forget)]
    found.append(class_removal_aus(found[1], found[0], found[2]))
    return {"seconds": seconds, **dict(zip(MEASURED, found, strict=True))}


def spread(found: list[dict[str, float]]) -> str:
    """The smallest and the largest of each measurement; `all the same` if there is one value."""
    texts = []
    for name in MEASURED:
        values = [one[name] for one in found]
        same = min(values) == max(values)
        texts.append(f"{name} {min(values):.4f}, all the same" if same else _range(name, values))
    return "; ".join(texts)


def _range(name: str, values: list[float]) -> str:
    apart = max(values) - min(values)
    return f"{name} {min(values):.4f} – {max(values):.4f} (apart by {apart:.4f})"


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both modes on a GPU, each in a process of its own."""
    title = f"{ARCH}, embedded Fashion-MNIST, cuda: repeated runs of one seed"
    if "cuda" not in devices():
        return [{"title": title, "not_run": "no GPU here"}]
    epochs = max(1, round(4 * options.scale))
    spawn = multiprocessing.get_context("spawn")
    found = {}
    for name, mode in MODES.items():
        with spawn.Pool(1) as pool:
            arguments = (mode, "cuda", options.repetitions, epochs)
            found[name] = pool.apply(repetitions, arguments)
    values = {name: [one["seconds"] for one in runs] for name, runs in found.items()}
    lines = [f"{name}: {spread(runs)}" for name, runs in found.items()]
    return [{"title": title, "unit": "s", "values": values, "lines": lines}]
