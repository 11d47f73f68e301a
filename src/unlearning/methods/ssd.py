"""Selective Synaptic Dampening (Foster et al., AAAI 2024): shrink the weights D_f needs most.

With the diagonal of the empirical Fisher matrix at the original, squares taken per image:

    I_S = mean over (x, y) in S of (∇_θ CE(f_θ(x), y))²
    θ_j ← min(λ · I_D,j / I_f,j, 1) · θ_j     for each weight j with I_f,j > α · I_D,j

D is the whole training set, as in the paper: I_D = (|D_r| · I_r + |D_f| · I_f) / |D|. So
I_f ≤ I_D · |D| / |D_f|, and α ≥ |D| / |D_f| would change nothing: forgetting a tenth of the data
needs α < 10; the published α = 10 is for one class in a hundred. Such a cell is `failed`, with
that as its reason, and not the original under another name.

Touches: retain, forget. One edit without training; BatchNorm's weights are dampened like
others, its statistics stay, and gradients are taken in evaluation mode. The authors' code
squares the gradient of a batch's mean loss, which depends on the batch size and does not
keep the bound; here squares are per image, as in the Fisher matrix. I_r may come from a
random part of D_r; otherwise only the order of the images is random, which moves the result
by rounding alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from pydantic import Field
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from unlearning.methods.base import Impossible, Problem, frozen_copy
from unlearning.models.base import Classifier
from unlearning.recipe import Strict

TOUCHES = frozenset({"retain", "forget"})

Importance = dict[str, torch.Tensor]
"""For each parameter, by name, a tensor of its shape."""


class Settings(Strict):
    """alpha: α; dampening: λ; batch_size: images whose gradients are held at once.

    importance_images: retained images behind I_r, rounded up to whole batches; all if fewer.
    """

    alpha: float = Field(gt=0)
    dampening: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    importance_images: int = Field(gt=0)


def squared_gradients(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> Importance:
    """Sum over images [B, C, H, W] with labels [B] of each image's own (∇_θ CE)².

    `model` must be in evaluation mode: BatchNorm cannot train on one image.
    """
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(weights: Importance, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits = functional_call(model, (weights, buffers), (image[None],))
        return cross_entropy(logits, label[None])

    gradients = vmap(grad(loss), (None, 0, 0))(weights, images, labels)
    return {name: each.square().sum(0) for name, each in gradients.items()}


def mean_importance(
    model: Classifier, batches: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
) -> Importance:
    """I_S of the images in `batches`, as `Problem.batches` yields them."""
    total = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    count = 0
    for images, labels, _ in batches:
        for name, squares in squared_gradients(model, images, labels).items():
            total[name] += squares
        count += len(labels)
    return {name: squares / count for name, squares in total.items()}


def factors(
    whole: torch.Tensor, forget: torch.Tensor, alpha: float, dampening: float
) -> torch.Tensor:
    """What to multiply weights by, in [0, 1], from their importance I_D and I_f, of any shape."""
    shrunk = (dampening * whole / forget).clamp(max=1)
    return torch.where(forget > alpha * whole, shrunk, 1.0)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Dampen the weights of `model` in place, once.

    Raises Impossible for an alpha with which no weight can be selected.
    """
    counts = {part: len(problem.indices(part)) for part in ("retain", "forget")}
    share = counts["forget"] / sum(counts.values())
    if settings.alpha * share >= 1:
        raise Impossible(
            f"alpha {settings.alpha:g} is not below |D| / |D_f| = {1 / share:.3g}: no weight can "
            "be selected, the model would stay the original"
        )
    original, size = frozen_copy(model), settings.batch_size
    some = islice(problem.batches("retain", size), math.ceil(settings.importance_images / size))
    retain = mean_importance(original, some)
    forget = mean_importance(original, problem.batches("forget", size))
    whole = {name: (1 - share) * retain[name] + share * forget[name] for name in forget}
    problem.check(sum(squares.sum() for squares in whole.values()))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight *= factors(whole[name], forget[name], settings.alpha, settings.dampening)
    problem.updates += 1
    return model


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    return forget + min(retain, settings["importance_images"])
