"""Write the counts of the fault and fuzz tests to paper/reference and docs/reliability.md.

    make test && python workflow/scripts/write_reliability.py
    make nightly && python workflow/scripts/write_reliability.py --nightly
    python workflow/scripts/write_reliability.py --check

The tests count as they run (tests/ledger.py). `--check` writes nothing: it prints the table of the
last `make test`, names the committed rows that were not tested, and fails if anything was lost.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from unlearning.files import write_text

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests"))
import ledger  # noqa: E402

COUNTED = PROJECT / "paper/reference/reliability.csv"
PAGE = PROJECT / "docs/reliability.md"
MARK, END = "<!-- tests:reliability -->\n", "<!-- end -->"
RUNS = {"test": "`make test`", "nightly": "`make nightly`"}


def counted(run: str) -> pd.DataFrame:
    """How often each of ledger.DONE was done in the last `run` and what was lost: a row each."""
    columns = ["what", "times", "lost"]
    files = sorted((ledger.COUNTS / run).glob("*.csv"))
    if not files:
        raise SystemExit(f"no counts of {RUNS[run]}: run it first")
    found = pd.concat(pd.read_csv(file, names=columns) for file in files)
    sums = found.groupby("what", as_index=False)[["times", "lost"]].sum()
    return sums.assign(run=run).sort_values("what", key=lambda c: c.map(list(ledger.DONE).index))


def table(frame: pd.DataFrame) -> str:
    """The counts as Markdown: the faults and their sums, then the inputs and theirs."""
    times = frame.pivot(index="what", columns="run", values="times").reindex(columns=list(RUNS))
    times = times.assign(lost=frame.groupby("what")["lost"].sum())
    parts = []
    for label, keys in (("faults", ledger.FAULTS), ("inputs", ledger.INPUTS)):
        part = times.reindex(list(keys)).dropna(how="all").rename(index=keys)
        part.loc[f"**All {label}**"] = part.sum(min_count=1)
        parts.append(part)
    times = pd.concat(parts)
    cells = times.astype("Int64").map(lambda n: "–" if pd.isna(n) else f"{n:,}")
    headers = ["What the tests do", *RUNS.values(), "Lost"]
    return tabulate(cells, headers, "pipe", colalign=("left", *["right"] * 3))


def with_table(text: str, frame: pd.DataFrame) -> str:
    """`text` with the table between its marks."""
    head, found, rest = text.partition(MARK)
    if not found:
        raise SystemExit(f"{PAGE} has no mark {MARK.strip()}")
    return head + MARK + table(frame) + "\n" + END + rest.partition(END)[2]


def absent(found: pd.DataFrame, committed: pd.DataFrame) -> list[str]:
    """Rows of the committed counts that a run lacks because their tests were skipped."""
    expected = committed["what"][committed["run"].isin(found["run"])]
    return [ledger.DONE[what] for what in expected if what not in set(found["what"])]


def main() -> None:
    """Write the counts and the table, or check those of the last run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nightly", action="store_true", help="the counts of `make nightly`")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    run = "nightly" if options.nightly else "test"
    found = counted(run)
    before = pd.read_csv(COUNTED) if COUNTED.exists() else found.head(0)
    if options.check:
        print(table(found))
        for row in absent(found, before):
            print(f"not done on this machine: {row}")
        sys.exit(int(found["lost"].sum() > 0))
    frame = pd.concat([before[before["run"] != run], found])[["what", "run", "times", "lost"]]
    write_text(COUNTED, frame.to_csv(index=False))
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), frame))


if __name__ == "__main__":
    main()
