"""Hyper-parameters of the methods: configs/methods/NAME.yaml, resolved for one cell.

A file holds `defaults` (every setting, with its `source`) and `overrides`, each with
`when` (any of dataset, arch, scenario), `source` and `settings`. Later ones win. The
defaults fix which settings exist and their types, so a mistyped key or value is
found before anything runs and without importing the method.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from unlearning.config import ConfigError

CONDITIONS = ("dataset", "arch", "scenario")


def known_methods(folder: str | Path) -> list[str]:
    """The methods that have a settings file in `folder`, by name."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def resolve(
    method: str,
    cell: Mapping[str, str],
    extra: Mapping[str, Any],
    folder: str | Path = "configs/methods",
    where: str = "",
) -> dict[str, Any]:
    """The settings of `method` in a cell with the given dataset, arch and scenario.

    extra: settings of a config's variant; they win over the file. where: how an error
    names them.
    Raises ConfigError naming file and key for an unknown key or a wrong type.
    """
    file = Path(folder) / f"{method}.yaml"
    blocks = load(file)
    settings = dict(blocks["defaults"]["settings"])
    for block in blocks.get("overrides", []):
        if all(cell[key] in _listed(value) for key, value in block["when"].items()):
            settings |= block["settings"]
    _check(extra, settings, where or f"settings of a variant of {method}")
    return settings | extra


def load(file: str | Path) -> dict[str, Any]:
    """Read and check one method's file; ConfigError names file and key."""
    try:
        blocks = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid YAML in UTF-8: {error}") from None
    _check_keys(blocks, {"defaults"}, {"overrides"}, str(file))
    _check_keys(blocks["defaults"], {"settings", "source"}, set(), f"{file}: defaults")
    defaults = blocks["defaults"]["settings"]
    if not isinstance(defaults, dict):
        raise ConfigError(f"{file}: defaults.settings: should be a mapping, got {defaults!r}")
    overrides = blocks.get("overrides") or []
    if not isinstance(overrides, list):
        raise ConfigError(f"{file}: overrides: should be a list, got {overrides!r}")
    for number, block in enumerate(overrides):
        where = f"{file}: overrides.{number}"
        _check_keys(block, {"when", "settings", "source"}, set(), where)
        _check_keys(block["when"], set(), set(CONDITIONS), f"{where}.when")
        _check(block["settings"], defaults, f"{where}.settings")
    return {**blocks, "overrides": overrides}


def check_conditions(folder: str | Path, known: Mapping[str, Iterable[str]]) -> None:
    """Raise ConfigError for a `when` that can never be true: a name that is not known.

    known: the data sets, architectures and scenarios, under the keys of CONDITIONS.
    """
    for method in known_methods(folder):
        file = Path(folder) / f"{method}.yaml"
        for number, block in enumerate(load(file)["overrides"]):
            for key, value in block["when"].items():
                for name in _listed(value):
                    if name not in known[key]:
                        raise ConfigError(
                            f"{file}: overrides.{number}.when.{key}: unknown {key} {name!r}; "
                            f"known: {', '.join(known[key])}"
                        )


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _check_keys(block: Any, needed: set[str], optional: set[str], where: str) -> None:
    if not isinstance(block, dict):
        raise ConfigError(f"{where}: should be a mapping, got {block!r}")
    for key in needed - block.keys():
        raise ConfigError(f"{where}: key {key!r} is needed and missing")
    for key in block.keys() - needed - optional:
        raise ConfigError(
            f"{where}: unknown key {key!r}; known here: {', '.join(sorted(needed | optional))}"
        )


def _check(given: Any, defaults: Mapping[str, Any], where: str) -> None:
    """Each key must exist in the defaults and have a value of the default's type."""
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: should be a mapping, got {given!r}")
    for key, value in given.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"{where}: unknown key {key!r}; {hint}known here: {', '.join(defaults)}"
            )
        if not _same_type(value, defaults[key]):
            raise ConfigError(
                f"{where}.{key}: should be a {type(defaults[key]).__name__} "
                f"like {defaults[key]!r}, got {value!r}"
            )


def _same_type(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)
