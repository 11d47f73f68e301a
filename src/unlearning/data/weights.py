"""Find or download pretrained weights, verify them, read them without running code, pack them.

`configs/weights.csv` names every file with its size and SHA-256, as datasets.csv does for images.
What torch.save wrote is a pickle: it is read with `weights_only=True`, which knows tensors and no
code. A training reads the packed safetensors file, and its record has the hash of that.

torch.hub's cache is not looked into: torch.hub believes any file there that has the right name.
"""

from __future__ import annotations

import logging
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch

from unlearning.data.catalogue import ChecksumError, DataError, FormatError, WeightsInfo
from unlearning.data.download import download, expanded, silent, verify
from unlearning.files import STORAGE, save_tensors, sha256_file, write_json
from unlearning.runtime.vision import torchvision

FOLDER = "weights"
DAMAGE = (
    *(OSError, EOFError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, struct.error),
)
"""What torch raises for a file that it cannot read."""

log = logging.getLogger(__name__)


class UnsafeWeights(DataError):
    """A weights file is a pickle that asks for code."""


def fetch_weights(
    info: WeightsInfo,
    out_dir: str | Path,
    named: str | Path | None = None,
    retries: int = 4,
    backoff: float = 2.0,
) -> None:
    """Write `out_dir/weights/NAME.safetensors` and, last, `out_dir/weights/NAME.json`.

    The tensors are the state dict of torchvision's network `info.name`, in its names and types.
    The file is `named` (or lies in that folder; `~` and $VARIABLES are expanded), else the cache
    `out_dir/downloads/weights`, else it is downloaded (see `download`).

    Raises DataError (ChecksumError, DownloadError, UnsafeWeights, FormatError); the outputs then
    do not appear. A named file is left as it is, whatever it holds.
    """
    out = Path(out_dir)
    path, checksum = _obtain(info, out, named, retries, backoff)
    log.info("%s: verified %s (%s)", info.name, path, checksum)
    packed = out / FOLDER / f"{info.name}.safetensors"
    save_tensors(packed, read_weights(path, info.name))
    facts = {
        "name": info.name,
        "licence": info.licence,
        "source": info.source,
        "sha256": sha256_file(packed),
        "files": {info.file.file: checksum},
    }
    write_json(packed.with_suffix(".json"), facts)
    log.info("%s: packed into %s", info.name, packed)


def check_obtainable(
    info: WeightsInfo, out_dir: str | Path, named: str | Path | None = None, config: str = ""
) -> None:
    """Raise DataError, with what to do, if the file is not here and no server answers for it.

    config: the file with `pretrained: true`, which the error names.

    Of a file that is here only the name is looked at: `fetch_weights` verifies it.
    """
    if named is not None:
        _named(info, named)
    elif not _cached(info, Path(out_dir)).is_file():
        reason = silent(info.file.url) if info.file.url else "no address is known"
        if reason is not None:
            raise DataError(
                f"{config}: pretrained: the weights of {info.name} are not here and cannot be "
                f"downloaded ({info.file.url}: {reason}). Run `snakemake data` with this config "
                f"where there is a network. {_by_hand(info)}"
            )


def _obtain(
    info: WeightsInfo, out: Path, named: str | Path | None, retries: int, backoff: float
) -> tuple[Path, str]:
    """The verified file and its checksum, from the first place that has it."""
    if named is not None:
        path = _named(info, named)
        return path, verify(
            path, info.file, "The file was not changed: replace it, or name another."
        )
    cached = _cached(info, out)
    if cached.is_file():
        # It stays until a verified one replaces it: the catalogue may be what is wrong.
        try:
            return cached, verify(cached, info.file, "Downloading it again.")
        except ChecksumError as error:
            log.warning("%s", error)
    return cached, download(info.file, cached, _by_hand(info), retries, backoff)


def _named(info: WeightsInfo, named: str | Path) -> Path:
    """The file that the config names, or that lies in the folder that it names."""
    path = expanded(named)
    path = path / info.file.file if path.is_dir() else path
    if not path.is_file():
        raise DataError(
            f"{path} is not a file: name the one with the weights of {info.name} in the config, as "
            f"{_key(info)}"
        )
    return path


def _cached(info: WeightsInfo, out: Path) -> Path:
    return out / "downloads" / FOLDER / info.file.file


def _key(info: WeightsInfo) -> str:
    return f"sources: {{{info.name}: FILE}}"


def _by_hand(info: WeightsInfo) -> str:
    return (
        f"Or put {info.file.file} ({info.file.checksum}) where this machine can read it and name "
        f"it in the config: {_key(info)}."
    )


def read_weights(path: str | Path, name: str) -> dict[str, torch.Tensor]:
    """The state dict of torchvision's network `name` from a file of torch.save; runs no code.

    Names that torchvision has changed since are brought up to date by its own loading. Raises
    UnsafeWeights for a pickle that asks for anything but tensors, FormatError for what cannot be
    read, is of another network or is not finite; each names the file and the first mistake.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno in STORAGE:
            raise
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise UnsafeWeights(
                f"{path}: a pickle that asks for {asked[1]}, not only for tensors; it was not run"
            ) from error
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise FormatError(f"{path}: cannot be read as a state dict ({reason})") from error
    tensors = isinstance(found, Mapping) and all(torch.is_tensor(t) for t in found.values())
    if not tensors:
        inside = "with other things than tensors" if isinstance(found, Mapping) else "alone"
        raise FormatError(f"{path}: no state dict but a {type(found).__name__} {inside}")
    network = torchvision().models.get_model(name)
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        _, *problems = [" ".join(line.split()) for line in str(error).splitlines()]
        first = problems[0] if len(problems[0]) < 200 else f"{problems[0][:200]}…"
        raise FormatError(f"{path}: no weights of {name}: {first}") from error
    weights = network.state_dict()
    for key, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise FormatError(f"{path}: {key} is not finite")
    return weights
