"""The drawn graph of the rules: what is parsed, layered, left out and placed."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ElementTree

import pytest

from unlearning.report.rulegraph import Graph, layers, parse, reduced, rule_files, svg

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


def graph(**needs: str) -> Graph:
    return Graph(tuple(sorted(needs)), {rule: tuple(needs[rule].split()) for rule in needs})


def wide() -> str:
    """Forty rules in eight ranks, each reading some of the ranks above, as dot text."""
    draw = random.Random(3)
    nodes = [f'\t{n}[label = "rule_{n}", color = "0"];' for n in range(40)]
    edges = [f"\t{n} -> {n + 5 + draw.randrange(10)}" for n in range(25) for _ in range(2)]
    return "\n".join(["digraph snakemake_dag {", *nodes, *edges, "}"])


def boxes(drawing: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each rule's box."""
    found = {}
    for group in ElementTree.fromstring(drawing).iter("g"):
        box = group.find("rect").attrib
        x, y, w, h = (float(box[name]) for name in ("x", "y", "width", "height"))
        found[group.find("text").text] = (x, y, x + w, y + h)
    return found


def test_rules_and_what_they_need():
    found = parse(DOT)
    assert found.rules == ("all", "config", "fetch", "plot", "train")
    assert found.needs == {
        "all": ("plot",),
        "config": (),
        "fetch": (),
        "plot": ("config", "fetch", "train"),
        "train": ("fetch",),
    }


@pytest.mark.parametrize(
    ("dot", "reason"),
    [
        ("", "no rule"),
        ("Nothing to be done.", "no rule"),
        (DOT.replace("3 -> 2", "7 -> 2"), "end 7 is no node"),
        (DOT.replace("3 -> 2", "1 -> 3"), "in a circle: .* all, fetch, plot"),
    ],
)
def test_what_is_no_graph_is_refused(dot, reason):
    with pytest.raises(ValueError, match=reason):
        parse(dot)


def test_an_arrow_that_a_longer_way_implies_is_left_out():
    """fetch → plot goes by train; a diamond's four arrows all stay."""
    assert reduced(parse(DOT)).needs["plot"] == ("config", "train")
    diamond = graph(a="", b="a", c="a", d="b c")
    assert reduced(diamond) == diamond
    long = graph(a="", b="a", c="b", d="a b c")
    assert reduced(long).needs == {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}


def test_a_rule_stands_below_what_it_needs_and_close_to_its_readers():
    found = layers(reduced(parse(DOT)))
    assert found == {"fetch": 0, "train": 1, "config": 1, "plot": 2, "all": 3}


def test_the_drawing_is_the_same_in_any_order_of_lines():
    lines = wide().splitlines()
    body = lines[1:-1]
    random.Random(5).shuffle(body)
    shuffled = "\n".join([lines[0], *body, lines[-1]])
    assert shuffled != wide()
    assert svg(parse(shuffled), {}) == svg(parse(wide()), {})


@pytest.mark.parametrize("dot", [DOT, wide(), 'digraph {\n0[label = "all"];\n}'])
def test_boxes_lie_inside_apart_and_below_what_they_need(dot):
    found = parse(dot)
    drawing = svg(found, {})
    _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', drawing)[1].split())
    placed = boxes(drawing)
    assert set(placed) == set(found.rules)
    for left, top, right, bottom in placed.values():
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    for name, (left, top, right, _) in placed.items():
        for other, (start, same, end, _) in placed.items():
            assert name == other or top != same or right < start or end < left
        assert all(placed[need][3] < top for need in found.needs[name])


def test_arrows_end_at_their_boxes():
    found = parse(wide())
    placed = boxes(svg(found, {}))
    ends = set()
    for arrow in ElementTree.fromstring(svg(found, {})).iter("path"):
        if arrow.get("class") == "arrow":
            numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", arrow.get("d"))]
            ends.add((*numbers[:2], *numbers[-2:]))
    middle = {name: (left + right) / 2 for name, (left, _, right, _) in placed.items()}
    drawn = reduced(found)
    pairs = [(need, rule) for rule in drawn.rules for need in drawn.needs[rule]]
    assert len(ends) == len(pairs) > 20
    for need, rule in pairs:
        wanted = (middle[need], placed[need][3], middle[rule], placed[rule][1])
        assert any(end == pytest.approx(wanted, abs=0.2) for end in ends), (need, rule)


def test_two_rows_that_cross_are_untangled():
    """a–f, b–e, c–d cross three times in order of name, and not at all when drawn."""
    placed = boxes(svg(graph(a="", b="", c="", d="c", e="b", f="a", z="d e f"), {}))
    above = sorted("abc", key=lambda rule: placed[rule][0])
    below = sorted("def", key=lambda rule: placed[rule][0])
    partner = {"a": "f", "b": "e", "c": "d"}
    assert [partner[rule] for rule in above] == below


def test_rules_are_coloured_by_the_file_that_defines_them(tmp_path):
    (tmp_path / "data.smk").write_text("rule fetch:\n    output: 1\n\nif x:\n    rule config:\n")
    (tmp_path / "train.smk").write_text("use rule fetch as train with:\n    input: 2\n")
    files = rule_files(tmp_path)
    assert files == {"fetch": "data", "config": "data", "train": "train"}
    drawing = svg(parse(DOT), files)
    classes = {
        g.find("text").text: g.get("class") for g in ElementTree.fromstring(drawing).iter("g")
    }
    assert classes == {
        "fetch": "stage-0",
        "config": "stage-0",
        "train": "stage-1",
        "plot": "stage-none",
        "all": "stage-none",
    }
    assert rule_files(tmp_path / "absent") == {}


def test_a_rule_says_what_it_needs_and_odd_names_are_escaped():
    found = parse('digraph {\n0[label = "<b>&"];\n1[label = "say \\"x\\""];\n0 -> 1\n}')
    titles = [t.text for t in ElementTree.fromstring(svg(found, {})).iter("title")]
    assert titles == ["<b>& needs no other rule", 'say "x" needs <b>&']
