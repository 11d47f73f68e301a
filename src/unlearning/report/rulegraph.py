"""The graph of the workflow's rules: Snakemake's dot text to a drawing as SVG.

Layers by longest path, order within a layer by barycentres (Sugiyama, Tagawa & Toda 1981),
positions by least squares. The same graph gives the same drawing, whatever the order of its lines.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE = re.compile(r'^\s*(\w+)\s*\[\s*label\s*=\s*"((?:[^"\\]|\\.)*)"')
EDGE = re.compile(r"^\s*(\w+)\s*->\s*(\w+)")
RULE = re.compile(r"^\s*(?:rule|checkpoint|use rule \w+ as)\s+(\w+)(?:\s+with)?\s*:", re.MULTILINE)

SWEEPS = 12
CHARACTER, HEIGHT = 7.3, 28  # pixels: the advance of a 12 px monospace letter, a box
BESIDE, BETWEEN, MARGIN = 16, 34, 8  # pixels: between boxes, between layers, around


@dataclass(frozen=True)
class Graph:
    """Rules and `needs`: for each rule, those whose files it reads; both in order of name."""

    rules: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]


def parse(dot: str) -> Graph:
    """Read the text of `snakemake --rulegraph`.

    Raises ValueError if there is no rule, an arrow ends nowhere, or the arrows go in a circle.
    """
    lines = dot.splitlines()
    names = {m[1]: re.sub(r"\\(.)", r"\1", m[2]) for m in map(NODE.match, lines) if m}
    if not names:
        raise ValueError("no rule in it: is it the text of snakemake --rulegraph?")
    edges = [(m[1], m[2]) for m in map(EDGE.match, lines) if m]
    unknown = sorted({end for edge in edges for end in edge if end not in names})
    if unknown:
        raise ValueError(f"an arrow's end {unknown[0]} is no node")
    pairs = {(names[target], names[source]) for source, target in edges}
    rules = tuple(sorted(set(names.values())))
    needs = {rule: tuple(sorted(s for t, s in pairs if t == rule)) for rule in rules}
    graph = Graph(rules, needs)
    _in_order(graph)
    return graph


def rule_files(folder: Path) -> dict[str, str]:
    """For each rule the name of the file below `folder` that defines it, without its ending."""
    files = sorted(folder.glob("*.smk"))
    return {rule: f.stem for f in files for rule in RULE.findall(f.read_text(encoding="utf-8"))}


def _in_order(graph: Graph) -> list[str]:
    """The rules, each after what it needs."""
    found: list[str] = []
    left = list(graph.rules)
    while left:
        ready = [rule for rule in left if all(need in found for need in graph.needs[rule])]
        if not ready:
            raise ValueError(f"arrows in a circle: at or below it are {', '.join(left)}")
        found += ready
        left = [rule for rule in left if rule not in ready]
    return found


def reduced(graph: Graph) -> Graph:
    """The graph without arrows that a longer way implies (its transitive reduction)."""
    below: dict[str, set[str]] = {}
    needs = {}
    for rule in _in_order(graph):
        own = graph.needs[rule]
        implied = set().union(*(below[need] for need in own))
        below[rule] = implied | set(own)
        needs[rule] = tuple(need for need in own if need not in implied)
    return Graph(graph.rules, needs)


def layers(graph: Graph) -> dict[str, int]:
    """Each rule's layer: below all it needs, and no higher than its first reader asks for."""
    order = _in_order(graph)
    found: dict[str, int] = {}
    for rule in order:
        found[rule] = max((found[need] + 1 for need in graph.needs[rule]), default=0)
    readers = _readers(graph)
    for rule in reversed(order):
        if len(readers[rule]) > len(graph.needs[rule]):
            found[rule] = min(found[reader] for reader in readers[rule]) - 1
    return found


def _readers(graph: Graph) -> dict[str, list[str]]:
    return {rule: [r for r in graph.rules if rule in graph.needs[r]] for rule in graph.rules}


Point = tuple[str, str, int]
"""What stands in a layer: a rule (name, "", layer), or where an arrow passes (from, to, layer)."""


def _chains(graph: Graph, layer: Mapping[str, int]) -> list[list[Point]]:
    """Each arrow as the points that it joins, one a layer, from the rule needed to its reader."""
    found = []
    for rule in graph.rules:
        for need in graph.needs[rule]:
            passed = [(need, rule, n) for n in range(layer[need] + 1, layer[rule])]
            found.append([(need, "", layer[need]), *passed, (rule, "", layer[rule])])
    return found


def _width(point: Point) -> float:
    name, target, _ = point
    return 2 if target else CHARACTER * len(name) + 18


