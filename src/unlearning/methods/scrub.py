"""SCRUB (Kurmanji et al., NeurIPS 2023): away from the teacher on D_f, close to it on D_r.

The teacher is the original θ_o in evaluation mode. With p^T = softmax(f / T):

    d(x)      = T² · KL(p^T_θo(x) ‖ p^T_θ(x))
    max pass:   max over θ of mean over D_f of d(x)              in the first `max_steps` epochs
    min pass:   min over θ of mean over D_r of α · d(x) + γ · CE(f_θ(x), y)    in every epoch

Each epoch is the max pass, if it has one, then the min pass, with one SGD for both. So
`max_steps: 2` is two max passes. The authors' notebooks count epochs from 1 and agree; their
module `scrub.py` and DUCK's re-run count from 0 and test `epoch <= max_steps`: one more. The
learning rate is multiplied by `decay` after each of `milestones`, in epochs.

Touches: retain, forget. Departs from the authors' code in that the teacher's outputs are
computed once per image, which without augmentation gives the same numbers. (In `scrub.py` the
optimizer moves the model but the student, a copy, is returned: nothing is unlearned.) Without
BatchNorm or dropout the first max pass starts at KL = 0, where the gradient is 0: it does
nothing, there too.

The rewind variant is left out. It returns to the checkpoint whose forget error is nearest
the *finished student's* error on held-out images distributed as D_f; a method here is given
no such images, and the accuracy that it is given is the original's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from unlearning.methods.base import OptimizerSettings, OptionalStop, Problem
from unlearning.models.base import Classifier
from unlearning.training.loop import predict

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "retain", "forget_batch_size": "forget"}


class Settings(OptionalStop, OptimizerSettings):
    """α, γ, T, the number of max passes, and SGD with its two batch sizes."""

    alpha: float = Field(ge=0)
    gamma: float = Field(ge=0)
    temperature: float = Field(gt=0)
    max_steps: int = Field(gt=0)
    forget_batch_size: int = Field(gt=0)
    milestones: list[int]
    decay: float = Field(gt=0, le=1)


def divergence(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² times the mean KL(teacher ‖ student), both at temperature T, of two logits [B, K]."""
    student, target = (log_softmax(values / temperature, 1) for values in (logits, teacher))
    return temperature**2 * kl_div(student, target, reduction="batchmean", log_target=True)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run all epochs on `model` in place."""
    teacher = {
        part: predict(model, problem.train, problem.indices(part)).clone()
        for part in ("forget", "retain")
    }
    optimizer = settings.optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, settings.milestones, gamma=settings.decay
    )
    model.train()
    for epoch in problem.epochs(settings.epochs, model, optimizer, schedule):
        if epoch < settings.max_steps:
            for images, _, positions in problem.batches("forget", settings.forget_batch_size):
                target = teacher["forget"][positions]
                problem.step(optimizer, -divergence(model(images), target, settings.temperature))
        for images, labels, positions in problem.batches("retain", settings.batch_size):
            logits, target = model(images), teacher["retain"][positions]
            kept = settings.alpha * divergence(logits, target, settings.temperature)
            problem.step(optimizer, kept + settings.gamma * cross_entropy(logits, labels))
        if problem.finished(model, settings):
            break
        schedule.step()
    return model


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    moved = settings["epochs"] * retain + settings["max_steps"] * forget
    return moved + (forget + retain) / 3
