"""A config file, checked: errors that name file and key and say what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unlearning.config.blocks import Attacks, Attributions, Features, Part, Tuning, Variant
from unlearning.config.elsewhere import Architecture, Original, Unlearned
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.own_data import OwnDataset
from unlearning.config.resources import Resources
from unlearning.config.scenarios import (
    ClassRemoval,
    Draw,
    HomogeneousRemoval,
    Listed,
    SampleRemoval,
    Scenarios,
    ShortcutRemoval,
    SubclassRemoval,
)
from unlearning.config.yaml_files import advice
from unlearning.files import read_json
from unlearning.recipe import Recipe, Resolution, shown

if TYPE_CHECKING:
    from unlearning.data.catalogue import DatasetInfo

MOST = 20
"""Maximum number of config errors reported."""
MOST_VALUES = 100_000
"""In a config: more would not be checked within memory."""


class ConfigError(ValueError):
    """A setting that cannot be used; the message names file, key and what would be right."""


def read_config(path: str | Path) -> RunConfig:
    """The config of a run from its config.json, which was checked when it was written."""
    return parse(read_json(path), str(path))


def parse(
    raw: Mapping[str, Any],
    file: str,
    datasets: Mapping[str, DatasetInfo] | None = None,
    methods: list[str] | None = None,
) -> RunConfig:
    """Check a config read from `file` and return it typed.

    With `datasets` and `methods` (the known ones) names and class numbers are checked
    too; without, only the form is, as for a config that was checked before.

    Raises ConfigError with one line a problem: file, key, what is wrong, what would be right.
    """
    context = {"datasets": {**datasets}, "methods": methods} if datasets is not None else None
    _check_size(raw, file)
    try:
        return RunConfig.model_validate(raw, context=context)
    except ValidationError as error:
        errors = error.errors()  # of a data set alone, before those of experiments on it
        errors = [e for e in errors if e["loc"][:1] == ("datasets",)] or errors
        problems = list(dict.fromkeys(_describe(e, file) for e in errors[: 2 * MOST]))[:MOST]
        if len(errors) > 2 * MOST:
            problems.append(f"{file}: (and so on): {len(errors)} problems in all")
        raise ConfigError("\n".join(problems)) from None


def _check_size(raw: Any, file: str) -> None:
    """Raise ConfigError for more values than a person writes: aliases of aliases in YAML."""
    waiting, seen = [raw], 0
    while waiting:
        value = waiting.pop()
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            seen += len(value)
            if seen > MOST_VALUES:
                raise ConfigError(f"{file}: (top level): more than {MOST_VALUES} values")
            waiting += inside


def _describe(error: Mapping[str, Any], file: str | Path) -> str:
    unknown = error["type"] == "extra_forbidden"
    path = _keys(error["loc"][:-1] if unknown else error["loc"])
    path += error["loc"][-1:] if unknown else ()
    key = ".".join(map(_name, path)) or "(top level)"
    if unknown:
        return f"{file}: {key}: unknown key; {_allowed(path)}"
    if error["type"] == "missing":
        return f"{file}: {key}: this required key is missing"
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {shown(error['input'])}"
    hint = advice(error["input"]) if error["type"] in ("int_type", "float_type") else ""
    return f"{file}: {key}: {message[0].lower()}{message[1:]}{got}{hint}"


def _keys(loc: tuple) -> list:
    """The keys and numbers of a place, the name of a data set among them."""
    named = loc[:2] if loc[:1] == ("datasets",) else ()
    return [*named, *(p for p in loc[len(named) :] if isinstance(p, int) or p in _KEYS)]


def _name(key: Any) -> str:
    """A key as an error names it: as it stands in the file, if it is short and printable."""
    text = str(key)
    return text if text.isprintable() and len(text) < 60 else shown(key)


_BLOCKS = {
    "training": Recipe,
    "original": Original,
    "unlearned": Unlearned,
    "resolutions": Resolution,
    "parts": Part,
    "draw": Draw,
    "features": Features,
    "attributions": Attributions,
    "class_removal": ClassRemoval,
    "shortcut_removal": ShortcutRemoval,
    "homogeneous_removal": HomogeneousRemoval,
    "sample_removal": SampleRemoval,
    "subclass_removal": SubclassRemoval,
    "file": Listed,
    "scenarios": Scenarios,
    "resources": Resources,
    "tuning": Tuning,
    "attacks": Attacks,
    "methods": Variant,
    "datasets": OwnDataset,
    "experiments": Experiment,
}
# The keys that a person reads in a file: pydantic's paths also name the branch of a union that
# it tried (`str`, `list[int]`, `Variant`).
_KEYS = {
    name for block in (RunConfig, Architecture, *_BLOCKS.values()) for name in block.model_fields
}


def _allowed(path: list) -> str:
    """The keys of the block in which the unknown key at the end of `path` stands."""
    blocks = [_BLOCKS[p] for p in path[:-1] if p in _BLOCKS]
    fields = list((blocks[-1] if blocks else RunConfig).model_fields)
    close = difflib.get_close_matches(str(path[-1]), fields, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(fields)}"
