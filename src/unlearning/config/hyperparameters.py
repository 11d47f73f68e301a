"""Hyper-parameters of the methods: configs/methods/NAME.yaml, resolved for one cell.

A file holds `defaults` (every setting, with its `source` and the `datasets` that it is for) and
may hold
    overrides   blocks of `when` (any of dataset, arch, scenario), `source` and `settings`;
                later ones win. With the defaults they are the *published* settings;
    search      blocks of `settings`, `space` (see config.spaces) and perhaps `when`: what
                `snakemake tune` tries; later ones win. One without `when` is for any data set;
    second      spaces of a second round, where the first one's winner lay at an edge;
    borrowed    blocks like `overrides`: what a search on other data or another network found;
    tuned       blocks like `overrides`: what a search found there. With `borrowed` they make the
                *searched* settings; `tuned` and `second` are written by `adopt_tuning.py`;
    scenarios   where the method's paper defines it, if not everywhere;
    original    the reference whose model it starts from and is compared with, if not `original`;
    inherits    a method whose defaults, overrides and searched settings come before these, and
                whose search is this one's.
Defaults and overrides may name settings in `unstated`: those whose value here is ours, since the
source gives none for what the block is about, or none that can be used; the audit says so.
Defaults may name settings in `stand_ins`, with what the published method has there and no run here
can have: tables say so, and no verdict is given on the method.
The defaults fix which settings exist and their types, so a mistyped key or value is
found before anything runs and without importing the method.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning.config import spaces
from unlearning.config.parsing import ConfigError
from unlearning.config.yaml_files import advice, read_yaml
from unlearning.files import METHODS
from unlearning.methods import SHARE
from unlearning.recipe import shown

CONDITIONS = ("dataset", "arch", "scenario")
LIKE = dict.fromkeys(("sample_removal", "subclass_removal"), "homogeneous_removal")
"""Scenarios that take the settings of another one, unless a block names them: classes stay."""
BLOCKS = ("overrides", "borrowed", "tuned")
"""Of a file, from what is published to what was searched for the very cell."""


def known_methods(folder: str | Path) -> list[str]:
    """The methods that have a settings file in `folder`, by name."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def resolve(
    method: str,
    cell: Mapping[str, str],
    extra: Mapping[str, Any],
    folder: str | Path = METHODS,
    where: str = "",
    settings_from: str = "published",
) -> dict[str, Any]:
    """The settings of `method` in a cell with the given dataset, arch and scenario.

    extra: settings of a config's variant; they win over the file. where: how an error
    names them. settings_from: `published`, or `searched`, which are the published ones where
    nothing was searched (see `origin`).
    Raises ConfigError naming file and key for an unknown key or a wrong type.
    """
    blocks = load(Path(folder) / f"{method}.yaml")
    settings = dict(blocks["defaults"]["settings"])
    for kind in BLOCKS if settings_from == "searched" else BLOCKS[:1]:
        for block in _matching(blocks[kind], cell):
            settings |= block["settings"]
    _check(extra, settings, where or f"settings of a variant of {method}")
    return settings | extra


def unstated(method: str, cell: Mapping[str, str], folder: str | Path = METHODS) -> list[str]:
    """The published settings of `method` in a cell whose value its source does not give.

    What an override sets and does not name as unstated its source gives.
    """
    blocks = load(Path(folder) / f"{method}.yaml")
    found = dict.fromkeys(blocks["defaults"].get("unstated", ()))
    for block in _matching(blocks["overrides"], cell):
        given = block["settings"].keys()
        found = {key: None for key in found if key not in given}
        found |= dict.fromkeys(block.get("unstated", ()))
    return list(found)


def stand_ins(method: str, folder: str | Path = METHODS) -> dict[str, str]:
    """The settings of a method that stand in for what cannot be had, and what that is.

    Empty for a model that has no settings file: it was made elsewhere.
    """
    file = Path(folder) / f"{method}.yaml"
    return load(file)["defaults"]["stand_ins"] if file.is_file() else {}


