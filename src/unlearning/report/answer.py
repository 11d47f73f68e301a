"""The opening of the page: the answer in one sentence, what it rests on, and how to check it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from unlearning.audit.words import GRADES, JUDGED
from unlearning.claims.verdicts import HOLDS, IDLE
from unlearning.report.checks import Check
from unlearning.report.judged import FAILS, TONES, claim_id, interval, said
from unlearning.report.marks import against_bound, float_of
from unlearning.report.quote import counted, listed
from unlearning.results.display import system

PHRASES = {
    HOLDS: ("holds", "hold"),
    FAILS: ("does not", "do not"),
    IDLE: ("does not discriminate", "do not discriminate"),
    "not told apart": ("cannot be told", "cannot be told"),
    "not tested": ("was not tested", "were not tested"),
}
"""Each verdict on claims as the sentence and the tile say it, of one and of several."""


@dataclass(frozen=True)
class Tile:
    """A number that stands out, what it counts, and the rest of the count by its tone."""

    title: str
    number: str
    of: str
    lines: Sequence[tuple[str, str]]
    link: str


@dataclass(frozen=True)
class Failing:
    """A claim that does not hold: where its row is, what it says and what was found."""

    id: str
    statement: str
    found: str
    plot: Markup


@dataclass(frozen=True)
class Answer:
    """What the page opens with."""

    sentence: str
    basis: Mapping[str, str]
    tiles: Sequence[Tile]
    failing: Failing | None
    recheck: str


def answer(
    run: Mapping[str, Any],
    claims: pd.DataFrame,
    audit: pd.DataFrame,
    checks: Sequence[Check],
    source: Path,
) -> Answer:
    """The opening, from the facts of the run, claims.csv, audit.csv and the checks.

    source: the run's folder, which the command that checks it all names.
    """
    return Answer(
        sentence=sentence(claims, audit, run["systems"]),
        basis=_basis(run, audit, checks),
        tiles=[_claims(claims), _reported(audit), _cells(run)],
        failing=failing(claims),
        recheck=shlex.join(["snakemake", "--cores", "2", "--config", f"runs={source.as_posix()}"]),
    )


def sentence(claims: pd.DataFrame, audit: pd.DataFrame, systems: Sequence[tuple[str, str]]) -> str:
    """What was asked, of what, and what came out: one sentence, also of a run with no verdict."""
    place = f"On {listed(system(*one) for one in systems)}, " if systems else "In this run, "
    return f"{place}{_of_claims(claims)}; {_of_numbers(audit)}."


def _of_claims(claims: pd.DataFrame) -> str:
    tested = claims[claims["verdict"] != "not tested"]
    if tested.empty:
        asked = f"none of the {counted(len(claims), 'claim')} about DUCK could be tested"
        return asked if len(claims) else "no claim was asked"
    found = _counts(claims["verdict"], PHRASES)
    parts = [f"{n} {PHRASES[name][n != 1]}" for name, n in found.items()]
    return f"of {counted(len(claims), 'claim')} about the unlearning method DUCK, {listed(parts)}"


def _of_numbers(audit: pd.DataFrame) -> str:
    judged = audit[audit["verdict"].isin(JUDGED)]
    if audit.empty:
        return "no reported number was looked up"
    numbers = counted(len(audit), "reported number")
    if judged.empty:
        why = "data or network are not the paper's" if (audit["grade"] == "C").any() else ""
        why = why or "nothing here can be compared with them"
        return f"none of {numbers} can be judged, as {why}"
    counts = judged["verdict"].value_counts()
    same, other = (int(counts.get(name, 0)) for name in JUDGED)
    parts = [
        f"{same} {'is' if same == 1 else 'are'} reproduced",
        f"{other} {'differs' if other == 1 else 'differ'}",
    ]
    if rest := len(audit) - len(judged):
        parts.append(f"{rest} {'is' if rest == 1 else 'are'} not judged")
    return f"of {numbers} {listed(parts)}"


def _counts(column: pd.Series, names: Mapping[str, Any]) -> dict[str, int]:
    """How often each name is there, in their order; those that are not are left out."""
    counts = column.value_counts()
    return {name: int(counts[name]) for name in names if name in counts}


def failing(claims: pd.DataFrame) -> Failing | None:
    """Of the claims that do not hold the one with the smallest p, the strongest evidence."""
    against = claims.assign(number=range(len(claims)))
    against = against[against["verdict"] == FAILS]
    if against.empty:
        return None
    order = against["p"].map(float_of).sort_values(kind="stable", na_position="last")
    row = against.loc[order.index[0]].to_dict()
    found = f"found {interval(row, 'value')}, claimed {row['bound']} {row['unit']}".strip()
    return Failing(claim_id(row["number"]), row["statement"], found, against_bound(row, said(row)))


def _basis(run: Mapping[str, Any], audit: pd.DataFrame, checks: Sequence[Check]) -> dict[str, str]:
    """What the sentence rests on, by name."""
    grades = [name for name in GRADES if name in set(audit["grade"])]
    seeds = ", ".join(run["train_seeds"]) or "none"
    others = ", ".join(run["unlearn_seeds"]) or "none"
    sets = f"forget sets {', '.join(run['splits']) or 'none'}"
    passed = [check for check in checks if check.passed]
    failed = [check.name for check in checks if not check.passed]
    scenarios = listed(name.replace("_", " ") for name in run["scenarios"])
    return {
        "Data and network": "; ".join(system(*one) for one in run["systems"]) or "–",
        "Asked in": scenarios,
        "Grade": "; ".join(f"{name}: {GRADES[name].rstrip('.')}" for name in grades)
        or "none: no reported number has a counterpart here",
        "Cells": f"{run['cells']} of {counted(run['methods'], 'method')}; training seeds {seeds}; "
        f"unlearning seeds {others}; {sets}",
        "Made": _made(run),
        "Checks": f"{len(passed)} passed, {len(failed)} failed"
        + (f": {'; '.join(failed)}" if failed else ""),
    }


def _made(run: Mapping[str, Any]) -> str:
    """Commit, whether it was clean, and the days."""
    if not run["ran"]:
        return "no record says when and by what"
    commits = [commit[:10] for commit, *_ in run["commits"] if commit]
    state = "clean" if not run["dirty"] else f"{run['dirty']} of {run['ran']} with changes"
    days = " to ".join(dict.fromkeys([run["days"][0], run["days"][-1]])) if run["days"] else ""
    named = f"commit{'s' if len(commits) > 1 else ''} {listed(commits)}" if commits else "no commit"
    return f"{named}, {state}; {days}" if days else f"{named}, {state}"


def _claims(claims: pd.DataFrame) -> Tile:
    counts = _counts(claims["verdict"], PHRASES)
    held = counts.pop(HOLDS, 0)
    lines = [
        (f"{n} {PHRASES[name][n != 1]}", TONES.get(name, "grey")) for name, n in counts.items()
    ]
    of = f"of {counted(len(claims), 'claim')} {PHRASES[HOLDS][held != 1]}"
    return Tile("Claims", str(held), of, lines, "claims")


def _reported(audit: pd.DataFrame) -> Tile:
    judged = audit["verdict"].isin(JUDGED)
    lines = [
        (
            f"{int(n)} {name} {f'(grade {grade})' if grade else '(no grade)'}",
            TONES.get(name, "grey"),
        )
        for (grade, name), n in audit.groupby(["grade", "verdict"], sort=True).size().items()
    ]
    lines.sort(key=lambda line: "no grade" in line[0])
    of = f"of {counted(len(audit), 'reported number')} judged"
    return Tile("Reported numbers", str(int(judged.sum())), of, lines, "audit")


def _cells(run: Mapping[str, Any]) -> Tile:
    counts = dict(run["statuses"])
    done = counts.pop("ok", 0)
    lines = [(f"{n} {name.replace('_', ' ')}", "grey") for name, n in counts.items()]
    if run["study_cells"]:
        lines.append((f"{counted(run['study_cells'], 'further cell')} of studies", "grey"))
    return Tile("Cells", str(done), f"of {counted(run['cells'], 'cell')} run", lines, "times")
