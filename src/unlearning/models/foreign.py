"""Weights that others saved: their files, and their names beside those of the networks here."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearning.files import DamagedFile, load_tensors
from unlearning.models import ERM, modules
from unlearning.models.base import Classifier

INSIDE = ("state_dict", "model", "net")
"""What a checkpoint may hold its weights under."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""What the names of all weights may begin with, as wrappers of networks put it there."""
HEADS = {"resnet": ("fc", "fc.1"), "vit": ("heads.head", "heads")}
"""The final layers of torchvision's networks; `fc.1` behind a dropout, as DUCK's release has it."""
INNER = {"resnet": "", "vit": "vit."}
"""Where in the backbone the rest of such a network is."""

State = dict[str, torch.Tensor]


def read(path: str | Path) -> State:
    """The weights in a .safetensors file or one that torch saved, by plain names.

    Nothing but tensors is unpickled (weights_only). Raises ValueError, naming the file, for one
    that holds anything else.
    """
    try:
        found = (
            load_tensors(path)
            if Path(path).suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except DamagedFile as error:
        raise ValueError(f"{path}: {error.wrong}") from None
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = " ".join(str(error).split(".")[0].split())
        raise ValueError(
            f"{path}: holds more than weights, or is damaged ({reason}): save model.state_dict()"
        ) from None
    return plain(found, path)


def plain(found: Any, path: str | Path) -> State:
    """Weights out of the mappings and prefixes that checkpoints wrap them in."""
    while isinstance(found, Mapping):
        inside = next((k for k in INSIDE if isinstance(found.get(k), Mapping)), None)
        if inside is None:
            break
        found = found[inside]
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path}: no weights in it; a state dict is expected")
    strange = [name for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise ValueError(
            f"{path}: {strange[0]!r} is no tensor; a state dict, bare or under one of "
            f"{', '.join(INSIDE)}, is expected"
        )
    state = {str(name): tensor for name, tensor in found.items()}
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def fitted(state: State, model: Classifier, arch: str, path: str | Path) -> State:
    """The weights under the names of `model`, an untrained network of `arch`.

    They may have the names of torchvision's network, of the user's own or those here; counts of
    batches that BatchNorm has seen may be missing. Raises ValueError, with what does not fit.
    """
    wanted = model.state_dict()
    if not wanted.keys() & state.keys():
        state = {_renamed(name, arch): tensor for name, tensor in state.items()}
    counts = {name for name in wanted if name.endswith("num_batches_tracked")}
    absent = sorted(wanted.keys() - state.keys() - counts)
    beside = sorted(state.keys() - wanted.keys())
    if absent or beside:
        parts = [f"{what} {_few(names)}" for what, names in (("no", absent), ("also", beside))]
        said = " and ".join(p for p, names in zip(parts, (absent, beside), strict=True) if names)
        raise ValueError(f"{path}: does not fit {arch}: {said}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(f"{path}: {_unlike(name, tensor, wanted[name], arch)}")
    return {name: state.get(name, tensor).to(tensor.dtype) for name, tensor in wanted.items()}


def reordered(state: State, names: list[str], known: list[str], path: str | Path) -> State:
    """The weights with the head's outputs in the order of the data set's classes.

    names: of the outputs; known: of the data set. Raises ValueError unless they are the same.
    """
    ours, theirs = ([name.strip().casefold() for name in side] for side in (known, names))
    if sorted(ours) != sorted(theirs):
        odd = next((n for n, low in zip(names, theirs, strict=True) if low not in ours), None)
        what = f"{odd!r} is no class of the data set" if odd else "one is missing or given twice"
        raise ValueError(f"{path}: class_names: {what}; they are: {', '.join(known)}")
    order = torch.tensor([theirs.index(name) for name in ours])
    head = {name: tensor[order] for name, tensor in state.items() if name.startswith("head.")}
    return state | head


def _renamed(name: str, arch: str) -> str:
    """The name here of a weight of torchvision's network, or of the user's own."""
    plain_arch = arch.removesuffix(ERM)
    family, inner = modules(plain_arch)[0], ""
    heads = HEADS.get(family, ())
    if family == "factory":
        heads = (plain_arch.partition("@")[2],)
    elif family in INNER:
        inner = INNER[family]
    layer, _, kind = name.rpartition(".")
    return f"head.{kind}" if layer in heads else f"backbone.{inner}{name}"


def _unlike(name: str, given: torch.Tensor, wanted: torch.Tensor, arch: str) -> str:
    if name.startswith("head.") and len(given) != len(wanted):
        return f"its head has {len(given)} outputs, the data set {len(wanted)} classes"
    shapes = (str(list(tensor.shape)) for tensor in (given, wanted))
    return "{} is {} there and {} in {}".format(name, *shapes, arch)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
