"""The entanglement-reduced mask of ERM-KTP (Lin et al., CVPR 2023): class-specific channels.

A mask M in [0, 1] of classes x channels multiplies the last feature map by the row of the
image's own label, in every third epoch of the original's training:

    two epochs of three:  CE(Γ(Ψ(x)), y)
    the third:            CE(Γ(M_y ⊙ Ψ(x)), y) + λ · R(M)
    R(M) = max(0, ‖M‖₁ - 0.1 · classes · channels) + 0.1 · Σ_{i<j} ⟨M_i, M_j⟩

After each step each channel's column is divided by its largest entry and clamped to [0, 1].
So each channel ends with few classes. Evaluation does not use the mask: there is no label.

λ is 0.001 in the authors' 200 epochs and RATE here: the profiles' trainings are a tenth as
long, and with 0.001 no entry of the mask reaches zero, without which nothing is specific.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from unlearning.models.base import Classifier

PERIOD = 3
RATE = 0.01
DENSITY = 0.1
OVERLAP = 0.1


class MaskedClassifier(Classifier):
    """A classifier with a learned `mask` [classes, channels]; embedding and head as before."""

    def __init__(self, plain: Classifier) -> None:
        kept = plain.dropout.p, plain.per_channel, plain.middle
        super().__init__(plain.backbone, plain.head, *kept)
        channels = plain.head.in_features // plain.per_channel
        self.mask = nn.Parameter(torch.full((plain.head.out_features, channels), 0.5))

    def training_loss(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        epoch: int,
    ) -> torch.Tensor:
        """The masked loss in each third epoch, the plain one in the others."""
        if epoch % PERIOD < PERIOD - 1:
            return super().training_loss(images, labels, loss_of, epoch)
        with torch.no_grad():
            self.mask.copy_(bounded(self.mask))
        gate = self.mask[labels].repeat_interleave(self.per_channel, 1)
        logits = self.head(self.dropout(gate * self.embed(images)))
        return loss_of(logits, labels) + RATE * regularity(self.mask)


def bounded(mask: torch.Tensor) -> torch.Tensor:
    """The mask [classes, channels] with each channel's largest entry 1 and none below 0."""
    return (mask / mask.max(0).values).clamp(0, 1)


def regularity(mask: torch.Tensor) -> torch.Tensor:
    """R(M): how dense the mask [classes, channels] is, and how much its classes share."""
    excess = torch.relu(mask.abs().sum() - DENSITY * mask.numel())
    shared = torch.triu(mask @ mask.T, diagonal=1).sum()
    return excess + OVERLAP * shared


def masked(plain: Classifier) -> MaskedClassifier:
    """`plain` with a mask that has learned nothing yet."""
    return MaskedClassifier(plain)
