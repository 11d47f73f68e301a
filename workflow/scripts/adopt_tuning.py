"""Take the trace of a search into paper/reference and its winners into configs/methods.

    python workflow/scripts/adopt_tuning.py mini

Copies results/RUN/tuning.csv to paper/reference/tuning/RUN.csv and rewrites the block `tuned`
at the end of each method's file from all traces there: no value is typed.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[2]
MARK = "# Chosen by `snakemake tune`, written by workflow/scripts/adopt_tuning.py:\ntuned:\n"


def winners(traces: list[Path]) -> dict[str, list[str]]:
    """The YAML blocks of each method's best candidates, from the traces of all runs."""
    found: dict[str, list[str]] = {}
    for trace in traces:
        with open(trace, newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
        for row in rows:
            if row["chosen"]:
                found.setdefault(row["method"], []).append(_block(row, rows, trace))
    return found


def _block(row: dict[str, str], rows: list[dict[str, str]], trace: Path) -> str:
    keys = ("dataset", "arch", "scenario")
    rivals = [r for r in rows if all(r[k] == row[k] for k in (*keys, "method"))]
    when = ", ".join(f"{key}: {row[key]}" for key in keys)
    values = ", ".join(f"{k}: {_value(v)}" for k, v in json.loads(row["settings"]).items())
    return (
        f"  - when: {{{when}}}\n"
        f"    source: best mean AUS of {len(rivals)} on held-out training images"
        f" (paper/reference/tuning/{trace.name})\n"
        f"    settings: {{{values}}}\n"
    )


def _value(value: object) -> str:
    """JSON, but never an exponent: YAML reads 5e-05 as text."""
    if isinstance(value, float):
        text = f"{value:.12f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    return json.dumps(value)


def with_winners(text: str, blocks: list[str]) -> str:
    """A method's file with its block `tuned` made anew, or without one."""
    head = text.partition(MARK)[0].rstrip() + "\n"
    return head + (MARK + "".join(blocks) if blocks else "")


def main() -> None:
    """Adopt the search of one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    run = parser.parse_args().run
    folder = PROJECT / "paper/reference/tuning"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "results" / run / "tuning.csv", folder / f"{run}.csv")
    found = winners(sorted(folder.glob("*.csv")))
    for file in (PROJECT / "configs/methods").glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(with_winners(text, found.get(file.stem, [])), encoding="utf-8")


if __name__ == "__main__":
    main()
