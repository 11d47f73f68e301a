"""ℓ1-sparse unlearning (Jia et al., NeurIPS 2023): fine-tuning that also thins the weights.

    min_θ  mean over D_r of CE(f_θ(x), y) + γ_e · ‖θ‖₁
    γ_e = γ · (1 − e / E)   in epoch e = 0 … E − 1 of E

‖θ‖₁ is over all parameters, BatchNorm's weights and biases among them, as in the authors'
code, whose schedule this is too: γ at first, γ / E in the last epoch. SGD with momentum at a
constant learning rate, plain images.

Touches: retain. Departs from the authors' code in nothing known but its augmented images.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.methods.base import OptimizerSettings, Problem
from unlearning.models.base import Classifier

TOUCHES = frozenset({"retain"})


class Settings(OptimizerSettings):
    """gamma: γ, per unit of ‖θ‖₁, a sum over all weights; the rest is SGD's."""

    gamma: float = Field(ge=0)


def strength(gamma: float, epoch: int, epochs: int) -> float:
    """γ_e in epoch 0 … epochs − 1."""
    return gamma * (1 - epoch / epochs)


def l1_norm(model: Classifier) -> torch.Tensor:
    """‖θ‖₁ over all parameters."""
    return torch.stack([weight.abs().sum() for weight in model.parameters()]).sum()


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run all epochs on `model` in place."""
    optimizer = settings.optimizer(model.parameters())
    model.train()
    for epoch in problem.epochs(settings.epochs, model, optimizer):
        gamma = strength(settings.gamma, epoch, settings.epochs)
        for images, labels, _ in problem.batches("retain", settings.batch_size):
            loss = cross_entropy(model(images), labels) + gamma * l1_norm(model)
            problem.step(optimizer, loss)
    return model
