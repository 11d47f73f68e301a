"""What the studies of a run found, as rows of tidy CSV files, one for each kind of finding.

studies.csv has the columns of runs.csv, a row a cell of a study; study_manifest.csv those of
manifest.csv. Each other file has a row a finding, with its experiment, forget set and training
seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unlearning.config.experiment import RunConfig
from unlearning.files import METHODS, read_sealed, write_text
from unlearning.plan import grid
from unlearning.results.collected import COLUMNS, as_csv, collect, refuse_mixed_code
from unlearning.results.keys import CELLS, KEY
from unlearning.results.manifest import COLUMNS as MANIFEST
from unlearning.results.manifest import manifest

STUDY_COLUMNS = ["study", "classes_removed", *COLUMNS]
FINDINGS = {
    "features": ("examine", ["model", "layer", "measure", "part", "percentile", "value"]),
    "destinations": ("examine", ["model", "by", "class", "share"]),
    "maps": ("map", ["model", "kind", "x", "y", "class", "forgotten", "assigned"]),
    "attributions": ("explain", ["image", "output", "pair", "correlation"]),
    "attribution_maps": (
        "explain",
        ["image", "label", "assigned", "model", "output", "row", "column", "value"],
    ),
    "shortcut": ("shortcut", ["method", "source", "label", "measure", "value", "n"]),
}
"""Each file: the stage that finds its rows, and its columns after the identity."""
SHOWN = 3
"""Number of images whose attributions are kept pixel by pixel: the rows of a figure."""


def write(config: RunConfig, root: Path, out: Path, methods: str = METHODS) -> None:
    """Write studies.csv, study_manifest.csv and the FINDINGS of the run in `root`.

    Raises ValueError for cells of different code (`collected.refuse_mixed_code`).
    """
    cells = grid.study_cells(config)
    rows = collect(config, root, methods, cells)
    made = manifest(cells, rows, root)
    rows = studies(config, zip(cells, rows, strict=True))
    refuse_mixed_code(rows, config)
    write_text(out / "study_manifest.csv", as_csv(made, MANIFEST))
    write_text(out / "studies.csv", as_csv(rows, STUDY_COLUMNS))
    for name, (stage, columns) in FINDINGS.items():
        found = findings(config, root, name, stage)
        if name == "attribution_maps":
            found = first_images(found)
        write_text(out / f"{name}.csv", as_csv(found, [*KEY, *CELLS, *columns]))


def studies(
    config: RunConfig, rows: Iterable[tuple[grid.Cell, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The rows of studies.csv, from the cells and their rows as `collect` gives them.

    Those of the shortcut are left out: they have no AUS, what was measured is in shortcut.csv.
    """
    experiments = {e.label: e for e in config.experiments}
    found = []
    for cell, row in rows:
        experiment = experiments[cell.experiment]
        if experiment.study != "shortcut":
            removed = grid.split_of(experiment, cell).settings.get("classes")
            count = len(removed) if removed else None
            found.append(row | {"study": experiment.study, "classes_removed": count})
    return found


def findings(config: RunConfig, root: Path, name: str, stage: str) -> Iterator[dict[str, Any]]:
    """The rows that a stage left for one file, of every group of the run's studies."""
    experiments = {e.label: e for e in config.experiments}
    groups = {c.measured(stage): c for c in grid.study_cells(config)}
    for file, cell in groups.items():
        experiment = experiments[cell.experiment]
        asked = stage != "explain" or experiment.attributions
        if asked and (root / file).exists():
            identity = {key: getattr(cell, key, None) for key in (*KEY, *CELLS)}
            identity |= {"dataset": experiment.dataset, "arch": experiment.arch}
            for row in read_sealed(root / file)["rows"][name]:
                yield identity | row


def first_images(rows: Iterator[dict[str, Any]], count: int = SHOWN) -> Iterator[dict[str, Any]]:
    """The rows of the first `count` images alone."""
    seen: list[tuple] = []
    for row in rows:
        image = (*(row[key] for key in (*KEY, *CELLS)), row["image"])
        if image not in seen:
            seen.append(image)
        if len(seen) > count:
            return
        yield row
