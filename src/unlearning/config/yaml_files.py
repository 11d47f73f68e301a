"""Read YAML files with plain decimal numbers and without repeated keys.

YAML 1.1, as PyYAML and Snakemake read it, takes 010 for 8, 1:30 for 90, 0x10 for 16 and 1_000 for
1000, takes 5e-4 for text, and keeps the last of two equal keys. Here plain decimal digits and
`5e-4` are numbers; those other forms stay text, which no number field accepts; and a key that is
given twice is an error. Anchors, aliases and `<<` are YAML's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEEPEST = 100
"""Levels of lists and mappings in a file."""
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_PLAIN_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_PLAIN_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$"
    r"|\.(?:nan|NaN|NAN)$"
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's safe loader, in C where it is built, for which only plain decimals are numbers."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if tag not in (_INT, _FLOAT)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, _PLAIN_INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, _PLAIN_FLOAT, list("-+.0123456789"))


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds, or a JSON file by its ending, in UTF-8 with or without its mark.

    Raises ValueError, a line a problem, that names the file, and for a key that is given twice the
    path of its block and both lines; OSError where the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if Path(path).suffix == ".json":
            return json.loads(text, object_pairs_hook=_each_once)
        _check_depth(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        repeated = list(_repeated(node, (), set()))
        found = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        form = "JSON" if Path(path).suffix == ".json" else "YAML"
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not valid {form} in UTF-8 ({reason})") from None
    if repeated:
        raise ValueError("\n".join(f"{path}: {problem}" for problem in repeated))
    return found


def _check_depth(text: str) -> None:
    """Raise ValueError for what lies so deep that the loader in C would overflow its stack."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels of lists and mappings")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object; ValueError if a key is given twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(k for k in keys if keys.count(k) > 1)} is given twice; keep one")
    return found


def _repeated(node: yaml.Node | None, path: tuple, seen: set[int]) -> Iterator[str]:
    """A sentence for each key that is given twice in one mapping, below `path`."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))  # an alias is its anchor's node; one may even lie in itself
    if isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            yield from _repeated(inner, (*path, number), seen)
        return
    where = ".".join(map(str, path)) or "(top level)"
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                pair = f"lines {lines[name]} and {line}"
                yield f"{where}: {key.value} is given twice ({pair}); keep one"
            lines.setdefault(name, line)
        yield from _repeated(value, (*path, key.value), seen)


def advice(value: Any) -> str:
    """What an error adds where a number was wanted: how to write it, if `value` is text of one."""
    if isinstance(value, str) and re.match(r"[-+.]?[0-9]", value):
        return "; write plain decimal digits, without quotes, leading zero, _ or :"
    return ""
