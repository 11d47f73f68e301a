"""Negative Gradient (Golatkar et al., CVPR 2020): climb the loss of the data to forget.

    max_θ  mean over D_f of CE(f_θ(x), y)

Touches: forget. SGD with momentum, learning rate halved at milestones, plain images.
The first release stops early by DUCK's own rule, its later state does not (duck.md,
D12); here `stop` says which, and the tables' settings use the rule.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier

TOUCHES = frozenset({"forget"})


class Settings(SgdSettings):
    """See `SgdSettings`."""


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Climb the cross-entropy of the data to forget."""

    def loss(images: torch.Tensor, labels: torch.Tensor, _) -> torch.Tensor:
        return -cross_entropy(model(images), labels)

    return descend(model, problem, settings, "forget", loss)
