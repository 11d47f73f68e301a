"""One job of a run: what it reads and writes, what it is asked, and what has to be done before."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

from unlearning.config.experiment import Experiment
from unlearning.records.provenance import code_hash

GROUP = "{scenario}/{split}/train-{train_seed}"
"""What is measured together: one forget set and training seed."""


def _files(folder: str, *names: str) -> dict[str, str]:
    return {name.partition(".")[0]: f"{folder}/{name}" for name in names}


def _of_group(stage: str, part: str = "") -> dict[str, str]:
    return {"out": f"{{experiment}}/{stage}/{GROUP}{part}.json"}


ORIGINAL = "{experiment}/{trunk}/train-{train_seed}"
TAKEN = f"{{experiment}}/elsewhere/{GROUP}/{{method}}"
OUTPUTS = {
    "poison": {
        "data": "{experiment}/poisoned.safetensors",
        "facts": "{experiment}/poisoned.json",
    },
    "make_split": {"split": "{experiment}/splits/{scenario}/{split}.json"},
    "train_original": _files(ORIGINAL, "model.safetensors", "record.json"),
    "take_original": _files(ORIGINAL, "model.safetensors", "record.json"),
    "take_unlearned": _files(TAKEN, "model.safetensors", "record.json"),
    "train_oracle": _files(f"{{experiment}}/oracles/{GROUP}", "model.safetensors", "record.json"),
    "train_shadow": _files("{experiment}/shadows/{shadow}", "outputs.safetensors", "record.json"),
    "evaluate": _files(f"{ORIGINAL}/evaluated", "outputs.safetensors", "record.json"),
    "unlearn": _files(
        f"{{experiment}}/runs/{GROUP}/{{method}}/unlearn-{{unlearn_seed}}",
        *("model.safetensors", "outputs.safetensors", "record.json"),
    ),
    "score": _of_group("scores", "{part}"),
    "attack": _of_group("attacks"),
    "probe": _of_group("probes"),
    "ensemble": {"out": "{experiment}/ensembles/{scenario}/{split}.json"},
    "examine": _of_group("examine"),
    "map": _of_group("map"),
    "explain": _of_group("explain"),
    "shortcut": _of_group("shortcut"),
}
"""The files of each rule by role, below the run's folder, with its wildcards."""

LOGS = {
    "poison": "poison/{experiment}",
    "make_split": "split/{experiment}/{scenario}/{split}",
    "train_original": "{trunk}/{experiment}/train-{train_seed}",
    "take_original": "take/{trunk}/{experiment}/train-{train_seed}",
    "take_unlearned": f"take/{{experiment}}/{GROUP}/{{method}}",
    "train_oracle": f"oracle/{{experiment}}/{GROUP}",
    "train_shadow": "shadow/{experiment}/{shadow}",
    "evaluate": "evaluate/{trunk}/{experiment}/train-{train_seed}",
    "unlearn": f"unlearn/{{experiment}}/{GROUP}/{{method}}-{{unlearn_seed}}",
    "score": f"score/{{experiment}}/{GROUP}{{part}}",
    "ensemble": "ensemble/{experiment}/{scenario}/{split}",
    **{
        rule: f"{rule}/{{experiment}}/{GROUP}"
        for rule in ("attack", "probe", "examine", "map", "explain", "shortcut")
    },
}
"""The log of each rule, below the run's logs, without ending: the name of its job."""

WILDCARDS = {
    rule: tuple(name for _, name, _, _ in Formatter().parse(log) if name)
    for rule, log in LOGS.items()
} | {"fetch_dataset": ("dataset",), "fetch_weights": ("weights",)}


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One job.

    name: of its log, without ending; unique in a run. inputs, outputs: files by role, from the
    checkout. needs: the jobs that make its inputs. code: the modules that its work begins in.
    experiment: whose it is, None of data and weights. settings: as its record will have them, None
    of a job without. options: of its verb, beside files, ready for a shell.
    """

    rule: str
    wildcards: Mapping[str, str]
    name: str
    inputs: Mapping[str, str | list[str]]
    outputs: Mapping[str, str]
    needs: tuple[Job, ...]
    code: tuple[str, ...]
    experiment: Experiment | None = None
    settings: Mapping[str, Any] | None = None
    options: str = ""

    @property
    def folder(self) -> str:
        """Where the model or cell lies, below the run's folder; "" of anything else."""
        record = OUTPUTS.get(self.rule, {}).get("record", "")
        return record.rpartition("/")[0].format(**self.wildcards)

    @property
    def code_sha256(self) -> str:
        """The content hash of the code that it runs: an edit of it reruns the job."""
        return code_hash(self.code)


Source = tuple[Job, str]
"""A job, and the role of one of its files."""


def files_of(jobs: Iterable[Job]) -> list[str]:
    """The record of each model and cell, the file of each measurement."""
    return [job.outputs.get("record") or job.outputs["out"] for job in jobs]


def walk(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs and all that they need, each once, what is needed first."""
    seen: set[str] = set()
    stack = [(job, False) for job in reversed(list(jobs))]
    while stack:
        job, ready = stack.pop()
        if ready:
            yield job
        elif job.name not in seen:
            seen.add(job.name)
            stack.append((job, True))
            stack += [(need, False) for need in reversed(job.needs)]


def options(**named: Any) -> str:
    """Options of a verb, ready for a shell; those that are None are left out."""
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in named.items()
        if value is not None
    )
