"""Configs, hyper-parameter files and the grid: right ones are read, wrong ones are explained."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import yaml
from conftest import METHOD_FILES, ROOT

from unlearning.config import hyperparameters
from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.catalogue import catalogue
from unlearning.plan import checks, grid

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
DATASETS = catalogue(ROOT / "configs" / "datasets.csv")
METHODS = hyperparameters.known_methods(METHOD_FILES)
SCENARIO_NAMES = ("class_removal", "homogeneous_removal")
FILE = "configs/mine.yaml"
VALID = {
    "run": "mine",
    "partial": False,
    "sources": {"cifar10": "here"},
    "experiments": [
        {
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 30, "batch_size": 64, "lr": 0.1, "crop": 1, "flip": True},
            "train_seeds": [0, 1],
            "unlearn_seeds": [0],
            "scenarios": {
                "class_removal": {"forget": [0, [8, 1]]},
                "homogeneous_removal": {"fraction": 0.1, "split_seeds": [0, 1]},
            },
            "methods": [
                "duck",
                {"name": "duck-long", "method": "duck", "settings": {"epochs": 20}},
            ],
            "resources": {"runtime": 10, "mem_mb": 1500},
        }
    ],
}
DROP = object()


def check(raw) -> RunConfig:
    return parse(raw, FILE, DATASETS, METHODS)


def changed(changes):
    """VALID with other values at dotted paths; DROP takes a key away."""
    raw = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        block = raw
        for key in parents:
            block = block[key]
        if value is DROP:
            del block[last]
        else:
            block[last] = value
    return raw


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_the_repository_are_right(path):
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = parse(raw, path.name, DATASETS, METHODS)
    assert config.run == path.stem.removesuffix("_extended")  # which goes on in the same folder
    for experiment in config.experiments:
        for variant, scenario in itertools.product(experiment.variants, SCENARIO_NAMES):
            cell = {"dataset": experiment.dataset, "arch": experiment.arch, "scenario": scenario}
            hyperparameters.resolve(variant.method, cell, variant.settings, METHOD_FILES)


def test_what_is_not_the_papers_recipe_says_so_in_every_row():
    """`fast` is part of the experiment's name, which each row of runs.csv and each title has."""
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONFIGS}
    parsed = {name: parse(raw, name, DATASETS, METHODS) for name, raw in read.items()}
    fast, paper = parsed["cifar10_fast"].experiments, parsed["paper"].experiments
    assert [experiment.label for experiment in fast] == ["cifar10-fast"]
    assert {experiment.precision for experiment in paper} == {"float32"}
    assert not any("fast" in experiment.label for experiment in paper)


def test_a_valid_config_survives_being_written_as_json():
    config = check(VALID)
    assert parse(config.model_dump(), FILE) == config


# --- one wrong thing at a time: file, key, and what would be right ---

