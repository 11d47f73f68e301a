"""Hyper-parameters of the methods: configs/methods/NAME.yaml, resolved for one cell.

A file holds `defaults` (every setting, with its `source`) and may hold
    overrides   blocks of `when` (any of dataset, arch, scenario), `source` and `settings`;
                later ones win;
    tuned       more of them, which win over all: written by `adopt_tuning.py` from a search;
    search      blocks of `when`, `settings` and `grid`: what `snakemake tune` tries;
    scenarios   where the method's paper defines it, if not everywhere;
    original    the reference whose model it starts from and is compared with, if not `original`;
    inherits    a method whose defaults and overrides come before these.
Defaults and overrides may name settings in `unstated`: those whose value here is ours, since the
source gives none for what the block is about, or none that can be used; the audit says so.
The defaults fix which settings exist and their types, so a mistyped key or value is
found before anything runs and without importing the method.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning.config import ConfigError
from unlearning.recipe import shown
from unlearning.yaml_files import advice, read_yaml

CONDITIONS = ("dataset", "arch", "scenario")
FOLDER = "configs/methods"


def known_methods(folder: str | Path) -> list[str]:
    """The methods that have a settings file in `folder`, by name."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def resolve(
    method: str,
    cell: Mapping[str, str],
    extra: Mapping[str, Any],
    folder: str | Path = FOLDER,
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
    for block in blocks["overrides"]:
        if _applies(block, cell):
            settings |= block["settings"]
    _check(extra, settings, where or f"settings of a variant of {method}")
    return settings | extra


def unstated(method: str, cell: Mapping[str, str], folder: str | Path = FOLDER) -> list[str]:
    """The published settings of `method` in a cell whose value its source does not give.

    What an override sets and does not name as unstated its source gives.
    """
    blocks = load(Path(folder) / f"{method}.yaml")
    found = dict.fromkeys(blocks["defaults"].get("unstated", ()))
    for block in blocks["overrides"]:
        if _applies(block, cell):
            given = block["settings"].keys()
            found = {key: None for key in found if key not in given}
            found |= dict.fromkeys(block.get("unstated", ()))
    return list(found)


def _applies(block: Mapping[str, Any], cell: Mapping[str, str]) -> bool:
    return all(cell[key] in _listed(value) for key, value in block["when"].items())


def defined(method: str, scenario: str, folder: str | Path = FOLDER) -> bool:
    """Whether the method's paper defines it for the scenario."""
    scenarios = load(Path(folder) / f"{method}.yaml")["scenarios"]
    return scenarios is None or scenario in scenarios


def original_of(method: str, folder: str | Path = FOLDER) -> str:
    """The reference whose model the method starts from and is compared with."""
    return load(Path(folder) / f"{method}.yaml")["original"]


def candidates(
    method: str, cell: Mapping[str, str], folder: str | Path = FOLDER
) -> list[dict[str, Any]]:
    """The settings that a search tries on a dataset and arch: the grid's product, in order.

    Empty for a method that declares no search there.
    """
    found = []
    for block in load(Path(folder) / f"{method}.yaml")["search"]:
        if _applies(block, cell):
            points = itertools.product(*block["grid"].values())
            found += [
                block["settings"] | dict(zip(block["grid"], point, strict=True)) for point in points
            ]
    return found


