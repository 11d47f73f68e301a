"""SalUn (Fan et al., ICLR 2024): random labels for D_f, D_r kept, salient weights alone move.

    s = |∇_θ mean over D_f of CE(f_θ(x), y)|  at θ_o, in evaluation mode
    m = 1[s ≥ its quantile `sparsity` over all weights together],  0.5: the median
    min over m ⊙ θ of  mean over D_f of CE(f_θ(x), ỹ),  then  mean over D_r of CE(f_θ(x), y)

Each epoch is a pass of SGD over D_f with labels drawn anew, then one over D_r, as in the
authors' CIFAR-10 code. ỹ is uniform: in class removal over the retained classes, for any
other would still be the forgotten part of the label set; in homogeneous removal over all
classes but the true one, the paper's ỹ ≠ y.

Touches: retain, forget. The weights outside m keep the original's bits: they are put back
after each step, whatever momentum and weight decay did. A weight without any gradient is
outside m. BatchNorm's running statistics are no weights; they move in both passes.

Departs from the authors' code, which may draw the true label and whose versions differ: one
masks gradients alone, so that weight decay moves every weight; another steps along −CE while
it sums the gradients for m, and marks the least salient weights.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.methods.base import OptimizerSettings, OptionalStop, Problem
from unlearning.methods.random_labels import draw
from unlearning.models.base import Classifier

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "both"}


class Settings(OptionalStop, OptimizerSettings):
    """sparsity: share of the weights that stay as they are; the rest is SGD's, lr constant."""

    sparsity: float = Field(ge=0, lt=1)


def saliency(model: Classifier, problem: Problem, batch_size: int) -> list[torch.Tensor]:
    """|∇_θ of the mean CE over D_f| of each parameter, in evaluation mode."""
    weights = list(model.parameters())
    total = [torch.zeros_like(weight) for weight in weights]
    model.eval()
    for images, labels, _ in problem.batches("forget", batch_size):
        loss = cross_entropy(model(images), labels, reduction="sum")
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for sums, gradient in zip(total, gradients, strict=True):
            sums += gradient
    return [sums.abs() / len(problem.indices("forget")) for sums in total]


def masks(salient: list[torch.Tensor], sparsity: float) -> list[torch.Tensor]:
    """True for the weights that may move: all but the share `sparsity` with the least saliency.

    One threshold holds for all tensors together; ties with it move, zeros never do.
    """
    every = torch.cat([tensor.flatten() for tensor in salient])
    threshold = every.kthvalue(int(sparsity * len(every)) + 1).values
    return [(tensor >= threshold) & (tensor > 0) for tensor in salient]


def draw_other(labels: torch.Tensor, classes: int, generator: torch.Generator) -> torch.Tensor:
    """One label a sample [B], uniform over the classes but its own."""
    shift = torch.randint(1, classes, (len(labels),), generator=generator)
    return (labels + shift.to(labels.device)) % classes


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run all epochs on `model` in place."""
    weights = list(model.parameters())
    moving = masks(saliency(model, problem, settings.batch_size), settings.sparsity)
    original = [weight.detach().clone() for weight in weights]
    optimizer = settings.optimizer(weights)

    def learn(images: torch.Tensor, labels: torch.Tensor) -> None:
        problem.step(optimizer, cross_entropy(model(images), labels))
        with torch.no_grad():
            for weight, mask, start in zip(weights, moving, original, strict=True):
                weight.copy_(torch.where(mask, weight, start))

    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer):
        for images, labels, _ in problem.batches("forget", settings.batch_size):
            learn(images, _random(labels, problem))
        for images, labels, _ in problem.batches("retain", settings.batch_size):
            learn(images, labels)
        if problem.finished(model, settings):
            break
    return model


def _random(labels: torch.Tensor, problem: Problem) -> torch.Tensor:
    if problem.scenario == "class_removal":
        return draw(labels, problem.retained_classes, problem.generator)
    return draw_other(labels, problem.classes, problem.generator)
