"""Random Labels (Hayase et al., 2020): learn the data to forget with labels drawn anew.

    min_θ  mean over D_f of CE(f_θ(x), ỹ),   ỹ uniform, redrawn at every step

Touches: forget. Class removal draws from the retained classes; homogeneous removal from
all of them, the true one included, as the DUCK release does. Early stop as in
`negative_gradient`.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier

TOUCHES = frozenset({"forget"})


class Settings(SgdSettings):
    """See `SgdSettings`."""


def draw(labels: torch.Tensor, allowed: list[int], generator: torch.Generator) -> torch.Tensor:
    """One label a sample [B], uniform over `allowed`."""
    choice = torch.randint(len(allowed), (len(labels),), generator=generator)
    return torch.tensor(allowed)[choice].to(labels.device)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Descend on the cross-entropy of the data to forget with random labels."""

    def loss(images: torch.Tensor, labels: torch.Tensor, _) -> torch.Tensor:
        drawn = draw(labels, problem.retained_classes, problem.generator)
        return cross_entropy(model(images), drawn)

    return descend(model, problem, settings, "forget", loss)
