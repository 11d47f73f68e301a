"""The tables that can be traced: those of the run, the audit and the claims."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.audit import quantities, reported, rows
from unlearning.claims import pages, verdicts
from unlearning.claims.statements import FILES, read_claims
from unlearning.config.parsing import parse, read_config
from unlearning.config.yaml_files import read_yaml
from unlearning.results.keys import IDENTITY, KEY
from unlearning.results.manifest import recorded_settings
from unlearning.tables import basis
from unlearning.tables.layout import Layout
from unlearning.tables.layouts import LAYOUTS
from unlearning.tables.table import Table, plain
from unlearning.trace.numbers import Traced
from unlearning.trace.run import Run

Row = Mapping[str, Any]


def known_tables(paper: Path, grid: Path) -> dict[str, Traced]:
    """Every table by name. paper: the folder of reported.csv and claims.yaml; grid: paper.yaml."""
    found = {name: _of_layout(layout) for name, layout in LAYOUTS.items()}
    audit = functools.partial(_audit, paper, grid)
    found["audit"] = Traced("audit", audit, _audit_values, "audit")
    judged = functools.partial(_claims, paper)
    found["claims"] = Traced("claims", judged, functools.partial(_claim_values, paper), "claims")
    return found


def _of_layout(layout: Layout) -> Traced:
    def values(run: Run, row: Row, column: str) -> pd.DataFrame:
        file = layout.rows_of(run.file(layout.file))
        return basis.values(file, layout.rests(file, row, column))

    return Traced(
        layout.name,
        lambda run: layout.build(run.file(layout.file)),
        values,
        f"tables/{layout.name}",
    )


def _audit(paper: Path, grid: Path, run: Run) -> Table:
    ours = run.folder / "config.json"
    whole = parse(read_yaml(grid), str(grid))
    numbers = reported.read_reported(paper / "reported.csv")
    recorded = recorded_settings(run.folder)
    config = read_config(ours)
    found = rows.audit(numbers, run.runs, config, whole, "", recorded)
    return Table("audit", "Audit", "Nothing was reported", plain(found))


def _audit_values(run: Run, row: Row, column: str) -> pd.DataFrame:
    """The cells of the space-separated `experiment/scenario/method` of a row, in its unit."""
    metric = reported.METRICS.get(row["metric"])
    if metric is None:
        return pd.DataFrame()
    keys = [tuple(part.split("/")) for part in row["trace"].split()]
    named = run.runs[["experiment", "scenario", "method"]].itertuples(index=False, name=None)
    cells = run.runs[[key in keys for key in named]]
    name = metric.column if metric.factor == 1 else f"{metric.factor:g} x {metric.column}"
    found = quantities.values(cells, metric=metric).where(cells["status"] == "ok")
    return cells[[*IDENTITY, "status"]].assign(metric=name, value=found)


def _claims(paper: Path, run: Run) -> Table:
    return pages.LAYOUT.build(verdicts.judge(read_claims(paper / "claims.yaml"), run.folder))


def _claim_values(paper: Path, run: Run, row: Row, column: str) -> pd.DataFrame:
    """The cells' values of what the claim is about; none of a study that the run lacks."""
    claim = next(one for one in read_claims(paper / "claims.yaml") if one.claim == row["claim"])
    file = FILES[claim.table]
    if not (run.folder / f"{file}.csv").is_file():
        return pd.DataFrame()
    cells = verdicts.asked_cells(claim, run.file(file))
    place = [name for name in KEY if row[name]]
    cells = cells[(cells[place] == pd.Series(row)[place]).all(axis=1)]
    if column.startswith("control") and not isinstance(claim.control, str):
        claim = claim.control
    cells = cells[cells["method"].isin(claim.compared)]
    found = cells.assign(metric=claim.measured)
    if file in ("features", "attributions"):  # there a method is a part and model, or a pair
        found["metric"] = found["method"] + " " + claim.metric
        parts = found["method"].str.split("[ ~]", regex=True)
        found["method"] = parts.str[0 if file == "attributions" else 1]
    return found
