"""The record: one JSON object for each trained or unlearned model, with all that made it."""

from __future__ import annotations

import datetime
import resource
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning.files import canonical_json, sha256_file, sha256_text
from unlearning.provenance import code_hash, git_state, host, software


def new_record(
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    modules: Iterable[str],
) -> dict[str, Any]:
    """A record of the running command: settings, hashes of inputs and code, software, commit.

    settings: the cell's own, identity included. inputs: files by role. modules: what
    `provenance.code_hash` starts from. The stage adds its results.
    """
    return {
        "settings": dict(settings),
        "settings_sha256": sha256_text(canonical_json(settings)),
        "inputs": {role: sha256_file(path) for role, path in inputs.items()},
        "code_sha256": code_hash(modules),
        "software": software(),
        "git": git_state(),
        "host": host(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "unlearning", *sys.argv[1:]]),
    }


def peak_memory_mb(device: str) -> float:
    """Peak memory so far in MB: of the GPU's allocator, or of this process on a CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
