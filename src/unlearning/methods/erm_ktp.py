"""ERM-KTP (Lin et al., CVPR 2023): pass on what is not specific to the class, drop the rest.

The original was trained with an entanglement-reduced mask M (`models.erm`). The channels of a
class are those with M > 0. With g = 1 on the channels that no forgotten class uses, 0 elsewhere:

    head of the student:  W ⊙ g, with the rows and biases of the forgotten classes 0; it is fixed
    knowledge transfer:   min over Ψ of mean over D_r of ‖Ψ(x) - g ⊙ Ψ_o(x)‖² / D

Ψ starts as a new network, so nothing of the forgotten class is in it but what the retained
images teach. Class removal alone. Its A_or in AUS is that of its own original.

Touches: retain; of the forgotten class only its number. Loss, new network and all of D_r are those
of the authors' release (RUIYUN-ML/ERM-KTP, KTP.py). What differs from it: its second term, which
matches the last feature map before pooling without g, is left out, since every architecture here
offers the embedding alone; the original is asked once, in evaluation mode, about plain images
(theirs stays in training mode and sees augmented ones); 30 epochs, not 201. It raises Diverged if
every channel serves a forgotten class.
"""

from __future__ import annotations

import torch
from torch.nn.functional import mse_loss

from unlearning.methods.base import OptimizerSettings, Problem, untrained_copy
from unlearning.models.base import Classifier
from unlearning.models.erm import MaskedClassifier, bounded
from unlearning.training.loop import Diverged, embed

TOUCHES = frozenset({"retain"})
GAMMA = 0.1


class Settings(OptimizerSettings):
    """SGD on the student; the learning rate falls to a tenth after each milestone, in epochs."""

    milestones: list[int]


def free_channels(mask: torch.Tensor, classes: tuple[int, ...]) -> torch.Tensor:
    """1 for each channel that none of `classes` uses, else 0: [K] from the mask [C, K]."""
    return (bounded(mask)[list(classes)] <= 0).all(0).to(mask.dtype)


@torch.no_grad()
def prohibit(student: Classifier, teacher: Classifier, gate: torch.Tensor, classes: tuple) -> None:
    """Give the student the teacher's head without the gated dimensions [D] and the classes."""
    student.head.weight.copy_(teacher.head.weight * gate)
    student.head.bias.copy_(teacher.head.bias)
    student.head.weight[list(classes)] = 0
    student.head.bias[list(classes)] = 0


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Train a new network to give the original's embedding without the classes' channels."""
    problem.require_class_removal("ERM-KTP")
    if not isinstance(model, MaskedClassifier):
        raise ValueError(
            "ERM-KTP needs an original that was trained with its mask: models.erm.masked(model), "
            "trained on its training_loss, as the workflow's original_erm"
        )
    classes = problem.forget_classes
    free = free_channels(model.mask.detach(), classes)
    if not free.any():
        raise Diverged(f"every channel serves a class of {classes} after 0 updates")
    gate = free.repeat_interleave(model.per_channel)
    targets = gate * embed(model, problem.train, problem.indices("retain")).clone()
    student = untrained_copy(model, problem.generator)
    prohibit(student, model, gate, classes)
    optimizer = settings.optimizer(student.backbone.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=GAMMA)
    student.train()
    for _ in problem.epochs(settings.epochs, student, optimizer, schedule):
        for images, _, positions in problem.batches("retain", settings.batch_size):
            problem.step(optimizer, mse_loss(student.embed(images), targets[positions]))
        schedule.step()
    return student
