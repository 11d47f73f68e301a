"""Take models and cells of another run (`models` in a config); give a reason for each refusal.

A model or cell is taken if the other run has finished it, where this run would make it, with the
settings, data, forget set and start that it would have here. What this run has made itself stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import ConfigError
from unlearning.files import (
    DamagedFile,
    canonical_json,
    read_json,
    read_sealed,
    sha256_file,
    write_sealed,
)
from unlearning.jobs.job import Job, walk
from unlearning.jobs.run import Jobs
from unlearning.models import ERM, PRETRAINED
from unlearning.plan import grid
from unlearning.recipe import Recipe, shown
from unlearning.records.record import RECORD, SEAL, read_record

PLAN = "models.json"
"""Of a run: what it takes and what it refuses, as it began."""
REFUSED = "refused.json"
"""Beside a record to be: that of the other run was damaged, so that this run makes its own."""
FILES = {
    "train": ("model",),
    "take": ("model",),
    "evaluate": ("outputs",),
    "shadow": ("outputs",),
    "unlearn": ("model", "outputs"),
}
"""What each verb makes beside its record."""
VERBS = {
    "train_original": "train",
    "train_oracle": "train",
    "take_original": "take",
    "take_unlearned": "take",
    "train_shadow": "shadow",
    "evaluate": "evaluate",
    "unlearn": "unlearn",
}
"""The rules whose work can be taken, and their verbs."""
ASIDE = ("threads",)
"""Settings that say how a job ran, not what it makes."""


@dataclass(frozen=True)
class Wanted:
    """One model or cell that a run needs.

    folder: where it lies below the run's folder. verb: what would make it. settings: as its record
    has them. data: the packed data set; below the run's folder if that is poisoned. split: its
    forget set, or the one that its data are poisoned for, and split_file where that lies below the
    run; None and "" without one. made_from: the folders of the models that it needs, by the role
    that they have in its record's inputs.
    """

    folder: str
    verb: str
    settings: dict[str, Any]
    data: str
    poisoned: bool = False
    split: grid.Split | None = None
    split_file: str = ""
    made_from: dict[str, str] = field(default_factory=dict)

    def data_file(self, root: str | Path) -> Path:
        """The packed data set of the run in `root`."""
        return Path(root, self.data) if self.poisoned else Path(self.data)


def wanted(jobs: Jobs) -> dict[str, Wanted]:
    """Everything that a run trains, evaluates and unlearns, by folder; what is needed first."""
    found = {}
    for job in walk(jobs.made()):
        if job.rule not in VERBS:
            continue
        files = job.inputs
        data, split = files["data"], jobs.split_of(job) if "split" in files else None
        poisoned = job.experiment.poisoned
        if poisoned and split is None:  # an original: its data are those that the set poisons
            split = grid.splits(job.experiment)[0]
        drawn = f"{jobs.home(job.experiment).label}/{split.path}" if split else ""
        found[job.folder] = Wanted(
            job.folder,
            VERBS[job.rule],
            _plain(job.settings),
            os.path.relpath(data, jobs.root) if poisoned else data,
            poisoned,
            split,
            drawn,
            {_role(need): need.folder for need in job.needs if need.rule in VERBS},
        )
    return found


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a record gives them back."""
    return json.loads(canonical_json(settings))


def _role(need: Job) -> str:
    """The role of a model, or of an original's logits, in what is made from it."""
    return "evaluated" if need.rule == "evaluate" else "start"


@dataclass(frozen=True)
class Given:
    """What is taken of another run, and what is not although it is there.

    source: the other run's folder. taken: the hash in the other's record, by folder. refused: the
    reason, by folder.
    """

    source: str
    taken: dict[str, str]
    refused: dict[str, str]

    def line(self) -> str:
        """How much is taken and refused, with the first reason."""
        found = f"models: {len(self.taken)} models and cells taken from {self.source}"
        if not self.refused:
            return f"{found}, none refused"
        folder, reason = next(iter(self.refused.items()))
        return f"{found}, {len(self.refused)} refused; first {folder}: {reason}"

    def write(self, root: str | Path) -> None:
        """Write it to a run's folder for jobs on other machines, since the other run may change."""
        content = {"taken": self.taken, "refused": self.refused}
        write_sealed(Path(root, PLAN), content)

    @classmethod
    def read(cls, source: str, root: str | Path) -> Given:
        """What `write` kept."""
        found = read_sealed(Path(root, PLAN))
        return cls(source, found["taken"], found["refused"])


def source_of(named: str) -> Path:
    """The folder that `models` names, with `~` and $VARIABLES expanded."""
    return Path(os.path.expandvars(os.path.expanduser(named)))


