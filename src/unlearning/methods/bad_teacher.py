"""Bad Teacher (Chundawat et al., AAAI 2023): distil a good teacher on D_r, a random one on D_f.

The competent teacher is the original θ_o, the incompetent one a new network θ_d of the same
architecture. With p^T = softmax(f / T) and S a random `retain_share` of D_r, drawn once:

    t(x) = p^T_θd(x) for x in D_f,  p^T_θo(x) for x in S
    min_θ  mean over D_f ∪ S of T² · KL(t(x) ‖ p^T_θ(x)),   Adam, one shuffle of both together

Touches: retain, forget; the labels of neither matter. Departs from the authors' code, which
divides the KL by the number of classes as well and has no T²: constants, which Adam cancels.
Every module's `reset_parameters` makes the new network, under a seed of the run. Both teachers
are in evaluation mode, the new one with BatchNorm's first statistics (mean 0, variance 1), and
are asked once an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field

from unlearning.data.batches import index_batches
from unlearning.methods.base import OptionalStop, Problem, untrained_copy
from unlearning.methods.scrub import divergence
from unlearning.models.base import Classifier
from unlearning.training.loop import predict
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "both"}


class Settings(OptionalStop):
    """retain_share: the part of D_r that is used; temperature: T of teachers and student."""

    retain_share: float = Field(gt=0, le=1)
    temperature: float = Field(gt=0)
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)


def incompetent(model: Classifier, generator: torch.Generator) -> Classifier:
    """A new network of the same architecture.

    Raises ValueError if a module has weights that it cannot draw anew: the teacher would
    still know something.
    """
    for name, module in model.named_modules():
        owns = any(True for _ in module.parameters(recurse=False))
        if owns and not hasattr(module, "reset_parameters"):
            raise ValueError(f"{name or 'the model'} has weights but no reset_parameters")
    return untrained_copy(model, generator)


def share_of(indices: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """A random part of `indices` [N], at least one, none twice."""
    order = torch.randperm(len(indices), generator=generator)
    return indices[order[: max(1, round(share * len(indices)))].to(indices.device)]


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run all epochs on `model` in place."""
    forget = problem.indices("forget")
    retain = share_of(problem.indices("retain"), settings.retain_share, problem.generator)
    stranger = incompetent(model, problem.generator)
    targets = torch.cat(
        [predict(stranger, problem.train, forget), predict(model, problem.train, retain)]
    )
    joint = torch.cat([forget, retain])
    optimizer = Adam(model.parameters(), lr=settings.lr)
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer):
        batches = index_batches(len(joint), settings.batch_size, problem.generator)
        batches = [positions.to(joint.device) for positions in batches]
        read = problem.train.batches(joint[positions] for positions in batches)
        for positions, (images, _) in zip(batches, read, strict=True):
            loss = divergence(model(images), targets[positions], settings.temperature)
            problem.step(optimizer, loss)
        if problem.finished(model, settings):
            break
    return model


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    joint = forget + settings["retain_share"] * retain
    return joint * (settings["epochs"] + 1 / 3)