E = "experiments.0."
TRAINING, SCENARIOS = E + "training.", E + "scenarios."
FORGET = SCENARIOS + "class_removal.forget"
HR = SCENARIOS + "homogeneous_removal"
ERRORS = {
    "unknown key at the top": ({"expermients": []}, "expermients", "did you mean 'experiments'"),
    "unknown key, nothing near": ({"zzz": 1}, "zzz", "known here: run, datasets, experiments"),
    "unknown key in capitals": ({"Run": "x"}, "Run", "did you mean 'run'"),
    "unknown key with a dash": ({E + "train-seeds": [0]}, "train-seeds", "mean 'train_seeds'"),
    "unknown nested capitals": ({TRAINING + "LR": 1}, TRAINING + "LR", "known here: epochs"),
    "unknown nested key": ({TRAINING + "momentun": 0.9}, TRAINING + "momentun", "'momentum'"),
    "unknown key of a scenario": ({HR + ".fracton": 0.1}, HR + ".fracton", "'fraction'"),
    "unknown key of a variant": ({E + "methods.1.nam": "x"}, E + "methods.1", "'name'"),
    "missing key": ({E + "arch": DROP}, E + "arch", "required key is missing"),
    "missing nested key": ({TRAINING + "lr": DROP}, TRAINING + "lr", "required key is missing"),
    "text for a number": ({TRAINING + "epochs": "30"}, TRAINING + "epochs", "integer"),
    "fraction for a count": ({TRAINING + "epochs": 2.5}, TRAINING + "epochs", "integer"),
    "number for text": ({"run": 3}, "run", "string"),
    "text for a list": ({E + "train_seeds": "0"}, E + "train_seeds", "list"),
    "list for a block": ({E + "training": [1]}, E + "training", "dictionary"),
    "yes for a number": ({TRAINING + "epochs": True}, TRAINING + "epochs", "integer"),
    "yes for a seed": ({E + "train_seeds": [True]}, E + "train_seeds.0", "integer"),
    "yes for a class": ({FORGET: [True]}, FORGET + ".0", "integer"),
    "yes for a fraction": ({HR + ".fraction": True}, HR + ".fraction", "number"),
    "number for a yes": ({"partial": 1}, "partial", "boolean"),
    "not a number": ({TRAINING + "lr": math.nan}, TRAINING + "lr", "finite number"),
    "infinite": ({TRAINING + "lr": math.inf}, TRAINING + "lr", "finite number"),
    "negative rate": ({TRAINING + "lr": -0.1}, TRAINING + "lr", "greater than 0"),
    "no epochs": ({TRAINING + "epochs": 0}, TRAINING + "epochs", "greater than 0"),
    "unknown schedule": ({TRAINING + "schedule": "step"}, TRAINING + "schedule", "'onecycle'"),
    "class too large": ({FORGET: [10]}, "scenarios.class_removal.forget", "0..9"),
    "class below 0": ({FORGET: [0, -1]}, "scenarios.class_removal.forget", "0..9"),
    "class in a list": ({FORGET: [[0, 12]]}, "class 12", "0..9"),
    "all classes": ({FORGET: [list(range(10))]}, "class_removal.forget", "nothing would be ret"),
    "an empty forget set": ({FORGET: [[]]}, FORGET, "at least one class"),
    "no forget set": ({FORGET: []}, FORGET, "at least 1"),
    "no scenario": ({E + "scenarios": {}}, E + "scenarios", "homogeneous_removal"),
    "fraction 0": ({HR + ".fraction": 0.0}, HR + ".fraction", "greater than 0"),
    "fraction 1": ({HR + ".fraction": 1.0}, HR + ".fraction", "less than 1"),
    "fraction 10": ({HR + ".fraction": 10}, HR + ".fraction", "less than 1"),
    "both sizes": ({HR + ".count": 300}, HR, "exactly one of fraction"),
    "no size": ({HR + ".fraction": DROP}, HR, "exactly one of fraction"),
    "count of everything": (
        {HR: {"count": 3000, "split_seeds": [0]}},
        "homogeneous_removal",
        "3000",
    ),
    "one image": (
        {HR: {"count": 1, "split_seeds": [0]}},
        HR.removeprefix(E) + ".count: 1 of",
        "at least 2 images: BatchNorm cannot train on one",
    ),
    "all but one image": (
        {HR: {"count": 2999, "split_seeds": [0]}},
        HR.removeprefix(E) + ".count: 2999 of",
        "at least 2 images",
    ),
    "a fraction of one image": (
        {HR + ".fraction": 0.0003},
        HR.removeprefix(E) + ".fraction: 1 of",
        "at least 2 images",
    ),
    "count of all that validation leaves": (
        {HR: {"count": 2400, "split_seeds": [0]}, E + "evaluation": "validation"},
        "homogeneous_removal",
        "2400",
    ),
    "release, wrong data set": (
        {HR: {"indices": "release", "split_seeds": [0]}},
        "homogeneous_removal.indices",
        "cifar10, cifar100, tiny_imagenet",
    ),
    "release, of a part of the training images": (
        {
            HR: {"indices": "release", "split_seeds": [0]},
            E + "dataset": "cifar10",
            E + "evaluation": "validation",
        },
        "indices",
        "evaluation",
    ),
    "release with a size": ({HR + ".indices": "release"}, HR, "drop fraction and count"),
    "unknown method": ({E + "methods": ["duk"]}, E + "methods", "did you mean 'duck'"),
    "unknown base": ({E + "methods.1.method": "duk"}, E + "methods", "did you mean 'duck'"),
    "unknown architecture": ({E + "arch": "resnet19"}, E + "arch", "did you mean 'resnet18'"),
    "unknown data set": ({E + "dataset": "cifar_10"}, E + "dataset", "did you mean 'cifar10'"),
    "unknown evaluation": ({E + "evaluation": "val"}, E + "evaluation", "'validation'"),
    "a reference": ({E + "methods": ["oracle"]}, E + "methods", "always part of the grid"),
    "a variant named so": ({E + "methods.1.name": "original"}, E + "methods", "original"),
    "same class twice": ({FORGET: [0, 0]}, FORGET, "twice"),
    "same class in a list": ({FORGET: [[1, 1]]}, FORGET, "twice"),
    "same classes twice": ({FORGET: [[0, 1], [1, 0]]}, FORGET, "twice"),
    "a class and its list": ({FORGET: [4, [4]]}, FORGET, "twice"),
    "same training seed": ({E + "train_seeds": [3, 3]}, E + "train_seeds", "seed 3"),
    "same unlearning seed": ({E + "unlearn_seeds": [0, 0]}, E + "unlearn_seeds", "twice"),
    "same split seed": ({HR + ".split_seeds": [1, 1]}, HR + ".split_seeds", "twice"),
    "negative seed": ({E + "train_seeds": [-1]}, E + "train_seeds.0", "greater than or equal to 0"),
    "no seed": ({E + "train_seeds": []}, E + "train_seeds", "at least 1"),
    "same method": ({E + "methods": ["duck", "duck"]}, E + "methods", "method duck"),
    "no method": ({E + "methods": []}, E + "methods", "at least 1"),
    "same name": ({E + "methods.1.name": "duck"}, E + "methods", "method duck"),
    "same experiment": (
        {"experiments": VALID["experiments"] * 2},
        "experiment",
        "fashion_mnist_mini-strided_cnn is given twice",
    ),
    "no experiment": ({"experiments": []}, "experiments", "at least 1"),
    "a run outside results": ({"run": "../x"}, "run", "pattern"),
    "a variant outside its folder": ({E + "methods.1.name": "a/b"}, E + "methods.1", "pattern"),
}