def origin(
    method: str, cell: Mapping[str, str], settings_from: str, folder: str | Path = METHODS
) -> str:
    """Where the settings of `method` in a cell come from; "" if it has none to set.

    `published` for this data set or `published elsewhere`, for others; `searched` for this very
    cell or `searched elsewhere`; `not searched` where searched ones were asked for and there are
    none, so that the published ones stand.
    """
    blocks = load(Path(folder) / f"{method}.yaml")
    if not blocks["defaults"]["settings"]:
        return ""
    if settings_from == "searched":
        for kind, word in (("tuned", "searched"), ("borrowed", "searched elsewhere")):
            if _matching(blocks[kind], cell):
                return word
        return "not searched"
    given = [block for block in _matching(blocks["overrides"], cell) if block["settings"]]
    named = any("dataset" in block["when"] for block in given)
    own = named or cell["dataset"] in blocks["defaults"].get("datasets", ())
    return "published" if own else "published elsewhere"


def _matching(blocks: Iterable[Mapping[str, Any]], cell: Mapping[str, str]) -> list:
    return [
        block
        for block in blocks
        if all(_meets(cell[key], _listed(value)) for key, value in block.get("when", {}).items())
    ]


def _meets(name: str, listed: Collection[str]) -> bool:
    return name in listed or LIKE.get(name) in listed


def defined(method: str, scenario: str, folder: str | Path = METHODS) -> bool:
    """Whether the method's paper defines it for the scenario."""
    scenarios = load(Path(folder) / f"{method}.yaml")["scenarios"]
    return scenarios is None or _meets(scenario, scenarios)


def original_of(method: str, folder: str | Path = METHODS) -> str:
    """The reference whose model the method starts from and is compared with."""
    return load(Path(folder) / f"{method}.yaml")["original"]