@functools.cache
def load(file: str | Path) -> dict[str, Any]:
    """Read and check one method's file, every key present; ConfigError names file and key."""
    blocks = _read(file)
    optional = {"overrides", "tuned", "search", "scenarios", "original", "inherits"}
    _check_keys(blocks, {"defaults"}, optional, str(file))
    _check_keys(blocks["defaults"], {"settings", "source"}, {"unstated"}, f"{file}: defaults")
    defaults, open_ = blocks["defaults"]["settings"], blocks["defaults"].get("unstated", [])
    if not isinstance(defaults, dict):
        raise ConfigError(f"{file}: defaults.settings: should be a mapping, got {shown(defaults)}")
    overrides, search, inherited = [], [], []
    if "inherits" in blocks:
        parent = load(Path(file).with_name(f"{blocks['inherits']}.yaml"))
        defaults = parent["defaults"]["settings"] | defaults
        overrides = list(parent["overrides"])
        inherited = parent["defaults"]["unstated"]
    _check_unstated(open_, defaults, f"{file}: defaults")
    for kind in ("overrides", "tuned"):
        for number, block in enumerate(_blocks(blocks, kind, file)):
            where = f"{file}: {kind}.{number}"
            optional = {"unstated"} if kind == "overrides" else set()
            _check_keys(block, {"when", "settings", "source"}, optional, where)
            _check_keys(block["when"], set(), set(CONDITIONS), f"{where}.when")
            _check(block["settings"], defaults, f"{where}.settings")
            _check_unstated(block.get("unstated", []), defaults, where)
            overrides.append(block)
    for number, block in enumerate(_blocks(blocks, "search", file)):
        where = f"{file}: search.{number}"
        _check_keys(block, {"when", "settings", "grid"}, set(), where)
        _check_keys(block["when"], set(), set(CONDITIONS[:2]), f"{where}.when")
        _check(block["settings"], defaults, f"{where}.settings")
        _check_keys(block["grid"], set(), set(defaults), f"{where}.grid")
        for key, values in block["grid"].items():
            if not isinstance(values, list) or not values:
                raise ConfigError(f"{where}.grid.{key}: should be a list of values")
            for value in values:
                _check({key: value}, defaults, f"{where}.grid")
        search.append(block)
    return {
        "defaults": {
            **blocks["defaults"],
            "settings": defaults,
            "unstated": list(dict.fromkeys([*inherited, *open_])),
        },
        "overrides": overrides,
        "search": search,
        "scenarios": blocks.get("scenarios"),
        "original": blocks.get("original", "original"),
    }


def _read(file: str | Path) -> Any:
    try:
        return read_yaml(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _blocks(blocks: Mapping[str, Any], key: str, file: str | Path) -> list:
    found = blocks.get(key) or []
    if not isinstance(found, list):
        raise ConfigError(f"{file}: {key}: should be a list, got {shown(found)}")
    return found


def check_conditions(folder: str | Path, known: Mapping[str, Iterable[str]]) -> None:
    """Raise ConfigError for a `when` that can never be true: a name that is not known.

    known: the data sets, architectures and scenarios, under the keys of CONDITIONS.
    """
    for method in known_methods(folder):
        file = Path(folder) / f"{method}.yaml"
        blocks = load(file)
        for kind in ("overrides", "search"):
            for number, block in enumerate(blocks[kind]):
                for key, value in block["when"].items():
                    where = f"{file}: {kind}.{number}.when.{key}"
                    _check_names(_listed(value), known[key], key, where)
        _check_names(blocks["scenarios"] or [], known["scenario"], "scenario", f"{file}: scenarios")


def _check_names(names: Iterable[str], known: Iterable[str], what: str, where: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: unknown {what} {shown(name)}; known: {', '.join(known)}")


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _check_keys(block: Any, needed: set[str], optional: set[str], where: str) -> None:
    if not isinstance(block, dict):
        raise ConfigError(f"{where}: should be a mapping, got {shown(block)}")
    for key in needed - block.keys():
        raise ConfigError(f"{where}: key {key!r} is needed and missing")
    for key in block.keys() - needed - optional:
        raise ConfigError(
            f"{where}: unknown key {shown(key)}; known here: {', '.join(sorted(needed | optional))}"
        )


def _check(given: Any, defaults: Mapping[str, Any], where: str) -> None:
    """Each key must exist in the defaults and have a value of the default's type."""
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: should be a mapping, got {shown(given)}")
    for key, value in given.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"{where}: unknown key {shown(key)}; {hint}known here: {', '.join(defaults)}"
            )
        if not _same_type(value, defaults[key]):
            raise ConfigError(
                f"{where}.{key}: should be a {type(defaults[key]).__name__} "
                f"like {defaults[key]!r}, got {shown(value)}{advice(value)}"
            )


def _check_unstated(names: Any, defaults: Mapping[str, Any], where: str) -> None:
    """A list of settings that the defaults have."""
    if not isinstance(names, list):
        raise ConfigError(f"{where}.unstated: should be a list of settings, got {shown(names)}")
    _check_names(names, list(defaults), "setting", f"{where}.unstated")


def _same_type(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)