@pytest.mark.parametrize(("change", "key", "right"), ERRORS.values(), ids=ERRORS)
def test_an_error_names_the_file_the_key_and_what_would_be_right(change, key, right):
    with pytest.raises(ConfigError) as caught:
        check(changed(change))
    lines = [line for line in str(caught.value).splitlines() if key in line and right in line]
    assert lines, f"no line says {key!r} and {right!r}:\n{caught.value}"
    assert all(line.startswith(f"{FILE}: ") for line in str(caught.value).splitlines())


def test_the_valid_config_is_valid():
    check(VALID)
    for count in (2, 2998):
        check(changed({HR: {"count": count, "split_seeds": [0]}}))
    release = {HR: {"indices": "release", "split_seeds": [0]}, E + "dataset": "cifar10"}
    check(changed(release))


def test_every_wrong_key_has_a_line_of_its_own():
    raw = changed({TRAINING + "lrr": 1, E + "arhc": 2, "rnu": 3})
    with pytest.raises(ConfigError) as caught:
        check(raw)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("raw", [None, [], "text", 3, {}])
def test_a_file_that_is_no_mapping_is_explained(raw):
    with pytest.raises(ConfigError, match=FILE):
        check(raw)


# --- hyper-parameter files ---

CELL = {"dataset": "cifar100", "arch": "resnet18_3x3", "scenario": "class_removal"}
GOOD = """
defaults:
  source: here
  settings: {lr: 0.1, epochs: 10, milestones: [3], stop: test}
overrides:
  - when: {dataset: [cifar100, cifar10]}
    source: there
    settings: {lr: 0.2, epochs: 20}
  - when: {dataset: cifar100, scenario: class_removal}
    source: elsewhere
    settings: {lr: 0.3}
"""


@pytest.fixture
def resolve(tmp_path):
    def make(text, cell=CELL, **extra):
        if text is not None:
            (tmp_path / "duck.yaml").write_text(text, encoding="utf-8")
        return hyperparameters.resolve("duck", cell, extra, tmp_path)

    return make


