"""Split an ordinary network at its final linear layer, and put it together again."""

from __future__ import annotations

import torch
from torch import nn

from unlearning.models.base import Classifier


def split(network: nn.Module, head: str, head_dropout: float = 0.0) -> Classifier:
    """The network as embedding and head; takes the head out of `network`.

    head: the name of its final linear layer, as in `network.named_modules()`, e.g. `fc`,
    `classifier.1` or `heads.head`. What comes before it gives the embeddings [B, D].
    Raises ValueError, with the linear layers there are, if that is no linear layer.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if head not in linear:
        raise ValueError(
            f"head: {head!r} is no linear layer of the network; it has: {_few(linear)}"
        )
    layer = network.get_submodule(head)
    _put(network, head, nn.Identity())
    return Classifier(network, layer, head_dropout)


def joined(model: Classifier, head: str) -> nn.Module:
    """The network of `split`, with the head of `model` in its place."""
    _put(model.backbone, head, model.head)
    return model.backbone


@torch.no_grad()
def check_split(network: nn.Module, model: Classifier, head: str, images: torch.Tensor) -> None:
    """Raise ValueError unless `model`, split from a copy of `network`, gives its logits.

    images: some, as the network takes them. Both are left in evaluation mode.
    """
    whole, embeddings = network.eval()(images), model.eval().embed(images)
    width = model.head.in_features
    if not isinstance(whole, torch.Tensor) or embeddings.shape != (len(images), width):
        raise ValueError(f"head: what comes before {head} must give embeddings [B, {width}]")
    parts = model.head(embeddings)
    if whole.shape != parts.shape or not torch.allclose(whole, parts, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"head: {head} is not the last layer, since the network's output differs from its own; "
            "name the layer whose output are the logits"
        )


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)


def _few(names: list[str]) -> str:
    """The last names of a list, which are the likely ones."""
    return ", ".join(["…", *names[-5:]] if len(names) > 5 else names) or "none"
