"""RESULTS.md, written from one JSON file a part and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.files import read_json, write_json, write_text

HEADER = """# Benchmark results

Written by `python benchmarks/run.py`; do not edit. What each part compares and how to read
the columns: `benchmarks/README.md`.
"""


def keep(
    folder: Path, part: str, facts: Mapping[str, str], comparisons: list[dict[str, Any]]
) -> None:
    """Keep what one part found, in place of what it found before."""
    write_json(folder / f"{part}.json", {"facts": dict(facts), "comparisons": comparisons})


def write(folder: Path, parts: Sequence[str], path: Path) -> None:
    """Write the results of all parts in `folder`; one without a file is shown as not run."""
    found = {p: read_json(folder / f"{p}.json") for p in parts if (folder / f"{p}.json").exists()}
    write_text(path, render(found, parts))


def render(found: Mapping[str, Mapping[str, Any]], parts: Sequence[str]) -> str:
    """Facts that all parts share, then every part with the facts that are its own."""
    facts = [part["facts"] for part in found.values()]
    shared = {
        key: value
        for key, value in (facts[0] if facts else {}).items()
        if all(other.get(key) == value for other in facts)
    }
    blocks = [HEADER, _listed(shared)]
    if len({f["commit"] for f in facts}) > 1:
        blocks.append("**The parts come from different commits: each names its own.**\n")
    for part in parts:
        blocks.append(f"## {part}\n")
        if part not in found:
            blocks.append("Not run.\n")
            continue
        own = {k: v for k, v in found[part]["facts"].items() if k not in shared}
        blocks.append(_listed(own))
        blocks += [_comparison(comparison) for comparison in found[part]["comparisons"]]
    return "\n".join(block for block in blocks if block)


def _listed(facts: Mapping[str, str]) -> str:
    return "".join(f"- {key}: {value}\n" for key, value in facts.items())


def _comparison(comparison: Mapping[str, Any]) -> str:
    title = f"**{comparison['title']}**"
    if "not_run" in comparison:
        return f"{title}: not run: {comparison['not_run']}\n"
    table = [_row(comparison, name) for name in comparison["values"]]
    columns = list(dict.fromkeys(key for row in table for key in row))
    lines = [title, "", _cells(columns), _cells(["---"] + ["---:"] * (len(columns) - 1))]
    lines += [_cells([row[column] for column in columns]) for row in table]
    lines += ["", *[f"- {line}" for line in comparison.get("lines", [])]]
    return "\n".join(lines).rstrip() + "\n"


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(comparison: Mapping[str, Any], name: str) -> dict[str, str]:
    """One alternative; ratios are of neighbouring repetitions."""
    unit, values = comparison["unit"], comparison["values"][name]
    *_, last = comparison["values"].values()
    ratios = speed_ratios(values, last, unit)
    middle = statistics.median(values)
    row = {
        "alternative": name,
        "n": str(len(values)),
        unit: number(middle),
        "range": f"{number(min(values))} – {number(max(values))}",
        "times as fast as the last": number(statistics.median(ratios)),
        "range of the ratio": f"{number(min(ratios))} – {number(max(ratios))}",
    }
    return row | (_floor(comparison, name, middle) if "flops" in comparison else {})


def speed_ratios(values: Sequence[float], reference: Sequence[float], unit: str) -> list[float]:
    """How many times as fast, pair by pair; `unit` says whether more or less is faster."""
    pairs = zip(values, reference, strict=True)
    return [b / a if unit == "s" else a / b for a, b in pairs]


def _floor(comparison: Mapping[str, Any], name: str, middle: float) -> dict[str, str]:
    rate = 1 / middle if comparison["unit"] == "s" else middle
    processes, step = comparison["processes"][name], comparison.get("step", 1)
    found = floor(rate, comparison["flops"], comparison["peaks"][name], processes * step)
    what = "step" if "step" in comparison else "run"
    return {
        "GFLOP/s": number(found["gflops"]),
        "matmul peak": number(comparison["peaks"][name]),
        "share of peak": f"{100 * found['share']:.0f} %",
        f"floor (ms a {what})": number(1000 * found["floor"]),
        f"measured (ms a {what})": number(1000 * found["measured"]),
    }


def floor(rate: float, flops: float, peak: float, units: float) -> dict[str, float]:
    """Arithmetic achieved, and the seconds that `units` units take and would take at the peak.

    rate: units/s; flops: FLOPs a unit; peak: GFLOP/s. `units`: those of a step times the
    processes that work at once, if rate and peak are sums over processes.
    """
    gflops = rate * flops / 1e9
    return {
        "gflops": gflops,
        "share": gflops / peak,
        "floor": units * flops / (peak * 1e9),
        "measured": units / rate,
    }


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"
