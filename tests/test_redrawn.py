"""A finished run is drawn, tabulated, audited and typeset again from its CSV files alone.

It is done in a folder of its own, apart from the checkout whose Snakefile is named.
"""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
from workspace import PROJECT, Workspace

REFERENCE = "paper/reference/fashion"
PARTIAL = "paper/reference/cifar_partial"
TARGETS = ("figures", "tables", "audit", "paper", "report")
OUT = "results/redrawn/fashion"
ABOUT_AUS = {  # claims on DUCK's AUS in class removal of the main grid
    *("near_oracle_class", "fine_tuning_as_good", "scrub_better", "scar_better", "beats_erm"),
    *("beats_negative_gradient", "beats_random_labels"),
    *("beats_boundary_expanding", "beats_boundary_shrink"),
}
NOT_TRAINING = {"plot", "tabulate", "tabulate_studies", "rulegraph", *TARGETS}


class Elsewhere(Workspace):
    """A working folder without any code, next to the checkout that it uses."""

    def environment(self):
        return super().environment() | {"PYTHONPATH": str(self.root.parent / "checkout/src")}


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    """A folder with the committed run on full Fashion-MNIST, everything made from it."""
    folder = tmp_path_factory.mktemp("redrawn")
    (folder / "checkout").mkdir()
    Workspace.create(folder / "checkout")
    space = Elsewhere(folder / "mine")
    shutil.copytree(PROJECT / REFERENCE, space.root / REFERENCE)
    status, text = again(space)
    assert status == 0, text
    assert {"plot", "tabulate", "audit", "paper", "report"} <= rules(text) <= NOT_TRAINING
    return space


def again(space, *targets, run=REFERENCE):
    words = (*(targets or TARGETS), "--cores", "2", "--config", f"runs={run}")
    return space.command("snakemake", "--snakefile", "../checkout/Snakefile", *words)


def rules(text):
    """The rules of which Snakemake said that it ran jobs."""
    table = text.split("Job stats:")[1].split("\n\n")[0]
    return set(re.findall(r"^(\w+)\s+\d+$", table, re.M)) - {"total"}


def judged(space):
    """The claims' rows, by claim and what it is asked of."""
    with open(space.root / OUT / "claims.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return {(row["claim"], row["experiment"], row["scenario"]): row for row in rows}


def test_every_table_figure_and_document_is_there(redrawn):
    made = {str(p.relative_to(redrawn.root / OUT)) for p in (redrawn.root / OUT).rglob("*")}
    committed = PROJECT / REFERENCE
    shown = [*committed.glob("tables/*.md"), *committed.glob("figures/*.png")]
    assert len(shown) > 20
    assert {str(p.relative_to(committed)) for p in shown} <= made
    documents = {"audit.csv", "audit.html", "orders.csv", "claims.csv", "paper.pdf", "report.html"}
    assert documents <= made
    assert not (redrawn.root / "data").exists()
    assert not (redrawn.root.parent / "checkout/results").exists()


def test_what_is_drawn_again_is_what_was_committed(redrawn):
    """The reference's tables and figures are those of its CSV files, to the byte."""
    for file in (PROJECT / REFERENCE).glob("tables/*.md"):
        assert (redrawn.root / OUT / "tables" / file.name).read_text() == file.read_text()
    claims = (PROJECT / REFERENCE / "claims.md").read_text()
    assert (redrawn.root / OUT / "claims.md").read_text() == claims
    for file in (PROJECT / REFERENCE).glob("figures/*.csv"):
        assert (redrawn.root / OUT / "figures" / file.name).read_text() == file.read_text()


def test_one_changed_value_changes_audit_prose_and_table(redrawn):
    """DUCK's AUS in one cell of the committed runs.csv: lower, and everything says so."""
    before = judged(redrawn)
    files = ("paper.pdf", "report.html", "tables/class_removal.csv", "figures/aus_vs_time.svg")
    old = {name: (redrawn.root / OUT / name).read_bytes() for name in files}
    runs = redrawn.root / REFERENCE / "runs.csv"
    whole = runs.read_text()
    rows = list(csv.DictReader(whole.splitlines()))
    cell = next(r for r in rows if (r["scenario"], r["method"]) == ("class_removal", "duck"))
    cell["aus"] = str(float(cell["aus"]) - 0.2)
    with open(runs, "w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    try:
        status, text = again(redrawn)
        assert status == 0, text
        after = judged(redrawn)
        assert before.keys() == after.keys()
        changed = {claim for claim, row in after.items() if row["value"] != before[claim]["value"]}
        assert {claim for claim, *_ in changed} == ABOUT_AUS
        assert all((redrawn.root / OUT / name).read_bytes() != old[name] for name in files)
    finally:
        runs.write_text(whole)


def test_the_reference_is_the_largest_grid_that_was_run():
    """Every method, three classes and a random tenth, three seeds, each cell with its record."""
    config = json.loads((PROJECT / REFERENCE / "config.json").read_text())
    main = next(e for e in config["experiments"] if not e["study"])
    with open(PROJECT / REFERENCE / "manifest.csv", newline="") as handle:
        made = list(csv.DictReader(handle))
    with open(PROJECT / REFERENCE / "runs.csv", newline="") as handle:
        runs = list(csv.DictReader(handle))
    assert len(made) == len(runs)
    assert len({row["train_seed"] for row in runs}) == len(main["train_seeds"]) >= 3
    splits = {row["split"] for row in runs if row["scenario"] == "class_removal"}
    assert len(splits) >= 3
    assert {row["status"] for row in runs} <= {"ok", "diverged", "not_defined"}
    files = {file.stem for file in (PROJECT / "configs/methods").glob("*.yaml")}
    left_out = {"original", "oracle", "duck_ablated"}  # the last is for ablations
    assert {row["base_method"] for row in runs} - {"original", "oracle"} == files - left_out
    for row in made:
        assert bool(row["record_sha256"] and row["commit"] and row["command"]) == (
            row["status"] in ("ok", "diverged")
        )


def test_the_run_that_is_not_finished_is_drawn_again_as_it_was_committed(redrawn):
    """The CIFAR run as far as it is: its tables, figures, claims and audit, without training."""
    shutil.copytree(PROJECT / PARTIAL, redrawn.root / PARTIAL)
    status, text = again(redrawn, "figures", "tables", "audit", "report", run=PARTIAL)
    assert status == 0, text
    assert {"plot", "tabulate", "audit", "report"} <= rules(text) <= NOT_TRAINING
    committed, out = PROJECT / PARTIAL, redrawn.root / "results/redrawn/cifar"
    assert (out / "report.html").exists()
    shown = [*committed.glob("tables/*.md"), *committed.glob("figures/*.csv"), "claims.md"]
    assert len(shown) > 5
    for file in shown:
        name = (committed / file).relative_to(committed)
        assert (out / name).read_text() == (committed / name).read_text(), name
    with open(committed / "runs.csv", newline="", encoding="utf-8") as handle:
        runs = list(csv.DictReader(handle))
    with open(committed / "manifest.csv", newline="", encoding="utf-8") as handle:
        made = list(csv.DictReader(handle))
    statuses = {row["status"] for row in runs}
    assert {"ok", "missing"} <= statuses <= {"ok", "missing", "diverged", "not_defined", "failed"}
    assert len(made) == len(runs)
    for row in made:
        assert bool(row["record_sha256"] and row["commit"]) == (row["status"] in ("ok", "diverged"))