def given(
    config: RunConfig,
    needs: Mapping[str, Wanted],
    root: str | Path,
    file: str,
) -> Given:
    """What the run in the folder `root` takes of the one that its config names.

    needs: from `wanted`. file: how an error names the config. What was taken before stays taken,
    whatever became of the other run. Only records are read: the files that they state are hashed
    when they are taken (stages.adopt). Data that are not packed yet are compared only then, too.
    Raises ConfigError, naming the key, if the folder is none or this run's own.
    """
    if config.models is None:
        return Given("", {}, {})
    source, root = source_of(config.models), Path(root)
    where = f"{file}: models: {config.models}"
    if source.resolve() == root.resolve():
        raise ConfigError(f"{where} is this run's own folder; name another run's")
    found = Given(config.models, {}, {})
    made: dict[str, Mapping[str, str]] = {}
    for folder, one in needs.items():
        own = None
        with contextlib.suppress(DamagedFile):  # `verify` names it
            own = _whole(root / folder, one)
        if own and "adopted" not in own and difference(own["settings"], one.settings) is None:
            made[folder] = own["outputs"]
        elif own and "adopted" in own and _unlike(own, one, made, root, source) is None:
            made[folder] = own["outputs"]
            found.taken[folder] = own["adopted"]["record_sha256"]
        else:
            _look(source, one, made, root, found)
    if not source.is_dir() and not found.taken:
        raise ConfigError(f"{where} is not a folder; name a run's, as CLONE/results/RUN")
    return found


def _look(
    source: Path, one: Wanted, made: dict[str, Mapping[str, str]], root: Path, found: Given
) -> None:
    """Add what the other run has of one model: to take, to refuse, or nothing."""
    try:
        record = _whole(source / one.folder, one)
        reason = record and (
            _unlike(record, one, made, root, source) or _damaged(record, root / one.folder)
        )
    except DamagedFile as error:
        record, reason = None, error.wrong
    if reason:
        found.refused[one.folder] = reason
    elif record:
        made[one.folder] = record["outputs"]
        found.taken[one.folder] = record[SEAL]


def _whole(folder: Path, one: Wanted) -> dict[str, Any] | None:
    """The record in a folder; None if it or a file beside it is not there: not finished."""
    names = [RECORD, *(f"{role}.safetensors" for role in FILES[one.verb])]
    if not all((folder / name).is_file() for name in names):
        return None
    return read_record(folder / RECORD)


def _unlike(
    record: Mapping[str, Any],
    one: Wanted,
    made: Mapping[str, Mapping[str, str]],
    root: Path,
    source: Path,
) -> str | None:
    """Why a record is not of what is wanted; None if it is.

    made: the hashes of the files of each model that is here or will be taken, by role.
    """
    inputs = record["inputs"]
    facts = one.data_file(root).with_suffix(".json")
    if facts.exists() and read_json(facts)["sha256"] != inputs["data"]:
        return f"other data than {facts.with_suffix('.safetensors')}"
    weights = inputs.get("pretrained")  # of a training alone; what is made from it names its hash
    facts = Path("data/weights", f"{PRETRAINED.get(one.settings['arch'].removesuffix(ERM))}.json")
    if weights is not None and facts.exists() and read_json(facts)["sha256"] != weights:
        return f"other weights to start from than {facts.with_suffix('.safetensors')}"
    reason = difference(record["settings"], one.settings)
    if reason is None and one.split is not None:
        reason = _other_split(inputs.get("split"), one, root, source)
    for role, folder in one.made_from.items() if reason is None else ():
        kind = "outputs" if role == "evaluated" else "model"
        if folder not in made:
            return f"made from {folder}, which is not taken"
        if inputs.get(role) != made[folder][kind]:
            return f"made from another {folder}"
    return reason


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first setting in which two records differ; None if none does.

    A setting that one of them lacks is null there; one of a recipe has its default.
    """
    for key in sorted({*there, *here} - set(ASIDE)):
        one, other = there.get(key), here.get(key)
        if key == "training" and one and other:
            one, other = _DEFAULTS | one, _DEFAULTS | other
        if isinstance(one, dict) and isinstance(other, dict):
            inside = difference(one, other)
            if inside:
                return f"{key}.{inside}"
        elif one != other:
            return f"{key} is {shown(one)} there, {shown(other)} here"
    return None


_DEFAULTS = {name: f.default for name, f in Recipe.model_fields.items() if not f.is_required()}


def _other_split(stated: str | None, one: Wanted, root: Path, source: Path) -> str | None:
    """Why a hash is not that of the wanted forget set, as it is here or, before that, there.

    stated: None for a model whose data alone depend on the forget set.
    """
    for folder in (root, source):
        path = folder / one.split_file
        if not path.is_file():
            continue
        split = read_json(path)
        if _plain(split["settings"]) != _plain(one.split.settings):
            if folder == root:
                continue  # it will be drawn again
            inside = difference(split["settings"], _plain(one.split.settings))
            return f"another forget set {one.split.key}: {inside}"
        same = stated in (None, sha256_file(path))
        return None if same else f"another forget set {one.split.key}"
    return f"its forget set {one.split.key} is not there"


def _damaged(record: Mapping[str, Any], here: Path) -> str | None:
    """Why an earlier job refused what this record states; None if none did."""
    if not (here / REFUSED).exists():
        return None
    found = read_sealed(here / REFUSED)
    return found["reason"] if found["record_sha256"] == record[SEAL] else None
