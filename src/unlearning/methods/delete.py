"""DELETE (Zhou et al., CVPR 2025): distil the original without its belief in what is forgotten.

    t(x) = softmax(f_θo(x) with the logit of y set to -∞)
    min_θ  mean over D_f of KL(t(x) ‖ p_θ(x))

So the true class gets nothing and the others keep the ratios that the original gave them. In
class removal the logits of all forgotten classes are masked, as no image may go to any of
them; for one class that is the paper's formula. SGD with momentum, plain images.

Touches: forget. Departs from the authors' code in the mask for several classes, which there
is the true class alone, and in computing t once per image instead of at every step: θ_o is in
evaluation mode and the images are not augmented. As there, BatchNorm trains along.
"""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax, softmax

from unlearning.methods.base import Problem, SgdSettings, descend
from unlearning.models.base import Classifier
from unlearning.training.loop import predict

TOUCHES = frozenset({"forget"})


class Settings(SgdSettings):
    """See `SgdSettings`; the paper has no early stop."""


def masked(
    scores: torch.Tensor, labels: torch.Tensor, forget_classes: tuple[int, ...]
) -> torch.Tensor:
    """Scores [N, K] with -∞ at each sample's own class, labels [N], and at all `forget_classes`."""
    columns = torch.arange(scores.shape[1], device=scores.device)
    forgotten = torch.isin(columns, torch.tensor(forget_classes, device=scores.device))
    return scores.masked_fill((labels[:, None] == columns) | forgotten, -torch.inf)


def divergence(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the samples of KL(t ‖ softmax(logits)): logits and probabilities t, [B, K]."""
    return kl_div(log_softmax(logits, 1), targets, reduction="batchmean")


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Descend on the divergence from the original's masked predictions."""
    forget = problem.indices("forget")
    logits = predict(model, problem.train, forget)
    targets = softmax(masked(logits, problem.train.labels[forget], problem.forget_classes), 1)

    def loss(images: torch.Tensor, _, positions: torch.Tensor) -> torch.Tensor:
        return divergence(model(images), targets[positions])

    return descend(model, problem, settings, "forget", loss)
