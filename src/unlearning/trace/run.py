"""The files of a run that a number is traced through."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from unlearning.files import read_json, sha256_file
from unlearning.results.keys import IDENTITY
from unlearning.results.manifest import read_manifest
from unlearning.results.study_files import read_file
from unlearning.tables.table import Table


class NotFound(ValueError):
    """No such table, row or column; the message lists what there is."""


@dataclass(frozen=True)
class Run:
    """The files of a run: `folder` has runs.csv, config.json and manifest.csv.

    made: the folder with tables/, audit.csv and claims.csv, the same unless drawn elsewhere.
    """

    folder: Path
    made: Path
    built: dict[str, Table] = field(default_factory=dict, compare=False)
    """The tables that were made again, by name."""
    _files: dict[str, pd.DataFrame | None] = field(default_factory=dict, compare=False)

    def file(self, name: str) -> pd.DataFrame | None:
        """runs.csv, studies.csv, … typed; None for ensembles.csv where it is not there."""
        if name not in self._files:
            absent = name == "ensembles" and not (self.folder / "ensembles.csv").is_file()
            self._files[name] = None if absent else read_file(self.there(f"{name}.csv"), name)
        return self._files[name]

    @property
    def runs(self) -> pd.DataFrame:
        """runs.csv, typed."""
        return self.file("runs")

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The rows of manifest.csv and study_manifest.csv, of those that are there."""
        paths = [self.folder / f"{name}.csv" for name in ("manifest", "study_manifest")]
        found = [read_manifest(path) for path in paths if path.is_file()]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=IDENTITY)

    @cached_property
    def name(self) -> str:
        """What the run is called: its files were made below results/NAME."""
        return read_json(self.there("config.json"))["run"]

    def here(self, path: str) -> Path:
        """Where a file of a command is now: below this folder, or as the command has it."""
        made, inside = Path(f"results/{self.name}"), Path(path)
        if inside.is_relative_to(made):
            return self.folder / inside.relative_to(made)
        beside = self.folder.parent.parent / inside
        return beside if beside.is_file() else inside

    def there(self, name: str) -> Path:
        """The path of a file of the run; NotFound if it is not there."""
        path = self.folder / name
        if not path.is_file():
            raise NotFound(
                f"{path}: no such file; name a run's folder, and with --made where its tables are "
                "if they were drawn elsewhere"
            )
        return path


def state(path: Path, sha256: str) -> str:
    """`same`, `not here`, or `changed: SHA-256 of what is there`."""
    if not path.is_file():
        return "not here"
    found = sha256_file(path)
    return "same" if found == sha256 else f"changed: {found}"
