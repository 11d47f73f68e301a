"""Scoring, LiRA and evaluation against plain loops with the same results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import ordinary
import ordinary_measuring
from alternatives import JOB, Alternative, compare
from here import CORES, devices
from part_training import random_images, start

from unlearning.metrics.membership import lira
from unlearning.stages.score import score
from unlearning.training.loop import predict

CELLS, TRAIN, TEST, SHADOWS = 20, 3000, 1000, 8
BATCH = 128


def outputs(seed: int) -> dict[str, np.ndarray]:
    """Random logits of one model, and labels that all models share."""
    rng = np.random.default_rng(seed)
    return {
        "train_logits": rng.normal(size=(TRAIN, 10)).astype(np.float32),
        "train_labels": np.arange(TRAIN) % 10,
        "test_logits": rng.normal(size=(TEST, 10)).astype(np.float32),
        "test_labels": np.arange(TEST) % 10,
    }


def split() -> dict[str, Any]:
    """The removal of class 0."""
    forget = list(range(0, TRAIN, 10))
    settings = {"scenario": "class_removal"}
    return {"forget": forget, "classes": [0], "test": None, "settings": settings}


def pool() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences of the attacked models [CELLS, N] and the shadow models [SHADOWS, N].

    The third array [SHADOWS, N] says what a shadow model has seen: for each image, half of them.
    """
    rng, count = np.random.default_rng(0), (TRAIN + TEST) // 10
    trained_on = rng.permuted(np.arange(SHADOWS)[:, None].repeat(count, 1) % 2 == 0, axis=0)
    return rng.normal(size=(CELLS, count)), rng.normal(size=(SHADOWS, count)), trained_on


def scoring(by_loops: bool) -> Callable[[], int]:
    """All cells of a group beside their original."""
    function = ordinary_measuring.score if by_loops else score
    cells, original, removal = [outputs(1 + k) for k in range(CELLS)], outputs(0), split()

    def run() -> int:
        for cell in cells:
            function(cell, original, removal)
        return 1

    return run


def attacking(by_loops: bool) -> Callable[[], int]:
    """LiRA on all cells of a group."""
    targets, shadows, trained_on = pool()

    def run() -> int:
        for target in targets:
            if by_loops:
                ordinary_measuring.lira(target, shadows, trained_on)
            else:
                lira(target, shadows, trained_on, "per_example")
        return 1

    return run


def evaluating(count: int, device: str, by_loops: bool) -> Callable[[], int]:
    """The small network's accuracy on `count` images 1x28x28."""
    data = random_images(count, 1, 28, "cpu" if by_loops else device)
    model = start("strided_cnn", data)
    if by_loops:
        model = ordinary.twin("strided_cnn", model).to(device)
        options = {"batch_size": BATCH, "persistent_workers": True}
        images = ordinary.dataset(data)
        batches = ordinary.loader(images, ordinary.workers(device), device, **options)

    def run() -> int:
        if by_loops:
            ordinary.accuracy(model, batches, device)
        else:
            (predict(model, data).argmax(1) == data.labels).float().mean().item()
        return count

    return run


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Two comparisons of one thread with one thread, then evaluation on each device."""
    found = []
    count = f"{CELLS} cells, {TRAIN:,} + {TEST:,} images"
    attacked = f"{CELLS} cells, {(TRAIN + TEST) // 10} images, {SHADOWS} shadow models"
    for title, make in ((f"scores: {count}", scoring), (f"LiRA: {attacked}", attacking)):
        names = {"ours": False, "a loop over images": True}
        sides = [Alternative(name, make, {"by_loops": loops}) for name, loops in names.items()]
        found.append(compare(title, sides, options.repetitions, "s"))
    for device in devices():
        images = round(options.scale * 20_000)
        arguments, jobs = {"count": images, "device": device}, CORES if device == "cpu" else 1
        name = f"ordinary, 1 x {CORES} threads, {ordinary.workers(device)} loader workers"
        ours, loops = ({**arguments, "by_loops": by_loops} for by_loops in (False, True))
        sides = [
            Alternative(f"ours, {jobs} x 1 thread", evaluating, ours, jobs, 1, JOB),
            Alternative(name, evaluating, loops, 1, CORES),
        ]
        title = f"evaluation: strided_cnn, {images:,} images 1x28x28, {device}"
        found.append(compare(title, sides, options.repetitions, "images/s", device))
    return found
