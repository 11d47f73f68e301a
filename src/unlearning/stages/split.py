"""split: draw one forget set, or read its list, and write its indices."""

from __future__ import annotations

import json
import os

import numpy as np

from unlearning.data.batches import load_dataset, load_packed
from unlearning.data.download import expanded
from unlearning.data.forget_lists import ListError, positions, read_list
from unlearning.data.splits import make_split
from unlearning.files import read_json, write_json
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write one split as JSON.

    UNLEARNING_LISTS, the lists' files by their hash as JSON, is how the DAG passes where they lie:
    as no option of a rule, a list that moved makes nothing anew.
    """
    own = {"help": "the list of a sample removal, else UNLEARNING_LISTS"}
    options = asked(argv, __doc__, "data", "settings", "out", list=own)
    settings = json.loads(options.settings)
    dataset = load_dataset(options.data, settings["evaluation"])
    facts = read_json(options.data.removesuffix(".safetensors") + ".json")
    labels, named = dataset.train.labels.numpy(), facts.get("poisoned", ())
    if settings["scenario"] == "sample_removal":
        lists, sha256 = json.loads(os.environ.get("UNLEARNING_LISTS", "{}")), settings["sha256"]
        named = listed(options.data, sha256, options.list or lists.get(sha256))
    kin: np.ndarray | tuple = ()
    if settings["scenario"] == "subclass_removal":
        named, kin = of_subclass(options.data, settings["subclass"])
    order = facts.get("train_order")
    split = make_split(settings, facts["name"], labels, len(dataset.test), named, order, kin)
    write_json(options.out, split)


def of_subclass(data: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test images of a sub-class."""
    facts, tensors = load_packed(data)
    number = facts["subclass_names"].index(name)
    train, test = (tensors[f"{part}_subclasses"].numpy() == number for part in ("train", "test"))
    return np.flatnonzero(train), np.flatnonzero(test)


def listed(data: str, sha256: str, path: str | None) -> np.ndarray:
    """Positions of the images on the list at `path`; ListError if its content has another hash."""
    if path is None:
        raise ListError(f"the list of hash {sha256} is not named: add --list FILE")
    found = read_list(expanded(path))
    if found.sha256 != sha256:
        raise ListError(
            f"{path}: its hash is {found.sha256}, not {sha256}: it changed since the run began; "
            "run again"
        )
    return positions(found, *load_packed(data))
