"""merge: bring together what parts of one run, made in different places, have finished.

Models, cells and what was measured of them are copied with what Snakemake knows of them; tables
and the like are made anew. All is checked before anything is copied.
"""

from __future__ import annotations

import os
import shutil
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.files import canonical_json, read_json, sha256_file, whole
from unlearning.records.record import RECORD, check_made, input_paths, read_record
from unlearning.runtime.options import verb_parser

OF_A_PLACE = ("models", "partial", "order", "sources", "keep", "without_bfloat16")
"""Keys of a config in which parts may differ."""
MADE_ANEW = ("logs", "tables", "figures", "report", "audit", "first")
"""Folders of a run that are not merged."""
UNFINISHED = "resume"
POISONED = "poisoned.safetensors"
"""A data set of an experiment's own, below the run's folder."""
ROLES = ("model", "outputs")


def main(argv: list[str]) -> None:
    """Copy the parts into one folder; exit status 1, and nothing is copied, if they do not fit."""
    parser = verb_parser(__doc__)
    parser.add_argument("--into", required=True, type=Path, help="results/RUN, there or not yet")
    parser.add_argument("parts", nargs="+", type=Path, help="results/RUN of other working folders")
    options = parser.parse_args(argv)
    there = [options.into] if (options.into / "config.json").is_file() else []
    parts = [read(folder) for folder in (*there, *options.parts)]
    wrong = list(problems(parts))
    if wrong:
        print("\n".join(wrong))
        sys.exit(f"error: {len(wrong)} problems; nothing was merged")
    count, again = copy(parts, options.into)
    for file in again:
        print(f"{file}: parts measured different cells; it will be measured again")
    print(f"{count} files merged into {options.into}; run snakemake to make what is missing")


@dataclass(frozen=True)
class Part:
    """What a run's folder has finished: records and files by their path below it."""

    root: Path
    config: dict[str, Any]
    records: dict[str, dict[str, Any]]
    files: dict[str, Path]


def read(root: Path) -> Part:
    """A part; DamagedFile, naming it, for a record or a file of one that is not as it was made."""
    config = read_json(root / "config.json")
    files = {str(path.relative_to(root)): path for path in _files(root)}
    records = {}
    for name in [name for name in files if Path(name).name == RECORD]:
        records[name] = record = read_record(root / name)
        for role, beside in zip(ROLES, _beside(name), strict=True):
            if file := files.get(str(Path(name).with_name(beside))):
                check_made(file, role, record)
    return Part(root, config, records, files)


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*/**/*")):
        inside = path.relative_to(root).parts
        unfinished = UNFINISHED in inside or path.name.startswith(".")
        if path.is_file() and inside[0] not in MADE_ANEW and not unfinished:
            yield path


def problems(parts: list[Part]) -> Iterator[str]:
    """A line for each way in which the parts are not of one run; none where they fit."""
    first = parts[0]
    for part in parts[1:]:
        if _settings(part.config) != _settings(first.config):
            yield f"{part.root}: its config is another one than that of {first.root}"
    made: dict[str, tuple[Part, dict[str, Any]]] = {}
    codes: dict[tuple, tuple[Part, str]] = {}
    data: dict[str, tuple[Part, str]] = {}
    for part in parts:
        for name, record in part.records.items():
            other, before = made.setdefault(name, (part, record))
            if before["outputs"] != record["outputs"]:
                yield f"{part.root / name}: made apart from that of {other.root}; remove one"
            settings = record["settings"]
            _, kind, *_, folder, _ = Path(name).parts
            job = kind, folder == "evaluated", settings["arch"], settings.get("base_method")
            other, code = codes.setdefault(job, (part, record["code_sha256"]))
            if code != record["code_sha256"]:
                yield f"{part.root / name}: made by other code than in {other.root}"
            other, packed = data.setdefault(settings["dataset"], (part, record["inputs"]["data"]))
            poisoned = input_paths(record).get("data", "").endswith(POISONED)
            if packed != record["inputs"]["data"] and not poisoned:
                yield f"{part.root / name}: made of other data than in {other.root}"
    yield from _other_inputs(parts)


def _settings(config: Mapping[str, Any]) -> str:
    return canonical_json({k: v for k, v in config.items() if k not in OF_A_PLACE})


def _other_inputs(parts: list[Part]) -> Iterator[str]:
    """Records that were made from another original or forget set than the one that is kept."""
    kept = _kept(parts)
    hashes: dict[Path, str] = {}
    for part in parts:
        for name, record in part.records.items():
            for role, path in input_paths(record).items():
                below = path.partition(f"results/{part.config['run']}/")[2]
                file = kept.get(below)
                if not file:
                    continue
                if file not in hashes:
                    hashes[file] = sha256_file(file)
                if hashes[file] != record["inputs"][role]:
                    yield f"{part.root / name}: made from another {role} than {file}"


def _kept(parts: list[Part]) -> dict[str, Path]:
    """The file of each path that is kept: that of the first part that has it."""
    found: dict[str, Path] = {}
    for part in parts:
        found = part.files | found
    return found


def copy(parts: list[Part], into: Path) -> tuple[int, list[str]]:
    """Copy what is not there; how many files, and measurements that differ, which are left out.

    All get the time of now, so that none looks newer than what was made from it.
    """
    kept, count = _kept(parts), 0
    again = [name for name in kept if _measured_apart(name, parts)]
    for name, file in kept.items():
        target = into / name
        if name in again:
            target.unlink(missing_ok=True)
        elif not target.exists():
            with whole(target) as temporary:
                shutil.copyfile(file, temporary)
            _copy_entry(file, target)
            for role in _beside(name):  # also of weights that were removed (keep: scores)
                _copy_entry(file.with_name(role), target.with_name(role))
            count += 1
    for name in kept.keys() - set(again):
        os.utime(into / name)
    return count, again


def _beside(name: str) -> list[str]:
    """The files that a record's job may have made beside it; none for another file."""
    return [f"{role}.safetensors" for role in ROLES] if Path(name).name == RECORD else []


def _measured_apart(name: str, parts: list[Part]) -> bool:
    """Whether parts have different files of one measurement: of different cells of its group."""
    if Path(name).suffix != ".json" or Path(name).name == RECORD:
        return False
    found = {part.files[name].read_bytes() for part in parts if name in part.files}
    return len(found) > 1


def _copy_entry(file: Path, target: Path) -> None:
    """Copy what Snakemake knows of a file: its settings, code and inputs, for later comparisons.

    The folder `.snakemake` lies where `results/` does. Without it an edit would not be noticed.
    """
    entries = [_entry(path) for path in (file, target)]
    if all(entries) and entries[0].is_file():
        entries[1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(*entries)


def _entry(path: Path) -> Path | None:
    """Where Snakemake 9 keeps what it knows of a file below `results/`; None for another."""
    found = path.absolute()
    root = next((folder for folder in found.parents if folder.name == "results"), None)
    if root is None:
        return None
    text = urlsafe_b64encode(str(found.relative_to(root.parent)).encode()).decode()
    pieces = [text[i : i + 254] for i in range(0, len(text), 254)]
    folders = [f"@{piece}" for piece in pieces[:-1]]
    return root.parent.joinpath(".snakemake", "metadata", *folders, pieces[-1])
