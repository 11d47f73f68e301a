"""Every table of a run by name, and the files that they are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.runs import read_runs
from unlearning.results.shown import tables
from unlearning.results.study_files import read_file
from unlearning.tables import evaluation, removal, render, study_layouts
from unlearning.tables.table import write

LAYOUTS = removal.LAYOUTS | evaluation.LAYOUTS | study_layouts.LAYOUTS


def tabulate(
    runs_csv: str | Path, out_dir: str | Path, ensembles_csv: str | Path | None = None
) -> None:
    """Write every table of a grid, one a scenario and those of `evaluation`, in all forms.

    ensembles_csv: what takes several training seeds; without it that table is empty.
    """
    files = _read({"runs": runs_csv, "ensembles": ensembles_csv})
    _write(tables(set(files["runs"]["scenario"])), files, out_dir)


def tabulate_studies(paths: Mapping[str, str | Path], out_dir: str | Path) -> None:
    """Write the tables of the studies, from the files by name."""
    _write(STUDY_TABLES, _read(paths), out_dir)


def _read(paths: Mapping[str, Any]) -> dict[str, pd.DataFrame | None]:
    return {name: read_file(path, name) if path else None for name, path in paths.items()}


def _write(names: Iterable[str], files: Mapping[str, Any], out_dir: str | Path) -> None:
    for name in names:
        write(Path(out_dir), LAYOUTS[name].build(files[LAYOUTS[name].file]))


def shown(runs_csv: str | Path, scenario: str, width: int) -> str:
    """The tables of one scenario from runs.csv, lines of at most `width` where they can be."""
    table = LAYOUTS[scenario].build(read_runs(runs_csv))
    return render.plain(table.sections, table.nothing, width, removal.MOST_WANTED)
