"""The record: one JSON object for each trained or unlearned model, with all that made it.

It states the hashes of the files that were made with it and carries a seal over itself, so that
whoever reads a model or its outputs can tell that they are the ones that were made.
"""

from __future__ import annotations

import datetime
import itertools
import resource
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.files import (
    DamagedFile,
    canonical_json,
    check_hash,
    load_arrays,
    read_sealed,
    sha256_file,
    sha256_text,
    write_sealed,
)
from unlearning.records.provenance import code_hash, git_state, host, software

if TYPE_CHECKING:
    import numpy as np

RECORD = "record.json"
SEAL = "record_sha256"
VERSION = 1
"""Of the form of a record (CHANGELOG.md); earlier ones state none."""


def new_record(
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path | None],
    modules: Iterable[str],
) -> dict[str, Any]:
    """A record of the running command: settings, inputs by hash and path, code, software, commit.

    settings: the cell's own, identity included. inputs: files by role, None for one
    that was not given. modules: what
    `provenance.code_hash` starts from. The stage adds its results.
    """
    inputs = {role: path for role, path in inputs.items() if path}
    return {
        "version": VERSION,
        "settings": dict(settings),
        "settings_sha256": sha256_text(canonical_json(settings)),
        "inputs": {role: sha256_file(path) for role, path in inputs.items()},
        "paths": {role: str(path) for role, path in inputs.items()},
        "code_sha256": code_hash(modules),
        "software": software(),
        "git": git_state(),
        "host": host(),
        "started": _now(),
        "command": shlex.join(["python", "-m", "unlearning", *sys.argv[1:]]),
    }


def input_paths(record: Mapping[str, Any]) -> dict[str, str]:
    """Where the inputs of a record were, by role; of one without a version from its command."""
    if "paths" in record:
        return record["paths"]
    found = options_of(record["command"])
    return {role: found[role] for role in record["inputs"] if role in found}


def options_of(command: str) -> dict[str, str]:
    """The options of a command with the word after each: for files from before they held data."""
    words = shlex.split(command)
    pairs = itertools.pairwise(words)
    return {one.removeprefix("--"): value for one, value in pairs if one.startswith("--")}


def write_record(
    path: str | Path, record: Mapping[str, Any], outputs: Mapping[str, str | Path]
) -> None:
    """Write a record with the hashes of `outputs`, files by role (model, outputs), and its seal.

    Also says when: the job has nothing left to do.
    """
    hashes = {role: sha256_file(file) for role, file in outputs.items()}
    write_sealed(path, {**record, "outputs": hashes, "ended": _now()}, SEAL)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record; DamagedFile, naming it, if it is not exactly what was written."""
    return read_sealed(path, SEAL)


def check_made(
    path: str | Path, role: str, record: Mapping[str, Any], found: str | None = None
) -> None:
    """Raise DamagedFile unless the file is the one that a record states for `role`.

    found: the file's SHA-256, where the caller has taken it already.
    """
    stated = record["outputs"].get(role)
    if stated is None:
        raise DamagedFile(path, f"its record states no {role}")
    check_hash(path, stated, "its record", found)


def load_outputs(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an outputs file, checked against the record beside it."""
    check_made(path, "outputs", read_record(Path(path).with_name(RECORD)))
    return load_arrays(path)


def computed_on(device: str, precision: str) -> dict[str, Any]:
    """What a record says of the device that computed, at the end of the work."""
    return {"peak_memory_mb": peak_memory_mb(device), "device": device, "precision": precision}


def peak_memory_mb(device: str) -> float:
    """Peak memory so far in MB: of the GPU's allocator, or of this process on a CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