def test_later_overrides_win_and_the_variant_wins_over_all(resolve):
    defaults = {"lr": 0.1, "epochs": 10, "milestones": [3], "stop": "test"}
    assert resolve(GOOD) == defaults | {"lr": 0.3, "epochs": 20}
    cifar10 = CELL | {"dataset": "cifar10"}
    assert resolve(GOOD, cifar10) == defaults | {"lr": 0.2, "epochs": 20}
    assert resolve(GOOD, CELL | {"dataset": "other"}) == defaults
    assert resolve(GOOD, lr=1, stop="never") == defaults | {"lr": 1, "epochs": 20, "stop": "never"}


FILE_ERRORS = {
    "not YAML": ("defaults: [", "not valid YAML", "duck.yaml"),
    "not a mapping": ("- 1", "should be a mapping", "duck.yaml"),
    "empty": ("", "should be a mapping", "duck.yaml"),
    "no defaults": ("overrides: []", "'defaults' is required", "duck.yaml"),
    "unknown block": (GOOD + "overides: []", "unknown key 'overides'", "overrides"),
    "no source": (GOOD.replace("source: here", ""), "'source' is required", "duck.yaml: defaults"),
    "no settings": ("defaults: {source: x}", "'settings' is required", "duck.yaml: defaults"),
    "no when": (
        GOOD.replace("when: {dataset: [", "if: {x: ["),
        "'when' is re",
        "overrides.0",
    ),
    "unknown when": (GOOD.replace("{dataset: [", "{data: ["), "unknown key 'data'", "dataset"),
    "unknown setting": (GOOD.replace("epochs: 20", "epoch: 20"), "mean 'epochs'", "overrides.0"),
    "wrong type": (GOOD.replace("epochs: 20", "epochs: '20'"), "should be a int", "overrides.0"),
    "yes for a number": (GOOD.replace("0.3", "true"), "should be a float", "overrides.1"),
    "number for a list": (
        GOOD.replace("lr: 0.3", "milestones: 3"),
        "should be a list",
        "overrides.1.settings.milestones",
    ),
    "no settings at all": (
        GOOD.replace("settings: {lr: 0.3}", "settings:"),
        "mapping",
        "overrides.1",
    ),
    "overrides that are no list": ("defaults: {source: x, settings: {}}\noverrides: 3", "", ""),
}


@pytest.mark.parametrize(("text", "wrong", "where"), FILE_ERRORS.values(), ids=FILE_ERRORS)
def test_an_error_in_a_settings_file_names_file_and_key(resolve, text, wrong, where):
    with pytest.raises(ConfigError) as caught:
        resolve(text)
    assert "duck.yaml" in str(caught.value)
    assert wrong in str(caught.value) and where in str(caught.value)


def test_a_settings_file_that_is_not_there_is_named(resolve):
    with pytest.raises(ConfigError, match=r"duck\.yaml: cannot be read"):
        resolve(None)


@pytest.mark.parametrize(
    ("extra", "wrong"),
    [
        ({"lrr": 0.1}, "unknown key 'lrr'; did you mean 'lr'"),
        ({"epochs": 1.5}, "epochs: should be a int like 20, got 1.5"),
        ({"epochs": True}, "epochs: should be a int"),
        ({"lr": "0.1"}, "lr: should be a float"),
    ],
)
def test_a_wrong_setting_of_a_variant_is_explained(resolve, extra, wrong):
    with pytest.raises(ConfigError) as caught:
        resolve(GOOD, **extra)
    assert "variant of duck" in str(caught.value) and wrong in str(caught.value)


# --- the grid ---


def test_cells_are_as_many_as_multiplied_by_hand():
    raw = changed({E + "unlearn_seeds": [0, 1, 2], E + "train_seeds": [0, 1]})
    other = copy.deepcopy(raw["experiments"][0]) | {"arch": "resnet18", "methods": ["duck"]}
    raw["experiments"].append(other)
    found = grid.cells(check(raw))
    splits, train, unlearn = 2 + 2, 2, 3
    assert len(found) == splits * train * (2 + 2 * unlearn) + splits * train * (2 + unlearn)


