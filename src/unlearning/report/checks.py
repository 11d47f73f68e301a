"""What a run's own files let one check: its records agree, and its verdicts lead to cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlearning.report.judged import keys
from unlearning.report.quote import counted

DONE = ("ok", "not_defined")
"""The statuses of a cell that came to its end; some methods are not defined in a scenario."""


@dataclass(frozen=True)
class Check:
    """What should be so, whether it is, and what was found."""

    name: str
    passed: bool
    found: str


def checks(
    config: Mapping[str, Any],
    grid: pd.DataFrame,
    manifest: pd.DataFrame,
    claims: pd.DataFrame,
    audit: pd.DataFrame,
    traced: set[tuple],
) -> list[Check]:
    """Each check of a run; those of records only where there is one.

    grid: the cells of runs.csv; manifest: with those of studies; traced: the experiment, scenario
    and method of each.
    """
    ended = int(manifest["status"].isin(DONE).sum())
    wanted = {key for text in (*claims["trace"], *audit["trace"]) for key in keys(text)}
    lost = wanted - traced
    found = [
        Check("every cell ended", ended == len(manifest), f"{ended} of {len(manifest)}"),
        Check("nothing was left out", not config.get("partial"), _flag(config, "partial")),
        Check("one state of the code", not config.get("mixed_code"), _flag(config, "mixed_code")),
        Check(
            "every verdict leads to its cells",
            not lost,
            f"{len(lost)} of {len(wanted)} methods are not in the manifest",
        ),
    ]
    ran = manifest[manifest["record"] != ""]
    if ran.empty:
        return found
    copies = grid[grid["record"] != ""].groupby("dataset")["data_sha256"].nunique()
    same = Check(
        "one copy of each data set",
        bool((copies <= 1).all()),
        f"{counted(len(copies), 'data set')}",
    )
    return [*found, *_of_records(ran), same]


def _of_records(ran: pd.DataFrame) -> list[Check]:
    clean = int((ran["dirty"] != "True").sum())
    hashed = int((ran["record_sha256"] != "").sum())
    return [
        Check("every record has a hash", hashed == len(ran), f"{hashed} of {len(ran)}"),
        Check("no uncommitted changes", clean == len(ran), f"{clean} of {len(ran)} records"),
        _single("one commit", ran["commit"]),
        _single("the same package versions", ran["software"]),
        _single("one machine, so that times compare", ran["device"] + ran["machine"] + ran["cpu"]),
    ]


def _single(name: str, column: pd.Series) -> Check:
    return Check(name, column.nunique() == 1, f"{column.nunique()} in {len(column)} records")


def _flag(config: Mapping[str, Any], name: str) -> str:
    return f"{name}: {'true' if config.get(name) else 'false'}"
