"""The training loop against the ordinary one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import ordinary
import torch
from alternatives import JOB, Alternative, compare
from here import CORES, devices, flops

from unlearning.data.batches import Dataset, Images
from unlearning.models.base import Classifier
from unlearning.recipe import Recipe
from unlearning.runtime.device import has_bfloat16
from unlearning.training.loop import train
from unlearning.training.start import new_model

BATCH = 128
RECIPE = Recipe(
    epochs=1,
    batch_size=BATCH,
    lr=0.01,
    weight_decay=0.0005,
    nesterov=True,
    schedule="constant",
    flip=True,
    crop=4,
)
CASES = [
    ("strided_cnn", 1, 28, {"cpu": 8192, "cuda": 65536}),
    ("strided_cnn", 3, 32, {"cpu": 8192, "cuda": 65536}),
    ("resnet18", 3, 32, {"cpu": 1024, "cuda": 32768}),
    ("resnet18_3x3", 3, 32, {"cpu": 256, "cuda": 16384}),
]
"""Architecture, channels, pixels a side, and the images of a repetition."""


def random_images(count: int, channels: int, size: int, device: str = "cpu") -> Images:
    """Noise of ten classes in turn, always the same."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    half = torch.full((channels,), 0.5, device=device)
    return Images(images.to(device), torch.arange(count, device=device) % 10, half, half / 2)


def start(arch: str, data: Images, seed: int = 0, precision: str = "float32") -> Classifier:
    """The model that both sides start from, as the stage `train` builds it."""
    settings = {"arch": arch, "pretrained": False, "head_dropout": 0.0, "precision": precision}
    return new_model(settings, Dataset(data, data, 10, ""), seed).to(data.images.device)


def ours(
    arch: str, channels: int, size: int, count: int, device: str, precision: str = "float32"
) -> Callable[[], int]:
    """An epoch of `unlearning.training.loop.train`, the data on the device."""
    data = random_images(count, channels, size, device)
    model = start(arch, data, precision=precision)
    indices = torch.arange(count, device=device)

    def epoch() -> int:
        train(model, data, indices, RECIPE, seed=0, log=lambda _: None)
        return count

    return epoch


def plain(arch: str, channels: int, size: int, count: int, device: str) -> Callable[[], int]:
    """An epoch of the ordinary loop."""
    data = random_images(count, channels, size)
    model = ordinary.twin(arch, start(arch, data)).to(device)
    images = ordinary.dataset(data, RECIPE.crop, RECIPE.flip)
    options = {"batch_size": BATCH, "shuffle": True, "persistent_workers": True}
    batches = ordinary.loader(images, ordinary.workers(device), device, **options)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=RECIPE.lr,
        momentum=RECIPE.momentum,
        weight_decay=RECIPE.weight_decay,
        nesterov=RECIPE.nesterov,
    )

    def epoch() -> int:
        ordinary.train_epoch(model, batches, optimizer, device)
        return count

    return epoch


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One comparison for each case and device."""
    found = []
    for arch, channels, size, counts in CASES:
        for device in devices():
            count = max(1, round(options.scale * counts[device] / BATCH)) * BATCH
            found.append(_case(arch, channels, size, count, device, options.repetitions))
    if "cuda" not in devices():
        found.append({"title": "the same on a GPU", "not_run": "no GPU here"})
    if not has_bfloat16("cpu"):
        title = "the ResNets on a CPU in bfloat16"
        found.append({"title": title, "not_run": "this CPU has no bfloat16"})
    return found


def _case(
    arch: str, channels: int, size: int, count: int, device: str, repetitions: int
) -> dict[str, Any]:
    data = random_images(8, channels, size)
    shape = {"arch": arch, "channels": channels, "size": size}
    arguments = {**shape, "count": count, "device": device}
    jobs = CORES if device == "cpu" else 1
    sides = [Alternative(f"ours, {jobs} x 1 thread", ours, arguments, jobs, 1, JOB)]
    if device == "cpu" and arch != "strided_cnn":
        sides.append(Alternative(f"ours, 1 x {CORES} threads", ours, arguments, 1, CORES, JOB))
    if arch.startswith("resnet") and has_bfloat16(device):
        half, threads = arguments | {"precision": "bfloat16"}, CORES if device == "cpu" else 1
        name = f"ours in bfloat16, 1 x {threads} threads"
        sides.insert(0, Alternative(name, ours, half, 1, threads, JOB))
    name = f"ordinary, 1 x {CORES} threads, {ordinary.workers(device)} loader workers"
    sides.append(Alternative(name, plain, arguments, 1, CORES))
    title = f"{arch}, {channels}x{size}x{size}, {device}: epochs of {count} images"
    count_once = flops(ordinary.twin(arch, start(arch, data)), data.normalise(data.images))
    floor = {"flops": count_once["training"], "step": BATCH}
    return compare(title, sides, repetitions, "images/s", device, **floor)