def test_references_run_once_a_split_and_training_seed():
    found = grid.cells(check(changed({E + "unlearn_seeds": [5, 1]})))
    references = [c for c in found if c.method in ("original", "oracle")]
    assert len(references) == 2 * 4 * 2
    assert {c.unlearn_seed for c in references} == {5}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_two_cells_share_a_folder(path):
    config = check(yaml.safe_load(path.read_text(encoding="utf-8")))
    found = grid.cells(config)
    assert len(found) == len(set(found)) == len({cell.folder for cell in found})
    for experiment in config.experiments:
        paths = [split.path for split in grid.splits(experiment)]
        assert len(paths) == len(set(paths))


def test_a_split_knows_what_its_file_depends_on():
    found = {split.key: split for split in grid.splits(check(VALID).experiments[0])}
    assert list(found) == ["class-0", "classes-1-8", "seed-0", "seed-1"]
    assert found["classes-1-8"].settings["classes"] == [1, 8]
    assert found["seed-1"].settings["seed"] == 1 and found["seed-1"].settings["fraction"] == 0.1
    assert found["class-0"].path == "splits/class_removal/class-0.json"


def test_long_lists_of_classes_have_short_keys_that_differ():
    keys = {grid.class_key(list(range(start, start + 40))) for start in range(10)}
    assert len(keys) == 10 and all(len(key) < 30 for key in keys)
    assert grid.class_key([3, 1]) == grid.class_key([1, 3]) == "classes-1-3"


ORIGINS = [
    ("duck", "published", "cifar10", "published"),
    ("duck", "published", "cifar100", "published"),
    ("delete", "published", "cifar100", "published elsewhere"),
    ("duck", "published", "mnist", "published elsewhere"),
    ("duck", "searched", "mnist", "not searched"),
    ("duck", "searched", "fashion_mnist", "searched"),
    ("duck_released", "searched", "fashion_mnist", "searched"),
    ("original", "searched", "mnist", ""),
]


@pytest.mark.parametrize(("method", "settings_from", "dataset", "expected"), ORIGINS)
def test_where_settings_come_from_is_known(method, settings_from, dataset, expected):
    cell = {"dataset": dataset, "arch": "strided_cnn", "scenario": "class_removal"}
    assert hyperparameters.origin(method, cell, settings_from, METHOD_FILES) == expected


def test_settings_searched_for_another_network_say_so():
    cell = {"dataset": "fashion_mnist", "arch": "vit_small", "scenario": "class_removal"}
    assert hyperparameters.origin("duck", cell, "searched", METHOD_FILES) == "searched elsewhere"
    found = hyperparameters.resolve("duck", cell, {}, METHOD_FILES, settings_from="searched")
    assert found["batch_size"] == "1/5"
    assert hyperparameters.resolve("duck", cell, {}, METHOD_FILES)["batch_size"] == 1024


def test_published_and_searched_settings_are_two_variants_of_one_experiment():
    second = {"name": "duck_searched", "method": "duck", "settings_from": "searched"}
    raw = yaml.safe_load((ROOT / "configs/fashion.yaml").read_text())["experiments"][0]
    raw |= {"settings_from": "published", "methods": ["duck", second]}
    experiment = parse({"run": "r", "experiments": [raw]}, "f").experiments[0]
    found = {
        v.name: checks.resolved(experiment, v, "class_removal", METHOD_FILES)
        for v in experiment.variants
    }
    assert found["duck"]["lr"] == 0.001 and found["duck_searched"]["lr"] == 0.00157
    origins = {
        v.name: checks.origin(v, experiment, "class_removal", METHOD_FILES)
        for v in experiment.variants
    }
    assert origins["duck"] == "published elsewhere" and origins["duck_searched"] == "searched"


def test_a_search_beside_other_methods_changes_nothing_of_what_is_published():
    """No file's published settings depend on what a search found."""
    for method in hyperparameters.known_methods(METHOD_FILES):
        cell = {"dataset": "fashion_mnist", "arch": "strided_cnn", "scenario": "class_removal"}
        found = hyperparameters.resolve(method, cell, {}, METHOD_FILES)
        defaults = hyperparameters.load(METHOD_FILES / f"{method}.yaml")["defaults"]["settings"]
        assert found == defaults
