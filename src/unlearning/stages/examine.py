"""examine: measure the feature space of original, DUCK and oracle, for one forget set and seed.

Log densities, silhouettes and margins of forgotten and retained classes, and where the forgotten
images go; from stored models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from unlearning.analysis import density, geometry
from unlearning.config.blocks import Features
from unlearning.metrics import measure
from unlearning.metrics.representation import balanced_sample
from unlearning.records import group
from unlearning.records.group import Group, finite
from unlearning.runtime.options import asked
from unlearning.training.loop import layers

LAYERS = ("embedding", "intermediate")


def main(argv: list[str]) -> None:
    """Write rows for features.csv and destinations.csv as JSON."""
    options = asked(argv, __doc__, *group.OPTIONS, settings="studies.Features as JSON")
    found = group.read(options)
    settings = Features(**json.loads(options.settings))
    views = {name: measure(found.gaps, name, partial(view, found, name)) for name in found.models}
    views = {name: seen for name, seen in views.items() if seen is not None}
    features = [*space(found, views, settings), *arrivals(found, views)]
    rows = {"features": list(features), "destinations": list(destinations(found, views))}
    group.write(options, "examine", rows, found.gaps)


@dataclass(frozen=True)
class View:
    """One model's features [N, D] by layer and its classes [N], of the training and test part.

    destinations: the class of the nearest retained centroid for each image of D_f, the
    centroids being the means of the model's own embeddings of D_r; None if a class has none.
    """

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    train_predictions: np.ndarray
    test_predictions: np.ndarray
    destinations: np.ndarray | None


def view(group: Group, name: str) -> View:
    """What is needed of a model, each layer of each image computed once.

    Raises Unmeasurable if one of them is not finite.
    """
    parts, model = {}, group.model(name)
    for part in ("train", "test"):
        found = layers(model, getattr(group.dataset, part))
        tensors = dict(zip(LAYERS, found, strict=True))
        with torch.inference_mode():
            predicted = model.head(tensors["embedding"]).argmax(1).cpu().numpy()
        arrays = {layer: finite(tensor.cpu().numpy()) for layer, tensor in tensors.items()}
        parts |= {part: arrays, f"{part}_predictions": predicted}
    embeddings, kept, classes = parts["train"]["embedding"], group.retain, group.retained_classes

    def reached() -> np.ndarray:
        centres = geometry.class_means(embeddings[kept], group.train_labels[kept], classes)
        nearest = geometry.nearest(embeddings[group.split["forget"]], centres)
        return np.asarray(classes)[nearest]

    return View(**parts, destinations=measure(group.gaps, f"{name}: destinations", reached))


def space(group: Group, views: dict[str, View], settings: Features) -> Iterator[dict[str, Any]]:
    """Rows of features.csv for density, silhouette and margin of each model and layer."""
    for name, seen in views.items():
        for layer in LAYERS:
            given = _measures(group, name, seen, layer, settings)
            for what, function in given.items():
                found = measure(group.gaps, f"{name}: {what} of {layer}", function) or {}
                for percentile, values in found.items():
                    both = density.forget_and_retain(values, group.split["classes"])
                    for part, value in zip(("forget", "retain"), both, strict=True):
                        yield _row(name, layer, what, part, value, percentile)


def _measures(group: Group, name: str, seen: View, layer: str, settings: Features):
    """By measure a function that gives, by percentile, the value of each class of test images."""
    features, labels = seen.test[layer], group.test_labels

    def log_density() -> dict[float | None, dict[int, float | None]]:
        densities = density.class_log_densities(
            features,
            labels,
            seen.test_predictions,
            group.split["classes"],
            unlearned=name != "original",
            percentiles=settings.percentiles,
            components=settings.components,
        )
        return {p: {c: densities[c][p] for c in densities} for p in settings.percentiles}

    def silhouette() -> dict[float | None, dict[int, float | None]]:
        sample = balanced_sample(labels, settings.images // group.dataset.classes)
        silhouettes = geometry.silhouettes(features[sample], labels[sample])
        return {None: geometry.by_class(silhouettes, labels[sample])}

    def margin() -> dict[float | None, dict[int, float | None]]:
        classes = list(range(group.dataset.classes))
        centres = geometry.class_means(seen.train[layer], group.train_labels, classes)
        return {
            None: geometry.by_class(geometry.margins(features, labels, centres, classes), labels)
        }

    return {"log_density": log_density, "silhouette": silhouette, "margin": margin}


def destinations(group: Group, views: dict[str, View]) -> Iterator[dict[str, Any]]:
    """Rows of destinations.csv: shares of D_f by nearest retained centroid and by prediction."""
    classes = list(range(group.dataset.classes))
    for name, seen in views.items():
        predicted = seen.train_predictions[group.split["forget"]]
        for by, reached in (("centroid", seen.destinations), ("prediction", predicted)):
            if reached is None:
                continue
            for label, share in geometry.shares(reached, classes).items():
                yield {"model": name, "by": by, "class": label, "share": share}


def arrivals(group: Group, views: dict[str, View]) -> Iterator[dict[str, Any]]:
    """Rows of features.csv on D_f: who reached the assigned centroid, how far from the oracle.

    Each needs the destinations of the model and the view of the original or of the oracle.
    """
    classes = list(range(group.dataset.classes))
    original, oracle = views.get("original"), views.get("oracle")
    for name, seen in views.items():
        if seen.destinations is None:
            continue
        if original and original.destinations is not None:
            reached = float((seen.destinations == original.destinations).mean())
            yield _row(name, "embedding", "reached", "forget", reached)
        if oracle:
            predicted = oracle.train_predictions[group.split["forget"]]
            sides = (geometry.shares(side, classes) for side in (seen.destinations, predicted))
            distance = geometry.total_variation(*sides)
            yield _row(name, "embedding", "destination_distance", "forget", distance)


def _row(model, layer, measure, part, value, percentile=None) -> dict[str, Any]:
    found = {"model": model, "layer": layer, "measure": measure, "part": part}
    return found | {"percentile": percentile, "value": value}
