"""NegGrad+ (Kurmanji et al., NeurIPS 2023): climb on D_f and descend on D_r in one loss.

    min_θ  β · mean over a batch of D_r of CE(f_θ(x), y)
           - (1 - β) · mean over a batch of D_f of CE(f_θ(x), y)

An epoch is one pass over D_r; beside it, passes over D_f follow one another without end.
The two batches go through the network one after the other, so that BatchNorm normalises
each by itself in training mode; its running statistics see both.

Touches: retain, forget. No early stop in its paper: `stop: never`. Departs from the authors'
code in that D_f is shuffled anew for each of its passes: there `itertools.cycle` repeats the
batches of the first one. There α is β here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "retain"}


class Settings(SgdSettings):
    """β is the weight of the data to retain; the rest as in `SgdSettings`."""

    beta: float = Field(ge=0, le=1)


def balance(retain: torch.Tensor, forget: torch.Tensor, beta: float) -> torch.Tensor:
    """β · retain - (1 - β) · forget, of two scalar losses."""
    return beta * retain - (1 - beta) * forget


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run SGD on the joint loss, the epochs counted in passes over the retained data."""
    others = problem.endless("forget", settings.batch_size)

    def loss(images: torch.Tensor, labels: torch.Tensor, _) -> torch.Tensor:
        retain = cross_entropy(model(images), labels)
        images, labels, _ = next(others)
        return balance(retain, cross_entropy(model(images), labels), settings.beta)

    return descend(model, problem, settings, "retain", loss)


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    return settings["epochs"] * 2 * retain
