"""DUCK (Cotogni et al., arXiv 2312.02052): embeddings to forget move to a wrong centroid.

With the embedding Ψ, the head Γ and the cosine distance d(u, v) = 1 - ⟨u, v⟩ / (‖u‖ ‖v‖):

    μ_i   = mean of Ψ_o(x) over the retained images of class i, from the original Ψ_o
    i*(j) = argmin over i ≠ y_j of d(Ψ_o(x_j), μ_i)             nearest incorrect centroid
    L     = λ_fgt · mean_j d(Ψ(x_j), μ_{i*(j)}) + λ_ret · CE(Γ(Ψ(x_r)) / T, y_r)

Each batch to forget takes up to R (`batch_ratio`) Adam steps on L, each with another
batch of retained data. After each epoch the paper's stop test is made. The head gets
its gradient from the retained data alone.

Touches: retain, forget. Departs from the authors' code where that departs from the
algorithm: targets are fixed once per sample, the wrong class is found by class and not
by row, all retained data make the centroids, R means R steps, no batch is dropped, and
there is no second phase. `paper/DEVIATIONS.md` lists each with its effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from pydantic import Field
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from unlearning.methods.base import EarlyStop, Impossible, Problem
from unlearning.models.base import Classifier
from unlearning.training.loop import embed
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "forget"}


class Settings(EarlyStop):
    """λ_fgt, λ_ret, T, R and the schedule; epochs is the most that run before the stop."""

    lambda_forget: float = Field(ge=0)
    lambda_retain: float = Field(ge=0)
    temperature: float = Field(gt=0)
    batch_ratio: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    epochs: int = Field(gt=0)
    milestones: list[int]
    label_smoothing: float = Field(ge=0, lt=1)


def centroids(embeddings: torch.Tensor, labels: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """Mean embedding of each class: [len(classes), D] from embeddings [N, D], labels [N].

    Row r belongs to classes[r]. Raises Impossible for a class without a sample, whose
    mean would be NaN.
    """
    absent = [c for c in classes if not (labels == c).any()]
    if absent:
        raise Impossible(f"no retained sample of class {absent[0]}: it has no centroid")
    return torch.stack([embeddings[labels == c].mean(0) for c in classes])


def nearest_incorrect(
    embeddings: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor, classes: list[int]
) -> torch.Tensor:
    """Row of the nearest centroid of another class than its own, for each sample [N].

    embeddings [N, D], labels [N], centres [R, D]; row r of `centres` is class classes[r],
    which differs from r as soon as a class was removed.
    """
    distance = 1 - normalize(embeddings) @ normalize(centres).T
    own = labels[:, None] == torch.tensor(classes, device=labels.device)
    return distance.masked_fill(own, torch.inf).argmin(1)


def forget_loss(embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cosine distance in [0, 2] of embeddings [B, D] to their targets [B, D]."""
    return (1 - cosine_similarity(embeddings, targets)).mean()


def loss(
    model: Classifier,
    forget: tuple[torch.Tensor, torch.Tensor],
    retain: tuple[torch.Tensor, torch.Tensor],
    settings: Settings,
) -> torch.Tensor:
    """L for one step. forget: images and target centroids [B, D]; retain: images and labels."""
    images, targets = forget
    pull = forget_loss(model.embed(images), targets)
    images, labels = retain
    keep = cross_entropy(
        model(images) / settings.temperature, labels, label_smoothing=settings.label_smoothing
    )
    return settings.lambda_forget * pull + settings.lambda_retain * keep


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run DUCK on `model` in place until the stop test passes or the epochs are used up."""
    targets = _targets(model, problem)
    optimizer = Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=0.5)
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer, schedule):
        for images, _, positions in problem.batches("forget", settings.batch_size):
            retain = problem.batches("retain", settings.batch_size)
            for kept, labels, _ in islice(retain, settings.batch_ratio):
                forget = images, targets[positions]
                problem.step(optimizer, loss(model, forget, (kept, labels), settings))
        if problem.finished(model, settings):
            break
        schedule.step()
    return model


def _targets(model: Classifier, problem: Problem) -> torch.Tensor:
    """The centroid [D] that each sample to forget is moved to, from the original: [F, D]."""
    retain, forget = problem.indices("retain"), problem.indices("forget")
    labels, classes = problem.train.labels, problem.retained_classes
    centres = centroids(embed(model, problem.train, retain), labels[retain], classes)
    rows = nearest_incorrect(embed(model, problem.train, forget), labels[forget], centres, classes)
    return centres[rows].clone()


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    size = settings["batch_size"]
    beside = math.ceil(forget / size) * min(size, retain)
    targets = (forget + retain) / 3
    return targets + settings["epochs"] * settings["batch_ratio"] * (forget + beside)
