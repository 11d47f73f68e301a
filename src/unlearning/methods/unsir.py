"""UNSIR (Tarun et al., TNNLS 2023): learned noise under the forgotten labels, then repair.

    noise:   for each forgotten class c, images N from a standard normal, by Adam
             min over N of  -mean CE(f_θo(N), c) + λ · mean ‖N‖²
    impair:  one epoch of CE on the noise with its labels (`noise_copies` times each),
             mixed with S
    repair:  `repair_epochs` of CE on S alone

S has up to `retain_per_class` images of each retained class. Impair and repair are Adam in
training mode, each with its own learning rate and its own optimizer. The noise is in the
units of normalised images; θ_o is fixed and in evaluation mode while it is learned.

Touches: retain; of the forgotten class only its number, which is the point of the paper.
Class removal alone: noise cannot stand for images of all classes. Departs from the authors'
code, in which all noise is labelled 0 in the impair step, whatever class it was learned for,
the original is in training mode while noise is learned (its BatchNorm statistics become those
of the noise), and S is the first images of each class, not random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.data.batches import index_batches
from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.recipe import Strict
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain"})
BATCHES = {"batch_size": "retain", "noise_images": "retain", "retain_per_class": "class"}


class Settings(Strict):
    """noise_images: noise images of each forgotten class; noise_penalty: λ."""

    noise_images: int = Field(gt=0)
    noise_steps: int = Field(gt=0)
    noise_lr: float = Field(gt=0)
    noise_penalty: float = Field(ge=0)
    noise_copies: int = Field(gt=0)
    retain_per_class: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr_impair: float = Field(gt=0)
    lr_repair: float = Field(gt=0)
    repair_epochs: int = Field(gt=0)


def noise_loss(
    logits: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, penalty: float
) -> torch.Tensor:
    """-mean CE of logits [B, K] and labels [B] + λ · mean squared norm of noise [B, C, H, W]."""
    return penalty * noise.square().sum((1, 2, 3)).mean() - cross_entropy(logits, labels)


def subset(
    indices: torch.Tensor, labels: torch.Tensor, per_class: int, generator: torch.Generator
) -> torch.Tensor:
    """Up to `per_class` random ones of `indices` [N] for each class in their `labels` [N]."""
    order = torch.randperm(len(indices), generator=generator).to(indices.device)
    chosen = [order[labels[order] == c][:per_class] for c in labels.unique()]
    return indices[torch.cat(chosen)]


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Impair and repair `model` in place."""
    problem.require_class_removal("UNSIR")
    noise, noise_labels = _learn_noise(model, problem, settings)
    retain = problem.indices("retain")
    labels = problem.train.labels[retain]
    retain = subset(retain, labels, settings.retain_per_class, problem.generator)
    copies = settings.noise_copies * len(noise)
    model.train()

    optimizer = Adam(model.parameters(), lr=settings.lr_impair)
    for _ in problem.epochs(1, model, optimizer):
        for chosen in index_batches(copies + len(retain), settings.batch_size, problem.generator):
            chosen = chosen.to(retain.device)
            made = chosen[chosen < copies] % len(noise)
            images, labels = problem.train.batch(retain[chosen[chosen >= copies] - copies])
            images = torch.cat([noise[made], images])
            labels = torch.cat([noise_labels[made], labels])
            problem.step(optimizer, cross_entropy(model(images), labels))

    optimizer = Adam(model.parameters(), lr=settings.lr_repair)
    for _ in problem.epochs(settings.repair_epochs, model, optimizer):
        for chosen in index_batches(len(retain), settings.batch_size, problem.generator):
            images, labels = problem.train.batch(retain[chosen.to(retain.device)])
            problem.step(optimizer, cross_entropy(model(images), labels))
    return model


def _learn_noise(
    model: Classifier, problem: Problem, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise [B, C, H, W] and its labels [B], `noise_images` of each forgotten class."""
    weight = next(model.parameters())
    shape = settings.noise_images, *problem.train.shape
    learned, labels = [], []
    model.eval()
    for c in problem.forget_classes:
        noise = torch.randn(shape, generator=problem.generator).to(weight).requires_grad_()
        label = torch.full((len(noise),), c, device=noise.device)
        optimizer = Adam([noise], lr=settings.noise_lr)
        for _ in range(settings.noise_steps):
            loss = noise_loss(model(noise), label, noise, settings.noise_penalty)
            problem.check(loss)
            (noise.grad,) = torch.autograd.grad(loss, [noise])
            optimizer.step()
        learned.append(noise.detach())
        labels.append(label)
    return torch.cat(learned), torch.cat(labels)


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    noise = settings["noise_images"]
    impair = (settings["noise_steps"] + settings["noise_copies"]) * noise
    return impair + (1 + settings["repair_epochs"]) * retain
