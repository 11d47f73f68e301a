"""Forget sets and evaluation halves as index lists, fixed by a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlearning.files import DamagedFile, seal_of
from unlearning.seeds import seed_for

RELEASE_SIZES = {"cifar10": (50_000, 1), "cifar100": (50_000, 1), "tiny_imagenet": (100_000, 2)}
"""Training images, and how many times the release's 1,000 or 5,000 images are drawn."""


def make_split(
    settings: Mapping[str, Any],
    dataset: str,
    train_labels: np.ndarray,
    test_count: int,
    named: Sequence[int] = (),
    train_order: Sequence[int] | None = None,
    kin: Sequence[int] = (),
) -> dict[str, Any]:
    """The split that `settings` describe (see grid.Split), ready to be written as JSON.

    train_labels: [N] of the training part; test_count: images in the test part; named:
    positions of the images that shortcut removal forgets, the poisoned ones, sample removal, the
    listed ones, or sub-class removal; kin: the test images of that sub-class; train_order: the
    official position of each training image, which the release's indices need (see
    official_positions).
    Returns `forget` (sorted positions in the training part), `classes` (the removed ones,
    empty in the other scenarios), `test` and `validation` (positions in the test part of
    the half that homogeneous and sample removal evaluate and of the other one; null in the other
    scenarios, which evaluate the whole test part), in sub-class removal `forget_test` (positions of
    the test images of the sub-class), and a hash over all of it.
    """
    classes, halves = settings.get("classes", []), {"test": None, "validation": None}
    if settings["scenario"] == "class_removal":
        forget = np.flatnonzero(np.isin(train_labels, classes))
    elif settings["scenario"] in ("shortcut_removal", "subclass_removal"):
        forget = np.asarray(named, dtype=np.int64)
    elif settings["scenario"] == "sample_removal":
        forget = np.asarray(named, dtype=np.int64)
        halves = _test_halves(dataset, 0, test_count)
    else:
        forget = _random_forget(settings, dataset, len(train_labels), train_order)
        halves = _test_halves(dataset, settings["seed"], test_count)
    if not 0 < len(forget) < len(train_labels) or forget.max() >= len(train_labels):
        raise ValueError(
            f"{settings}: {len(forget)} of {len(train_labels)} training images would be "
            "forgotten; both parts need at least one"
        )
    split = {"settings": dict(settings), "dataset": dataset, "classes": classes}
    split |= {"forget": np.sort(forget).tolist(), **halves}
    if settings["scenario"] == "subclass_removal":
        split["forget_test"] = np.sort(kin).tolist()
    return {**split, "sha256": seal_of(split)}


def check_split(split: Mapping[str, Any], path: str) -> None:
    """Raise DamagedFile if the split is not the one that was written."""
    if seal_of(split) != split.get("sha256"):
        raise DamagedFile(path, "its content does not match its hash")


def retained(forget: np.ndarray, count: int) -> np.ndarray:
    """The positions 0..count-1 that are not in `forget`, sorted."""
    mask = np.ones(count, dtype=bool)
    mask[forget] = False
    return np.flatnonzero(mask)


def forgotten_kind(test_labels: np.ndarray, split: Mapping[str, Any]) -> np.ndarray:
    """True [M] for the test images of the kind that is forgotten: its classes or sub-class."""
    if "forget_test" in split:
        return np.isin(np.arange(len(test_labels)), split["forget_test"])
    return np.isin(test_labels, split["classes"])


def given(share: str, positions: np.ndarray, dataset: str) -> np.ndarray:
    """The share `1/K` of the positions, rounded up, drawn once for a data set; sorted."""
    rng = np.random.default_rng(seed_for("given", dataset))
    count = math.ceil(len(positions) / int(share[2:]))
    return np.sort(rng.choice(positions, count, replace=False))


def _random_forget(
    settings: Mapping[str, Any], dataset: str, count: int, train_order: Sequence[int] | None
) -> np.ndarray:
    if settings["indices"] == "release":
        drawn = release_indices(dataset, settings["seed"])
        return official_positions(drawn, dataset, count, train_order)
    size = settings["count"] or round(settings["fraction"] * count)
    rng = np.random.default_rng(seed_for("forget", dataset, settings["seed"]))
    return rng.choice(count, size, replace=False)


def _test_halves(dataset: str, seed: int, count: int) -> dict[str, list[int]]:
    rng = np.random.default_rng(seed_for("test half", dataset, seed))
    order = rng.permutation(count)
    return {
        "test": np.sort(order[: count // 2]).tolist(),
        "validation": np.sort(order[count // 2 :]).tolist(),
    }


def half_of_test(
    outputs: Mapping[str, np.ndarray], split: Mapping[str, Any], half: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The outputs on one fixed half of the test images, and the split that counts in that half.

    half: `first` or `second`, of one permutation that depends on the data set alone: a search is
    judged on the first, the settings that it found are reported on the second. Which images
    homogeneous removal evaluates is what the two halves have in common with its own.
    """
    count = len(outputs["test_labels"])
    rng = np.random.default_rng(seed_for("fixed half of the test images", split["dataset"]))
    order = rng.permutation(count)
    at = np.sort({"first": order[: count // 2], "second": order[count // 2 :]}[half])
    kept = {name: outputs[name][at] for name in ("test_logits", "test_labels")}
    inside = {
        name: None if split[name] is None else np.flatnonzero(np.isin(at, split[name])).tolist()
        for name in ("test", "validation", "forget_test")
        if name in split
    }
    return {**outputs, **kept}, {**split, **inside}


def release_indices(dataset: str, seed: int) -> np.ndarray:
    """The authors' forget indices of one seed, in their order (release, sample_fgt_samples.py).

    One legacy NumPy stream a seed, drawn for CIFAR-10, CIFAR-100 and TinyImageNet in
    turn, first for 1,000 images (2,000 of TinyImageNet), then for the 5,000 (10,000) used.
    """
    if dataset not in RELEASE_SIZES:
        raise ValueError(f"the release has no indices for {dataset}; use indices: own")
    stream = np.random.RandomState(seed)
    for size in (1000, 5000):
        drawn = {
            name: stream.choice(count, times * size, replace=False)
            for name, (count, times) in RELEASE_SIZES.items()
        }
    return drawn[dataset]


def official_positions(
    drawn: np.ndarray, dataset: str, count: int, train_order: Sequence[int] | None
) -> np.ndarray:
    """Where the images at the positions `drawn` of the official order are in the packed part.

    train_order: [count], entry i is the official position of packed training image i; it
    stands in the facts of the packed data set, where the source knew it. Raises ValueError
    where it is missing or no permutation of 0..count-1.
    """
    if train_order is None:
        raise ValueError(
            f"indices: release counts in the official order of {dataset}, which the packed data "
            "set does not know: fetch it from the publisher's archive, or put train_order.txt "
            "(one CLASS/NAME.png a line, in that order) next to train/ and test/ in the folder "
            f"of images, delete data/{dataset}.json and run again; or use indices: own"
        )
    order = np.asarray(train_order)
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise ValueError(
            f"train_order of {dataset} does not hold each of 0..{count - 1} once: "
            f"delete data/{dataset}.json and run again"
        )
    return np.argsort(order)[drawn]
