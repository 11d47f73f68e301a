"""A run as a list of parts: what is planned, in which order, and a look at it while it runs."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import yaml
from conftest import METHOD_FILES, ROOT
from workspace import Workspace

from unlearning import methods
from unlearning.config import hyperparameters
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.catalogue import catalogue
from unlearning.plan import grid, identity
from unlearning.plan.checks import cap, plan, resolved

DATASETS = catalogue(ROOT / "configs/datasets.csv")
METHODS = hyperparameters.known_methods(METHOD_FILES)
RAW = {
    "run": "parts",
    "experiments": [
        {
            "name": "grid",
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 2, "batch_size": 128, "lr": 0.1},
            "train_seeds": [0, 1],
            "retain_evaluated": 300,
            "epochs_at_most": {"negative_gradient": 2},
            "parts": [
                {
                    "name": "cheap",
                    "methods": ["negative_gradient"],
                    "scenarios": {"class_removal": {"forget": [0, 1]}},
                    "train_seeds": [0],
                },
                {
                    "name": "beside",
                    "methods": ["oracle", "random_labels"],
                    "scenarios": {"class_removal": {"forget": [0]}},
                    "train_seeds": [0],
                },
                {
                    "name": "tenth",
                    "methods": ["negative_gradient"],
                    "scenarios": {"homogeneous_removal": {"count": 50, "split_seeds": [3]}},
                },
            ],
        }
    ],
}


def changed(**changes):
    raw = copy.deepcopy(RAW)
    raw["experiments"][0] |= changes
    return raw


def check(raw):
    return parse(raw, "parts.yaml", DATASETS, METHODS)


def listed(config):
    return [(c.split, c.train_seed, c.method) for c in grid.cells(config)]


def test_only_listed_cells_are_planned_and_in_the_order_of_the_parts():
    assert listed(check(RAW)) == [
        ("class-0", 0, "original"),
        ("class-0", 0, "negative_gradient"),
        ("class-1", 0, "original"),
        ("class-1", 0, "negative_gradient"),
        ("class-0", 0, "oracle"),
        ("class-0", 0, "random_labels"),
        ("seed-3", 0, "original"),
        ("seed-3", 1, "original"),
        ("seed-3", 0, "negative_gradient"),
        ("seed-3", 1, "negative_gradient"),
    ]


def test_a_part_is_scored_by_itself_and_again_beside_the_oracle():
    files = {
        file: [cell.method for cell in cells]
        for file, cells in grid.scored(check(RAW).experiments[0]).items()
    }
    assert files == {
        "grid/scores/class_removal/class-0/train-0.cheap.json": ["original", "negative_gradient"],
        "grid/scores/class_removal/class-1/train-0.cheap.json": ["original", "negative_gradient"],
        "grid/scores/class_removal/class-0/train-0.beside.json": [
            "oracle",
            "random_labels",
            "original",
            "negative_gradient",
        ],
        "grid/scores/homogeneous_removal/seed-3/train-0.tenth.json": [
            "original",
            "negative_gradient",
        ],
        "grid/scores/homogeneous_removal/seed-3/train-1.tenth.json": [
            "original",
            "negative_gradient",
        ],
    }


def test_without_parts_everything_is_one_part_with_both_references():
    raw = changed(scenarios=RAW["experiments"][0]["parts"][0]["scenarios"], methods=["duck"])
    del raw["experiments"][0]["parts"]
    experiment = check(raw).experiments[0]
    assert [v.name for v in experiment.variants] == ["original", "oracle", "duck"]
    names = [file for file in grid.scored(experiment) if "class-0" in file]
    assert names == [f"grid/scores/class_removal/class-0/train-{seed}.json" for seed in (0, 1)]


def test_an_experiment_without_oracles_has_the_original_and_its_methods():
    scenarios = RAW["experiments"][0]["parts"][0]["scenarios"]
    raw = changed(scenarios=scenarios, methods=["duck"], oracles=False)
    del raw["experiments"][0]["parts"]
    assert [v.name for v in check(raw).experiments[0].variants] == ["original", "duck"]


def test_the_order_is_the_lists_or_the_configs():
    config = check(RAW)
    assert list(grid.ranks(config).values()) == [0, 1, 2]
    config = check(RAW | {"order": ["tenth", "cheap"]})
    ranks = grid.ranks(config)
    assert ranks["grid", "tenth"] < ranks["grid", "cheap"] < ranks["grid", "beside"]


def test_without_an_order_studies_come_after_all_else():
    config = parse(yaml.safe_load((ROOT / "configs/mini.yaml").read_text("utf-8")), "mini")
    ranks, studies = grid.ranks(config), {e.label for e in config.experiments if e.study}
    assert len(studies) > 5
    last = max(rank for (label, _), rank in ranks.items() if label not in studies)
    assert all(rank > last for (label, _), rank in ranks.items() if label in studies)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(methods=["duck"]), "methods: an experiment with parts has none"),
        (changed(parts=None), "scenarios: this required key is missing; or give parts"),
        (changed(study="ablation"), "study: an experiment with parts has none"),
        (changed(oracles=False), "oracles: a part has an oracle only where it lists one"),
        (changed(parts=[RAW["experiments"][0]["parts"][0]] * 2), "part cheap is given twice"),
        (changed(epochs_at_most={"duk": 3}), "unknown method 'duk'; did you mean 'duck'"),
        (RAW | {"order": ["cheep"]}, "order: unknown part or experiment 'cheep'; did you mean"),
        (RAW | {"order": ["cheap", "cheap"]}, "order cheap is given twice"),
    ],
)
def test_what_is_wrong_is_named(raw, message):
    with pytest.raises(ConfigError, match=message):
        check(raw)


def test_one_name_means_one_setting_in_all_parts():
    raw = copy.deepcopy(RAW)
    variant = {"name": "random_labels", "method": "random_labels", "settings": {"lr": 0.5}}
    raw["experiments"][0]["parts"][2]["methods"] = [variant]
    with pytest.raises(ConfigError, match="random_labels has different settings in two parts"):
        check(raw)


def test_a_cap_lowers_epochs_says_the_published_ones_and_raises_none():
    experiment = check(RAW).experiments[0]
    variants = {v.name: v for v in experiment.variants}
    file = hyperparameters.resolve(
        "negative_gradient",
        {"dataset": "fashion_mnist_mini", "arch": "strided_cnn", "scenario": "class_removal"},
        {},
        METHOD_FILES,
    )
    capped = variants["negative_gradient"], "class_removal", METHOD_FILES
    assert file["epochs"] > 2
    assert resolved(experiment, *capped) == file | {"epochs": 2}
    assert cap(experiment, *capped) == {"published_epochs": file["epochs"]}
    free = variants["random_labels"], "class_removal", METHOD_FILES
    assert cap(experiment, *free) == {}
    generous = experiment.model_copy(update={"epochs_at_most": {"negative_gradient": 10_000}})
    assert resolved(generous, *capped) == file
    assert cap(generous, *capped) == {}


def test_images_are_counted_as_the_methods_pass_them():
    duck = {"epochs": 2, "batch_size": 100, "batch_ratio": 5}
    # A pass for the targets, then for each of 3 forget batches five steps with 100 retained.
    expected = 1000 / 3 + 2 * 5 * (250 + 3 * 100)
    assert methods.images("duck", duck, 250, 750) == pytest.approx(expected)
    assert methods.images("negative_gradient", {"epochs": 7}, 250, 750) == 7 * 250
    assert methods.images("fine_tuning", {"epochs": 7}, 250, 750) == 7 * 750
    assert methods.images("salun", {"epochs": 7}, 250, 750) == 7 * 1000
    assert methods.images("oracle", {}, 250, 750) == 0
    for name in METHODS:
        if name not in methods.REFERENCES:
            cell = {"dataset": "cifar10", "arch": "resnet18", "scenario": "class_removal"}
            settings = hyperparameters.resolve(name, cell, {}, METHOD_FILES)
            assert methods.images(name, settings, 5000, 45_000) >= 0


SHORT = {"name": "random_labels", "method": "random_labels", "settings": {"epochs": 1}}


def quick(*more):
    """The same parts and more of them, of a small network and few epochs."""
    raw = changed(arch="strided_cnn")
    raw["experiments"][0]["parts"][1]["methods"] = ["oracle", SHORT]
    raw["experiments"][0]["parts"] += more
    return raw


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    space = Workspace.create(tmp_path_factory.mktemp("parts"))
    (space.root / "configs/parts.yaml").write_text(yaml.safe_dump(quick()))
    return space


def check_what_an_earlier_snapshot_gives(space, config):
    """Its rows where the run's folder is lost, none beside models of the run's own."""

    def snapshot(config, *options):
        words = ["--config", config, *options, "--earlier", "seen", "--out", "again"]
        return space.command("python", "-m", "unlearning", "snapshot", *words)

    def same(name):
        seen, again = ((space.root / folder / name).read_text() for folder in ("seen", "again"))
        return seen == again

    status, text = snapshot(config, "--root", "lost")
    assert status == 0, text
    assert "2 rows of seen" in text  # class 0: the original's and the method's
    assert all(same(f"{name}.csv") for name in ("runs", "manifest", "roc"))
    assert same("tables/class_removal.md")

    later = quick()
    later["experiments"][0]["train_seeds"] = [0, 1, 2]
    later["experiments"][0]["training"]["lr"] = 0.2
    (space.root / "configs/later.yaml").write_text(yaml.safe_dump(later))
    status, text = snapshot("configs/later.yaml", "--root", "lost")
    assert status != 0 and "seen/config.json: grid had another training" in text

    runs = space.root / "seen/runs.csv"
    before = runs.read_text()
    runs.write_text(before.replace(",ok,", ",diverged,"))
    status, text = snapshot(config)
    runs.write_text(before)
    assert status == 0 and "0 rows of seen" in text, text
    assert same("runs.csv")

    words = ["--config", config, "--root", "lost", "--earlier", "seen", "--out", "./seen"]
    status, text = space.command("python", "-m", "unlearning", "snapshot", *words)
    assert status != 0 and "written over" in text and same("runs.csv")


def test_a_run_of_parts_its_snapshot_and_what_a_longer_list_adds(space):
    """One part is run, looked at without the lock, and the rest goes on from there."""
    config, first = "configs/parts.yaml", "results/parts/grid/scores/class_removal/class-0/"
    status, text = space.snakemake(f"{first}train-0.cheap.json", "--quiet", "all", config=config)
    assert status == 0, text
    assert not list(space.root.glob("results/parts/grid/oracles/*/*/*/model.safetensors"))

    words = ["--config", config, "--out", "seen"]
    status, text = space.command("python", "-m", "unlearning", "snapshot", *words)
    assert status == 0, text
    rows = pd.read_csv(space.root / "seen/runs.csv").set_index(["split", "method"])
    done = rows.loc["class-0", "negative_gradient"]
    assert done["status"] == "ok" and done["capped"] and pd.isna(done["accuracy_gap"])
    assert rows.loc["class-1", "negative_gradient"]["status"] == "missing"
    assert (space.root / "seen/tables/class_removal.md").exists()
    checked = "workflow/scripts/check_numbers.py", "results/parts", "--written", "seen"
    status, text = space.command("python", *checked)  # the retained images are a sample
    assert status == 0 and "2 equal: retain_train_accuracy" in text, text
    check_what_an_earlier_snapshot_gives(space, config)

    status, text = space.snakemake("results/parts/runs.csv", "--quiet", "all", config=config)
    assert status == 0, text
    rows = pd.read_csv(space.root / "results/parts/runs.csv")
    assert rows["status"].eq("ok").all()
    beside = rows[(rows["split"] == "class-0") & (rows["method"] == "negative_gradient")]
    assert beside["accuracy_gap"].notna().all() and beside["retain_train_accuracy"].notna().all()
    assert rows[rows["split"] == "class-1"]["accuracy_gap"].isna().all()

    more = RAW["experiments"][0]["parts"][1] | {"name": "more", "methods": ["delete"]}
    (space.root / config).write_text(yaml.safe_dump(quick(more)))
    planned = space.planned("results/parts/runs.csv", config=config)
    assert planned["unlearn"] == 1 and planned["score"] == 1 and "train_oracle" not in planned


def test_the_estimate_says_what_each_part_takes(space):
    status, text = space.snakemake("estimate", "--quiet", "all", config="configs/parts.yaml")
    assert status == 0, text
    for name in ("cheap", "beside", "tenth"):
        assert f"\n{name} " in text


def test_the_paper_images_are_planned_in_their_order():
    raw = yaml.safe_load((ROOT / "configs/cifar.yaml").read_text(encoding="utf-8"))
    config, _ = plan(raw, "cifar.yaml", DATASETS, METHOD_FILES)
    assert sorted(config.order) == sorted(
        part.name or e.label for e in config.experiments for part in e.listed
    )
    published = {"cifar100": "resnet18_3x3", "cifar10": "resnet18"}
    assert all(published[e.dataset] == e.arch for e in config.experiments)
    main = config.experiments[0]
    removed = {s.key for s in grid.part_splits(main.parts[1], "test")}
    assert removed == {f"class-{c}" for c in range(0, 100, 10)}
    wanted = grid.first_wanted(config, lambda method: identity.trunk_of(method, METHOD_FILES))
    place = config.order.index
    assert wanted["cifar100-resnet18_3x3", "originals", 42] == place("a1-first")
    assert wanted["cifar100-resnet18_3x3", "originals_erm", 42] == place("d5-erm-ssd")
    assert wanted["cifar10-resnet18", "originals", 42] == place("b0-first")
    assert wanted["cifar10-resnet18", "originals", 43] == place("d3-second-seed")
    assert wanted["decay", "originals", 42] == place("c1-decay")
    study = "class_removal/class-1/train-42"  # an oracle that only the study of features wants
    assert wanted["cifar10-resnet18", study, "oracle"] == place("c4-feature-space")
