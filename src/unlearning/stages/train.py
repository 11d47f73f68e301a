"""train: train an original on all training images, or an oracle on those that a split retains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearning.data.batches import Dataset, recorded_dataset
from unlearning.data.splits import check_split, retained
from unlearning.files import read_json, save_tensors
from unlearning.recipe import Recipe
from unlearning.records.entry import stage_modules
from unlearning.records.record import computed_on, new_record, write_record
from unlearning.runtime.device import choose_device
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for
from unlearning.training.loop import accuracy, train
from unlearning.training.start import new_model, pretrained_weights, resumable


def main(argv: list[str]) -> None:
    """Write the model and its record; an interrupted training resumes."""
    left_out = {"help": "split whose forget set is left out: trains an oracle"}
    shared = ("data", "pretrained", "settings", "model", "record")
    options = asked(argv, __doc__, *shared, split=left_out)
    settings = json.loads(options.settings)
    if ("split" in settings) != (options.split is not None):
        raise ValueError("an oracle needs --split and settings that name it; an original neither")
    inputs = {role: getattr(options, role) for role in ("data", "split", "pretrained")}
    record = new_record(settings, inputs, stage_modules("train", settings["arch"]))
    device = choose_device(settings["threads"])
    dataset = recorded_dataset(record, device)
    weights = pretrained_weights(settings, options.pretrained, record["inputs"])
    indices = _indices(dataset, options.split).to(device)

    resume = Path(options.model).parent / "resume"
    precision, state = resumable(resume, record, device)
    seed = seed_for(*identity(settings), "weights")
    model = new_model({**settings, "precision": precision}, dataset, seed, weights).to(device)
    seconds = train(
        model,
        dataset.train,
        indices,
        Recipe(**settings["training"]),
        seed_for(*identity(settings), "batches"),
        state,
    )
    record |= {
        "training_images": len(indices),
        "training_seconds": seconds,
        "train_accuracy": accuracy(model, dataset.train, indices),
        "test_accuracy": accuracy(model, dataset.test),
        **computed_on(device, precision),
    }
    save_tensors(options.model, model.state_dict())
    write_record(options.record, record, {"model": options.model})
    shutil.rmtree(resume, ignore_errors=True)


def identity(settings: Mapping[str, Any]) -> tuple[str | int, ...]:
    """What the seeds of one training derive from: an oracle's differ from its original's."""
    parts = ("dataset", "arch", "scenario", "split", "train_seed")
    return tuple(settings[key] for key in parts if key in settings)


def _indices(dataset: Dataset, split: str | None) -> torch.Tensor:
    """Positions of the training images to learn from."""
    if split is None:
        return torch.arange(len(dataset.train))
    content = read_json(split)
    check_split(content, split)
    return torch.from_numpy(retained(content["forget"], len(dataset.train)))
