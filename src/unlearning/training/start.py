"""What a training starts from: a new model, pretrained weights, or a state that was saved."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearning.data.batches import Dataset, load_packed
from unlearning.files import canonical_json, sha256_text
from unlearning.models import ERM, PRETRAINED, build
from unlearning.models.base import Classifier, Weights
from unlearning.runtime.device import usable_precision


def state_file(folder: Path, record: Mapping[str, Any], precision: str) -> Path:
    """Where a job keeps what it resumes from: a name for its settings, inputs, code, precision."""
    made_by = [record["settings"], record["inputs"], record["code_sha256"], precision]
    return folder / f"{sha256_text(canonical_json(made_by))[:16]}.safetensors"


def resumable(folder: Path, record: Mapping[str, Any], device: str) -> tuple[str, Path]:
    """The precision that a job computes in, and the file in which it saves its state.

    A job that has saved a state in one precision goes on in it (`usable_precision`).
    """
    state = functools.partial(state_file, folder, record)
    wanted = record["settings"]["precision"]
    precision = usable_precision(wanted, device, lambda p: state(p).exists())
    return precision, state(precision)


def pretrained_weights(
    settings: Mapping[str, Any], path: str | None, inputs: Mapping[str, str]
) -> Weights:
    """The packed weights that the settings ask for, checked; None where they ask for none.

    inputs: the record's hashes. Raises DamagedFile if the file is not the one that the facts
    beside it state, ValueError if it is of another network, missing or not asked for.
    """
    if settings["pretrained"] != (path is not None):
        raise ValueError("settings with `pretrained: true` need --pretrained, others have none")
    if path is None:
        return None
    facts, weights = load_packed(path, inputs["pretrained"])
    wanted = PRETRAINED[settings["arch"].removesuffix(ERM)]
    if facts["name"] != wanted:
        raise ValueError(f"{path}: weights of {facts['name']}; {settings['arch']} needs {wanted}")
    return weights


def new_model(
    settings: Mapping[str, Any], dataset: Dataset, seed: int, pretrained: Weights = None
) -> Classifier:
    """An untrained model of the settings' architecture, channels-last in memory."""
    torch.manual_seed(seed)
    model = build(
        settings["arch"],
        dataset.classes,
        dataset.train.images.shape[1],
        pretrained,
        settings["head_dropout"],
        settings["precision"],
    )
    return model.to(memory_format=torch.channels_last)
