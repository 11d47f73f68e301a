"""What every model offers: an embedding, a head, and logits = head(embedding)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

Weights = Mapping[str, torch.Tensor] | None
"""A state dict to start from, or none: random weights."""


class Classifier(nn.Module):
    """A network split as in the paper: logits = Γ(Ψ(x)), Ψ = `embed`, Γ = `head`.

    A family sets `self.backbone` (images to embeddings [B, D]) and `self.head`.
    `dropout` acts on the embedding before the head, in training mode only. Each of the
    last feature map's channels gives `per_channel` neighbouring dimensions of the embedding.
    `middle` is the name in the backbone of the block whose output `layers` reads.
    `precision` is that of the backbone's products; weights, their gradients, embeddings and all
    that follows are float32, and so are BatchNorm's statistics. See `device.usable_precision`.
    """

    precision = "float32"

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Linear,
        head_dropout: float = 0.0,
        per_channel: int = 1,
        middle: str = "",
    ) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.middle = middle
        self.backbone = backbone
        self.dropout = nn.Dropout(head_dropout)
        self.head = head

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, C, H, W] to float32 embeddings [B, D]."""
        if self.precision == "float32":
            return self.backbone(images)
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.backbone(images).float()

    def layers(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images [B, C, H, W] to embeddings [B, D] and the middle block's features.

        These are float32 [B, F]: its feature map [B, F, h, w] averaged over space, or of its
        tokens [B, N, F] the class token. ValueError for a model that names no middle block.
        """
        if not self.middle:
            raise ValueError("this model names no middle block; give its name in the backbone")
        found = []
        block = self.backbone.get_submodule(self.middle)
        with block.register_forward_hook(lambda *call: found.append(call[-1])):
            embeddings = self.embed(images)
        features = found[0].float()
        middle = features[:, 0] if features.ndim == 3 else features.mean((2, 3))
        return embeddings, middle

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, C, H, W] to logits [B, K]."""
        return self.head(self.dropout(self.embed(images)))

    def training_loss(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        epoch: int,
    ) -> torch.Tensor:
        """What original and oracle training minimise in one step of `epoch`, counted from 0."""
        return loss_of(self(images), labels)


class Float32(nn.Module):
    """The wrapped module on float32 input: a mean over many values that bfloat16 would round."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner(features.float())
