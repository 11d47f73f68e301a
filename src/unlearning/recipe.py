"""How a model is trained: the settings that an original and its oracles share."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

VALIDATION_SHARE = 0.2
"""The share of the training images that `evaluation: validation` holds out."""


class Strict(BaseModel):
    """A block of settings: immutable, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def shown(value: Any) -> str:
    """A value as an error message shows it: its repr, cut where it is long, on one line."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"


class Recipe(Strict):
    """SGD with momentum; the same for an original and for its oracles.

    lr: peak learning rate. schedule: see `lr_factor`. flip: random horizontal flip;
    crop: pixels of zero padding before a random crop (0 = none).
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    nesterov: bool = False
    schedule: Literal["onecycle", "cosine", "constant"] = "cosine"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    flip: bool = False
    crop: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Recipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


def lr_factor(schedule: str, progress: float) -> float:
    """The share of the peak learning rate at `progress` in [0, 1) of all steps.

    `onecycle`: linear rise from 4 % over the first quarter, cosine fall to zero.
    `cosine`: cosine fall to zero from the start. `constant`: 1.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    rise = 0.25
    if progress < rise:
        return 0.04 + 0.96 * progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
