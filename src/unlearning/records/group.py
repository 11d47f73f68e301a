"""Load a group's data, forget set and models, for stages that look into models.

A group is one forget set and training seed; its models are those of its cells that are ok.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearning.analysis import geometry
from unlearning.data.batches import Dataset, Images, load_dataset
from unlearning.data.splits import check_split, retained
from unlearning.files import read_json, write_sealed
from unlearning.metrics import Unmeasurable, tell
from unlearning.models.base import Classifier
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import code_hash
from unlearning.records.record import RECORD, read_record
from unlearning.records.stored import cell_model, cell_settings
from unlearning.runtime.device import choose_device
from unlearning.training.loop import embed

OPTIONS = ("data", "split", "folder", "cells", "threads", "out")
"""What names a group and the file to write (runtime.options); `cells`: by method."""


@dataclass(frozen=True)
class Group:
    """models: those that are ok, by method. gaps: takes the reason for all that is left out."""

    dataset: Dataset
    split: dict[str, Any]
    models: dict[str, Classifier]
    gaps: dict[str, str] = field(default_factory=dict)

    @property
    def retain(self) -> np.ndarray:
        """Positions of D_r in the training part."""
        return retained(self.split["forget"], len(self.dataset.train))

    @property
    def retained_classes(self) -> list[int]:
        """The classes that stay."""
        return [c for c in range(self.dataset.classes) if c not in self.split["classes"]]

    @property
    def train_labels(self) -> np.ndarray:
        """Labels [N] of the training part."""
        return self.dataset.train.labels.cpu().numpy()

    @property
    def test_labels(self) -> np.ndarray:
        """Labels [M] of the test part."""
        return self.dataset.test.labels.cpu().numpy()

    def train_embeddings(self, model: str, indices: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] of the training images at `indices` [n].

        Raises Unmeasurable if the model is not there or an embedding is not finite.
        """
        at = torch.as_tensor(indices, device=self.dataset.train.images.device)
        return finite(embed(self.model(model), self.dataset.train, at).cpu().numpy())

    def model(self, name: str) -> Classifier:
        """The model of a method; Unmeasurable if its cell is not ok."""
        if name not in self.models:
            raise Unmeasurable(f"the cell of {name} is not ok")
        return self.models[name]

    def centroids(self) -> np.ndarray:
        """The original's centroids [R, D] of the retained classes, from D_r, as DUCK takes them."""
        kept = self.retain
        embeddings = self.train_embeddings("original", kept)
        return geometry.class_means(embeddings, self.train_labels[kept], self.retained_classes)

    def assigned(self, embeddings: np.ndarray) -> np.ndarray:
        """Class [n] of the centroid nearest to the original's embeddings [n, D]."""
        return np.asarray(self.retained_classes)[geometry.nearest(embeddings, self.centroids())]


def finite(features: np.ndarray) -> np.ndarray:
    """`features`; Unmeasurable if one of them is not finite."""
    if not np.isfinite(features).all():
        raise Unmeasurable("embeddings are not finite")
    return features


def read(options: argparse.Namespace) -> Group:
    """The group that the options name."""
    device = choose_device(options.threads)
    split = read_json(options.split)
    check_split(split, options.split)
    cells = json.loads(options.cells)
    moments = cell_settings(Path(options.folder) / cells["original"]).get("normalisation")
    dataset = load_dataset(options.data, split["settings"]["evaluation"], device, None, moments)
    models, gaps = {}, {}
    for method, cell in cells.items():
        folder = Path(options.folder) / cell
        record = read_record(folder / RECORD)
        if record["status"] == "ok":
            models[method] = cell_model(folder, dataset)
        else:
            gaps[method] = f"its cell is {record['status']}: {record['reason']}"
    return Group(dataset, split, models, gaps)


def write(
    options: argparse.Namespace,
    verb: str,
    rows: Mapping[str, list[dict[str, Any]]],
    gaps: Mapping[str, str],
) -> None:
    """Write rows by the file that they are for, and the hash of the code that found them.

    gaps: what could not be measured, with the reason; also printed.
    """
    tell(verb, gaps)
    oracle = Path(options.folder) / json.loads(options.cells)["oracle"]
    modules = stage_modules(verb, cell_settings(oracle)["arch"])
    found = {"rows": dict(rows), "unmeasured": dict(gaps), "code_sha256": code_hash(modules)}
    write_sealed(options.out, found)


BATCH = 100


def pixels(images: torch.Tensor) -> np.ndarray:
    """uint8 [N, C, H, W] as float32 [N, H, W, C] in 0..255, as `explain` takes them."""
    return images.permute(0, 2, 3, 1).cpu().numpy().astype(np.float32)


def logits_of(model: Classifier, like: Images) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of pixels [B, H, W, C] in 0..255, normalised as `like`, to logits."""
    model.eval()

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        batch = torch.tensor(images).permute(0, 3, 1, 2)  # a copy: normalising works in place
        return model(like.normalise(batch.to(like.images.device))).cpu().numpy()

    return logits
