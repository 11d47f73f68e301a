"""explain: compute SHAP values of forgotten classes' test images for original, DUCK and oracle.

For one forget set and training seed; for each image's true class and for the class of the centroid
that DUCK would assign it to.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from unlearning.analysis.attributions import explain, map_correlation
from unlearning.config.blocks import Attributions
from unlearning.metrics import Unmeasurable, measure
from unlearning.records import group
from unlearning.records.group import BATCH, Group, logits_of, pixels
from unlearning.runtime.options import asked
from unlearning.training.loop import embed

PAIRS = (("duck", "oracle"), ("original", "oracle"), ("original", "duck"))


def main(argv: list[str]) -> None:
    """Write rows for attributions.csv, and the first image's maps for attribution_maps.csv."""
    options = asked(argv, __doc__, *group.OPTIONS, settings="blocks.Attributions as JSON")
    settings = Attributions(**json.loads(options.settings))
    found = group.read(options)
    empty = {"attributions": [], "attribution_maps": []}
    rows = measure(found.gaps, "attributions", lambda: attributions(found, settings)) or empty
    group.write(options, "explain", rows, found.gaps)


def attributions(group: Group, settings: Attributions) -> dict[str, list[dict[str, Any]]]:
    """Rows by file. The images are the first of the removed classes in the test part.

    A model whose logits are not finite is left out, for the reason in the group's gaps. Raises
    Unmeasurable without such an image or without the original's centroids.
    """
    test = group.dataset.test
    chosen = np.flatnonzero(np.isin(group.test_labels, group.split["classes"]))
    chosen = chosen[: settings.images]
    if not len(chosen):
        raise Unmeasurable("there is no test image of the removed classes")
    at = torch.from_numpy(chosen).to(test.images.device)
    assigned = group.assigned(embed(group.model("original"), test, at).cpu().numpy())
    asked = {"true": group.test_labels[chosen], "assigned": assigned}
    images = pixels(test.images[at])
    maps = {}
    for name, model in group.models.items():
        given = logits_of(model, test), images, settings.blur, settings.evaluations, BATCH
        explained = measure(group.gaps, f"attributions: {name}", functools.partial(explain, *given))
        if explained is None:
            continue
        values, _ = explained
        for output, classes in asked.items():
            maps[name, output] = values[np.arange(len(images)), ..., classes]
    shown = {"image": int(chosen[0]), "label": int(asked["true"][0]), "assigned": int(assigned[0])}
    drawn = {("image", f"channel_{c}"): images[0, ..., c] for c in range(images.shape[-1])}
    drawn |= {key: found[0] for key, found in maps.items()}
    return {
        "attributions": [row for k, n in enumerate(chosen) for row in _correlations(maps, k, n)],
        "attribution_maps": _grid(shown, drawn),
    }


def _correlations(maps: Mapping[tuple, np.ndarray], k: int, position: int) -> list[dict[str, Any]]:
    """The rows of one image: each pair of models that are both there, for each output."""
    return [
        {
            **{"image": int(position), "output": output, "pair": f"{one}~{other}"},
            "correlation": map_correlation(maps[one, output][k], maps[other, output][k]),
        }
        for output in ("true", "assigned")
        for one, other in PAIRS
        if {(one, output), (other, output)} <= maps.keys()
    ]


def _grid(shown: Mapping[str, int], drawn: Mapping[tuple, np.ndarray]) -> list[dict[str, Any]]:
    """A row a pixel of each map [H, W]; four significant digits are more than a colour shows."""
    return [
        {
            **shown,
            "model": model,
            "output": output,
            "row": y,
            "column": x,
            "value": float(f"{v:.4g}"),
        }
        for (model, output), values in drawn.items()
        for (y, x), v in np.ndenumerate(values)
    ]
