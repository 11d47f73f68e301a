"""adopt: link one model or cell of another run, verify its files, and record it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning.files import DamagedFile, sha256_file, whole, write_sealed
from unlearning.jobs.adoption import REFUSED, source_of
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import code_hash
from unlearning.records.record import (
    RECORD,
    SEAL,
    check_made,
    input_paths,
    options_of,
    read_record,
)
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write the files and the record, which keeps its code hash and names the run it is from.

    On one file system the files are links, so that they take no space: no stage ever writes into
    a file that is there. `adopted` in the record: the other run's name, the hash in its record,
    and the hash of the code that would have made this here. Its command names this run's files.

    A damaged file is refused, and noted beside the record to be: the next plan makes its own.
    """
    options = asked(
        argv,
        __doc__,
        "data",
        source="the other run's folder",
        root="this run's folder",
        folder="the model's, below both",
        record_sha256="the hash in the other's record",
        verb="what made it",
        split={"help": "its forget set (JSON)"},
    )
    there = source_of(options.source) / options.folder
    here = Path(options.root, options.folder)
    if not (there / RECORD).is_file():
        raise ValueError(f"{there / RECORD} is gone: run again to make it here")
    try:
        record = read_record(there / RECORD)
        if record[SEAL] != options.record_sha256:
            raise ValueError(f"{there / RECORD} was replaced since this was planned: run again")
        for role, path in {"data": options.data, "split": options.split}.items():
            stated = record["inputs"].get(role)
            if path and stated not in (None, sha256_file(path)):
                raise ValueError(
                    f"{there} was made with another {role} than {path}: run again, and it is "
                    "made here"
                )
        for role in record["outputs"]:
            _take(there, here, role, record)
    except DamagedFile as error:
        note = {"record_sha256": options.record_sha256, "reason": error.wrong}
        write_sealed(here / REFUSED, note)
        raise Refused(f"{error}; or run again, and this run makes its own") from None
    name, moved = _moved(record, options.root, options.folder)
    settings = record["settings"]
    arch = settings.get("start_arch", settings["arch"])
    modules = stage_modules(options.verb, arch, settings.get("base_method"))
    adopted = {
        "run": name or there.resolve().parents[len(Path(options.folder).parts) - 1].name,
        "record_sha256": options.record_sha256,
        "code_sha256": code_hash(modules),
    }
    write_sealed(here / RECORD, {**record, **moved, "adopted": adopted}, SEAL)


class Refused(ValueError):
    """A damaged file of the other run; the message names it and what to do."""


def _take(there: Path, here: Path, role: str, record: Mapping[str, Any]) -> None:
    """Link or copy one file; DamagedFile, naming the other run's, if it is not as recorded."""
    source, target = there / f"{role}.safetensors", here / f"{role}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, no links there, or the file is someone else's
        with whole(target) as temporary:
            shutil.copyfile(source, temporary)
    try:
        check_made(source, role, record, sha256_file(target))
    except DamagedFile:
        target.unlink()
        raise


def _moved(record: Mapping[str, Any], root: str, folder: str) -> tuple[str, dict[str, Any]]:
    """The other run's name, and the record's command and paths with the files of the run in `root`.

    "" and nothing if the record was not written where a run has it.
    """
    written = options_of(record["command"]).get("record", "")
    ending = f"/{folder}/{RECORD}"
    if not written.endswith(ending):
        return "", {}
    old = written.removesuffix(ending)

    def move(word: str) -> str:
        return root + word.removeprefix(old) if word.startswith(f"{old}/") else word

    command = shlex.join(move(word) for word in shlex.split(record["command"]))
    paths = {role: move(path) for role, path in input_paths(record).items()}
    return Path(old).name, {"command": command, "paths": paths}
