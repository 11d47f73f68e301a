"""Whole files or none: atomic writes, content hashes, sealed JSON, safetensors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

PROJECT = Path(__file__).resolve().parents[2]
METHODS = PROJECT / "configs/methods"
"""The methods' settings files."""
"""The checkout of this library: its configs/, figures/, paper/ and workflow/ lie here."""
REPAIR = "run `python -m unlearning verify --root RUN --delete` on the run's folder, then snakemake"
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""A disk that is full, over its quota, read-only, closed to us or broken."""
SEAL = "sha256"


class DamagedFile(ValueError):
    """A file that cannot be read, or is not what its hash says; the message names it and a cure.

    wrong: what is wrong with it, alone.
    """

    def __init__(self, path: str | Path, wrong: str) -> None:
        self.wrong = wrong
        super().__init__(f"{path}: {wrong}; {REPAIR}")


def name_in_checkout(path: str | Path) -> str:
    """How a file of the checkout is named in it, wherever it lies; any other path unchanged."""
    found = Path(path).resolve()
    return str(found.relative_to(PROJECT)) if found.is_relative_to(PROJECT) else str(path)


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the final name only if the block succeeds.

    The block writes into the file that is there and does not replace it. The content is fsynced
    before the rename, so a reader never sees half a file, not even after a power cut. On an
    error the temporary file is removed; one that a kill left is removed by the next writer of
    `path`, on whatever machine. Raises OSError that names `path` if the disk refuses.
    """
    final = Path(path)
    with _naming(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        temporary, handle = _begin(final)
    try:
        with handle, _naming(final, temporary):
            yield temporary
            os.fsync(handle.fileno())
            os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(final: Path, *temporary: Path) -> Iterator[None]:
    """Let an error of the disk that has no name, or a temporary one, name the final file."""
    try:
        yield
    except OSError as error:
        ours = not temporary or error.filename in (None, *map(str, temporary))
        if error.errno not in STORAGE or not ours:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(final)) from error


def _begin(final: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary file, locked as long as its handle is open.

    The name is random: on a shared disk, processes of two machines may have the same number.
    """
    while True:
        temporary = final.with_name(f".{final.name}.{secrets.token_hex(6)}.part")
        handle = open(temporary, "xb")  # noqa: SIM115 (the caller holds it, and so the lock)
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle.fileno()).st_nlink:  # else taken for abandoned before it was locked
            return temporary, handle
        handle.close()


def _remove_abandoned(final: Path) -> None:
    """Remove temporary files of `final` that no process has locked."""
    for name in final.parent.glob(f".{glob.escape(final.name)}.*.part"):
        with contextlib.suppress(OSError), open(name, "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; DamagedFile, naming it, if it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"not valid JSON ({error})") from error


def write_sealed(path: str | Path, value: Mapping[str, Any], seal: str = SEAL) -> None:
    """Write an object as JSON with the hash of the rest under the key `seal`."""
    write_json(path, {**value, seal: seal_of(value, seal)})


def read_sealed(path: str | Path, seal: str = SEAL) -> dict[str, Any]:
    """Read what `write_sealed` wrote; DamagedFile if it is not exactly that."""
    found = read_json(path)
    if not isinstance(found, dict) or seal not in found:
        raise DamagedFile(path, f"no object with the key {seal}")
    if found[seal] != seal_of(found, seal):
        raise DamagedFile(path, "its content does not match its hash")
    return found


def seal_of(value: Mapping[str, Any], seal: str = SEAL) -> str:
    """SHA-256 over the canonical JSON of an object without its key `seal`."""
    return sha256_text(canonical_json({k: v for k, v in value.items() if k != seal}))


def canonical_json(value: Any) -> str:
    """One line of JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_text(text: str) -> str:
    """SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_hash(path: str | Path, stated: str, where: str, found: str | None = None) -> None:
    """Raise DamagedFile unless the file's SHA-256 is the one stated in `where`.

    found: its hash, where the caller has taken it already.
    """
    if (found or sha256_file(path)) != stated:
        raise DamagedFile(path, f"its content does not match the hash in {where}")


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as one safetensors file, whole or not at all."""
    from safetensors.torch import save

    with whole(path) as temporary:
        # Not save_file: it replaces the file by one of its own, which only the owner may read.
        content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        temporary.write_bytes(content)


def load_tensors(path: str | Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto `device`; DamagedFile if it is none."""
    from safetensors.torch import load_file

    with _whole_tensors(path):
        return load_file(path, device=device)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read every array of a safetensors file as NumPy, without torch; DamagedFile if it is none."""
    from safetensors.numpy import load_file

    with _whole_tensors(path):
        return load_file(path)


@contextlib.contextmanager
def _whole_tensors(path: str | Path) -> Iterator[None]:
    """Turn safetensors' own errors into DamagedFile or, if the system refused, into OSError."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        refused = re.search(r"os error (\d+)", str(error))
        if refused:
            number = int(refused[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise DamagedFile(path, f"not a complete safetensors file ({error})") from error
