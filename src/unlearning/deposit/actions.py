"""What each job of a run read and wrote, from its records or, without them, from its manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.files import read_json, sha256_file
from unlearning.records.record import RECORD, input_paths, read_record
from unlearning.results.manifest import INPUTS, read_manifest

MANIFESTS = ("manifest.csv", "study_manifest.csv")
VERBS = ("train", "evaluate", "shadow", "unlearn")
"""The verbs whose jobs leave a record, in the order in which they can run."""
USAGE = {
    "training_seconds": ("training", "s"),
    "unlearning_seconds": ("unlearning", "s"),
    "peak_memory_mb": ("peak memory", "MB"),
}
"""What a record says that its job took: the quantity and its unit."""
ASIDE = ("logs", "first", "resume", "crate", "full_crate")
"""Folders of a run that are no part of it: logs, the early table, saved states, crates."""


@dataclass(frozen=True)
class Stored:
    """A file that a job read or wrote.

    path: below the run's folder if it lay there (`inside`), else as the job had it.
    """

    path: str
    sha256: str
    inside: bool = True


@dataclass(frozen=True)
class Action:
    """One job.

    name: the folder of its record, below the run's. inputs, outputs: files by role. ended: ""
    where nothing states it. software: versions by package. usage: what it took, as (quantity,
    unit, value). commit: None if the job did not run in a git checkout.
    """

    name: str
    verb: str
    command: str
    inputs: dict[str, Stored]
    outputs: dict[str, Stored]
    started: str
    ended: str
    status: str
    reason: str
    software: dict[str, str]
    commit: str | None
    dirty: bool
    code_sha256: str
    settings: dict[str, Any]
    machine: str
    usage: list[tuple[str, str, float]]


def actions(run: Path) -> list[Action]:
    """Every job of the run in a folder that left a record, by the time it started.

    Of a committed run, which has no records, the cells of its manifests, and no trainings. Raises
    DamagedFile for a record that is not what was written.
    """
    found = [*_recorded(run)] or [*_listed(run)]
    return sorted(found, key=lambda action: (action.started, action.name))


def files(run: Path, full: bool) -> list[Path]:
    """The files of a run to deposit, sorted, as paths below its folder.

    full: records, logits, weights and measurements too; else what the folder itself, tables/ and
    figures/ hold.
    """
    found = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    kept = [path for path in found if not _aside(path)]
    shown = ("tables", "figures")
    return [path for path in kept if full or len(path.parts) == 1 or path.parts[0] in shown]


def _aside(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or bool({*path.parts[:-1]} & {*ASIDE})


def _stored(run: Path, path: str, sha256: str) -> Stored:
    """A file by the path that a record of the run states."""
    made = Path("results", read_json(run / "config.json")["run"])
    for folder in (made, run):
        if Path(path).is_relative_to(folder):
            return Stored(Path(path).relative_to(folder).as_posix(), sha256)
    return Stored(path, sha256, inside=False)


def _recorded(run: Path) -> Iterator[Action]:
    for path in run.rglob(RECORD):
        inside = path.relative_to(run)
        if _aside(inside):
            continue
        record, folder = read_record(path), inside.parent.as_posix()
        made = {role: f"{folder}/{role}.safetensors" for role in record["outputs"]}
        outputs = {role: Stored(made[role], digest) for role, digest in record["outputs"].items()}
        yield Action(
            name=folder,
            verb=_verb(record["settings"], outputs),
            command=record["command"],
            inputs={
                role: _stored(run, file, record["inputs"][role])
                for role, file in input_paths(record).items()
            },
            outputs=outputs | {"record": Stored(inside.as_posix(), sha256_file(path))},
            started=record["started"],
            ended=record.get("ended", ""),
            status=record.get("status", "ok"),
            reason=record.get("reason", ""),
            software=record["software"],
            commit=record["git"]["commit"],
            dirty=bool(record["git"]["dirty"]),
            code_sha256=record["code_sha256"],
            settings=record["settings"],
            machine=_machine(record["device"], record["host"]),
            usage=[(*key, record[name]) for name, key in USAGE.items() if record.get(name)],
        )


def _listed(run: Path) -> Iterator[Action]:
    for row in _rows(run):
        folder, settings = Path(row["record"]).parent.as_posix(), json.loads(row["settings"])
        outputs = {"record": Stored(row["record"], row["record_sha256"])}
        if row["model_sha256"]:
            outputs["model"] = Stored(f"{folder}/model.safetensors", row["model_sha256"])
        seconds = {"unlearning_seconds": row["seconds"]} if row["seconds"] > 0 else {}
        yield Action(
            name=folder,
            verb=_verb(settings, outputs),
            command=row["command"],
            inputs={
                role: _stored(run, row[f"{role}_path"], row[f"{role}_sha256"])
                for role in INPUTS
                if row[f"{role}_path"]
            },
            outputs=outputs,
            started=row["started"],
            ended=row["ended"],
            status=row["status"],
            reason="",
            software=json.loads(row["software"]),
            commit=row["commit"] or None,
            dirty=row["dirty"] == "True",
            code_sha256=row["code_sha256"],
            settings=settings,
            machine=_machine(row["device"], row),
            usage=[(*USAGE[name], value) for name, value in seconds.items()],
        )


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    """The manifests' rows of cells that have a record."""
    for path in [run / name for name in MANIFESTS if (run / name).is_file()]:
        yield from (row for row in read_manifest(path).to_dict("records") if row["record"])


def _verb(settings: Mapping[str, Any], outputs: Mapping[str, Stored]) -> str:
    """The verb of a job, by what it was asked and what it wrote."""
    if "base_method" in settings:
        return "unlearn"
    if "shadow" in settings:
        return "shadow"
    return "train" if "model" in outputs else "evaluate"


def _machine(device: str, host: Mapping[str, Any]) -> str:
    return ", ".join(part for part in (device, host["machine"], host.get("cpu")) if part)
