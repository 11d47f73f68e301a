"""The studies in the real DAG: what they make, what they share, what an edit reruns."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest
from workspace import PROJECT, Workspace

from unlearning.files import load_arrays
from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.findings import STUDY_COLUMNS

CONFIG = "configs/tiny_studies.yaml"
FIGURES = ("density", "destinations", "embedding_maps", "attributions", "attribution_maps")
FIGURES += ("shortcut", "multiple_classes", "ablation", "architectures")
SHOWN = {"plot": len(FIGURES), "gather": 1, "tabulate_studies": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace in which every study ran once at its smallest."""
    space = Workspace.create(tmp_path_factory.mktemp("studies"))
    (space.root / CONFIG).write_text((PROJECT / "tests/tiny_studies.yaml").read_text())
    status, text = space.snakemake("understanding", config=CONFIG)
    assert status == 0, text
    return space


@pytest.fixture
def edited(finished):
    """The finished workspace, its sources put back after the test."""
    with finished.restored() as space:
        yield space


def rows(space, name):
    with open(space.root / f"results/tiny/{name}.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def planned(space, config=CONFIG):
    return space.planned("understanding", config=config)


def test_every_cell_of_a_study_is_a_row_that_ran(finished):
    found = rows(finished, "studies")
    assert list(found[0]) == STUDY_COLUMNS
    count = Counter((row["study"], row["scenario"]) for row in found)
    assert count == {
        ("feature_space", "class_removal"): 2 * 3,
        ("multiple_classes", "class_removal"): 2 * 3,
        ("ablation", "class_removal"): 4,
        ("ablation", "homogeneous_removal"): 4,
        ("architectures", "class_removal"): 3,
    }
    assert {row["status"] for row in found} == {"ok"}
    assert all(0 < float(row["aus"]) < 2 for row in found)
    removed = Counter(row["classes_removed"] for row in found if row["study"] == "multiple_classes")
    assert removed == {"1": 3, "8": 3}
    assert not (finished.root / "results/tiny/runs.csv").exists()


def test_tables_and_figures_are_there_and_not_empty(finished):
    names = [f"tables/{t}.{form}" for t in STUDY_TABLES for form in ("csv", "md", "tex", "html")]
    names += [f"figures/{f}.{form}" for f in FIGURES for form in ("svg", "pdf", "png", "csv")]
    sizes = {name: (finished.root / "results/tiny" / name).stat().st_size for name in names}
    assert {name: size for name, size in sizes.items() if size < 200} == {}


def test_studies_share_originals_and_oracles(finished):
    """One original and oracle a forget set serve every study of the same model."""
    root = finished.root / "results/tiny"
    homes = {path.parts[-4] for path in root.glob("*/originals/*/model.safetensors")}
    assert homes == {"other", "main", "shortcut"}
    oracles = {p.parts[-3] for p in (root / "main/oracles").glob("*/*/*/model.safetensors")}
    assert len(oracles) == 4  # classes 0 and 3 (which a draw has as well), eight, a random 100
    original = load_arrays(root / "main/originals/train-0/model.safetensors")
    for study in ("feature_space", "ablation"):
        cells = (root / study / "runs/class_removal").glob("*/train-0/original/*/model.safetensors")
        weights = load_arrays(next(cells))
        assert all((weights[name] == original[name]).all() for name in original)


def test_the_poisoned_images_and_no_others_are_forgotten(finished):
    root = finished.root / "results/tiny/shortcut"
    facts = json.loads((root / "poisoned.json").read_text())
    split = json.loads((root / "splits/shortcut_removal/poisoned.json").read_text())
    assert split["forget"] == facts["poisoned"] and len(split["forget"]) == 100
    plain = load_arrays(finished.root / "data/fashion_mnist_mini.safetensors")
    poisoned = load_arrays(root / "poisoned.safetensors")
    changed = (plain["train_images"] != poisoned["train_images"]).any((1, 2, 3))
    assert (
        np.flatnonzero(plain["train_labels"] != poisoned["train_labels"]).tolist()
        == split["forget"]
    )
    assert set(np.flatnonzero(changed)) <= set(split["forget"])
    assert (plain["test_images"] == poisoned["test_images"]).all()
    oracle = json.loads(next(root.glob("oracles/*/*/*/record.json")).read_text())
    assert oracle["training_images"] == 2900
    found = {(r["method"], r["measure"]): float(r["value"]) for r in rows(finished, "shortcut")}
    assert found["original", "poisoned_accuracy"] > found["oracle", "poisoned_accuracy"]
    assert found["duck", "patch_area"] == pytest.approx(16 / 784)


def test_what_is_found_of_the_feature_space_is_complete_and_in_range(finished):
    found = rows(finished, "features")
    kinds = Counter((r["model"], r["layer"], r["measure"], r["part"]) for r in found)
    for model in ("original", "oracle", "duck"):
        for layer in ("embedding", "intermediate"):
            for part in ("forget", "retain"):
                assert kinds[model, layer, "log_density", part] == 2 * 2
                assert kinds[model, layer, "silhouette", part] == 2
                assert kinds[model, layer, "margin", part] == 2
    for row in found:
        if row["measure"] in ("silhouette", "margin") and row["value"]:
            assert -2 <= float(row["value"]) <= 2
    reached = {r["model"]: float(r["value"]) for r in found if r["measure"] == "reached"}
    assert reached["original"] == 1 and 0 <= reached["duck"] <= 1
    shares = Counter()
    for row in rows(finished, "destinations"):
        shares[row["split"], row["model"], row["by"]] += float(row["share"])
        if row["by"] == "centroid" and row["class"] == row["split"].removeprefix("class-"):
            assert float(row["share"]) == 0  # a removed class has no centroid
    assert len(shares) == 2 * 3 * 2
    assert list(shares.values()) == pytest.approx([1] * len(shares))


def test_the_map_has_each_image_under_every_model(finished):
    found = rows(finished, "maps")
    assert {row["split"] for row in found} == {"class-0"}
    images = Counter(row["model"] for row in found if row["kind"] == "image")
    assert images == {"original": 100, "oracle": 100, "duck": 100}
    centroids = [row for row in found if row["kind"] == "centroid"]
    assert [row["class"] for row in centroids] == [str(c) for c in range(1, 10)]
    for row in found:
        assert (row["assigned"] != "") == (row["forgotten"] == "1")
        assert row["kind"] == "centroid" or (row["class"] == "0") == (row["forgotten"] == "1")


def test_attributions_are_of_the_removed_classes_test_images(finished):
    labels = load_arrays(finished.root / "data/fashion_mnist_mini.safetensors")["test_labels"]
    found = rows(finished, "attributions")
    assert len(found) == 2 * 2 * 2 * 3  # forget sets, images, outputs, pairs
    for row in found:
        assert labels[int(row["image"])] == int(row["split"].removeprefix("class-"))
        assert row["correlation"] == "" or -1 <= float(row["correlation"]) <= 1
    maps = Counter(
        (r["split"], r["model"], r["output"]) for r in rows(finished, "attribution_maps")
    )
    assert set(maps.values()) == {784} and len(maps) == 2 * 7


def test_a_second_run_has_nothing_to_do(finished):
    status, text = finished.snakemake("understanding", config=CONFIG)
    assert status == 0 and "Nothing to be done" in text


def test_editing_an_analysis_examines_again_and_trains_nothing(edited):
    edited.edit(
        "src/unlearning/analysis/density.py", "import numpy as np", "import numpy as np\nX = 1"
    )
    assert planned(edited) == {"examine": 2} | SHOWN


def test_editing_a_figure_draws_it_again_and_nothing_else(edited):
    path = edited.root / "figures/density.py"
    path.write_text(path.read_text() + "\nUNUSED = 1\n")
    assert planned(edited) == {"plot": 1}


def test_an_ablations_own_setting_reruns_its_cells_alone(edited):
    edited.edit(CONFIG, "centroids: moving", "distance: euclidean")
    plan = planned(edited)
    assert plan.pop("resolve_config") == 1
    assert plan == {"unlearn": 2, "score": 2} | SHOWN


def test_a_run_without_studies_says_so(finished):
    status, text = finished.snakemake("understanding", "-n")
    assert status != 0 and "no experiment with a study" in text


def test_the_extended_grid_has_every_study_with_its_oracles(tmp_path):
    plan = planned(Workspace.create(tmp_path), "configs/paper_extended.yaml")
    assert (plan["examine"], plan["explain"], plan["map"]) == (10, 10, 1)
    assert (plan["poison"], plan["shortcut"]) == (1, 1)
    # three data sets, two times four architectures beside ResNet-18, and the poisoned one
    assert plan["train_original"] == 3 + 2 * 4 + 1
    orders, counts, hundred, architectures = 5, 11, 10, 2 * 4 * 10
    assert plan["train_oracle"] == orders * counts + 10 + 2 * hundred + architectures + 1


def test_the_papers_grid_has_its_studies_without_the_oracles_it_does_not_show(tmp_path):
    plan = planned(Workspace.create(tmp_path), "configs/paper.yaml")
    assert (plan["examine"], plan["explain"], plan["map"], plan["shortcut"]) == (10, 10, 1, 1)
    # CIFAR-10 and -100, three architectures beside ResNet-18, the poisoned one
    assert plan["train_original"] == 2 + 3 + 1
    assert plan["train_oracle"] == 10 + 1  # of the feature space and the shortcut


MISTAKES = {
    "no oracles": (
        "    features: {images: 100",
        "    oracles: false\n    features: {images: 100",
        ["oracles", "feature_space compares with them"],
    ),
    "other recipe": (
        "training: *recipe\n",
        "training: {epochs: 9, batch_size: 8, lr: 0.1}\n",
        ["models_of", "training differs"],
    ),
    "no such home": ("models_of: main", "models_of: mian", ["models_of", "'mian'", "main"]),
    "classes of a draw": ("{of: 10, ", "{of: 9, ", ["draw.of", "10 classes"]),
    "too many classes": ("counts: [1, 8]", "counts: [1, 10]", ["draw", "at most 9 of 10"]),
    "same label": ("label: 9", "label: 7", ["shortcut_removal", "own class"]),
    "no shortcut": ("study: shortcut\n", "study: ablation\n", ["shortcut", "need each other"]),
    "no features": (
        "    features: {images: 100, percentiles: [80, 95]}\n",
        "",
        ["features", "need each other"],
    ),
    "two forget sets of one name": (
        "      class_removal: {forget: [0]}\n    methods: [duck]",
        "      homogeneous_removal: {count: 99, split_seeds: [0]}\n    methods: [duck]",
        ["ablation", "seed-0", "differs"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_key(edited, mistake):
    old, new, expected = MISTAKES[mistake]
    path = edited.root / CONFIG
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    status, said = edited.snakemake("understanding", "-n", config=CONFIG)
    assert status != 0 and "Traceback" not in said
    assert all(words in said for words in expected), said
