"""Load a cell's settings and model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearning.data.batches import Dataset
from unlearning.files import load_tensors
from unlearning.models import build
from unlearning.models.base import Classifier
from unlearning.records.record import RECORD, check_made, read_record
from unlearning.runtime.device import has_bfloat16


def cell_settings(cell: str | Path) -> dict[str, Any]:
    """The settings in the record of the cell in a folder."""
    return read_record(Path(cell) / RECORD)["settings"]


def cell_model(cell: str | Path, dataset: Dataset) -> Classifier:
    """The model of the cell in a folder, checked against its record, on the device of `dataset`."""
    record, path = read_record(Path(cell) / RECORD), Path(cell) / "model.safetensors"
    check_made(path, "model", record)
    precision = record.get("precision", record["settings"]["precision"])
    if precision != "float32" and not has_bfloat16(dataset.train.images.device.type):
        precision = "float32"  # looking at a model in float32 is right everywhere
    return load_model({**record["settings"], "precision": precision}, dataset, path)


def load_model(settings: Mapping[str, Any], dataset: Dataset, path: str | Path) -> Classifier:
    """Weights of a cell or of its start, channels-last, on the device of `dataset`.

    The head has no dropout (as in the release from Nov 2023 on).
    """
    channels = dataset.train.images.shape[1]
    arch, precision = settings["start_arch"], settings["precision"]
    model = build(arch, dataset.classes, channels, precision=precision)
    model.load_state_dict(load_tensors(path))
    return on_device(model, dataset)


def on_device(model: Classifier, dataset: Dataset) -> Classifier:
    """The model on the device of `dataset`, channels-last."""
    return model.to(dataset.train.device, memory_format=torch.channels_last)
