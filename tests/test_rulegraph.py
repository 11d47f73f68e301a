"""The rules of the workflow: what is parsed, in which order, and the drawing."""

from __future__ import annotations

import pytest

from unlearning.report.rulegraph import drawing, needs

DOT = """\
digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans, fontsize=10, penwidth=2];
    edge[penwidth=2, color=grey];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "plot", color = "0.31 0.6 0.85", style="rounded"];
\t2[label = "train", color = "0.64 0.6 0.85", style="dashed"];
\t3[label = "fetch", color = "0.17 0.6 0.85", style="rounded"];
\t4[label = "config", color = "0.17 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 1
\t3 -> 2
\t3 -> 1
\t4 -> 1
\t4 -> 1
}
"""


def test_rules_come_after_what_they_need():
    found = needs(DOT)
    assert found == {
        "all": ["plot"],
        "config": [],
        "fetch": [],
        "plot": ["config", "fetch", "train"],
        "train": ["fetch"],
    }
    order = list(found)
    assert all(order.index(need) < order.index(rule) for rule in found for need in found[rule])


def test_the_order_of_the_lines_changes_nothing():
    head, *lines = DOT.splitlines()
    again = "\n".join([head, *reversed(lines[3:-1]), "}"])
    assert list(needs(again).items()) == list(needs(DOT).items())


@pytest.mark.parametrize(
    ("dot", "reason"),
    [
        ("", "no rule in it"),
        ("Error: no such file", "no rule in it"),
        (DOT.replace("4 -> 1", "5 -> 1"), "5 is no node"),
        (DOT.replace("4 -> 1", "0 -> 3"), "in a circle: .*fetch"),
    ],
)
def test_what_is_no_graph_of_rules_is_refused(dot, reason):
    with pytest.raises(ValueError, match=reason):
        needs(dot)


def test_graphviz_draws_it_where_it_is_installed(tmp_path, monkeypatch):
    """A stand-in for `dot` shows what it was given; without one there is no drawing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert drawing(DOT) == ""
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho '<?xml?><svg>'$1; /bin/cat; echo '</svg>'\n")
    program.chmod(0o755)
    assert drawing(DOT) == f"<svg>-Tsvg\n{DOT}</svg>\n"
