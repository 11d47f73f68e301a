"""poison: write a data set whose training part teaches a shortcut, for the bias experiment."""

from __future__ import annotations

import json
from pathlib import Path

from unlearning.data.batches import load_packed
from unlearning.data.patches import poisoned
from unlearning.files import save_tensors, sha256_file, write_json
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write the packed data set, and its facts with the positions of the poisoned images."""
    options = asked(argv, __doc__, "data", "settings", "out")
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
