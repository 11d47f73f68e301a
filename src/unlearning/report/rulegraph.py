"""The workflow's rules: what each needs, and a drawing where Graphviz is installed."""

from __future__ import annotations

import graphlib
import re
import shutil
import subprocess

NODE = re.compile(r'^\s*(\w+)\s*\[\s*label\s*=\s*"((?:[^"\\]|\\.)*)"')
EDGE = re.compile(r"^\s*(\w+)\s*->\s*(\w+)")


def needs(dot: str) -> dict[str, list[str]]:
    """The rules in the text of `snakemake --rulegraph`, each after those whose files it reads.

    Raises ValueError if there is no rule, an arrow ends nowhere, or the arrows go in a circle.
    """
    lines = dot.splitlines()
    names = {m[1]: re.sub(r"\\(.)", r"\1", m[2]) for m in map(NODE.match, lines) if m}
    if not names:
        raise ValueError("no rule in it: is it the text of snakemake --rulegraph?")
    found: dict[str, set[str]] = {name: set() for name in sorted(names.values())}
    for source, target in (m.groups() for m in map(EDGE.match, lines) if m):
        if unknown := {source, target} - set(names):
            raise ValueError(f"an arrow's end {unknown.pop()} is no node")
        found[names[target]].add(names[source])
    try:
        order = list(graphlib.TopologicalSorter(found).static_order())
    except graphlib.CycleError as error:
        raise ValueError(f"arrows in a circle: {' -> '.join(error.args[1])}") from None
    return {rule: sorted(found[rule]) for rule in order}


def drawing(dot: str) -> str:
    """The graph as SVG, by Graphviz's `dot`; empty where that is not installed."""
    program = shutil.which("dot")
    if program is None:
        return ""
    words = [program, "-Tsvg"]
    done = subprocess.run(words, input=dot, capture_output=True, check=True, encoding="utf-8")
    return done.stdout[done.stdout.index("<svg") :]
