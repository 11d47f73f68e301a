"""verify: check by hash that the files of a run are the ones that were made.

Checks packed data sets and pretrained weights against their facts; weights and outputs against
their records; records, forget sets and measurements (scores, attacks, probes, ensembles, studies)
against their own hash; and whether a record's inputs are the files that are there now. Tables,
figures and other CSV files state no hash: they are made again from these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearning.files import (
    DamagedFile,
    check_hash,
    load_arrays,
    read_json,
    read_sealed,
    sha256_file,
)
from unlearning.records.record import RECORD, check_made, input_paths, read_record
from unlearning.runtime.options import asked

ROLES = ("model", "outputs")
UNSEALED = ("config.json", "ro-crate-metadata.json")
"""JSON files of a run that state no hash."""
UNTOUCHED = ("logs", "tables", "figures", "report", "audit", "crate", "full_crate", "code")
"""Folders of a run with nothing that states a hash."""


def main(argv: list[str]) -> None:
    """Print a line a problem and a count; the status is 1 if there is any."""
    options = asked(
        argv,
        __doc__,
        root={"required": True, "type": Path, "help": "the run's folder"},
        data={"default": "data", "type": Path, "help": "folder of the packed data sets"},
        delete={
            "action": "store_true",
            "help": "remove what is wrong: the next snakemake makes it and what depends on it",
        },
    )
    if not options.root.is_dir():
        raise DamagedFile(options.root, "no such folder")
    found = Check(options.root, options.data)
    for line in found.problems:
        print(line)
    for path in found.to_remove() if options.delete else ():
        path.unlink()
        print(f"removed {path}")
    print(f"{found.checked} files checked, {len(found.problems)} problems")
    if found.problems:
        sys.exit(1)


class Check:
    """The files of a run, checked.

    checked: how many. problems: a line each.
    """

    def __init__(self, root: Path, data: Path) -> None:
        self.checked = 0
        self.problems: list[str] = []
        self._root = root
        self._spoiled: set[Path] = set()
        self._inputs: dict[Path, dict[str, Path]] = {}
        self._damaged: set[Path] = set()
        self._hashes: dict[Path, str] = {}
        records = {}
        packed = (data, data / "weights")
        facts = [path for folder in packed for path in folder.glob("*.json")]
        for path in sorted([*facts, *_files(root, "json")]):
            if path.name == RECORD:
                records[path] = self._record(path)
            elif path.with_suffix(".safetensors").exists() or path.parent in packed:
                self._packed(path)
            else:
                self._json(path)
        for path in _files(root, "safetensors"):
            self._beside(path)
        for path, record in records.items():
            if record is not None:
                self._made_from(path, record)

    def to_remove(self) -> list[Path]:
        """The files to remove so that Snakemake makes them again.

        Those that are wrong, all that was made from them or together with them, and the run's CSV
        files: Snakemake makes no file again that nothing asks for.
        """
        spoiled = {path.resolve() for path in self._spoiled}
        size = -1
        while len(spoiled) > size:
            size = len(spoiled)
            for record, inputs in self._inputs.items():
                if spoiled & {file.resolve() for file in (record, *inputs.values())}:
                    spoiled |= {file.resolve() for file in _made_with(record)}
        if spoiled:
            spoiled |= {path.resolve() for path in self._root.glob("*.csv")}
        return [path for path in sorted(spoiled) if path.exists()]

    def _record(self, path: Path) -> dict[str, Any] | None:
        """Check a record and the files beside it; give its content if it can be believed."""
        record = self._try(path, _made_with(path), read_record, path)
        for role in ROLES if record else ():
            file = path.with_name(f"{role}.safetensors")
            if file.exists():
                self._try(file, _made_with(path), check_made, file, role, record, self._sha(file))
        return record

    def _packed(self, facts: Path) -> None:
        """Check a packed data set beside its facts."""
        packed = facts.with_suffix(".safetensors")
        pair = (packed, facts)
        found = self._try(facts, pair, read_json, facts)
        if found is not None and packed.exists():
            stated = found.get("sha256", "")
            self._try(packed, pair, check_hash, packed, stated, str(facts), self._sha(packed))

    def _json(self, path: Path) -> None:
        """Check the run's config, a forget set, or what a stage measured."""
        self._try(path, (path,), read_json if path.name in UNSEALED else read_sealed, path)

    def _beside(self, path: Path) -> None:
        """Name a tensor file that nothing vouches for, and a saved state that cannot be read."""
        if path.parent.name == "resume":
            self._try(path, (path,), load_arrays, path)
        elif not path.with_suffix(".json").exists() and not path.with_name(RECORD).exists():
            self._note(path, "no record or facts file next to it", (path,))

    def _made_from(self, path: Path, record: Mapping[str, Any]) -> None:
        """Name a record whose inputs are other files by now; damaged ones are named themselves."""
        named = {role: Path(file) for role, file in input_paths(record).items()}
        self._inputs[path] = named
        for role, file in named.items():
            changed = file.exists() and self._sha(file) != record["inputs"][role]
            if changed and file not in self._damaged:
                self._note(
                    path, f"made from other files: its {role}, {file}, changed", _made_with(path)
                )

    def _try(self, path: Path, spoiled: tuple[Path, ...], read: Callable, *arguments: Any) -> Any:
        """What `read` gives; None, and the file and what it spoils are noted, if it is damaged."""
        self.checked += 1
        try:
            return read(*arguments)
        except DamagedFile as error:
            self._note(path, error.wrong, spoiled)
            return None

    def _note(self, path: Path, wrong: str, spoiled: tuple[Path, ...]) -> None:
        self.problems.append(f"{path}: {wrong}")
        self._spoiled |= set(spoiled)
        self._damaged.add(path)

    def _sha(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256_file(path)
        return self._hashes[path]


def _made_with(record: Path) -> tuple[Path, ...]:
    """A record and the files that its job made beside it."""
    return record, *(record.with_name(f"{role}.safetensors") for role in ROLES)


def _files(root: Path, ending: str) -> Iterator[Path]:
    """The run's files of one kind that state a hash or have one stated."""
    for path in sorted(root.rglob(f"*.{ending}")):
        inside = path.relative_to(root).parts
        if not set(inside[:-1]) & set(UNTOUCHED) and not path.name.startswith("."):
            yield path