def searched_space(
    method: str, cell: Mapping[str, str], folder: str | Path = METHODS
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings that all candidates of a cell share, and the space of each round.

    The settings are the published ones and those of the search; without a space of its own a
    method has that of spaces.COMMON. No space for what has no search: a reference, or a method
    that inherits another's. Raises ConfigError for any other method that has nothing to search.
    """
    file = Path(folder) / f"{method}.yaml"
    blocks = load(file)
    defaults = blocks["defaults"]["settings"]
    declared = _matching(blocks["search"], cell)[-1:]
    base = resolve(method, cell, {}, folder)
    if not defaults or (blocks["inherits"] and not declared):
        return base, []
    own = declared[0] if declared else {"settings": {}, "space": {}}
    space = spaces.whole(own["space"], defaults)
    if not space:
        raise ConfigError(
            f"{file}: search: no space, and the method has neither lr nor epochs: declare one"
        )
    rounds = [space, *(block["space"] for block in _matching(blocks["second"], cell)[-1:])]
    return base | own["settings"], rounds


def candidates(
    method: str, cell: Mapping[str, str], budget: int, folder: str | Path = METHODS
) -> list[dict[str, Any]]:
    """The settings that a search tries in a cell: `budget` points a round, the first round first.

    What the method's published settings have already is left out, but for the dimensions.
    """
    base, rounds = searched_space(method, cell, folder)
    published = resolve(method, cell, {}, folder)
    common = {key: value for key, value in base.items() if value != published.get(key)}
    return [
        common | point
        for space in rounds
        for point in spaces.points(space, around(method, cell, folder), budget)
    ]


def around(method: str, cell: Mapping[str, str], folder: str | Path = METHODS) -> dict[str, Any]:
    """What the decades of a space are around: the published settings, numbers of their type."""
    defaults = load(Path(folder) / f"{method}.yaml")["defaults"]["settings"]
    found = resolve(method, cell, {}, folder)
    return {k: float(v) if isinstance(defaults[k], float) else v for k, v in found.items()}


@functools.cache
def load(file: str | Path) -> dict[str, Any]:
    """Read and check one method's file, every key present; ConfigError names file and key."""
    blocks = _read(file)
    optional = {*BLOCKS, "search", "second", "scenarios", "original", "inherits"}
    _check_keys(blocks, {"defaults"}, optional, str(file))
    optional = {"unstated", "stand_ins", "datasets"}
    _check_keys(blocks["defaults"], {"settings", "source"}, optional, f"{file}: defaults")
    defaults, open_ = blocks["defaults"]["settings"], blocks["defaults"].get("unstated", [])
    if not isinstance(defaults, dict):
        raise ConfigError(f"{file}: defaults.settings: should be a mapping, got {shown(defaults)}")
    inherited: list[str] = []
    standing = blocks["defaults"].get("stand_ins", {})
    if not isinstance(standing, dict):
        raise ConfigError(
            f"{file}: defaults.stand_ins: should be a mapping of settings, got {shown(standing)}"
        )
    found: dict[str, Any] = {kind: [] for kind in BLOCKS}
    stated = {"datasets": blocks["defaults"].get("datasets", [])}
    if "inherits" in blocks:
        parent = load(Path(file).with_name(f"{blocks['inherits']}.yaml"))
        defaults = parent["defaults"]["settings"] | defaults
        stated["datasets"] = parent["defaults"]["datasets"] + stated["datasets"]
        found = {kind: list(parent[kind]) for kind in BLOCKS}
        inherited = parent["defaults"]["unstated"]
        standing = parent["defaults"]["stand_ins"] | standing
    _check_unstated(open_, defaults, f"{file}: defaults")
    _check_names(standing, list(defaults), "setting", f"{file}: defaults.stand_ins")
    stated |= {"unstated": list(dict.fromkeys([*inherited, *open_])), "stand_ins": standing}
    for kind in BLOCKS:
        for number, block in enumerate(_blocks(blocks, kind, file)):
            where = f"{file}: {kind}.{number}"
            optional = {"unstated"} if kind == "overrides" else set()
            _check_keys(block, {"when", "settings", "source"}, optional, where)
            _check_keys(block["when"], set(), set(CONDITIONS), f"{where}.when")
            _check(block["settings"], defaults, f"{where}.settings")
            _check_unstated(block.get("unstated", []), defaults, where)
            found[kind].append(block)
    for kind in ("search", "second"):
        found[kind] = _blocks(blocks, kind, file)
        for number, block in enumerate(found[kind]):
            _check_search(block, kind, defaults, f"{file}: {kind}.{number}")
    return {
        **found,
        "defaults": {**blocks["defaults"], "settings": defaults, **stated},
        "scenarios": blocks.get("scenarios"),
        "original": blocks.get("original", "original"),
        "inherits": blocks.get("inherits"),
    }


def _check_search(block: Any, kind: str, defaults: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for a mistaken space of the first or the second round."""
    first = kind == "search"
    needed = {"space"} if first else {"when", "space", "source"}
    _check_keys(block, needed, {"when", "settings"} if first else set(), where)
    block.setdefault("when", {})
    _check_keys(block["when"], set(), set(CONDITIONS), f"{where}.when")
    if first:
        block.setdefault("settings", {})
        _check(block["settings"], defaults, f"{where}.settings")
    known = _offered(defaults) | dict(defaults)
    if wrong := spaces.check(block["space"], known):
        raise ConfigError(f"{where}.space: {wrong}")
    for key, dimension in block["space"].items():
        for value in dimension if isinstance(dimension, list) else ():
            _check({key: value}, defaults, f"{where}.space")


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
        for kind in (*BLOCKS, "search", "second"):
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
        raise ConfigError(f"{where}: key {key!r} is required and missing")
    for key in block.keys() - needed - optional:
        raise ConfigError(
            f"{where}: unknown key {shown(key)}; known here: {', '.join(sorted(needed | optional))}"
        )


def _check(given: Any, defaults: Mapping[str, Any], where: str) -> None:
    """Each key must exist in the defaults and have a value of the default's type."""
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: should be a mapping, got {shown(given)}")
    defaults = _offered(defaults) | dict(defaults)
    for key, value in given.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"{where}: unknown key {shown(key)}; {hint}known here: {', '.join(defaults)}"
            )
        if not _same_type(key, value, defaults[key]):
            share = " or a share like 1/5" if SHARED.search(key) else ""
            raise ConfigError(
                f"{where}.{key}: should be a {type(defaults[key]).__name__} "
                f"like {defaults[key]!r}{share}, got {shown(value)}{advice(value)}"
            )


def _check_unstated(names: Any, defaults: Mapping[str, Any], where: str) -> None:
    """A list of settings that the defaults have."""
    if not isinstance(names, list):
        raise ConfigError(f"{where}.unstated: should be a list of settings, got {shown(names)}")
    _check_names(names, list(defaults), "setting", f"{where}.unstated")


SHARED = re.compile("batch_size$|^noise_images$|^retain_per_class$")
"""The settings that may be a share `1/K`; which part it is of, `methods.in_images` knows."""
OFFERED = {"stop": "never", "forget_target": 0.01}
"""The one stop rule: a config or a search may ask for it in any method that trains in epochs."""


def _offered(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return OFFERED if "epochs" in defaults else {}


def _same_type(key: str, value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if SHARED.search(key) and isinstance(value, str):
        return SHARE.fullmatch(value) is not None
    return type(value) is type(default)
