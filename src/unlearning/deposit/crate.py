"""A run as a Workflow Run RO-Crate: its files, the workflow, and every job that left a record.

Profiles: Process Run, Workflow Run and Provenance Run Crate 0.5, https://w3id.org/ro/wfrun.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rocrate.model import Entity
from rocrate.rocrate import ROCrate

from unlearning.data.catalogue import DatasetInfo
from unlearning.deposit.actions import VERBS, Action, Stored, actions, files
from unlearning.deposit.cards import cards
from unlearning.deposit.code import export
from unlearning.deposit.entities import add, add_file, add_text, linked
from unlearning.files import canonical_json, read_json

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
BIOSCHEMAS = "https://bioschemas.org/profiles"
LICENCE = "https://spdx.org/licenses/MIT"
UNITS = {"s": "SEC", "MB": "4L"}
"""The codes of UN/CEFACT for the units of what a job took."""
ROLES = {
    "train": "Train an original or an oracle",
    "evaluate": "Store an original's logits on all images",
    "shadow": "Train a shadow model and store its logits",
    "unlearn": "Run one cell: a method on one forget set",
}
"""What the jobs of each verb do."""


README = """\
# Run {run} of a replication of DUCK

A Workflow Run RO-Crate: `ro-crate-metadata.json` lists every file with its SHA-256, and {jobs} jobs
with what each read and wrote, its command, code, software and times.

| Path | What it is |
|---|---|
| `runs.csv`, `manifest.csv` | one row a cell: what was measured, and what made it |
| `tables/`, `figures/` | the tables and figures |
| `config.json` | what was asked of the run |
| `cards/` | a model card for each original |
| `code/` | the code, with its own README.md |
| others | records, logits and weights, if this is a full crate |

