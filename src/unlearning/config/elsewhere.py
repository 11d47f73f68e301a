"""Models that were made elsewhere: an experiment's original, and unlearned ones to compare."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from unlearning.models import FACTORY
from unlearning.recipe import Number, Strict, shown

if TYPE_CHECKING:
    from unlearning.config.experiment import Experiment

ENDINGS = (".safetensors", ".pth", ".pt")
GIVEN = "given"
"""What stands for the origin of the settings of a model that was made elsewhere."""
Weights = Annotated[str, Field(min_length=1)]
Positive = Annotated[Number, Field(gt=0)]


class Architecture(Strict):
    """A network of one's own.

    factory: `module:function`, called as function(num_classes=K) for the network; head: the name of
    its final linear layer, e.g. `fc`.
    """

    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    head: str = Field(pattern=r"^\w[\w.]*$")


class Original(Strict):
    """An original that was trained elsewhere.

    weights: one file for the only training seed, or with `{train_seed}` one a seed. mean, std: of
    the normalisation that it was trained with, unless the data set's own. class_names: the classes
    in the order of its outputs, unless that of the data set. arch: the experiment's, or a network
    of one's own.
    """

    weights: Weights
    mean: list[Number] | None = Field(None, min_length=1)
    std: list[Positive] | None = Field(None, min_length=1)
    class_names: list[str] | None = Field(None, min_length=2)
    arch: str | Architecture | None = None

    @field_validator("weights")
    @classmethod
    def _places(cls, weights: str) -> str:
        return checked_places(weights, ("train_seed",))

    @model_validator(mode="after")
    def _whole_normalisation(self) -> Original:
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std: give both, one value a channel, or neither")
        return self

    def file(self, train_seed: int) -> Path:
        """Its weights of one training seed."""
        return placed(self.weights, train_seed=train_seed)


class Unlearned(Strict):
    """Models that were unlearned elsewhere: weights, a file a cell; one that is absent is missing.

    In the path `{scenario}`, `{split}` and `{train_seed}` stand for the cell.
    """

    weights: Weights

    @field_validator("weights")
    @classmethod
    def _places(cls, weights: str) -> str:
        return checked_places(weights, ("scenario", "split", "train_seed"))

    def file(self, scenario: str, split: str, train_seed: int) -> Path:
        """The weights of one cell."""
        return placed(self.weights, scenario=scenario, split=split, train_seed=train_seed)


def placed(template: str, **names: Any) -> Path:
    """The path with names for its places, `~` and $VARIABLES expanded."""
    return Path(os.path.expandvars(os.path.expanduser(template.format(**names))))


def checked_places(template: str, known: tuple[str, ...]) -> str:
    """`template`, if it has no places but the known ones, and the ending of a file of weights."""
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{shown(template)} is no path with {{…}} ({error})") from None
    for name, form, conversion in parts:
        if name not in known or form or conversion:
            listed = ", ".join(f"{{{one}}}" for one in known)
            raise ValueError(f"{{{name}}} is no place here; known: {listed}")
    if not template.endswith(ENDINGS):
        raise ValueError(f"{shown(template)} ends in none of {', '.join(ENDINGS)}")
    return template


def with_arch(raw: Any) -> Any:
    """An experiment as read, with `original.arch` as its own `arch`, a factory as one text."""
    original = raw.get("original") if isinstance(raw, Mapping) else None
    arch = original.get("arch") if isinstance(original, Mapping) else None
    if isinstance(arch, Mapping) and set(arch) == {"factory", "head"}:
        arch = f"{arch['factory']}@{arch['head']}"
    if not isinstance(arch, str):
        return raw
    if raw.get("arch", arch) != arch:
        raise ValueError("original.arch: the experiment has another arch; give it once")
    rest = {key: value for key, value in original.items() if key != "arch"}
    return {**raw, "arch": arch, "original": rest}


def factory_file(arch: str) -> Path:
    """The file of the module that a factory is in, found without importing it.

    Raises ValueError if there is none in this folder or on Python's path.
    """
    module, found = arch.partition(":")[0], None
    folders: Iterable[str] | None = [os.getcwd(), *sys.path]
    for name in module.split("."):
        found = PathFinder.find_spec(name, folders) if folders else None
        folders = found.submodule_search_locations if found else None
    if found is None or not found.origin:
        raise ValueError(f"original.arch: there is no module {module} here or on Python's path")
    return Path(found.origin)


def is_factory(arch: str) -> bool:
    """Whether an architecture is a network of the user's own."""
    return FACTORY.fullmatch(arch) is not None


def is_given(experiment: Experiment, method: str) -> bool:
    """Whether the models of a method, or the original, were made elsewhere."""
    own = method == "original" and experiment.original is not None
    return own or method in experiment.unlearned


def train_seeds(experiment: Experiment) -> list[int]:
    """The training seeds of an experiment and of its parts."""
    parts = [part.train_seeds or experiment.train_seeds for part in experiment.listed]
    return sorted({seed for seeds in parts for seed in seeds})


def check_elsewhere(experiment: Experiment) -> None:
    """Raise ValueError, naming the key, for what models that were made elsewhere do not allow."""
    for name in experiment.unlearned if experiment.parts else ():
        raise ValueError(f"unlearned: {name}: an experiment with parts has none; use models_of")
    if experiment.original is not None:
        _check_original(experiment)
    if experiment.training is not None:
        return
    if experiment.attacks:
        raise ValueError("attacks: shadow models are trained as `training` says: give it, or drop")
    methods = [variant.method for variant in experiment.variants]
    for name in ("oracle", "original_erm"):
        if name in methods:
            raise ValueError(f"methods: {name} is trained as `training` says: give it, or drop")


def _check_original(experiment: Experiment) -> None:
    original, seeds = experiment.original, train_seeds(experiment)
    if len(seeds) > 1 and original.file(seeds[0]) == original.file(seeds[1]):
        raise ValueError(
            "original.weights: one file is one model: name one training seed, or put {train_seed} "
            "into the path"
        )
    if experiment.poisoned:
        raise ValueError("original: shortcut_removal trains its own on poisoned data")
    if experiment.evaluation != "test":
        raise ValueError("original: it may have seen the held-out images: evaluation: test")
    if experiment.tuning and experiment.tuning.judged_on != "test_half":
        raise ValueError(
            "tuning.judged_on: the original may have seen the held-out images: use test_half"
        )
