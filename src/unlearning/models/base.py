"""What every model offers: an embedding, a head, and logits = head(embedding)."""

from __future__ import annotations

import torch
from torch import nn


class Classifier(nn.Module):
    """A network split as in the paper: logits = Γ(Ψ(x)), Ψ = `embed`, Γ = `head`.

    A family sets `self.backbone` (images to embeddings [B, D]) and `self.head`.
    `dropout` acts on the embedding before the head, in training mode only.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear, head_dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(head_dropout)
        self.head = head

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, C, H, W] to embeddings [B, D]."""
        return self.backbone(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, C, H, W] to logits [B, K]."""
        return self.head(self.dropout(self.embed(images)))
