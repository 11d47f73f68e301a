"""Vision transformers (Dosovitskiy et al., 2021): ViT-B/16, and a small one for CPUs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from unlearning.models.base import Classifier, Weights
from unlearning.runtime.vision import torchvision


class _ClassToken(nn.Module):
    """Images [B, 1 or 3, H, W] of any size to the class token [B, D] of torchvision's `vit`."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        vit.heads = nn.Identity()
        self.vit = vit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        size = (self.vit.image_size, self.vit.image_size)
        if images.shape[-2:] != size:
            images = interpolate(images, size, mode="bilinear", antialias=True)
        return self.vit(images.expand(-1, 3, -1, -1))

    def reset_parameters(self) -> None:
        """Draw again what belongs to modules without such a method of their own."""
        nn.init.zeros_(self.vit.class_token)
        nn.init.normal_(self.vit.encoder.pos_embedding, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()


def build(
    arch: str, classes: int, channels: int, pretrained: Weights, head_dropout: float
) -> Classifier:
    """`vit_b16`: torchvision's ViT-B/16, images resized to 224 px (antialiased, bilinear).
    `vit_small`: patches of 7 px in images of 28, 4 layers of 4 heads (not in the paper).

    The embedding is the class token after the last layer: D = 768 and 64. The middle block
    is layer 6 of 12 and 2 of 4. Grey images are repeated in the three colours.

    pretrained: the state dict of torchvision's `vit_b_16`; `vit_small` takes none: ValueError, as
    for images of other than 1 or 3 channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"{arch} takes images of 1 or 3 channels, not of {channels}")
    vit = _b16(pretrained) if arch == "vit_b16" else _small(pretrained)
    head = nn.Linear(vit.hidden_dim, classes)
    last = len(vit.encoder.layers) // 2 - 1
    middle = f"vit.encoder.layers.encoder_layer_{last}"
    return Classifier(_ClassToken(vit), head, head_dropout, middle=middle)


def _b16(pretrained: Weights) -> nn.Module:
    network = torchvision().models.vit_b_16()
    if pretrained is not None:
        network.load_state_dict(pretrained)
    return network


def _small(pretrained: Weights) -> nn.Module:
    if pretrained is not None:
        raise ValueError("vit_small has no pretrained weights; set pretrained: false")
    return torchvision().models.VisionTransformer(
        image_size=28, patch_size=7, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128
    )
