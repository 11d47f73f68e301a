"""docs/own_data.md, followed word by word: an own folder and an own forget list in one run."""

from __future__ import annotations

import csv

import pytest
import tutorial
from workspace import Workspace

from unlearning.files import read_json
from unlearning.report.quotes import quotes, read_tables

CONFIG = "pets.yaml"
TRAINED = {"train_original", "train_oracle", "unlearn", "fetch_dataset"}


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The workspace in which the page was followed, and what its commands printed."""
    space = Workspace.create(tmp_path_factory.mktemp("own"))
    return space, tutorial.follow(space)


def edited(space, file, old, new):
    path = space.root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def space(followed):
    """The workspace; its config and list are as the page has them after the test as well."""
    space = followed[0]
    kept = {name: (space.root / name).read_bytes() for name in (CONFIG, "forget.csv")}
    yield space
    for name, content in kept.items():
        (space.root / name).write_bytes(content)


def test_the_page_ends_with_its_table(followed):
    space, printed = followed
    table = printed[-1].partition("Sample removal: pets, strided_cnn")[2]
    for method in ("original", "oracle", "fine_tuning", "negative_gradient", "duck"):
        (line,) = [line for line in table.splitlines() if line.startswith(f"{method} ")]
        assert "failed" not in line and "missing" not in line
    with open(space.root / "results/pets/runs.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["status"] for row in rows} == {"ok"} and len(rows) == 2 * 5
    assert all(row["reweighted_gap"] for row in rows)
    assert (space.root / "results/pets/report.html").stat().st_size > 10_000
    assert not (space.root / "results/pets/paper.pdf").exists()


def test_the_papers_text_states_the_images_by_their_checksum(followed):
    run = followed[0].root / "results/pets"
    own = read_json(run / "config.json")["datasets"]["pets"]
    said = quotes(run, read_tables(run))["run.checksums"].text
    assert said.startswith(f"images {own['checksum'][:19]}")


def test_the_oracles_forget_the_list(followed):
    space = followed[0]
    facts = read_json(space.root / "data/pets.json")
    (path,) = (space.root / "results/pets/pets-strided_cnn/splits/sample_removal").glob("*.json")
    rows = tutorial.written("csv").splitlines()[1:]
    assert facts["class_names"] == list(tutorial.CLASSES)
    assert len(read_json(path)["forget"]) == len(rows)


def test_what_moves_is_not_trained_again(space):
    (space.root / "forget.csv").rename(space.root / "moved.csv")
    (space.root / "pictures").rename(space.root / "elsewhere")
    edited(space, CONFIG, "file: forget.csv", "file: moved.csv")
    edited(space, CONFIG, 'pets: "pictures"', 'pets: "elsewhere"')
    try:
        planned = space.planned(config=CONFIG)
        assert planned and not TRAINED & planned.keys()
    finally:
        (space.root / "elsewhere").rename(space.root / "pictures")


def test_a_changed_list_reruns_what_rests_on_it(space):
    edited(space, "forget.csv", "cat-06.png", "cat-08.png")
    planned = space.planned(config=CONFIG)
    assert planned["make_split"] == 1 and planned["train_oracle"] == 2 and planned["unlearn"] == 10
    assert not {"train_original", "fetch_dataset"} & planned.keys()


def test_a_wrong_row_stops_the_run_before_any_training(space):
    edited(space, "forget.csv", "cat-06.png", "cat-02.png")
    before = space.contents()
    status, text = space.snakemake(config=CONFIG)
    assert status != 0 and space.contents() == before
    assert "forget.csv, line 4: cat/cat-02.png is a test image" in text
    edited(space, "forget.csv", "cat-02.png", "cat-01.jpg")
    status, text = space.snakemake("-n", config=CONFIG)
    assert status != 0 and "forget.csv, line 4: cat/cat-01.jpg is on line 2 already" in text
