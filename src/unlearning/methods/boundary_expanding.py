"""Boundary Expanding (Chen et al., CVPR 2023): D_f moves to a class that is then taken away.

    f⁺_θ = the network with a head of K + 1 outputs, the last one new
    min_θ  mean over D_f of CE(f⁺_θ(x), K)         outputs counted from 0: K is the new one
    f_θ  = f⁺_θ without its last output

The K old rows of the head start as they were and train along; the new one is drawn as torch
draws a linear layer. The model that comes back has the shapes of the one that went in.

Touches: forget; of its labels nothing but that they are to be forgotten. Class removal alone;
several classes share the one new output. SGD with momentum, no early stop: its accuracy would
count the new output. Departs from the authors' code in nothing known but how the new row is
drawn. As there, BatchNorm trains along.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier

TOUCHES = frozenset({"forget"})


class Settings(SgdSettings):
    """See `SgdSettings`."""

    stop: Literal["never"]


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """The layer with copies of this weight [K, D] and bias [K], on their device."""
    layer = nn.utils.skip_init(nn.Linear, *weight.T.shape, device=weight.device, dtype=weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def widened(head: nn.Linear, generator: torch.Generator) -> nn.Linear:
    """The head with one output more, whose weights and bias are uniform in ± 1 / √D."""
    drawn = 2 * torch.rand(head.in_features + 1, generator=generator) - 1
    drawn = (drawn / head.in_features**0.5).to(head.weight)
    weight = torch.cat([head.weight, drawn[None, :-1]])
    return linear(weight, torch.cat([head.bias, drawn[-1:]]))


def narrowed(head: nn.Linear) -> nn.Linear:
    """The head without its last output."""
    return linear(head.weight[:-1], head.bias[:-1])


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Descend on the cross-entropy of the data to forget with the new output, and remove it."""
    problem.require_class_removal("boundary_expanding")
    shadow = model.head.out_features
    model.head = widened(model.head, problem.generator)

    def loss(images: torch.Tensor, labels: torch.Tensor, _) -> torch.Tensor:
        return cross_entropy(model(images), torch.full_like(labels, shadow))

    model = descend(model, problem, settings, "forget", loss)
    model.head = narrowed(model.head)
    return model
