"""The paper's text in Typst, all of its files, and the names of the run that it asks for."""

from __future__ import annotations

import re

from workspace import PROJECT

from unlearning.metrics.aus import PAPER_SCENARIOS

PAPER = PROJECT / "paper/paper.typ"


def text() -> str:
    """All files of the document."""
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted(PAPER.parent.glob("*.typ")))


def asked_for(how: str) -> set[str]:
    """The names that the document asks for: with `n`, or whether it is `known`."""
    of_both = re.findall(rf'\b{how}\(scenario \+ "([^"]+)"\)', text())
    names = {f"{scenario}{name}" for scenario in PAPER_SCENARIOS for name in of_both}
    return names | set(re.findall(rf'\b{how}\("([^"]+)"\)', text()))


def claims_asked_for() -> set[str]:
    """The names of what the document says of single claims, where a run has them."""
    listed = re.search(r"#let main-claims = \((.*?)\)", text(), re.DOTALL)[1]
    claims = set(re.findall(r'"(\w+)"', listed))
    claims |= set(re.findall(r'_removal: "(\w+)"', text()))
    claims |= set(re.findall(r'\b(?:judged|meaning|verdict|value)\("(\w+)"', text()))
    return {f"claim.{name}.{part}" for name in claims for part in ("statement", "verdict", "value")}
