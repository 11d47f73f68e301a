"""Amnesiac unlearning by relabelling (Graves et al., AAAI 2021): learn D_f wrongly, D_r rightly.

    ỹ drawn once per image of D_f, uniform over what it may be
    min_θ  mean over D_r ∪ {(x, ỹ)} of CE(f_θ(x), label)

ỹ is never the true label and, in class removal, never a forgotten class. The batches are of
both parts together, shuffled anew in each epoch. (The other method of that paper, which takes
back stored updates of the training, needs them recorded and is not this one.)

Touches: retain, forget. SGD with momentum, learning rate constant, plain images. Departs from
the authors' notebook, which goes on with the Adam of the training, in the optimizer; it removes
one class, so that what several classes or single images may get is decided here.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearning.data.batches import index_batches
from unlearning.methods.base import OptimizerSettings, OptionalStop, Problem
from unlearning.methods.delete import masked
from unlearning.models.base import Classifier

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "both"}


class Settings(OptionalStop, OptimizerSettings):
    """SGD on both parts together, its learning rate constant."""


def relabelled(
    labels: torch.Tensor, classes: int, forget_classes: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """One label a sample [N], uniform over the classes but its own and `forget_classes`."""
    scores = torch.rand(len(labels), classes, generator=generator)  # the largest is any of them
    return masked(scores.to(labels.device), labels, forget_classes).argmax(1)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run all epochs on `model` in place."""
    retain, forget = problem.indices("retain"), problem.indices("forget")
    known = problem.train.labels
    drawn = relabelled(known[forget], problem.classes, problem.forget_classes, problem.generator)
    indices, labels = torch.cat([retain, forget]), torch.cat([known[retain], drawn])
    optimizer = settings.optimizer(model.parameters())
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer):
        batches = index_batches(len(indices), settings.batch_size, problem.generator)
        batches = [positions.to(indices.device) for positions in batches]
        read = problem.train.batches(indices[positions] for positions in batches)
        for positions, (images, _) in zip(batches, read, strict=True):
            problem.step(optimizer, cross_entropy(model(images), labels[positions]))
        if problem.finished(model, settings):
            break
    return model
