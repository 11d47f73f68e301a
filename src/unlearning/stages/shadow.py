"""shadow: train a model on a random half of all images, for the membership attacks."""

from __future__ import annotations

import argparse
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from unlearning.data.batches import Dataset, Images, load_dataset
from unlearning.files import save_tensors
from unlearning.recipe import Recipe
from unlearning.records.entry import stage_modules
from unlearning.records.record import new_record, peak_memory_mb, write_record
from unlearning.runtime.device import choose_device, usable_precision
from unlearning.seeds import seed_for
from unlearning.training.loop import predict, train
from unlearning.training.start import new_model, pretrained_weights, state_file


def main(argv: list[str]) -> None:
    """Write the shadow model's logits on all images, which it was trained on, and its record."""
    parser = argparse.ArgumentParser(prog="unlearning shadow", description=__doc__)
    parser.add_argument("--data", required=True, help="packed data set (safetensors)")
    parser.add_argument("--pretrained", help="packed weights to start from (safetensors)")
    parser.add_argument("--settings", required=True, help="the model's settings as JSON")
    parser.add_argument("--outputs", required=True, help="logits to write (safetensors)")
    parser.add_argument("--record", required=True, help="record to write (JSON)")
    options = parser.parse_args(argv)
    settings = json.loads(options.settings)
    modules = stage_modules("shadow", settings["arch"])
    inputs = {"data": options.data}
    inputs |= {"pretrained": options.pretrained} if options.pretrained else {}
    record = new_record(settings, inputs, modules)
    device = choose_device(settings["threads"])
    moments = settings.get("normalisation")
    dataset = load_dataset(
        options.data, settings["evaluation"], device, record["inputs"]["data"], moments
    )
    weights = pretrained_weights(settings, options.pretrained, record["inputs"])
    images = all_images(dataset)
    chosen = torch.from_numpy(half(settings["dataset"], settings["shadow"], len(images)))

    resume = Path(options.outputs).parent / "resume"
    state = functools.partial(state_file, resume, record)
    precision = usable_precision(settings["precision"], device, lambda p: state(p).exists())
    parts = ("shadow", settings["dataset"], settings["arch"], settings["shadow"])
    seed = seed_for(*parts, "weights")
    model = new_model({**settings, "precision": precision}, dataset, seed, weights).to(device)
    seconds = train(
        model,
        images,
        chosen.nonzero().flatten().to(device),
        Recipe(**settings["training"]),
        seed_for(*parts, "batches"),
        state(precision),
    )
    record |= {
        "training_images": int(chosen.sum()),
        "training_seconds": seconds,
        "peak_memory_mb": peak_memory_mb(device),
        "device": device,
        "precision": precision,
    }
    save_tensors(options.outputs, {"logits": predict(model, images), "trained_on": chosen})
    write_record(options.record, record, {"outputs": options.outputs})
    shutil.rmtree(resume, ignore_errors=True)


def all_images(dataset: Dataset) -> Images:
    """The training images, then the test images: the candidates of the attacks.

    Both, so that every candidate has shadow models that saw it and others that did not.
    """
    train, test = dataset.train, dataset.test
    images = torch.cat([train.images, test.images])
    return Images(images, torch.cat([train.labels, test.labels]), train.mean, train.std)


def half(dataset: str, shadow: int, count: int) -> np.ndarray:
    """Which of `count` images shadow model number `shadow` is trained on: bool [count].

    Numbers 2 k and 2 k + 1 have complementary halves: in every even pool each image is in
    exactly half of the training sets, and a larger pool keeps the models of a smaller one.
    """
    order = np.random.default_rng(seed_for("shadow half", dataset, shadow // 2)).permutation(count)
    first = order < count // 2
    return first if shadow % 2 == 0 else ~first
