"""Who is forgotten and who is evaluated: fixed by a seed, complete, disjoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unlearning.config.parsing import parse
from unlearning.data.batches import load_dataset
from unlearning.data.splits import check_split, half_of_test, make_split, release_indices, retained
from unlearning.files import canonical_json, read_json, save_tensors, sha256_file, write_json
from unlearning.metrics.accuracy import accuracies
from unlearning.plan import grid
from unlearning.stages import split as split_stage
from unlearning.stages.score import score

LABELS = np.random.default_rng(0).permutation(np.arange(600) % 10)
REMOVALS = {
    "one class": {"class_removal": {"forget": [3]}},
    "classes": {"class_removal": {"forget": [[7, 2]]}},
    "fraction": {"homogeneous_removal": {"fraction": 0.1, "split_seeds": [0]}},
    "count": {"homogeneous_removal": {"count": 45, "split_seeds": [0]}},
}


def split_settings(scenarios, evaluation="test"):
    """The settings as the grid makes them from a config."""
    experiment = {
        "dataset": "toy",
        "arch": "strided_cnn",
        "training": {"epochs": 1, "batch_size": 1, "lr": 0.1},
        "scenarios": scenarios,
        "methods": ["duck"],
        "train_seeds": [0],
        "evaluation": evaluation,
    }
    config = parse({"run": "r", "experiments": [experiment]}, "r.yaml")
    (split,) = grid.splits(config.experiments[0])
    return split.settings


def make(removal, seed=0, dataset="toy", test_count=101):
    settings = split_settings(REMOVALS[removal])
    if "seed" in settings:
        settings["seed"] = seed
    return make_split(settings, dataset, LABELS, test_count)


# --- the authors' own indices ---


@pytest.mark.parametrize(
    ("dataset", "seed", "first", "size"),
    [
        ("cifar10", 0, [31717, 6298, 11914], 5000),
        ("cifar100", 0, [9673, 35426, 7318], 5000),
        ("tiny_imagenet", 0, [86038, 19927, 30632], 10_000),
        ("cifar10", 42, [23339, 48789, 33339], 5000),
        ("cifar100", 42, [29801, 24039, 19636], 5000),
        ("tiny_imagenet", 42, [94488, 88364, 28533], 10_000),
    ],
)
def test_release_indices_are_those_of_the_authors(dataset, seed, first, size):
    found = release_indices(dataset, seed)
    assert found[:3].tolist() == first
    assert len(found) == len(np.unique(found)) == size


RELEASE = {"homogeneous_removal": {"split_seeds": [42], "indices": "release"}}


def release_split(**options):
    settings = split_settings(RELEASE)
    return make_split(settings, "cifar10", np.arange(50_000) % 10, 10_000, **options)


def test_release_indices_are_what_a_split_forgets():
    split = release_split(train_order=range(50_000))
    assert split["forget"] == sorted(release_indices("cifar10", 42).tolist())
    assert len(split["test"]) == len(split["validation"]) == 5000


def test_release_indices_count_in_the_official_order():
    order = np.random.default_rng(3).permutation(50_000)
    split = release_split(train_order=order.tolist())
    assert split["forget"] == sorted(split["forget"]) != sorted(release_indices("cifar10", 42))
    official = [order[packed] for packed in split["forget"]]
    assert sorted(official) == sorted(release_indices("cifar10", 42))


def test_release_indices_need_the_official_order():
    with pytest.raises(ValueError, match=r"(?s)order of cifar10.*train_order\.txt") as caught:
        release_split()
    assert "\n" not in str(caught.value)
    for wrong in (range(49_999), [0] * 50_000, range(1, 50_001)):
        with pytest.raises(ValueError, match=r"does not hold each of 0\.\.49999 once"):
            release_split(train_order=wrong)


def test_the_stage_takes_the_official_order_from_the_facts(tmp_path):
    order = np.random.default_rng(3).permutation(50_000).tolist()
    path, out = tmp_path / "cifar10.safetensors", tmp_path / "split.json"
    parts = {"train": 50_000, "test": 10_000}
    tensors = {f"{p}_images": torch.zeros(n, 1, 1, 1, dtype=torch.uint8) for p, n in parts.items()}
    tensors |= {f"{p}_labels": torch.arange(n) % 10 for p, n in parts.items()}
    save_tensors(path, tensors)
    facts = {"name": "cifar10", "classes": 10, "mean": [0.5], "std": [0.5]}
    facts |= {"sha256": sha256_file(path), "train_order": order}
    write_json(path.with_suffix(".json"), facts)
    settings = canonical_json(split_settings(RELEASE))
    split_stage.main(["--data", str(path), "--settings", settings, "--out", str(out)])
    assert read_json(out) == release_split(train_order=order)


def test_a_data_set_without_release_indices_is_named():
    with pytest.raises(ValueError, match="fashion_mnist"):
        release_indices("fashion_mnist", 0)


# --- forget sets ---


@pytest.mark.parametrize(("removal", "classes"), [("one class", [3]), ("classes", [2, 7])])
def test_class_removal_forgets_exactly_its_classes(removal, classes):
    split = make(removal)
    assert split["forget"] == [i for i, label in enumerate(LABELS) if label in classes]
    assert split["classes"] == classes
    assert split["test"] is None and split["validation"] is None


@pytest.mark.parametrize(("removal", "size"), [("fraction", 60), ("count", 45)])
def test_homogeneous_removal_forgets_as_many_as_asked_each_once(removal, size):
    split = make(removal)
    assert len(split["forget"]) == len(set(split["forget"])) == size
    assert split["forget"] == sorted(split["forget"]) and split["classes"] == []
    assert set(split["forget"]) < set(range(600))


@pytest.mark.parametrize("test_count", [100, 101])
def test_the_halves_of_the_test_part_are_disjoint_and_complete(test_count):
    split = make("count", test_count=test_count)
    assert sorted(split["test"] + split["validation"]) == list(range(test_count))
    assert len(split["test"]) == test_count // 2


def test_seeds_and_data_sets_give_independent_draws():
    draws = [make("fraction"), make("fraction", seed=1), make("fraction", dataset="other")]
    for key, size, population in (("forget", 60, 600), ("test", 50, 101)):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            shared = len(set(draws[a][key]) & set(draws[b][key]))
            expected = size * size / population
            spread = (expected * (1 - size / population) ** 2) ** 0.5
            assert abs(shared - expected) < 4 * spread


def test_the_same_settings_give_the_same_split():
    assert make("fraction") == make("fraction")


def test_a_forget_set_that_is_empty_or_everything_is_refused():
    with pytest.raises(ValueError, match="both parts need at least one"):
        make_split(split_settings(REMOVALS["one class"]), "toy", np.zeros(5), 10)
    with pytest.raises(ValueError, match="both parts need at least one"):
        make_split(split_settings(REMOVALS["one class"]), "toy", np.full(5, 3), 10)


def test_retained_is_the_complement():
    assert retained(np.array([3, 0]), 5).tolist() == [1, 2, 4]


# --- the hash ---


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_hash_detects_every_edit(removal):
    split = make(removal)
    check_split(split, "s.json")
    edits = {
        "forget": [*split["forget"][:-1], split["forget"][-1] + 1],
        "classes": [*split["classes"], 9],
        "test": [0],
        "validation": [0],
        "dataset": "another",
        "settings": {**split["settings"], "evaluation": "validation"},
    }
    for key, value in edits.items():
        with pytest.raises(ValueError, match=r"s\.json"):
            check_split(split | {key: value}, "s.json")


# --- the validation cut ---


@pytest.fixture
def pack(tmp_path):
    """A packed data set whose images carry their own number."""

    def write(name="toy", file="packed", mean=0.5):
        count = {"train": 100, "test": 20}
        tensors = {}
        for part, n in count.items():
            numbers = torch.arange(n, dtype=torch.uint8) + (100 if part == "test" else 0)
            tensors[f"{part}_images"] = numbers[:, None, None, None].expand(n, 1, 2, 2).clone()
            tensors[f"{part}_labels"] = torch.arange(n) % 4
        path = tmp_path / f"{file}.safetensors"
        save_tensors(path, tensors)
        facts = {
            "name": name,
            "classes": 4,
            "mean": [mean],
            "std": [0.5],
            "sha256": sha256_file(path),
        }
        write_json(path.with_suffix(".json"), facts)
        return path

    return write


def numbers(images):
    return images.images[:, 0, 0, 0].tolist()


def test_the_official_parts_are_loaded_whole(pack):
    path = pack()
    dataset = load_dataset(path)
    assert numbers(dataset.train) == list(range(100))
    assert numbers(dataset.test) == list(range(100, 120))
    assert (dataset.classes, dataset.sha256) == (4, sha256_file(path))


def test_the_validation_cut_is_balanced_disjoint_and_complete(pack):
    dataset = load_dataset(pack(), "validation")
    train, test = numbers(dataset.train), numbers(dataset.test)
    assert sorted(train + test) == list(range(100))
    assert dataset.test.labels.bincount().tolist() == [5] * 4
    for part, found in ((dataset.train, train), (dataset.test, test)):
        assert part.labels.tolist() == [number % 4 for number in found]


def test_the_validation_cut_depends_on_the_data_set_alone(pack):
    first = numbers(load_dataset(pack(), "validation").test)
    torch.manual_seed(99)
    np.random.seed(99)
    assert numbers(load_dataset(pack(file="elsewhere", mean=0.1), "validation").test) == first
    assert numbers(load_dataset(pack(name="another"), "validation").test) != first


def test_an_unknown_evaluation_is_refused(pack):
    with pytest.raises(ValueError, match="'valid'"):
        load_dataset(pack(), "valid")


# --- accuracies ---


def outputs(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {"train_labels": LABELS, "test_labels": np.arange(101) % 10}
    for part in ("train", "test"):
        labels = arrays[f"{part}_labels"]
        arrays[f"{part}_logits"] = rng.normal(size=(len(labels), 10))
        arrays[f"{part}_logits"][np.arange(len(labels)), labels] += 1.5
    return arrays


def by_loop(arrays, split):
    """Hits and images of each set, counted image by image."""
    tally = {}

    def count(name, right):
        hits, images = tally.get(name, (0, 0))
        tally[name] = hits + right, images + 1

    for part in ("train", "test"):
        rows = zip(arrays[f"{part}_logits"].tolist(), arrays[f"{part}_labels"], strict=True)
        for i, (logits, label) in enumerate(rows):
            right = logits.index(max(logits)) == label
            if part == "train":
                kind = "forget" if i in split["forget"] else "retain"
                count(f"{kind}_train_accuracy", right)
            elif split["test"] is None:
                kind = "forget" if label in split["classes"] else "retain"
                count(f"{kind}_test_accuracy", right)
                count("test_accuracy", right)
            else:
                half = "test" if i in split["test"] else "validation"
                count(f"{half}_accuracy", right)
    return {name: hits / images for name, (hits, images) in tally.items()}


@pytest.mark.parametrize("removal", REMOVALS)
def test_accuracies_equal_a_loop_over_the_images(removal):
    split = make(removal)
    found, expected = accuracies(outputs(), split), by_loop(outputs(), split)
    undefined = found.keys() - expected.keys()
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert {found[name] for name in undefined} == {None}
    assert len(expected) == (5 if "class" in removal else 4)


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_score_compares_a_model_with_its_original(removal):
    split = make(removal)
    found = score(outputs(0), outputs(1), split)
    unlearned, original = by_loop(outputs(0), split), by_loop(outputs(1), split)
    if "class" in removal:
        kept, gap = "retain_test_accuracy", unlearned["forget_test_accuracy"]
    else:
        kept = "test_accuracy"
        gap = abs(unlearned["forget_train_accuracy"] - unlearned["test_accuracy"])
    assert original[kept] != unlearned[kept]
    expected = (1 - (original[kept] - unlearned[kept])) / (1 + gap)
    assert found["aus"] == pytest.approx(expected, abs=1e-12)


def test_the_loop_sees_an_exchange_of_the_halves():
    split = make("count")
    swapped = split | {"test": split["validation"], "validation": split["test"]}
    expected = by_loop(outputs(), split)
    assert accuracies(outputs(), swapped)["test_accuracy"] != expected["test_accuracy"]


def test_an_accuracy_over_no_image_is_not_defined():
    arrays = outputs()
    arrays["test_labels"] = np.full(101, 0)
    found = accuracies(arrays, make("one class"))
    assert found["forget_test_accuracy"] is None
    assert found["retain_test_accuracy"] == found["test_accuracy"]


def test_the_halves_of_the_test_images_share_none_and_are_the_same_for_all_forget_sets():
    labels = np.arange(101) % 10
    outputs = {"test_logits": np.eye(10)[labels], "test_labels": labels, "train_labels": labels}
    outputs["test_logits"][:, 0] += np.arange(101) / 1000  # each row is its own
    whole = {"dataset": "d", "test": None, "validation": None}
    first, second = (half_of_test(outputs, whole, half) for half in ("first", "second"))
    rows = [
        [np.flatnonzero((outputs["test_logits"] == row).all(1))[0] for row in cut["test_logits"]]
        for cut, _ in (first, second)
    ]
    assert len(rows[0]) == 50 and sorted(rows[0] + rows[1]) == list(range(101))
    assert first[1] == whole and len(first[0]["train_labels"]) == 101
    half = {"dataset": "d", "test": list(range(0, 101, 2)), "validation": list(range(1, 101, 2))}
    for (cut, inside), kept in zip(
        (half_of_test(outputs, half, name) for name in ("first", "second")), rows, strict=True
    ):
        evaluated = {kept[at] for at in inside["test"]}
        assert evaluated == set(kept) & set(half["test"])
        assert sorted(inside["test"] + inside["validation"]) == list(range(len(kept)))
        assert np.array_equal(cut["test_labels"], labels[kept])
