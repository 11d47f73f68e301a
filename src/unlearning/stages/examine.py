"""examine: the feature space of original, DUCK and oracle, of one forget set and training seed.

Log densities, silhouettes and margins of forgotten and retained classes, and where the
forgotten images go, from stored models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unlearning import group
from unlearning.analysis import density, geometry
from unlearning.group import Group
from unlearning.metrics.representation import balanced_sample
from unlearning.models.base import Classifier
from unlearning.studies import Features
from unlearning.training import layers

LAYERS = ("embedding", "intermediate")


def main(argv: list[str]) -> None:
    """Write rows for features.csv and destinations.csv as JSON."""
    parser = group.parser("examine", __doc__)
    parser.add_argument("--settings", required=True, help="studies.Features as JSON")
    options = parser.parse_args(argv)
    found = group.read(options)
    settings = Features(**json.loads(options.settings))
    views = {name: view(found, model) for name, model in found.models.items()}
    features = [*space(found, views, settings), *arrivals(found, views)]
    rows = {"features": list(features), "destinations": list(destinations(found, views))}
    group.write(options, "examine", rows)


@dataclass(frozen=True)
class View:
    """One model's features [N, D] by layer and its classes [N], of the training and test part.

    destinations: the class of the nearest retained centroid for each image of D_f, the
    centroids being the means of the model's own embeddings of D_r.
    """

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    train_predictions: np.ndarray
    test_predictions: np.ndarray
    destinations: np.ndarray


def view(group: Group, model: Classifier) -> View:
    """What is needed of a model, each layer of each image computed once."""
    parts = {}
    for part in ("train", "test"):
        found = layers(model, getattr(group.dataset, part))
        tensors = dict(zip(LAYERS, found, strict=True))
        with torch.inference_mode():
            predicted = model.head(tensors["embedding"]).argmax(1).cpu().numpy()
        arrays = {layer: tensor.cpu().numpy() for layer, tensor in tensors.items()}
        parts |= {part: arrays, f"{part}_predictions": predicted}
    embeddings, kept, classes = parts["train"]["embedding"], group.retain, group.retained_classes
    centres = geometry.class_means(embeddings[kept], group.train_labels[kept], classes)
    nearest = geometry.nearest(embeddings[group.split["forget"]], centres)
    return View(**parts, destinations=np.asarray(classes)[nearest])


def space(group: Group, views: dict[str, View], settings: Features) -> Iterator[dict[str, Any]]:
    """Rows of features.csv for density, silhouette and margin of each model and layer."""
    for name, seen in views.items():
        for layer in LAYERS:
            for (measure, percentile), values in _measures(group, name, seen, layer, settings):
                both = density.forget_and_retain(values, group.split["classes"])
                for part, value in zip(("forget", "retain"), both, strict=True):
                    yield _row(name, layer, measure, part, value, percentile)


def _measures(group: Group, name: str, seen: View, layer: str, settings: Features):
    """Measure and percentile, and the value of each class, on the test images."""
    features, labels = seen.test[layer], group.test_labels
    densities = density.class_log_densities(
        features,
        labels,
        seen.test_predictions,
        group.split["classes"],
        unlearned=name != "original",
        percentiles=settings.percentiles,
        components=settings.components,
    )
    for percentile in settings.percentiles:
        yield ("log_density", percentile), {c: densities[c][percentile] for c in densities}
    sample = balanced_sample(labels, settings.images // group.dataset.classes)
    silhouettes = geometry.silhouettes(features[sample], labels[sample])
    yield ("silhouette", None), geometry.by_class(silhouettes, labels[sample])
    classes = list(range(group.dataset.classes))
    centres = geometry.class_means(seen.train[layer], group.train_labels, classes)
    margins = geometry.margins(features, labels, centres, classes)
    yield ("margin", None), geometry.by_class(margins, labels)


def destinations(group: Group, views: dict[str, View]) -> Iterator[dict[str, Any]]:
    """Rows of destinations.csv: shares of D_f by nearest retained centroid and by prediction."""
    classes = list(range(group.dataset.classes))
    for name, seen in views.items():
        predicted = seen.train_predictions[group.split["forget"]]
        for by, reached in (("centroid", seen.destinations), ("prediction", predicted)):
            for label, share in geometry.shares(reached, classes).items():
                yield {"model": name, "by": by, "class": label, "share": share}


def arrivals(group: Group, views: dict[str, View]) -> Iterator[dict[str, Any]]:
    """Rows of features.csv on D_f: who reached the assigned centroid, how far from the oracle."""
    classes = list(range(group.dataset.classes))
    predicted = views["oracle"].train_predictions[group.split["forget"]]
    target = geometry.shares(predicted, classes)
    for name, seen in views.items():
        reached = float((seen.destinations == views["original"].destinations).mean())
        yield _row(name, "embedding", "reached", "forget", reached)
        distance = geometry.total_variation(geometry.shares(seen.destinations, classes), target)
        yield _row(name, "embedding", "destination_distance", "forget", distance)


def _row(model, layer, measure, part, value, percentile=None) -> dict[str, Any]:
    found = {"model": model, "layer": layer, "measure": measure, "part": part}
    return found | {"percentile": percentile, "value": value}
