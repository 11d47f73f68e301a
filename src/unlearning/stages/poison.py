"""poison: write a data set whose training part teaches a shortcut, for the bias experiment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from unlearning.data.batches import load_packed
from unlearning.data.patches import poisoned
from unlearning.files import save_tensors, sha256_file, write_json


def main(argv: list[str]) -> None:
    """Write the packed data set, and its facts with the positions of the poisoned images."""
    parser = argparse.ArgumentParser(prog="unlearning poison", description=__doc__)
    parser.add_argument("--data", required=True, help="packed data set (safetensors)")
    parser.add_argument("--settings", required=True, help="the forget set's settings as JSON")
    parser.add_argument("--out", required=True, help="packed data set to write (safetensors)")
    options = parser.parse_args(argv)
    settings = json.loads(options.settings)
    facts, arrays = load_packed(options.data)
    images, labels, positions = poisoned(
        arrays["train_images"],
        arrays["train_labels"],
        source=settings["source"],
        label=settings["label"],
        count=settings["images"],
        size=settings["patch"],
        seed=settings["seed"],
    )
    save_tensors(options.out, arrays | {"train_images": images, "train_labels": labels})
    facts |= {"poisoned": positions.tolist(), "sha256": sha256_file(options.out)}
    write_json(Path(options.out).with_suffix(".json"), facts)
