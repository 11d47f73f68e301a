"""Forget lists of one's own: who is forgotten, what identifies a list, what is refused and how."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import METHOD_FILES, ROOT

from unlearning.config import hyperparameters
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.catalogue import catalogue
from unlearning.data.forget_lists import ListError, positions, read_list
from unlearning.data.readers import joined
from unlearning.files import canonical_json, read_json, save_tensors, sha256_file, write_json
from unlearning.jobs.run import Jobs
from unlearning.metrics import names
from unlearning.metrics.accuracy import beside_mix
from unlearning.plan import grid
from unlearning.results.runs import TEXT, read_runs, scenario_table
from unlearning.stages import split as split_stage
from unlearning.tables.layouts import LAYOUTS, tabulate

DATASETS = catalogue(ROOT / "configs" / "datasets.csv")
METHODS = hyperparameters.known_methods(METHOD_FILES)
CLASSES = ["cat", "dog"]
TRAIN = {"cat": ["1.png", "2.png", "3.png"], "dog": ["1.png", "7.png", "9.png"]}
TEST = {"cat": ["1.png", "20.png"], "dog": ["70.png"]}
ORDER = [5, 0, 4, 1, 3, 2]


def tensors(names: bool = True) -> dict[str, torch.Tensor]:
    """Packed labels, and names of the two parts if asked."""
    found = {}
    for part, images in (("train", TRAIN), ("test", TEST)):
        pairs = [(label, name) for label, c in enumerate(CLASSES) for name in images[c]]
        found[f"{part}_labels"] = torch.tensor([label for label, _ in pairs])
        if names:
            found[f"{part}_names"] = joined([name for _, name in pairs])
    return found


def facts(**more):
    return {"name": "pets", "class_names": CLASSES, **more}


def written(tmp_path, text, name="forget.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "forgotten"),
    [
        ("file\ncat/2.png\ndog/1.png\n", [1, 3]),
        ("file\n7.png\n2.png\n", [4, 1]),
        ("file\r\ntrain/cat/3.png\r\n\r\n.\\dog\\9.png\r\n", [2, 5]),
        ("why, file ,when\nasked,9.png,today\n", [5]),
        ("index\n5\n0\n", [0, 1]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list_names_images_by_file_or_by_official_index(text, forgotten, encoding, tmp_path):
    listed = read_list(written(tmp_path, text, encoding=encoding))
    assert positions(listed, facts(train_order=ORDER), tensors()).tolist() == forgotten


def test_images_without_names_are_in_the_publishers_order(tmp_path):
    listed = read_list(written(tmp_path, "index\n4\n1\n"))
    assert positions(listed, facts(), tensors(names=False)).tolist() == [4, 1]


MALFORMED = {
    "empty": ("", "line 1: the header must name one column file"),
    "no header": ("cat/1.png\n", "line 1: the header must name one column file"),
    "both": ("file,index\ncat/1.png,0\n", "line 1: the header must name one column file"),
    "nothing listed": ("file\n\n", "it lists no image; add a line for each"),
    "no name": ("why,file\nasked,cat/1.png\nasked\n", "line 3: it names no image; remove"),
    "repeated": ("file\n1.png\n2.png\n\n1.png\n", "line 5: 1.png is on line 2 already; remove one"),
    "quote": ('file\n"cat/1.png\n', "not a CSV file in UTF-8"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_list_is_refused_with_its_line(case, tmp_path):
    text, message = MALFORMED[case]
    path = written(tmp_path, text)
    with pytest.raises(ListError) as caught:
        read_list(path)
    assert str(caught.value).startswith(f"{path}") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(ListError, match="not a CSV file in UTF-8"):
        read_list(tmp_path / "image.csv")
    with pytest.raises(ListError, match="cannot be read"):
        read_list(tmp_path / "none.csv")


UNFIT = {
    "absent": ("file\n2.png\ncat/8.png\n", "line 3: no training image is called 'cat/8.png'"),
    "test image": ("file\n2.png\n20.png\n", "line 3: 20.png is a test image; only training"),
    "test folder": ("file\ntest/cat/1.png\n", "line 2: test/cat/1.png is a test image"),
    "two classes": ("file\n1.png\n", "line 2: 1.png may be cat/1.png or dog/1.png"),
    "other words": ("file\n2.png\n7.png\ncat/2.png\n", "line 4: cat/2.png is on line 2 already"),
    "whole class": (
        "file\ndog/1.png\n2.png\ndog/7.png\ndog/9.png\n",
        "line 5: with it all training images of class 'dog' would be forgotten",
    ),
    "outside": ("index\n0\n6\n", "line 3: '6' is no training image; indices are whole numbers"),
    "several": (
        "file\n20.png\n2.png\n21.png\nno.png\n",
        "line 2: 20.png is a test image; only training images can be forgotten: remove the line; "
        "nor are these lines training images: 4, 5",
    ),
    "no number": ("index\n-1\n", "line 2: '-1' is no training image"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_row_that_cannot_be_forgotten_is_refused_with_its_line(case, tmp_path):
    text, message = UNFIT[case]
    path = written(tmp_path, text)
    with pytest.raises(ListError) as caught:
        positions(read_list(path), facts(train_order=ORDER), tensors())
    assert str(caught.value).startswith(f"{path}, {message}")
    assert "\n" not in str(caught.value)


def test_a_column_that_the_data_cannot_answer_is_refused(tmp_path):
    by_index, by_file = (
        read_list(written(tmp_path, text, name))
        for text, name in (("index\n0\n", "a.csv"), ("file\n2.png\n", "b.csv"))
    )
    with pytest.raises(ListError, match=r"a\.csv.*order of pets is not known.*column file"):
        positions(by_index, facts(), tensors())
    with pytest.raises(ListError, match=r"b\.csv.*images of pets have no names.*column index"):
        positions(by_file, facts(), tensors(names=False))


# --- in a config ---


def config(file, **changes):
    experiment = {
        "dataset": "fashion_mnist_mini",
        "arch": "strided_cnn",
        "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
        "train_seeds": [0],
        "scenarios": {"sample_removal": {"file": file}},
        "methods": ["duck"],
        **changes,
    }
    raw = {"run": "mine", "experiments": [experiment]}
    return parse(raw, "mine.yaml", DATASETS, METHODS)


def planned(found):
    """Names and settings of all jobs that train or unlearn, and of their forget sets."""
    jobs = Jobs(found, DATASETS, methods=METHOD_FILES)
    made = [*jobs.made(), *(need for job in jobs.made() for need in job.needs)]
    return {(job.name, canonical_json(job.settings)) for job in made}


def test_the_content_of_a_list_identifies_its_forget_set(tmp_path):
    path = written(tmp_path, "index\n3\n7\n")
    first = planned(config(str(path)))
    moved = path.rename(tmp_path / "elsewhere.csv")
    assert planned(config(str(moved))) == first
    moved.write_text("index\n3\n8\n", encoding="utf-8")
    edited = planned(config(str(moved)))
    kept = {name for name, _ in first & edited}
    assert kept and all("list-" not in name for name in kept)
    assert len(first - edited) == len(edited - first) == 5  # forget set, oracle, three cells


def test_several_lists_are_several_forget_sets_and_a_checked_config_needs_no_file(tmp_path):
    paths = [written(tmp_path, f"index\n{k}\n7\n", f"{k}.csv") for k in range(3)]
    found = config([str(path) for path in paths])
    splits = grid.splits(found.experiments[0])
    assert [s.settings["sha256"] for s in splits] == [sha256_file(path) for path in paths]
    assert grid.listed(found) == {sha256_file(path): str(path) for path in paths}
    raw = found.model_dump()
    for path in paths:
        path.unlink()
    assert parse(raw, "config.json") == found


def test_a_list_takes_the_settings_of_homogeneous_removal(tmp_path):
    cell = {"dataset": "cifar10", "arch": "resnet18"}
    for method in METHODS:
        of = [
            (
                hyperparameters.resolve(method, cell | {"scenario": name}, {}, METHOD_FILES),
                hyperparameters.defined(method, name, METHOD_FILES),
            )
            for name in ("homogeneous_removal", "sample_removal")
        ]
        assert of[0] == of[1]


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("index\n3\n", {}, r"lists 1 of the 3000 training images.*at least 2 images"),
        ("index\n3\n3\n", {}, r"sample_removal\.file: .*line 3: 3 is on line 2 already"),
        ("index\n3\n4\n", {"evaluation": "validation"}, r"use evaluation: test"),
        (
            "index\n3\n4\n",
            {"tuning": True},
            r"tuning\.scenarios: a search is not judged on a list",
        ),
    ],
)
def test_a_config_with_a_list_that_cannot_be_is_refused(text, changes, message, tmp_path):
    path = str(written(tmp_path, text))
    if "tuning" in changes:
        tuning = {"train_seeds": [0], "scenarios": {"sample_removal": {"file": path}}}
        changes = {"tuning": tuning}
    with pytest.raises(ConfigError, match=message) as caught:
        config(path, **changes)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("mine.yaml: experiments")


def test_one_content_under_two_names_is_one_forget_set(tmp_path):
    paths = [str(written(tmp_path, "index\n3\n4\n", name)) for name in ("a.csv", "b.csv")]
    with pytest.raises(ConfigError, match=r"a\.csv and .*b\.csv have the same content; keep one"):
        config(paths)


def test_the_stage_forgets_the_list_and_refuses_one_that_changed(tmp_path, monkeypatch):
    data, out = tmp_path / "pets.safetensors", tmp_path / "split.json"
    parts = tensors() | {
        f"{part}_images": torch.zeros(n, 1, 1, 1, dtype=torch.uint8)
        for part, n in (("train", 6), ("test", 3))
    }
    save_tensors(data, parts)
    stated = facts(classes=2, mean=[0.5], std=[0.5], sha256=sha256_file(data))
    write_json(data.with_suffix(".json"), stated)
    path = written(tmp_path, "file\ndog/9.png\ncat/2.png\n")
    (split,) = grid.splits(config(str(path)).experiments[0])
    words = ["--data", str(data), "--settings", canonical_json(split.settings), "--out", str(out)]
    monkeypatch.setenv("UNLEARNING_LISTS", canonical_json({split.settings["sha256"]: str(path)}))
    split_stage.main(words)
    found = read_json(out)
    assert found["forget"] == [1, 5] and found["classes"] == []
    assert np.sort(found["test"] + found["validation"]).tolist() == [0, 1, 2]
    path.write_text("file\ndog/9.png\n", encoding="utf-8")
    with pytest.raises(ListError, match="changed since the run began; run again"):
        split_stage.main(words)
    monkeypatch.delenv("UNLEARNING_LISTS")
    with pytest.raises(ListError, match="add --list FILE"):
        split_stage.main(words)


# --- measured ---


def outputs(train, test):
    """Logits that predict the second number of each (label, predicted) pair."""
    found = {}
    for part, pairs in (("train", train), ("test", test)):
        found[f"{part}_labels"] = np.array([label for label, _ in pairs])
        found[f"{part}_logits"] = np.eye(3)[[predicted for _, predicted in pairs]]
    return found


def test_the_expected_accuracy_has_the_classes_of_the_list():
    """Three of class 0, one of class 1: 0.75 * 1/2 + 0.25 * 1, class 2 does not count."""
    train = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 2)]
    test = [(0, 0), (0, 2), (1, 1), (2, 0), (2, 0), (0, 0)]
    split = {"forget": [0, 1, 2, 3], "test": [0, 1, 2, 3, 4]}
    found = beside_mix(outputs(train, test), split)
    assert found["reweighted_test_accuracy"] == pytest.approx(0.625)
    assert found["reweighted_gap"] == pytest.approx(0.75 - 0.625)
    even = beside_mix(outputs(train, test), {"forget": [0, 3], "test": [0, 2]})
    assert even == {"reweighted_test_accuracy": 1, "reweighted_gap": 0}


def test_a_class_without_counted_test_images_has_no_expected_accuracy():
    found = beside_mix(outputs([(0, 0), (1, 1)], [(0, 0)]), {"forget": [1], "test": [0]})
    assert found == {"reweighted_test_accuracy": None, "reweighted_gap": None}


def test_only_sample_removal_shows_it(tmp_path):
    row = dict.fromkeys([*TEXT, *names.METRICS], "") | {"status": "ok", "train_seed": "0"}
    row |= {"experiment": "e", "dataset": "d", "arch": "a", "method": "original"}
    row |= {"test_accuracy": 0.5, "reweighted_test_accuracy": 0.25, "reweighted_gap": 0.125}
    cells = [row | {"scenario": s, "split": s} for s in ("homogeneous_removal", "sample_removal")]
    pd.DataFrame(cells).to_csv(tmp_path / "runs.csv", index=False)
    runs = read_runs(tmp_path / "runs.csv")
    tables = {s: scenario_table(runs, s) for s in ("homogeneous_removal", "sample_removal")}
    assert not any(c.startswith("reweighted") for c in tables["homogeneous_removal"])
    assert tables["sample_removal"]["reweighted_gap_mean"].tolist() == [0.125]
    (part,) = LAYOUTS["sample_removal"].build(runs).parts
    shown = {
        column.header: cell.text for column, cell in zip(part.columns, part.rows[0], strict=True)
    }
    assert (shown["A^t, mix of D_f (%)"], shown["Gap to it (points)"]) == ("25.0", "12.5")
    tabulate(tmp_path / "runs.csv", tmp_path / "tables")
    assert (tmp_path / "tables/sample_removal.md").exists()
    pd.DataFrame(cells[:1]).to_csv(tmp_path / "runs.csv", index=False)
    tabulate(tmp_path / "runs.csv", tmp_path / "others")
    assert not (tmp_path / "others/sample_removal.md").exists()
    assert (tmp_path / "others/class_removal.md").exists()