def _ordered(rows: list[list[Point]], beside: Mapping[Point, list[Point]]) -> list[list[Point]]:
    """The layers, each sorted by the mean place of its neighbours above, then below, in turn.

    Of all sweeps the order with the fewest crossings is taken, the first of equals.
    """
    best, fewest = rows, _crossings(rows, beside)
    for sweep in range(SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        rows = [list(row) for row in rows]
        for number in range(len(rows))[::step]:
            before = rows[number - step] if 0 <= number - step < len(rows) else []
            place = {point: n for n, point in enumerate(before)}
            own = {point: n for n, point in enumerate(rows[number])}
            rows[number].sort(key=lambda p, place=place, own=own: _mean(p, place, beside, own))
        crossings = _crossings(rows, beside)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _mean(point: Point, place: Mapping, beside: Mapping, own: Mapping) -> tuple[float, Point]:
    found = [place[p] for p in beside[point] if p in place]
    return (sum(found) / len(found) if found else own[point]), point


def _crossings(rows: list[list[Point]], beside: Mapping[Point, list[Point]]) -> int:
    count = 0
    for above, below in itertools.pairwise(rows):
        place = {point: n for n, point in enumerate(below)}
        ends = [sorted(place[p] for p in beside[point] if p in place) for point in above]
        flat = [end for found in ends for end in found]
        count += sum(a > b for n, a in enumerate(flat) for b in flat[n + 1 :])
    return count


def _placed(rows: list[list[Point]], beside: Mapping[Point, list[Point]]) -> dict[Point, float]:
    """The centre of each point in pixels: near its neighbours', in order and without overlap."""
    x = {point: place for row in rows for point, place in zip(row, _spread(row, {}), strict=True)}
    for _ in range(4 * SWEEPS):
        for row in rows:
            wish = {p: sum(x[q] for q in beside[p]) / len(beside[p]) for p in row if beside[p]}
            x.update(zip(row, _spread(row, {p: wish.get(p, x[p]) for p in row}), strict=True))
    left = min(x[p] - _width(p) / 2 for p in x)
    return {point: place - left + MARGIN for point, place in x.items()}


def _spread(row: list[Point], wish: Mapping[Point, float]) -> list[float]:
    """The places nearest to the wishes (least squares) that keep the order and the distances.

    Less each point's distance from the first the places only rise: isotonic regression, by
    pooling neighbours that would pass each other.
    """
    offsets = [0.0]
    for before, point in itertools.pairwise(row):
        offsets.append(offsets[-1] + (_width(before) + _width(point)) / 2 + BESIDE)
    pools: list[tuple[float, int]] = []
    for point, offset in zip(row, offsets, strict=True):
        mean, count = wish.get(point, offset) - offset, 1
        while pools and pools[-1][0] > mean:
            other, size = pools.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def svg(graph: Graph, files: Mapping[str, str]) -> str:
    """The graph as an SVG element, top to bottom, with a title for each rule.

    Arrows that others imply are left out. files: as of `rule_files`; a rule's box has the class
    `stage-N`, N being its file's place in their order, or `stage-none`.
    """
    drawn = reduced(graph)
    layer = layers(drawn)
    chains = _chains(drawn, layer)
    points = sorted({(rule, "", layer[rule]) for rule in graph.rules}.union(*chains))
    rows = [[p for p in points if p[2] == n] for n in range(max(layer.values()) + 1)]
    beside: dict[Point, list[Point]] = {point: [] for point in points}
    for chain in chains:
        for above, below in itertools.pairwise(chain):
            beside[above].append(below)
            beside[below].append(above)
    x = _placed(_ordered(rows, beside), beside)
    width = max(x[p] + _width(p) / 2 for p in points) + MARGIN
    height = len(rows) * (HEIGHT + BETWEEN) - BETWEEN + 2 * MARGIN
    about = f"{len(graph.rules)} rules; each stands below the rules whose files it reads."
    return "\n".join(
        [
            f'<svg class="rulegraph" role="img" aria-label="The graph of the rules: {about}" '
            f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}">',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
            *(_arrow(chain, x) for chain in chains),
            *(_box((r, "", layer[r]), x, graph.needs[r], files) for r in graph.rules),
            "</svg>",
        ]
    )


def _top(point: Point) -> int:
    return MARGIN + point[2] * (HEIGHT + BETWEEN)


def _arrow(chain: list[Point], x: Mapping[Point, float]) -> str:
    """Straight through the layers that it passes, curved between them."""
    path = f"M{x[chain[0]]:.1f} {_top(chain[0]) + HEIGHT}"
    for above, below in itertools.pairwise(chain):
        start, end = _top(above) + HEIGHT, _top(below)
        middle = (start + end) / 2
        path += f"C{x[above]:.1f} {middle:.1f} {x[below]:.1f} {middle:.1f} {x[below]:.1f} {end}"
        if below is not chain[-1]:
            path += f"V{end + HEIGHT}"
    return f'<path class="arrow" d="{path}" marker-end="url(#arrow)"/>'


def _box(point: Point, x: Mapping, needs: tuple[str, ...], files: Mapping[str, str]) -> str:
    name, width = point[0], _width(point)
    stages = sorted(set(files.values()))
    stage = f"stage-{stages.index(files[name])}" if name in files else "stage-none"
    needed = f"{name} needs {', '.join(needs)}" if needs else f"{name} needs no other rule"
    return (
        f'<g class="{stage}"><title>{html.escape(needed)}</title>'
        f'<rect x="{x[point] - width / 2:.1f}" y="{_top(point)}" width="{width:.1f}" '
        f'height="{HEIGHT}" rx="6"/><text x="{x[point]:.1f}" y="{_top(point) + HEIGHT / 2 + 4}">'
        f"{html.escape(name)}</text></g>"
    )
