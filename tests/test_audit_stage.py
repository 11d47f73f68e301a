"""`unlearning audit` from files to files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from unlearning.audit import COLUMNS
from unlearning.stages.audit import main
from unlearning.verdicts import COLUMNS as CLAIMS

ROOT = Path(__file__).parents[1]
FILES = ("audit.csv", "audit.md", "audit.tex", "audit.html", "claims.csv", "claims.md")


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
    # a run on Fashion-MNIST has none of the reported numbers, and says what would make them
    assert {row["verdict"] for row in rows} == {"ours not run", "not comparable"}
    commands = {row["command"] for row in rows if row["verdict"] == "ours not run"}
    grid = ROOT / "configs/paper.yaml"
    assert commands == {f"snakemake audit --configfile {grid} --cores 16 --resources gpu=1"}
    assert not any(row["command"] for row in rows if row["verdict"] == "not comparable")


def test_the_page_has_claims_first_and_every_row(made):
    page = (made / "audit.html").read_text(encoding="utf-8")
    assert page.index("<h2>Claims") < page.index("<h2>Summary") < page.index("<h2>Reported")
    for row in range(2, 130):
        assert f"<tr><td>{row}</td>" in page
    assert page.count("configs/paper.yaml --cores 16") == 6  # once a data set and scenario


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
