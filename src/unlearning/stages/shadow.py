"""shadow: train a model on a random half of all images, for the membership attacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from unlearning.data.batches import Dataset, Images, recorded_dataset
from unlearning.files import save_tensors
from unlearning.recipe import Recipe
from unlearning.records.entry import stage_modules
from unlearning.records.record import computed_on, new_record, write_record
from unlearning.runtime.device import choose_device
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for
from unlearning.training.loop import predict, train
from unlearning.training.start import new_model, pretrained_weights, resumable


def main(argv: list[str]) -> None:
    """Write the shadow model's logits on all images, which it was trained on, and its record."""
    options = asked(argv, __doc__, "data", "pretrained", "settings", "outputs", "record")
    settings = json.loads(options.settings)
    inputs = {role: getattr(options, role) for role in ("data", "pretrained")}
    record = new_record(settings, inputs, stage_modules("shadow", settings["arch"]))
    device = choose_device(settings["threads"])
    dataset = recorded_dataset(record, device)
    weights = pretrained_weights(settings, options.pretrained, record["inputs"])
    images = all_images(dataset)
    chosen = torch.from_numpy(half(settings["dataset"], settings["shadow"], len(images)))

    resume = Path(options.outputs).parent / "resume"
    precision, state = resumable(resume, record, device)
    parts = ("shadow", settings["dataset"], settings["arch"], settings["shadow"])
    seed = seed_for(*parts, "weights")
    model = new_model({**settings, "precision": precision}, dataset, seed, weights).to(device)
    seconds = train(
        model,
        images,
        chosen.nonzero().flatten().to(device),
        Recipe(**settings["training"]),
        seed_for(*parts, "batches"),
        state,
    )
    record |= {
        "training_images": int(chosen.sum()),
        "training_seconds": seconds,
        **computed_on(device, precision),
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
