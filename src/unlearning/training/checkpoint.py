"""Save and restore the state of an unlearning job, so that it resumes bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unlearning.files import canonical_json, load_tensors, save_tensors

INTERVAL = 10.0
"""Seconds of work between two states: a short job writes none."""


def save(
    path: Path,
    numbers: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    kept: Mapping[str, list[torch.Tensor]],
) -> None:
    """Write the state, whole or not at all.

    numbers: what JSON can hold; the optimizer's learning rates and the layout of its tensors are
    added. kept: tensors by name, in lists. Torch's own generators are saved too.
    """
    tensors = {}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optim.{index}.{k}": v for k, v in slots.items() if v is not None}
    strides = {name: tensor.stride() for name, tensor in tensors.items()}
    tensors |= {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {"random.own": generator.get_state(), "random.torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    for name, items in kept.items():
        tensors |= {f"kept.{name}.{i}": tensor.clone() for i, tensor in enumerate(items)}
    rates = [group["lr"] for group in optimizer.param_groups]
    text = canonical_json({**numbers, "learning_rates": rates, "strides": strides}).encode()
    save_tensors(path, tensors | {"numbers": torch.frombuffer(bytearray(text), dtype=torch.uint8)})


class Saved:
    """A state that was saved; numbers: as given to `save`.

    Raises DamagedFile if the file is no whole safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._tensors = load_tensors(path)
        self.numbers = json.loads(bytes(self._tensors["numbers"].tolist()))

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        kept: dict[str, list[torch.Tensor]],
    ) -> None:
        """Put everything back in place: `kept` gets its tensors on the model's device."""
        device = next(model.parameters()).device
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in self._part("optim").items():
            index, slot = key.split(".")
            # A step on tensors of another layout takes another path in torch, which may round
            # otherwise.
            strides = self.numbers["strides"][f"optim.{key}"]
            placed = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
            slots.setdefault(int(index), {})[slot] = placed
        model.load_state_dict(self._part("model"))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        for group, rate in zip(optimizer.param_groups, self.numbers["learning_rates"], strict=True):
            group["lr"] = rate
        states = self._part("random")
        generator.set_state(states["own"])
        torch.set_rng_state(states["torch"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"])
        for items in kept.values():
            items.clear()
        found = self._part("kept")
        for key in sorted(found, key=lambda key: int(key.rsplit(".", 1)[1])):
            kept.setdefault(key.rsplit(".", 1)[0], []).append(found[key].to(device))

    def _part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one part, by the rest of their names."""
        prefix = f"{name}."
        return {k.removeprefix(prefix): t for k, t in self._tensors.items() if k.startswith(prefix)}
