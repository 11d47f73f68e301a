"""shortcut: measure how strongly each model answers a planted patch, for one training seed.

From stored models: predictions on clean and patched test images of the poisoned class, and the
share of the attribution for the wrong label that lies inside the patch.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import torch

from unlearning.analysis.attributions import explain, mass_inside
from unlearning.analysis.shortcut import shortcut
from unlearning.config.blocks import Attributions
from unlearning.data.batches import Images
from unlearning.data.patches import patch_mask, stamped
from unlearning.metrics import Unmeasurable, measure
from unlearning.models.base import Classifier
from unlearning.records import group
from unlearning.records.group import BATCH, Group, logits_of, pixels
from unlearning.runtime.options import asked
from unlearning.training.loop import accuracy, predict


def main(argv: list[str]) -> None:
    """Write rows for shortcut.csv as JSON."""
    wanted = {"help": "blocks.Attributions as JSON; else none are made"}
    options = asked(argv, __doc__, *group.OPTIONS, attributions=wanted)
    explained = Attributions(**json.loads(options.attributions)) if options.attributions else None
    found = group.read(options)
    rows = []
    for method in found.models:
        given = functools.partial(measures, found, method, explained)
        rows += measure(found.gaps, method, given) or []
    group.write(options, "shortcut", {"shortcut": rows}, found.gaps)


def measures(group: Group, method: str, explained: Attributions | None) -> list[dict[str, Any]]:
    """Rows of shortcut.csv for one model.

    Attributions that are not finite leave `attribution_mass` empty, with the reason in the group's
    gaps. Raises Unmeasurable without a test image of the source class or for other logits so.
    """
    poison, test, model = group.split["settings"], group.dataset.test, group.models[method]
    clean = test.images[test.labels == poison["source"]]
    patched = stamped(clean, poison["patch"])
    answers = [_answers(model, images, test) for images in (clean, patched)]
    strength = shortcut(*answers, poison["source"], poison["label"])
    found = {name: (value, len(clean)) for name, value in strength.items()}
    forget = torch.tensor(group.split["forget"], device=test.images.device)
    found["poisoned_accuracy"] = accuracy(model, group.dataset.train, forget), len(forget)
    found["test_accuracy"] = accuracy(model, test), len(test)
    mask = patch_mask(*clean.shape[-2:], poison["patch"])
    found["patch_area"] = float(mask.mean()), len(clean)
    if explained:
        some = pixels(patched[: explained.images])
        logits = logits_of(model, test)
        given = logits, some, explained.blur, explained.evaluations, BATCH
        name = f"{method}: attribution_mass"
        maps, _ = measure(group.gaps, name, functools.partial(explain, *given)) or ([], None)
        masses = [mass_inside(one[..., poison["label"]], mask) for one in maps]
        known = [mass for mass in masses if mass is not None]
        found["attribution_mass"] = float(np.mean(known)) if known else None, len(known)
    shared = {"method": method, "source": poison["source"], "label": poison["label"]}
    return [shared | {"measure": m, "value": v, "n": n} for m, (v, n) in found.items()]


def _answers(model: Classifier, images: torch.Tensor, like: Images) -> np.ndarray:
    """The predicted classes [N] of uint8 images [N, C, H, W], normalised as `like`.

    Raises Unmeasurable if a logit is not finite: the first such class would be the prediction.
    """
    if not len(images):
        raise Unmeasurable("there is no test image of the source class")
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    given = Images(images, labels, like.mean, like.std)
    logits = predict(model, given)
    if not torch.isfinite(logits).all():
        raise Unmeasurable("logits are not finite")
    return logits.argmax(1).cpu().numpy()
