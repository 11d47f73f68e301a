"""Every number and verdict that the paper's prose may use, as text under a dotted name.

`quotes` takes them from the tables of a run; `paper/*.typ` asks for them by name, so that no
result is typed there, and each knows the numbers that it rests on. What a run does not know has
no name: asking for it is an error. In a run of several systems the names are those of the first
experiment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import parse
from unlearning.files import read_json
from unlearning.frames import read_table
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.report import facts
from unlearning.report.claim_quotes import of_verdicts
from unlearning.report.quote import Quotes, rows_of
from unlearning.report.scenario_quotes import of_scenario
from unlearning.report.study_quotes import of_studies
from unlearning.results.manifest import read_manifest
from unlearning.results.runs import read_runs
from unlearning.results.shown import TABLES
from unlearning.tables.layouts import LAYOUTS
from unlearning.tables.table import Table, plain, read

ALWAYS = (*PAPER_SCENARIOS, *TABLES)
"""The tables that every run has, if only with a header."""


def read_tables(made: str | Path) -> dict[str, Table]:
    """Every table of a run by name, with audit and claims; those of studies it lacks are empty.

    made: the folder with tables/, audit.csv and claims.csv. Raises FileNotFoundError for a table
    that every run has.
    """
    folder = Path(made) / "tables"
    found = {name: read(folder / f"{name}.json") for name in ALWAYS}
    for name in STUDY_TABLES:
        path = folder / f"{name}.json"
        found[name] = read(path) if path.exists() else LAYOUTS[name].without()
    for name in ("audit", "claims"):
        found[name] = Table(name, name, "", plain(read_table(Path(made) / f"{name}.csv")))
    return found


def read_config(source: str | Path) -> RunConfig:
    """The checked config of a run's folder; ConfigError names file and key."""
    path = Path(source) / "config.json"
    return parse(read_json(path), str(path))


def parts(tables: Mapping[str, Table]) -> list[str]:
    """The names of the tables that hold anything: what the document has a section on."""
    known = (*ALWAYS, *STUDY_TABLES)
    return [name for name, table in tables.items() if name in known and len(table.frame)]


def quotes(source: str | Path, tables: Mapping[str, Table]) -> Quotes:
    """The texts by name. source: a run's folder; tables: as `read_tables`.

    Times in s, accuracies in percent, all rounded as in the printed tables; intervals are 95 %.
    Raises FileNotFoundError or ValueError, naming the file, for one that is missing or malformed.
    """
    source = Path(source)
    runs, rows = read_runs(source / "runs.csv"), {n: rows_of(t) for n, t in tables.items()}
    found = facts.of_run(runs, read_config(source))
    found |= facts.of_records(read_manifest(source / "manifest.csv"))
    first = runs[runs["experiment"] == runs["experiment"].iloc[0]]
    label = first["experiment"].iloc[0]
    for scenario in PAPER_SCENARIOS:
        cells = first[first["scenario"] == scenario]
        here = {name: _of(rows[name], label, scenario) for name in ALWAYS}
        texts = of_scenario(cells, scenario, here) if len(cells) else {}
        found |= {f"{scenario}.{name}": one for name, one in texts.items()}
    found |= of_studies(rows)
    found |= of_verdicts(rows["audit"], rows["claims"])
    return {
        name: replace(one, text=typographic(one.text))
        for name, one in found.items()
        if one.text not in ("", "–")
    }


def _of(table: pd.DataFrame, experiment: str, scenario: str) -> pd.DataFrame:
    return table[(table["experiment"] == experiment) & (table["scenario"] == scenario)]


def typographic(text: str) -> str:
    """`text` with the minus sign before a number, not a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)
