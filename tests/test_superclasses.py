"""Super-classes as labels, and one sub-class forgotten within its own: CIFAR-20."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import METHOD_FILES, ROOT
from PIL import Image

from unlearning.config import hyperparameters
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.batches import load_packed
from unlearning.data.catalogue import DatasetInfo, FormatError, catalogue
from unlearning.data.sources import fetch
from unlearning.data.splits import forgotten_kind, half_of_test
from unlearning.data.superclasses import CIFAR20, SUPERCLASSES
from unlearning.files import canonical_json, read_json
from unlearning.metrics.accuracy import accuracies
from unlearning.metrics.aus import aus_of_means, subclass_removal_aus
from unlearning.plan import grid
from unlearning.stages import split as split_stage
from unlearning.stages.attack import _never_seen
from unlearning.stages.score import score

DATASETS = catalogue(ROOT / "configs" / "datasets.csv")
METHODS = hyperparameters.known_methods(METHOD_FILES)
FINE = sorted(SUPERCLASSES["cifar20"])


def test_twenty_super_classes_of_five():
    assert len(CIFAR20) == 20 and {len(v.split()) for v in CIFAR20.values()} == {5}
    assert len(FINE) == len(set(FINE)) == 100
    assert Counter(SUPERCLASSES["cifar20"].values()) == dict.fromkeys(CIFAR20, 5)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A CIFAR-100 of two training images and one test image a class, packed as CIFAR-20."""
    root = tmp_path_factory.mktemp("cifar20")
    rng = np.random.default_rng(0)
    for part, count in (("train", 2), ("test", 1)):
        for name in FINE:
            folder = root / "images" / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    fetch(small(), root, root / "images")
    return root / "cifar20.safetensors"


def small() -> DatasetInfo:
    return DatasetInfo("cifar20", "1", "none", "cifar100", 20, 200, 100, 3, 4, None, None, ())


def test_labels_are_super_classes_and_sub_classes_stay_beside_them(packed):
    facts, tensors = load_packed(packed)
    assert facts["class_names"] == sorted(CIFAR20) and facts["subclass_names"] == FINE
    for part in ("train", "test"):
        fine = [FINE[k] for k in tensors[f"{part}_subclasses"].tolist()]
        assert fine == sorted(fine)
        above = [facts["class_names"][k] for k in tensors[f"{part}_labels"].tolist()]
        assert above == [SUPERCLASSES["cifar20"][name] for name in fine]


def test_a_folder_without_super_class_is_refused(packed, tmp_path):
    images = tmp_path / "images"
    for part in ("train", "test"):
        (images / part).mkdir(parents=True)
        for folder in (packed.parent / "images" / part).iterdir():
            name = "unicorn" if folder.name == "wolf" else folder.name
            (images / part / name).symlink_to(folder)
    with pytest.raises(FormatError, match="cifar20: 'unicorn' is no sub-class"):
        fetch(small(), tmp_path / "out", images)


def config(forget, dataset="cifar20", **changes):
    experiment = {
        "dataset": dataset,
        "arch": "strided_cnn",
        "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
        "train_seeds": [0],
        "scenarios": {"subclass_removal": {"forget": forget}},
        "methods": ["duck"],
        **changes,
    }
    return parse({"run": "mine", "experiments": [experiment]}, "mine.yaml", DATASETS, METHODS)


@pytest.fixture
def split(packed, tmp_path):
    (planned,) = grid.splits(config(["rocket"]).experiments[0])
    out = tmp_path / "split.json"
    settings = canonical_json(planned.settings)
    split_stage.main(["--data", str(packed), "--settings", settings, "--out", str(out)])
    return read_json(out)


def test_the_sub_class_is_forgotten_and_its_test_images_are_measured_apart(packed, split):
    _, tensors = load_packed(packed)
    rocket = FINE.index("rocket")
    assert split["forget"] == [2 * rocket, 2 * rocket + 1] and split["forget_test"] == [rocket]
    assert split["classes"] == [] and split["test"] is None
    outputs = {f"{part}_labels": tensors[f"{part}_labels"].numpy() for part in ("train", "test")}
    for part in ("train", "test"):
        outputs[f"{part}_logits"] = np.eye(20)[outputs[f"{part}_labels"]]
    outputs["test_logits"][rocket] = -outputs["test_logits"][rocket]  # the one that it misses
    found = accuracies(outputs, split)
    assert found["forget_test_accuracy"] == 0 and found["retain_test_accuracy"] == 1
    assert found["forget_train_accuracy"] == 1 and found["test_accuracy"] == 0.99
    assert _never_seen(outputs, split).tolist() == [rocket]
    assert score(outputs, outputs, split)["aus"] == pytest.approx(1 / 2)
    kept = [half_of_test(outputs, split, half) for half in ("first", "second")]
    assert sum(forgotten_kind(out["test_labels"], inside).sum() for out, inside in kept) == 1


def test_a_model_that_treats_forgotten_as_unseen_images_scores_by_what_it_kept():
    assert subclass_removal_aus(0.8, 0.9, 0.6, 0.6) == pytest.approx(0.9)
    assert subclass_removal_aus(0.9, 0.9, 1.0, 0.6) == pytest.approx(1 / 1.4)
    with pytest.raises(ValueError, match="forget_test must be a fraction"):
        subclass_removal_aus(0.9, 0.9, 1.0, 60)
    with pytest.raises(ValueError, match="scenario must be one of"):
        aus_of_means("subclass_removal", (0.9, 0), (0.9, 0), (0.5, 0))


def test_methods_that_remove_classes_are_not_defined_for_a_sub_class():
    cell = {"dataset": "cifar20", "arch": "resnet18"}
    for method in METHODS:
        of = [
            (
                hyperparameters.resolve(method, cell | {"scenario": name}, {}, METHOD_FILES),
                hyperparameters.defined(method, name, METHOD_FILES),
            )
            for name in ("homogeneous_removal", "subclass_removal")
        ]
        assert of[0] == of[1]


@pytest.mark.parametrize(
    ("forget", "changes", "message"),
    [
        (["roket"], {}, r"forget: unknown sub-class 'roket'; did you mean 'rocket'\?"),
        (["rocket", "rocket"], {}, r"sub-class rocket is given twice"),
        (["rocket"], {"dataset": "cifar100"}, "cifar100 has no sub-classes; those that have: cif"),
        (["rocket"], {"evaluation": "validation"}, "use evaluation: test"),
        (
            ["rocket"],
            {
                "tuning": {
                    "train_seeds": [0],
                    "scenarios": {"subclass_removal": {"forget": ["sea"]}},
                }
            },
            "a search has no sub-classes",
        ),
    ],
)
def test_a_sub_class_that_cannot_be_is_refused(forget, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config(forget, **changes)
    assert "\n" not in str(caught.value)
