"""How a model is trained: the settings that an original and its oracles share."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

VALIDATION_SHARE = 0.2
"""The share of the training images that `evaluation: validation` holds out."""


class Strict(BaseModel):
    """A block of settings: immutable, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _exponent(value: Any) -> Any:
    """The number of a text like 1e-3; any other value as it is."""
    form = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+"
    return float(value) if isinstance(value, str) and re.fullmatch(form, value) else value


Number = Annotated[float, BeforeValidator(_exponent)]
"""A real number, also as a text like 1e-3: YAML 1.1, and so Snakemake, reads that as text."""


def shown(value: Any) -> str:
    """A value as an error message shows it: its repr, cut where it is long, on one line."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"


class Resolution(Strict):
    """Train `epochs` epochs on images resized to `size` pixels a side."""

    size: int = Field(gt=0)
    epochs: int = Field(gt=0)


class Recipe(Strict):
    """SGD with momentum; the same for an original and for its oracles.

    lr: peak learning rate. schedule: see `lr_factor`. flip: random horizontal flip;
    crop: pixels of padding before a random crop (0 = none), filled as `padding` says.
    weight_decay_on: `all` parameters, or `matrices`: not biases and normalisation layers.
    resolutions: the size of the training images, epoch by epoch; None: as they are. Images are
    resized after flip and crop (bilinear, antialiased). Evaluation is at their own size.
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: Number = Field(gt=0)
    momentum: Number = Field(0.9, ge=0, lt=1)
    weight_decay: Number = Field(0.0, ge=0)
    weight_decay_on: Literal["all", "matrices"] = "all"
    nesterov: bool = False
    schedule: Literal["onecycle", "cosine", "constant", "triangle"] = "cosine"
    label_smoothing: Number = Field(0.0, ge=0, lt=1)
    flip: bool = False
    crop: int = Field(0, ge=0)
    padding: Literal["zeros", "reflect"] = "zeros"
    resolutions: list[Resolution] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Recipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @model_validator(mode="after")
    def _resolutions_fill_the_epochs(self) -> Recipe:
        planned = sum(part.epochs for part in self.resolutions or [])
        if self.resolutions and planned != self.epochs:
            raise ValueError(f"resolutions cover {planned} epochs, but epochs is {self.epochs}")
        return self

    def size_in(self, epoch: int) -> int | None:
        """Pixels a side of the training images in `epoch`, counted from 0; None: as they are."""
        for part in self.resolutions or []:
            if epoch < part.epochs:
                return part.size
            epoch -= part.epochs
        return None


def lr_factor(schedule: str, progress: float) -> float:
    """The share of the peak learning rate at `progress` in [0, 1) of all steps.

    `onecycle`: linear rise from 4 % over the first quarter, cosine fall to zero.
    `cosine`: cosine fall to zero from the start. `constant`: 1.
    `triangle`: linear rise from zero over the first fifth, linear fall to a fiftieth.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "triangle":
        rise, end = 0.2, 0.02
        return (
            progress / rise if progress < rise else 1 - (1 - end) * (progress - rise) / (1 - rise)
        )
    rise = 0.25
    if progress < rise:
        return 0.04 + 0.96 * progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
