"""Boundary Shrink (Chen et al., CVPR 2023): give each image to its nearest other class.

    x' = x + ε · sign ∇_x CE(f_θo(x), y)           FGSM, clamped to the valid pixels
    y' = argmax over k ≠ y of f_θo(x')_k           the class across the nearest boundary
    min_θ  mean over D_f of CE(f_θ(x), y')         on the plain images x

Touches: forget. Class removal alone. With several forgotten classes y' is none of them: a class
that is to vanish is no neighbour. SGD with momentum, no early stop. ε is in pixels of 0..1;
on the normalised images it is ε / std of each channel.

Departs from the authors' code where that departs from the formula: there y' is the argmax over
all k, so an attack that fails gives the true label back; x' is rounded to whole grey levels; and
one channel's mean is mistyped. y' is found once per image instead of at every step: θ_o is in
evaluation mode and the attack has no randomness. As there, BatchNorm trains along.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.data.batches import Images
from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.methods.delete import masked
from unlearning.models.base import Classifier

TOUCHES = frozenset({"forget"})


class Settings(SgdSettings):
    """epsilon: the attack's step, in pixels of 0..1; the rest is `SgdSettings`."""

    epsilon: float = Field(gt=0, le=1)


def attack(
    model: Classifier, data: Images, images: torch.Tensor, labels: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """x' [B, C, H, W], normalised, from normalised images and labels [B]; model in its mode."""
    images = images.detach().requires_grad_()
    loss = cross_entropy(model(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    mean, std = (values.to(images.dtype).view(-1, 1, 1) for values in (data.mean, data.std))
    moved = images.detach() + epsilon / std * gradient.sign()
    return moved.clamp(-mean / std, (1 - mean) / std)


def neighbours(model: Classifier, problem: Problem, settings: Settings) -> torch.Tensor:
    """y' [F] of the data to forget; leaves the model in evaluation mode."""
    model.eval()
    found = []
    for indices in problem.indices("forget").split(settings.batch_size):
        images, labels = problem.train.batch(indices)
        images = attack(model, problem.train, images, labels, settings.epsilon)
        with torch.no_grad():
            scores = model(images)
        found.append(masked(scores, labels, problem.forget_classes).argmax(1))
    return torch.cat(found)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Descend on the cross-entropy of the data to forget with their neighbours' labels."""
    problem.require_class_removal("boundary_shrink")
    targets = neighbours(model, problem, settings)

    def loss(images: torch.Tensor, _, positions: torch.Tensor) -> torch.Tensor:
        return cross_entropy(model(images), targets[positions])

    return descend(model, problem, settings, "forget", loss)
