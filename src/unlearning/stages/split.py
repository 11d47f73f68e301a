"""split: draw one forget set and write its indices."""

from __future__ import annotations

import argparse
import json

from unlearning.data.batches import load_dataset
from unlearning.data.splits import make_split
from unlearning.files import read_json, write_json


def main(argv: list[str]) -> None:
    """Write one split as JSON."""
    parser = argparse.ArgumentParser(prog="unlearning split", description=__doc__)
    parser.add_argument("--data", required=True, help="packed data set (safetensors)")
    parser.add_argument("--settings", required=True, help="the split's settings as JSON")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    settings = json.loads(options.settings)
    dataset = load_dataset(options.data, settings["evaluation"])
    facts = read_json(options.data.removesuffix(".safetensors") + ".json")
    labels, poisoned = dataset.train.labels.numpy(), facts.get("poisoned", ())
    order = facts.get("train_order")
    split = make_split(settings, facts["name"], labels, len(dataset.test), poisoned, order)
    write_json(options.out, split)
