"""What got slower than the committed RESULTS.md says, by more than both spreads.

Ratios to the last alternative of a comparison are compared on any machine; its own seconds and
images a second on the same CPU with as many cores alone. A comparison is the same one if its title
is, so that a change of its sizes is a new one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from here import ROOT

MACHINE = ("CPU", "cores")
RATIO = ("times as fast as the last", "range of the ratio")


@dataclass(frozen=True)
class Range:
    """Median, least and most of the repetitions of one alternative."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:g} ({self.low:g} – {self.high:g})"


Rows = Mapping[tuple[str, str, str], Mapping[str, str]]
"""The cells of each row by part, title of the comparison and name of the alternative."""


def committed(path: str = "benchmarks/RESULTS.md") -> str:
    """The text of the last commit's results; "" without one."""
    command = ["git", "show", f"HEAD:{path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    return done.stdout if done.returncode == 0 else ""


def slower(before: str, after: str, part: str) -> list[str]:
    """One line an alternative of `part` that is slower in the text `after` than in `before`."""
    old, new = rows(before), rows(after)
    same_machine = machine(before, part) == machine(after, part)
    found = []
    for key, row in new.items():
        if key[0] != part or key not in old:
            continue
        unit = "s" if "s" in row else "images/s"
        pairs = [(RATIO, "times as fast as the last", False)]
        if same_machine:
            pairs.append(((unit, "range"), unit, unit == "s"))
        for columns, name, less_is_faster in pairs:
            then, now = (_range(cells, columns) for cells in (old[key], row))
            if then is None or now is None:
                continue
            worse = now.low > then.high if less_is_faster else now.high < then.low
            if worse:
                found.append(f"{': '.join(key)}: {now} {name}, before {then}")
    return found


def rows(text: str) -> Rows:
    """The tables of RESULTS.md."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    part = title = ""
    columns: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            part = line.removeprefix("## ")
        elif line.startswith("**"):
            title, columns = line.strip("*"), []
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
            elif set(cells[0]) != {"-"}:
                found[part, title, cells[0]] = dict(zip(columns, cells, strict=True))
    return found


def machine(text: str, part: str) -> tuple[str | None, ...]:
    """CPU and cores of a part: its own, or those that all parts share."""
    blocks = text.split("\n## ")
    own = next((block for block in blocks[1:] if block.startswith(part + "\n")), "")
    facts = {}
    for block in (blocks[0], own):
        lines = [line[2:].split(": ", 1) for line in block.splitlines() if line.startswith("- ")]
        facts |= {line[0]: line[1] for line in lines if len(line) == 2}
    return tuple(facts.get(name) for name in MACHINE)


def _range(row: Mapping[str, str], columns: tuple[str, str]) -> Range | None:
    middle, ends = (row.get(column) for column in columns)
    if middle is None or ends is None:
        return None
    low, high = (float(end.replace(",", "")) for end in ends.split(" – "))
    return Range(float(middle.replace(",", "")), low, high)
