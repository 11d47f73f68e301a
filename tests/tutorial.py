"""The folder that docs/own_data.md is about, and the blocks of that page in their order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image
from workspace import PROJECT, Workspace

CLASSES = ("cat", "dog", "fox")
EACH = 30


def draw(folder: Path) -> None:
    """`folder`/CLASS/CLASS-NN.png or .jpg: of several sizes, a few grey, each class of its hue."""
    rng = np.random.default_rng(0)
    for hue, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(1, EACH + 1):
            size = (32 + 8 * (number % 3), 32 + 4 * (number % 5), 3)
            values = rng.integers(0, 160, size)
            values[..., hue] += 80
            image = Image.fromarray(values.astype(np.uint8))
            image = image.convert("L") if number % 10 == 0 else image
            image.save(folder / name / f"{name}-{number:02}.{'jpg' if number % 2 else 'png'}")


def blocks() -> list[tuple[str, str]]:
    """(language, text) of every block of the page."""
    text = (PROJECT / "docs/own_data.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.S | re.M)


def follow(space: Workspace, until: str = "") -> list[str]:
    """Do what the page says, word by word; what each command printed.

    until: stop before the first command that begins so.
    """
    draw(space.root / "pictures")
    printed = []
    for language, text in blocks():
        if language == "csv":
            (space.root / "forget.csv").write_text(text, encoding="utf-8")
        if language == "yaml":
            with open(space.root / "pets.yaml", "a", encoding="utf-8") as file:
                file.write(text)
        for line in text.splitlines() if language == "bash" else ():
            if until and line.startswith(until):
                return printed
            status, said = space.process("bash", "-c", line)
            assert status == 0, said
            printed.append(said)
    return printed


def written(language: str) -> str:
    """The text of the one block of a language."""
    (found,) = [text for kind, text in blocks() if kind == language]
    return found
