"""`unlearning audit` from files to files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

from unlearning.audit.orders import COLUMNS as ORDERS
from unlearning.audit.rows import COLUMNS
from unlearning.audit.words import tally
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.stages import snapshot
from unlearning.stages.audit import main

ROOT = Path(__file__).parents[1]
FILES = (
    "audit.csv",
    "audit.md",
    "audit.tex",
    "audit.html",
    "orders.csv",
    "claims.csv",
    "claims.md",
)


def run(source: Path, out: Path, grid: Path = ROOT / "configs/paper.yaml") -> Path:
    main(
        [
            *("--source", str(source), "--reported", str(ROOT / "paper/reported.csv")),
            *("--claims", str(ROOT / "paper/claims.yaml"), "--paper-grid", str(grid)),
            *("--out", str(out)),
        ]
    )
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(ROOT / "paper/reference/mini", tmp_path_factory.mktemp("audit"))


def test_the_files_of_a_committed_run(made):
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)
    with open(made / "audit.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == COLUMNS
    assert len(rows) >= 128
    with open(made / "claims.csv", newline="", encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == CLAIMS
    with open(made / "orders.csv", newline="", encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == ORDERS
    # a run on Fashion-MNIST stands beside the reported numbers, is judged by none, and says what
    # would make them
    found = {(row["grade"], row["verdict"]) for row in rows}
    assert found == {("C", "not judged"), ("", "not comparable")}
    commands = {row["command"] for row in rows if row["verdict"] == "not judged"}
    grids = {"configs/paper.yaml", "configs/paper_extended.yaml"}  # the latter for SCAR
    expected = "snakemake audit --configfile {} --cores 16 --resources gpu=1"
    assert commands == {expected.format(grid) for grid in grids}
    beyond = {row["method"] for row in rows if "paper_extended" in row["command"]}
    assert beyond == {"SCAR"}
    assert not any(row["command"] for row in rows if row["verdict"] == "not comparable")


def test_the_page_has_claims_first_and_every_row(made):
    page = (made / "audit.html").read_text(encoding="utf-8")
    assert page.index("<h2>Claims") < page.index("<h2>Summary") < page.index("<h2>Reported")
    for row in range(2, 130):
        assert f"<tr><td>{row}</td>" in page
    assert page.count("configs/paper.yaml --cores 16") == 6  # once a data set and scenario
    assert page.count("configs/paper_extended.yaml --cores 16") == 4  # SCAR, on two of the three


def test_the_same_files_again(made, tmp_path):
    again = run(ROOT / "paper/reference/mini", tmp_path)
    assert all((again / name).read_bytes() == (made / name).read_bytes() for name in FILES)


def test_a_grid_that_is_no_yaml_and_a_broken_run_are_named(tmp_path):
    (tmp_path / "grid.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"grid\.yaml: not valid YAML"):
        run(ROOT / "paper/reference/mini", tmp_path / "out", tmp_path / "grid.yaml")
    for name in ("runs.csv", "config.json"):
        shutil.copy(ROOT / "paper/reference/mini" / name, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not valid JSON"):
        run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- a snapshot of a run that goes on ----

LOST = {"original": 0.0, "duck": 0.06, "negative_gradient": 0.147, "random_labels": 0.223}
"""What the methods that have run so far lose of their original's accuracy."""


@pytest.fixture(scope="module")
def partial(tmp_path_factory) -> Path:
    """What `snapshot` makes of configs/cifar.yaml, some of its cells filled in as if they had run.

    CIFAR-100: ten classes; CIFAR-10: three classes on the main original and on five others.
    """
    folder = tmp_path_factory.mktemp("partial")
    (folder / "results").mkdir()
    config, root = str(ROOT / "configs/cifar.yaml"), str(folder / "results")
    methods = ["--methods", str(ROOT / "configs/methods")]
    snapshot.main(["--config", config, "--root", root, *methods, "--out", str(folder)])
    runs = pd.read_csv(folder / "runs.csv", dtype=str, keep_default_na=False)
    assert set(runs["status"]) == {"missing", "not_defined"}
    done = runs["method"].isin(LOST) & (runs["scenario"] == "class_removal")
    done &= runs["split"].str.startswith("class-") & (runs["train_seed"] == "42")
    order = list(dict.fromkeys(runs["experiment"]))
    for index, row in runs[done].iterrows():
        place, label = order.index(row["experiment"]), int(row["split"].removeprefix("class-"))
        original = 0.62 if row["dataset"] == "cifar100" else 0.9 - 0.01 * place
        lost = LOST[row["method"]]
        lost += lost * (0.002 * (label % 7) + 0.01 * place)
        forget = 0.6 if row["method"] == "original" else 0.01 + 0.0001 * (label % 7)
        facts = {"status": "ok", "reason": "", "capped": "False"}
        facts |= {"retain_test_accuracy": original - lost, "forget_test_accuracy": forget}
        facts |= {"aus": (1 - lost) / (1 + forget)}
        runs.loc[index, list(facts)] = [str(value) for value in facts.values()]
    runs.to_csv(folder / "runs.csv", index=False)
    return folder


def test_a_partial_snapshot_is_audited_by_grade(partial, tmp_path):
    out = run(partial, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    found = pd.read_csv(out / "audit.csv", dtype=str, keep_default_na=False)
    assert len(found) >= 128
    counts = found.groupby(["grade", "verdict"]).size()
    assert {"reproduced", "differs", "not judged", "ours not run"} == set(counts["B"].index)
    # TinyImageNet is in no experiment: CIFAR-100's numbers stand beside, judged by none
    assert set(counts["C"].index) == {"not judged"}
    assert counts[""].index.isin(["not comparable", "ours not run"]).all()
    rows = found.set_index("row")
    assert rows.loc["74", ["grade", "verdict", "quantity"]].tolist() == [
        *("B", "reproduced", "A_or − A_r^t"),
    ]
    assert rows.loc["70", "verdict"] == "ours not run"  # SCRUB is still missing
    assert "settings_unstated: lr" in rows.loc["82", "reason"]
    assert tally(found) in (out / "audit.html").read_text(encoding="utf-8")
    orders = pd.read_csv(out / "orders.csv", keep_default_na=False)
    shown = orders[(orders["dataset"] == "CIFAR100") & (orders["metric"] == "AUS")]
    assert set(shown["verdict"]) <= {"reproduced", "not judged", "ours not run"}
    assert "reproduced" in set(shown["verdict"])