Trace a number and compute a cell again: docs/deposit.md of the repository, and of `code/` where the
run's code has that page.
"""


def write_crate(
    run: Path,
    made: Path,
    out: Path,
    datasets: Mapping[str, DatasetInfo],
    full: bool = False,
    checkout: Path = Path("."),
) -> None:
    """Write the crate of a run as the folder `out`, whole or not at all.

    run: its files; made: the folder with tables/, figures/ and the audit, another one for a run
    that was drawn again. full: with records, logits, weights and measurements. Raises ValueError
    if `out` is there and is no crate.
    """
    if out.exists() and not (out / "ro-crate-metadata.json").is_file():
        raise ValueError(f"{out} is there and is no crate: name another folder, or remove it")
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        crate = Builder(run, made, full, checkout, Path(folder)).build(datasets)
        crate.write(partial)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)


class Builder:
    """The entities of one crate, added in the order of `build`."""

    def __init__(self, run: Path, made: Path, full: bool, checkout: Path, scratch: Path) -> None:
        self.run, self.made, self.full = run, made, full
        self.jobs = actions(run)
        self.crate = ROCrate(version="1.1")
        self.name = read_json(run / "config.json")["run"]
        commits = [job.commit for job in self.jobs if job.commit]
        self.commit = max(commits, key=commits.count) if commits else None
        self.exported = export(checkout, self.commit, scratch / "code")
        self.code = scratch / "code"
        self._tools: dict[tuple, Entity] = {}

    def build(self, datasets: Mapping[str, DatasetInfo]) -> ROCrate:
        """The whole crate, ready to be written."""
        self._root()
        workflow = self._workflow()
        for path in files(self.run, self.full):
            add_file(self.crate, self.run / path, path.as_posix())
        for path in files(self.made, False) if self.made != self.run else ():
            add_file(self.crate, self.made / path, path.as_posix())
        for name, text in cards(self.run, datasets).items():
            add_text(self.crate, text, f"cards/{name}")
        text = README.format(run=self.name, jobs=len(self.jobs))
        readme = add_text(self.crate, text, "README.md")
        readme["about"] = self.crate.root_dataset
        self._packed(datasets)
        jobs = [self._action(job) for job in self.jobs]
        self._whole_run(workflow, jobs)
        return self.crate

    def _root(self) -> None:
        what = "results" if not self.full else "results, records, logits and models"
        root = self.crate.root_dataset
        self.crate.metadata.extra_contexts.append(CONTEXT)
        self.crate.name = f"Run {self.name} of a replication of DUCK"
        self.crate.description = (
            f"The {what} of run {self.name} of a replication of DUCK: Distance-based Unlearning "
            "via Centroid Kinematics (arXiv 2312.02052), with the workflow that made them and "
            f"{len(self.jobs)} of its jobs."
        )
        licence = self._entity(LICENCE, "CreativeWork", name="MIT License", url=LICENCE)
        self.crate.license = licence
        profiles = [
            self._entity(url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1])
            for url, name in PROFILES.items()
        ]
        root["conformsTo"] = profiles
        root["author"] = self._entity("#contributors", "Organization", name="The contributors")

    def _workflow(self) -> Entity:
        """The Snakefile with the rest of the code beside it."""
        described = f"The checkout at commit {self.commit}, which made most of the run."
        if not self.exported:
            described = "The checkout from which this crate was written; not the run's commit."
        self.crate.add_dataset(
            self.code, "code/", properties={"name": "Code", "description": described}
        )
        version = next((job.software.get("snakemake") for job in self.jobs), None)
        workflow = self.crate.add_workflow(
            self.code / "Snakefile",
            "code/Snakefile",
            main=True,
            lang="snakemake",
            lang_version=version,
            properties={
                "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
                "name": "Workflow of the replication of DUCK",
                "description": described,
                "encodingFormat": "text/plain",
                "conformsTo": {"@id": f"{BIOSCHEMAS}/ComputationalWorkflow/1.0-RELEASE"},
                "license": {"@id": LICENCE},
                **({"version": self.commit} if self.exported else {}),
            },
        )
        self.engine = self._entity(
            "#snakemake", "SoftwareApplication", name="Snakemake", version=version or "unknown"
        )
        return workflow

    # ---- files ----

    def _packed(self, datasets: Mapping[str, DatasetInfo]) -> None:
        """The data sets that the jobs read, which a crate never holds."""
        for job in self.jobs:
            stored, info = job.inputs.get("data"), datasets.get(job.settings["dataset"])
            if stored and info and not stored.inside:
                links = [file.url for file in info.files if file.url]
                known = {file.file: file.checksum for file in info.files}
                self._entity(
                    f"#{stored.path}",
                    "CreativeWork",
                    name=stored.path,
                    description=f"{info.name} as packed tensors, made of {canonical_json(known)}",
                    sha256=stored.sha256,
                    license=info.licence,
                    **({"isBasedOn": links} if links else {}),
                )

    def _stored(self, stored: Stored) -> Entity:
        """A job's file: of this crate if it is the same, else its name and hash."""
        here = self.crate.get(stored.path) if stored.inside else None
        if here is not None and here.get("sha256") == stored.sha256:
            return here
        where = "of the run, not in this crate" if stored.inside else "not in this crate"
        return self.crate.get(f"#{stored.path}") or self._entity(
            f"#{stored.path}",
            "CreativeWork",
            name=stored.path,
            sha256=stored.sha256,
            description=f"A file {where}: its job's command makes it again.",
        )

    # ---- jobs ----

    def _action(self, job: Action) -> tuple[Entity, Entity]:
        """A job as a CreateAction, and the ControlAction that is its place in the workflow."""
        settings = {"settings": canonical_json(job.settings), "code_sha256": job.code_sha256}
        facts = [
            self._entity(f"#{name}-{job.name}", "PropertyValue", name=name, value=value)
            for name, value in settings.items()
        ]
        usage = [
            self._entity(
                f"#{what.replace(' ', '-')}-{job.name}",
                "PropertyValue",
                name=what,
                propertyID=what,
                value=str(value),
                unitCode=UNITS[unit],
            )
            for what, unit, value in job.usage
        ]
        done = job.status == "ok"
        action = self._entity(
            f"#job-{job.name}",
            "CreateAction",
            name=f"{job.verb} {job.name}",
            description=f"{job.command}\n({job.machine})",
            instrument=self._tool(job),
            object=[*map(self._stored, job.inputs.values()), *facts],
            result=[*map(self._stored, job.outputs.values())],
            startTime=job.started,
            actionStatus=f"http://schema.org/{'Completed' if done else 'Failed'}ActionStatus",
            **({"endTime": job.ended} if job.ended else {}),
            **({"resourceUsage": usage} if usage else {}),
            **({} if done else {"error": f"{job.status}: {job.reason}".removesuffix(": ")}),
        )
        control = self._entity(
            f"#control-{job.name}",
            "ControlAction",
            name=f"Snakemake ran {job.name}",
            instrument={"@id": f"#step-{job.verb}"},
            object=action,
        )
        return action, control

    def _tool(self, job: Action) -> Entity:
        """`python -m unlearning VERB` with its commit and software, once each."""
        key = job.verb, job.commit, job.dirty, tuple(sorted(job.software.items()))
        if key not in self._tools:
            number = sum(other[0] == job.verb for other in self._tools)
            dirty = " with uncommitted changes" if job.dirty else ""
            needs = [
                self._entity(
                    f"#{name}-{version}", "SoftwareApplication", name=name, softwareVersion=version
                )
                for name, version in job.software.items()
            ]
            self._tools[key] = self._entity(
                f"#{job.verb}-{number + 1}",
                "SoftwareApplication",
                name=f"python -m unlearning {job.verb}",
                description=ROLES[job.verb],
                softwareVersion=f"{job.commit or 'unknown'}{dirty}",
                softwareRequirements=needs,
            )
        return self._tools[key]

    def _steps(self) -> list[Entity]:
        """The verbs of this run's jobs as steps of the workflow, each with its tools."""
        verbs = [verb for verb in VERBS if any(key[0] == verb for key in self._tools)]
        return [
            self._entity(
                f"#step-{verb}",
                "HowToStep",
                name=ROLES[verb],
                position=str(place + 1),
                workExample=[tool for key, tool in self._tools.items() if key[0] == verb],
            )
            for place, verb in enumerate(verbs)
        ]

    def _whole_run(self, workflow: Entity, jobs: Iterable[tuple[Entity, Entity]]) -> None:
        """The workflow's own action, which the root mentions, and who organised it."""
        jobs = list(jobs)
        config = self.crate.get("config.json")
        made = [one for one in self.crate.data_entities if not one.id.startswith("code/")]
        workflow["input"] = self._parameter(config, "What to run: data, network, methods, seeds")
        if runs := self.crate.get("runs.csv"):
            workflow["output"] = self._parameter(runs, "One row a cell: what was measured")
        workflow["hasPart"] = linked([*self._tools.values()])
        workflow["step"] = linked(self._steps())
        started = [job.started for job in self.jobs]
        ended = [job.ended for job in self.jobs]
        times = {"startTime": min(started)} if started else {}
        times |= {"endTime": max(ended)} if ended and all(ended) else {}
        whole = self._entity(
            "#run",
            "CreateAction",
            name=f"Run {self.name}",
            description="Times are of the jobs that left a record.",
            instrument=workflow,
            object=config,
            result=[one for one in made if one is not config],
            **times,
        )
        organised = self._entity(
            "#organise",
            "OrganizeAction",
            name=f"Snakemake on run {self.name}",
            instrument=self.engine,
            object=[control for _, control in jobs],
            result=whole,
            **times,
        )
        self.crate.root_dataset["mentions"] = [whole, organised, *(action for action, _ in jobs)]

    def _parameter(self, file: Entity, described: str) -> Entity:
        """What the workflow takes or gives, of which a file is an example."""
        found = self._entity(
            f"#parameter-{file.id}",
            "FormalParameter",
            name=file.id,
            description=described,
            additionalType="File",
            encodingFormat=file["encodingFormat"],
            conformsTo={"@id": f"{BIOSCHEMAS}/FormalParameter/1.0-RELEASE"},
        )
        file["exampleOfWork"] = found
        return found

    def _entity(self, id_: str, type_: str, **properties: Any) -> Entity:
        return add(self.crate, id_, type_, **properties)
