"""Networks and recipes for the embedded data: what each gives for the CPU seconds that it takes.

    python workflow/scripts/measure_frontier.py data/fashion_mnist_mini.safetensors

Prints a table (Markdown) with a row a candidate, means over the training seeds 0, 1 and 2: accuracy
of an original on the test images; AUS of that original and of an oracle of a random tenth (the
difference is how much a homogeneous removal can tell); CPU seconds of one training, and
microseconds of one image in training and in evaluation, on one thread. `chosen` is the network and
the recipe of configs/mini.yaml. Add a candidate below and run it again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
import yaml
from torch import nn

from unlearning.data.batches import Dataset, load_dataset
from unlearning.metrics.aus import homogeneous_removal_aus
from unlearning.models import build
from unlearning.models.base import Classifier
from unlearning.recipe import Recipe
from unlearning.seeds import seed_for
from unlearning.training.loop import accuracy, predict, train

PROJECT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)
POOLED = [(16, 3, 1, 1, 2), (32, 3, 1, 1, 2), (64, 3, 1, 1, 2)]
STRIDED = [(16, 4, 2, 1, 1), (32, 3, 2, 1, 1), (64, 3, 2, 0, 1)]
WIDER = [(24, 4, 2, 1, 1), (48, 3, 2, 1, 1), (96, 3, 2, 0, 1)]
COARSE = [(24, 5, 3, 1, 1), (48, 3, 2, 1, 1), (96, 3, 2, 0, 1)]
PATCHES = [(32, 6, 4, 1, 1), (64, 3, 2, 1, 1)]
"""Blocks of channels, kernel, stride, padding and the width of the max-pooling (1: none)."""
CANDIDATES = {
    "pooled, 30 epochs, crops": (POOLED, {"epochs": 30, "crop": 1}),
    "pooled": (POOLED, {}),
    "strided, 30 epochs, crops": (STRIDED, {"epochs": 30, "crop": 1}),
    "strided, 20 epochs, crops": (STRIDED, {"epochs": 20, "crop": 1}),
    "strided, 10 epochs": (STRIDED, {"epochs": 10}),
    "strided, 12 epochs": (STRIDED, {"epochs": 12}),
    "strided, 10 epochs, no flips": (STRIDED, {"epochs": 10, "flip": False}),
    "strided, batches of 128": (STRIDED, {"batch_size": 128, "lr": 0.2}),
    "strided, triangle": (STRIDED, {"schedule": "triangle", "nesterov": True}),
    "strided, wider": (WIDER, {}),
    "strided by three": (COARSE, {}),
    "patches of six": (PATCHES, {}),
}


def network(blocks: list[tuple[int, ...]], classes: int, size: int) -> Classifier:
    """Convolution, BatchNorm, pooling and ReLU, block after block, and a linear head."""
    layers: list[nn.Module] = []
    inputs = 1
    for outputs, kernel, stride, padding, pool in blocks:
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)]
        layers += [nn.BatchNorm2d(outputs), *([nn.MaxPool2d(pool)] if pool > 1 else [])]
        layers += [nn.ReLU(inplace=True)]
        inputs = outputs
    backbone = nn.Sequential(*layers, nn.Flatten())
    width = backbone.eval()(torch.zeros(1, 1, size, size)).shape[1]
    return Classifier(backbone, nn.Linear(width, classes))


def measure(make, recipe: Recipe, data: Dataset) -> dict[str, float]:
    """The means of one candidate over SEEDS; make: a new network from torch's generator."""
    found = []
    for seed in SEEDS:
        shuffled = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
        forget, retain = shuffled.split([len(shuffled) // 10, len(shuffled) - len(shuffled) // 10])
        original, spent = trained(make, data, torch.arange(len(data.train)), recipe, seed)
        oracle, _ = trained(make, data, retain, recipe, seed + len(SEEDS))
        test = accuracy(original, data.test)
        scores = [
            homogeneous_removal_aus(
                accuracy(model, data.test), test, accuracy(model, data.train, forget)
            )
            for model in (original, oracle)
        ]
        begun = time.process_time()
        predict(original, data.train)
        evaluated = (time.process_time() - begun) / len(data.train)
        found.append((test, *scores, scores[1] - scores[0], spent, evaluated))
    names = ("test", "original", "oracle", "contrast", "seconds", "evaluated")
    return dict(zip(names, map(statistics.fmean, zip(*found, strict=True)), strict=True))


def trained(make, data, indices, recipe, seed) -> tuple[Classifier, float]:
    """A network trained on the images at `indices`, and the CPU seconds of its training."""
    torch.manual_seed(seed_for("init", seed))
    model = make().to(memory_format=torch.channels_last)
    begun = time.process_time()
    train(model, data.train, indices, recipe, seed, log=lambda line: None)
    return model, time.process_time() - begun


def main() -> None:
    """Measure every candidate and print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="the packed embedded data set")
    parser.add_argument("--only", nargs="*", help="candidates; without it all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(options.data)
    config = yaml.safe_load((PROJECT / "configs/mini.yaml").read_text(encoding="utf-8"))[
        "experiments"
    ][0]
    size = data.train.images.shape[-1]
    candidates = {
        name: (lambda b=blocks: network(b, data.classes, size), {**config["training"], **changes})
        for name, (blocks, changes) in CANDIDATES.items()
    }
    candidates["chosen"] = (lambda: build(config["arch"], data.classes, 1), config["training"])
    print(
        "| candidate | parameters | epochs | test accuracy (%) | AUS, original | AUS, oracle |",
        end="",
    )
    print(" contrast | CPU s a training | µs an image, training | evaluation |")
    print("|---|" + "---:|" * 9)
    for name, (make, recipe) in candidates.items():
        if options.only and name not in options.only:
            continue
        recipe = Recipe(**recipe)
        row = measure(make, recipe, data)
        parameters = sum(p.numel() for p in make().parameters())
        passed = recipe.epochs * len(data.train)
        print(
            f"| {name} | {parameters:,} | {recipe.epochs} | {100 * row['test']:.1f} |"
            f" {row['original']:.3f} | {row['oracle']:.3f} | {row['contrast']:.3f} |"
            f" {row['seconds']:.1f} | {1e6 * row['seconds'] / passed:.0f} |"
            f" {1e6 * row['evaluated']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
