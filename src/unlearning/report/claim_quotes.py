"""The texts of the paper about its claims and reported numbers: verdicts, values and counts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from unlearning.audit.words import tally
from unlearning.report.quote import Quote, Quotes, counted, facts, listed, on
from unlearning.tables.render import span

CLAIMS = "paper/claims.yaml"
PHRASES = {
    "holds": ("holds", "hold"),
    "does not discriminate": (
        "holds for a model that does nothing as well",
        "hold for a model that does nothing as well",
    ),
    "does not hold": ("does not hold", "do not hold"),
    "not told apart": ("is not told apart", "are not told apart"),
    "not tested": ("is not tested", "are not tested"),
}
"""Each verdict as a verb, for one claim and for several."""


def of_verdicts(audit: pd.DataFrame, claims: pd.DataFrame) -> Quotes:
    """`audit.…`, `claims.…` and `claim.NAME.…`; the rows of both tables, as `quote.rows_of`."""
    judged, audited = on(claims, "verdict"), on(audit, "verdict")
    numbers = counted(len(audit), "reported number")
    against = claims[claims["verdict"] == "does not hold"]
    failing = " ".join(f"({k}) {text}" for k, text in enumerate(against["statement"].unique(), 1))
    holding = claims.groupby("claim")["verdict"].agg(
        lambda found: set(found) - {"not tested"} == {"holds"}
    )
    found = {
        "audit.rows": Quote(str(len(audit)), audited),
        "audit.summary": Quote(f"{numbers}: {tally(audit)}.", audited),
        "claims.count": Quote(counted(claims["claim"].nunique(), "claim"), judged),
        "claims.asked": Quote(counted(len(claims), "time"), judged),
        "claims.verdicts": Quote(_tally(claims["verdict"]), judged),
        "claims.failing": Quote(failing or "none.", on(against, "verdict") or judged),
        "claims.holding": Quote(str(int(holding.sum())), judged),
    }
    for name, rows in claims.groupby("claim", sort=False):
        found |= {f"claim.{name}.{key}": text for key, text in _claim(rows).items()}
    return found


def _claim(rows: pd.DataFrame) -> Quotes:
    """Statement, verdict and value, of the first experiment; and how it does in all of them."""
    first = rows.iloc[0]
    return {
        **facts({"statement": first["statement"]}, CLAIMS),
        "verdict": Quote(first["verdict"], on(first, "verdict")),
        "value": Quote(value(first), on(first, "value", "low", "high")),
        "verdicts": Quote(_tally(rows["verdict"]), on(rows, "verdict")),
    }


def value(row: pd.Series | Mapping) -> str:
    """The value of a claim's row with its interval and unit; a fraction in percent or points."""
    ends, unit = [float(row[name] or "nan") for name in ("value", "low", "high")], row["unit"]
    if math.isnan(ends[0]):
        return "–"
    if unit == "fraction":
        unit = "points" if " − " in row["quantity"] else "%"
        text = span(*(100 * end for end in ends), places=1)
    elif unit == "times":
        text = _ratio(*ends)
    else:
        text = span(*ends, places=1 if unit == "log density" else 3)
    return f"{text} {unit}"


def _ratio(*ends: float) -> str:
    """A ratio and its interval, which may span decades: three digits, from 100 on all of them."""
    best, *around = (f"{end:#.3g}" if end < 100 else f"{end:.0f}" for end in ends)
    return best if math.isnan(ends[1]) else f"{best} [{', '.join(around)}]"


def _tally(verdicts: pd.Series) -> str:
    """`5 hold, 1 does not hold and 3 are not told apart`: how often each verdict was given."""
    counts = verdicts.value_counts()
    given = {name: int(counts.get(name, 0)) for name in PHRASES}
    return listed(f"{n} {PHRASES[name][n > 1]}" for name, n in given.items() if n)
