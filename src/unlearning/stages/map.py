"""map: project the embeddings of original, DUCK and oracle to one plane, for one forget set."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from unlearning.analysis import geometry
from unlearning.metrics import measure
from unlearning.metrics.representation import balanced_sample
from unlearning.records import group
from unlearning.records.group import Group
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for


def main(argv: list[str]) -> None:
    """Write rows for maps.csv as JSON."""
    images = {"required": True, "type": int, "help": "training images in the map"}
    options = asked(argv, __doc__, *group.OPTIONS, images=images)
    found = group.read(options)
    rows = measure(found.gaps, "maps", lambda: embedding_map(found, options.images)) or []
    group.write(options, "map", {"maps": rows}, found.gaps)


def embedding_map(group: Group, images: int) -> list[dict[str, Any]]:
    """Rows of maps.csv: a class-balanced sample of the training images, and the centroids.

    DUCK starts from the original, so their embeddings share their axes; the oracle's are turned
    onto the original's by retained images that are not in the map, so that none is fitted that
    is shown. The centroids are the original's, of D_r. A model whose embeddings are not finite or
    cannot be turned is left out, for the reason in the group's gaps; without the original, all are.
    """
    labels, centres = group.train_labels, group.centroids()
    every = np.arange(len(labels))
    sample = balanced_sample(labels, images // group.dataset.classes)
    forgotten = np.isin(sample, group.split["forget"])
    fitted = np.isin(every, group.retain) & ~np.isin(every, sample)
    original = group.train_embeddings("original", every)

    def turned(name: str) -> np.ndarray:
        stack = original if name == "original" else group.train_embeddings(name, every)
        return geometry.aligned(stack, original, fitted) if name == "oracle" else stack

    stacks = {
        name: measure(group.gaps, f"maps: {name}", functools.partial(turned, name))
        for name in group.models
    }
    stacks = {name: stack[sample] for name, stack in stacks.items() if stack is not None}
    assigned = group.assigned(stacks["original"])
    seed = seed_for("map", group.split["sha256"]) % 2**32
    planes = geometry.joint_map(stacks | {"centroids": centres}, seed)
    rows = [
        _row(name, "image", planes[name][k], labels[at], assigned[k] if forgotten[k] else None)
        for name in stacks
        for k, at in enumerate(sample)
    ]
    return rows + [
        _row("original", "centroid", point, label, None)
        for label, point in zip(group.retained_classes, planes["centroids"], strict=True)
    ]


def _row(model, kind, point, label, assigned) -> dict[str, Any]:
    x, y = (round(float(value), 4) for value in point)
    found = {"model": model, "kind": kind, "x": x, "y": y, "class": int(label)}
    forgotten = assigned is not None
    return found | {"forgotten": int(forgotten), "assigned": int(assigned) if forgotten else None}
