"""Entities of a research object, added to a crate of the rocrate library."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, Entity
from rocrate.rocrate import ROCrate

from unlearning.files import sha256_file, sha256_text

FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".html": "text/html",
    ".tex": "application/x-tex",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".dot": "text/vnd.graphviz",
    ".safetensors": "application/octet-stream",
}
"""By the ending of a file; others are plain text."""


def add(crate: ROCrate, id_: str, type_: str, **properties: Any) -> Entity:
    """Add a contextual entity; one of the same id is replaced. Values as `linked` takes them."""
    values = {key: linked(value) for key, value in properties.items()}
    return crate.add(ContextEntity(crate, id_, properties={"@type": type_, **values}))


def add_file(crate: ROCrate, source: Path, path: str) -> Entity:
    """Add a file under a path in the crate, with its hash, size and format."""
    stated = _facts(path, sha256_file(source), source.stat().st_size)
    return crate.add_file(source, path, properties=stated)


def add_text(crate: ROCrate, text: str, path: str) -> Entity:
    """The same for a file that is not on the disk yet."""
    stated = _facts(path, sha256_text(text), len(text.encode()))
    return crate.add_file(io.StringIO(text), path, properties=stated)


def _facts(path: str, sha256: str, size: int) -> dict[str, str]:
    form = FORMATS.get(Path(path).suffix, "text/plain")
    return {"name": path, "sha256": sha256, "contentSize": str(size), "encodingFormat": form}


def linked(value: Any) -> Any:
    """A property's value as JSON-LD: entities by id, a list of one as that one."""
    if isinstance(value, list):
        return linked(value[0]) if len(value) == 1 else [*map(linked, value)]
    return {"@id": value.id} if isinstance(value, Entity) else value
