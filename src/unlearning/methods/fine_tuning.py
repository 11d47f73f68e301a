"""Fine-Tuning (Golatkar et al., CVPR 2020): go on training, on the retained data alone.

    min_θ  mean over D_r of CE(f_θ(x), y)

Touches: retain. SGD with momentum, learning rate halved at milestones, plain images.
As in the DUCK release there is no early stop (its target is 0): all epochs run.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier

TOUCHES = frozenset({"retain"})


class Settings(SgdSettings):
    """See `SgdSettings`."""


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Descend on the cross-entropy of the retained data."""

    def loss(images: torch.Tensor, labels: torch.Tensor, _) -> torch.Tensor:
        return cross_entropy(model(images), labels)

    return descend(model, problem, settings, "retain", loss)
