"""DUCK against a plain implementation that takes the same batches from the same start."""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ordinary
import ordinary_duck
import torch
from alternatives import JOB, Alternative, compare
from here import CORES, ROOT, devices, embedded_data, flops
from part_training import random_images, start

from unlearning.config.hyperparameters import resolve
from unlearning.data.batches import Images, index_batches, load_dataset
from unlearning.methods import duck, in_images
from unlearning.methods.base import Problem
from unlearning.runtime.device import has_bfloat16

CLASS = 0
SEED = 0


@dataclass(frozen=True)
class Case:
    """One class removal. path: packed data, or None for `count` random images 3x32x32.

    workers: of the plain implementation's DataLoaders.
    """

    arch: str
    settings: duck.Settings
    device: str
    count: int = 0
    path: str | None = None
    workers: int = 0
    precision: str = "float32"

    def data(self, device: str) -> Images:
        """The training images on `device`."""
        if self.path:
            return load_dataset(self.path, device=device).train
        return random_images(self.count, 3, 32, device)


def parts(data: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions to retain and to forget."""
    return tuple(mask.nonzero().flatten() for mask in (data.labels != CLASS, data.labels == CLASS))


def problem(data: Images) -> Problem:
    """The forget set as our code is given it."""
    retain, forget = parts(data)
    names = {"scenario": "class_removal", "classes": 10, "forget_classes": (CLASS,)}
    return Problem(data, retain, forget, **names, touches=duck.TOUCHES, seed=SEED)


def ours(case: Case) -> Callable[[], int]:
    """One run of `methods.duck.unlearn`."""
    data = case.data(case.device)
    original = start(case.arch, data, precision=case.precision)

    def run() -> int:
        duck.unlearn(copy.deepcopy(original), problem(data), case.settings)
        return 1

    return run


def plain(case: Case) -> Callable[[], int]:
    """One run of the plain implementation."""
    data = case.data("cpu")
    original = ordinary.twin(case.arch, start(case.arch, data)).to(case.device)
    images, split = ordinary.dataset(data), parts(data)
    classes = problem(data).retained_classes

    def run() -> int:
        generator = torch.Generator().manual_seed(SEED)
        model = copy.deepcopy(original)
        arguments = (classes, case.settings, generator, case.device, case.workers)
        ordinary_duck.unlearn(model, images, *split, *arguments)
        return 1

    return run


def settings(dataset: str, arch: str, **changes: float) -> duck.Settings:
    """Those of configs/methods/duck.yaml for class removal, with a fixed number of epochs.

    The stop test is made after each epoch, and its target of 0 is never passed.
    """
    cell = {"dataset": dataset, "arch": arch, "scenario": "class_removal"}
    found = resolve("duck", cell, {}, ROOT / "configs/methods", settings_from="searched")
    if dataset == "fashion_mnist_mini":
        found = in_images("duck", found, *(len(part) for part in parts(embedded())[::-1]))
    return duck.Settings(**found | {"stop": "test", "forget_target": 0.0} | changes)


@functools.cache
def embedded() -> Images:
    """The training images of the embedded data."""
    return load_dataset(str(embedded_data()), device="cpu").train


def arithmetic(case: Case) -> float:
    """FLOPs of one run: two embeddings, the updates, and the stop test of each epoch."""
    data, chosen = case.data("cpu"), case.settings
    some = data.normalise(data.images[:16])
    image = flops(ordinary.twin(case.arch, start(case.arch, data)), some)
    retain, forget = (map(len, index_batches(len(p), chosen.batch_size)) for p in parts(data))
    beside = list(retain)[: chosen.batch_ratio]
    trained = chosen.epochs * sum(len(beside) * size + sum(beside) for size in forget)
    seen = len(data) + chosen.epochs * len(parts(data)[1])
    return trained * image["training"] + seen * image["forward"]


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The small network in two ways, then ResNet-18 with both stems on each device."""
    embedded = {"dataset": "fashion_mnist_mini", "arch": "strided_cnn"}
    epochs = max(1, round(4 * options.scale))
    small = Case(
        "strided_cnn", settings(**embedded, epochs=epochs), "cpu", path=str(embedded_data())
    )
    jobs, all_threads = f"ours, {CORES} x 1 thread", f"plain, 1 x {CORES} threads"
    one = Alternative("ours, 1 x 1 thread", ours, {"case": small}, 1, 1, JOB)
    found = [
        _compared(small, [one, Alternative("plain, 1 x 1 thread", plain, {"case": small})], options)
    ]
    many = Alternative(jobs, ours, {"case": small}, CORES, 1, JOB)
    whole = Alternative(all_threads, plain, {"case": small}, 1, CORES)
    found.append(_compared(small, [many, whole], options))
    sizes = [("resnet18", "cpu", 2560, 128), ("resnet18_3x3", "cpu", 640, 64)]
    sizes += [(arch, "cuda", 20480, 1024) for arch in ("resnet18", "resnet18_3x3")]
    for arch, device, count, batch in sizes:
        if device not in devices():
            title = f"{arch}, 3x32x32, {device}"
            found.append({"title": title, "not_run": "no GPU here"})
            continue
        chosen = settings("cifar10", arch, epochs=1, batch_size=batch)
        case = Case(
            arch,
            chosen,
            device,
            count=max(160, round(options.scale * count)),
            workers=ordinary.workers(device) if device == "cuda" else 0,
        )
        name, arguments = f"1 x {CORES} threads", {"case": case}
        sides = [Alternative(f"ours, {name}", ours, arguments, 1, CORES, JOB)]
        if has_bfloat16(device):
            half = {"case": replace(case, precision="bfloat16")}
            sides.insert(0, Alternative(f"ours in bfloat16, {name}", ours, half, 1, CORES, JOB))
        sides.append(Alternative(f"plain, {name}", plain, arguments, 1, CORES))
        found.append(_compared(case, sides, options))
    if not has_bfloat16("cpu"):
        found.append({"title": "the same in bfloat16", "not_run": "this CPU has no bfloat16"})
    return found


def _compared(case: Case, sides: list[Alternative], options: argparse.Namespace) -> dict[str, Any]:
    data = case.data("cpu")
    shape = "x".join(map(str, data.images.shape[1:]))
    title = f"{case.arch}, {shape}, {case.device}: {len(data):,} images, {len(parts(data)[1])} to"
    title += f" forget, batches of {case.settings.batch_size}, epochs: {case.settings.epochs}"
    floor = {"flops": arithmetic(case)}
    return compare(title, sides, options.repetitions, "s", case.device, **floor)
