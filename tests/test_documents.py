"""README, CONTRIBUTING and docs/ are true: commands, links, the map, tables and terms."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys

import ledger
import numpy as np
import pandas as pd
import pytest
import tutorial
from workspace import PROJECT, Workspace

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
import write_reliability
from update_reference import PAGES, with_tables

from unlearning.claims.statements import read_claims
from unlearning.claims.verdicts import judge
from unlearning.files import load_tensors, sha256_file
from unlearning.metrics import names
from unlearning.tables.evaluation_tables import STATISTICS

DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "paper/AUDIT.md", "benchmarks/README.md"),
    *sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob("docs/*.md")),
)
REFERENCE = PROJECT / "paper/reference/fashion"
PACKAGES = PROJECT / "src/unlearning"


def text_of(document):
    return (PROJECT / document).read_text(encoding="utf-8")


def commands():
    """Every line of every shell block, once, without comments."""
    texts = map(text_of, DOCUMENTS)
    blocks = [block for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.S)]
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [pytest.param(line, id=line) for line in dict.fromkeys(lines) if line]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A copy of the project, quick to plan: one forget set a list and one candidate a method."""
    space = Workspace.create(tmp_path_factory.mktemp("documents"))
    shutil.copytree(REFERENCE, space.root / REFERENCE.relative_to(PROJECT))
    for config in (space.root / "configs").glob("*.yaml"):
        text = config.read_text(encoding="utf-8").replace("budget: 16", "budget: 1")
        text = re.sub(r"\b(forget|split_seeds): \[(\d+),[^]]*\]", r"\1: [\2]", text)
        config.write_text(text, encoding="utf-8")
    tutorial.follow(space, until="snakemake")
    return space


@pytest.mark.parametrize("line", commands())
def test_every_printed_command_is_understood(line, space):
    """Make targets exist, Snakemake lines plan, verbs and scripts know their options."""
    words = shlex.split(line)
    if words[0] == "make":
        done = subprocess.run([*words, "-n"], cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "snakemake":
        status, text = space.command(*words, "-n")
        assert status == 0, text
    elif words[:3] == ["python", "-m", "unlearning"]:
        status, text = space.command(*words[:4], "--help")
        assert status == 0
        assert all(word.split("=")[0] in text for word in words[4:] if word.startswith("--")), text
    elif words[0] == "python":
        assert (PROJECT / words[1]).is_file()
        status, text = space.command("python", str(PROJECT / words[1]), "--help")
        assert status == 0
        assert all(word in text for word in words[2:] if word.startswith("--")), text
    elif words[0] == "pip":  # tests/test_library.py builds what it installs
        assert words == ["pip", "install", "."]
    elif words[0] == "bash":
        subprocess.run(["bash", "-n", PROJECT / words[1]], check=True)
    else:
        assert words[0] in ("git", "cd", "source"), f"no test knows how to check {line!r}"


def test_the_method_that_contributing_adds_runs(space):
    """Its module and its block are written as printed; the DAG and the tests find them."""
    text = text_of("CONTRIBUTING.md")
    module, block = (
        re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml")
    )
    assert len([line for line in module.splitlines() if line.strip()]) <= 25
    (space.root / "src/unlearning/methods/cf_1.py").write_text(module, encoding="utf-8")
    (space.root / "configs/methods/cf_1.yaml").write_text(block, encoding="utf-8")
    tiny = (space.root / "configs/tiny.yaml").read_text(encoding="utf-8")
    (space.root / "configs/added.yaml").write_text(
        tiny.partition("    methods:")[0] + "    methods: [cf_1]\n", encoding="utf-8"
    )
    runs, table = (f"results/tiny/{name}" for name in ("runs.csv", "tables/class_removal.md"))
    status, text = space.snakemake(runs, table, config="configs/added.yaml")
    assert status == 0, text
    with open(space.root / runs, newline="", encoding="utf-8") as handle:
        found = [row for row in csv.DictReader(handle) if row["method"] == "cf_1"]
    assert [(row["status"], row["touches"]) for row in found] == [("ok", "retain")] * 2
    assert "cf_1" in (space.root / table).read_text(encoding="utf-8")


def test_the_reader_that_contributing_adds_runs(tmp_path):
    """Function, name and row are written as printed; `fetch` packs an archive with them."""
    text = text_of("CONTRIBUTING.md")
    function, known, row = (
        re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.S)[1]
        for mark in ("reader", "reader names", "reader row")
    )
    added = Workspace.create(tmp_path)
    readers = added.root / "src/unlearning/data/readers.py"
    readers.write_text(readers.read_text(encoding="utf-8") + f"\n\n{function}", encoding="utf-8")
    file = added.root / "src/unlearning/data/catalogue.py"
    catalogued = re.sub(
        r"^READER_NAMES = .*\n", known, file.read_text(encoding="utf-8"), flags=re.M
    )
    file.write_text(catalogued, encoding="utf-8")
    archive = added.root / "mine/squares.npz"
    archive.parent.mkdir()
    labels = {"train_labels": np.arange(40) % 2, "test_labels": np.arange(20) % 2}
    images = {
        name.replace("labels", "images"): np.full((len(one), 1, 8, 8), 100, np.uint8)
        + one[:, None, None, None].astype(np.uint8)
        for name, one in labels.items()
    }
    np.savez(archive, **labels, **images)
    facts = {"HEX": sha256_file(archive), "BYTES": str(archive.stat().st_size)}
    for word, value in facts.items():
        row = row.replace(word, value)
    with open(added.root / "configs/datasets.csv", "a", encoding="utf-8") as table:
        table.write(row)
    tiny = (added.root / "configs/tiny.yaml").read_text(encoding="utf-8")
    (added.root / "configs/added.yaml").write_text(
        tiny.replace("dataset: fashion_mnist_mini", "dataset: squares").replace(
            "forget: [0]", "forget: [1]"
        )
        + "sources: {squares: mine}\n",
        encoding="utf-8",
    )
    status, said = added.snakemake("data", config="configs/added.yaml")
    assert status == 0, said
    packed = load_tensors(added.root / "data/squares.safetensors")
    assert packed["train_labels"].tolist() == labels["train_labels"].tolist()
    assert (packed["test_images"].numpy() == images["test_images"]).all()


def mapped(header):
    """The names in the first column of the table of the README's map that begins with `header`."""
    table = re.search(rf"^\| {re.escape(header)} \|.*?\n\n", text_of("README.md"), re.S | re.M)[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_map_has_every_top_level_folder_and_only_folders_that_exist():
    names = mapped("Folder")
    assert [name for name in names if not (PROJECT / name).is_dir()] == []
    ignored = re.findall(r"^/?([\w.]+)/$", text_of(".gitignore"), re.M)
    folders = {path.name for path in PROJECT.iterdir() if path.is_dir()} - set(ignored) - {"src"}
    assert {f"{name}/" for name in folders if not name.startswith(".")} <= set(names)


def test_the_map_has_every_package_and_only_what_exists():
    names = mapped("In `src/unlearning/`")
    packages = {path.parent.relative_to(PACKAGES) for path in PACKAGES.rglob("__init__.py")}
    assert {f"{path}/" for path in packages} - {"./"} <= set(names)
    assert [name for name in names if not (PACKAGES / name).exists()] == []


def test_the_diagram_names_rules_of_the_workflow():
    diagram = re.search(r"```mermaid\n(.*?)```", text_of("docs/architecture.md"), re.S)[1]
    named = re.findall(r"\w+", " ".join(re.findall(r'\["([\w, ]+)<br>', diagram)))
    rules = " ".join(path.read_text(encoding="utf-8") for path in PROJECT.glob("workflow/rules/*"))
    assert len(named) > 15
    known = {*re.findall(r"^rule (\w+):", rules, re.M), *re.findall(r" as (\w+) with:", rules)}
    assert set(named) - known == {"config"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_the_tables_of_the_committed_run(page):
    text = page.read_text(encoding="utf-8")
    assert with_tables(text, REFERENCE) == text
    marks = re.findall(rf"<!-- {REFERENCE.name}:\w+ -->", text)
    assert marks
    for mark in marks:
        head, _, rest = text.partition(mark)
        changed = f"{head}{mark}{rest.replace('| ', '| 1', 1)}"
        assert with_tables(changed, REFERENCE) == text != changed


def test_the_verdict_table_counts_every_claim_once():
    counted = re.findall(r"^\| (\w[\w ]*?) +\| (\d+) +\|", text_of("README.md"), re.M)
    found = judge(read_claims(PROJECT / "paper/claims.yaml"), REFERENCE)
    assert len(counted) == 5
    sums = found["verdict"].value_counts().to_dict()
    assert {name: int(n) for name, n in counted if n != "0"} == sums


def test_the_reliability_table_is_what_a_run_of_the_tests_counted():
    counts = pd.read_csv(write_reliability.COUNTED)
    page = write_reliability.PAGE.read_text(encoding="utf-8")
    assert write_reliability.with_table(page, counts) == page
    assert set(counts["what"]) == set(ledger.DONE)
    assert counts["lost"].sum() == 0 and (counts["times"] > 0).all()
    more = counts.assign(times=counts["times"] + 1)
    assert write_reliability.with_table(page, more) != page


@pytest.mark.parametrize("document", [*DOCUMENTS, "paper/DEVIATIONS.md", "paper/LOG.md"])
def test_everything_that_a_document_shows_or_links_is_committed(document):
    text = text_of(document)
    shown = re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text)
    for link in map("".join, shown):
        file, _, heading = link.partition("#")
        target = (PROJECT / document).parent / file if file else PROJECT / document
        assert target.is_file(), link
        assert not heading or heading in anchors(target), link


def test_readme_links_to_every_page_of_the_docs():
    linked = set(re.findall(r"\((docs/[\w.]+)", text_of("README.md")))
    assert linked == {str(path.relative_to(PROJECT)) for path in PROJECT.glob("docs/*")}


def anchors(document):
    """What a link may name in a Markdown document: its headings, as the usual renderers do."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


SAID = {  # of Fashion-MNIST, in the four items of docs/results.md, "Which claims hold"
    "holds": (
        *("forgets_class", "keeps_retained_classes", "near_oracle_class", "keeps_accuracy"),
        *("beats_erm", "forgotten_margin", "retained_silhouette", "shortcut_removed"),
    ),
    "does not discriminate": (
        *("forgets_images", "near_oracle_images", "nearest_centroid"),
        *("membership_class", "membership_images", "first_attack_images"),
    ),
    "does not hold": (
        *("faster_than_fine_tuning_as_reported", "faster_than_random_labels"),
        *("faster_than_boundary_shrink", "faster_than_boundary_expanding"),
    ),
    "not told apart": (
        *("beats_negative_gradient", "beats_random_labels", "beats_boundary_shrink"),
        *("beats_boundary_expanding", "scrub_better", "fine_tuning_as_good"),
        *("beats_fine_tuning_images", "beats_negative_gradient_images"),
        *("faster_than_retraining", "retained_density", "attributions_near_oracle"),
        *("many_classes_aus", "many_classes_accuracy", "forget_loss_needed"),
        "retain_loss_needed",
    ),
    "not tested": ("scar_better", "beats_scar_images"),
}
OTHERS = dict.fromkeys(("allcnn", "resnet34", "resnet50", "vit"), "holds") | {
    "resnet18": "not told apart"
}
"""The verdict on DUCK's being near the oracle, by experiment of another architecture."""


def test_the_summary_of_the_claims_is_what_the_audit_finds():
    found = judge(read_claims(PROJECT / "paper/claims.yaml"), REFERENCE)
    verdicts = dict(zip(found["claim"], found["verdict"], strict=True))
    for verdict, claims in SAID.items():
        assert {name: verdicts[name] for name in claims} == dict.fromkeys(claims, verdict)
    for verdict in ("does not hold", "does not discriminate", "not tested"):
        assert set(found.loc[found["verdict"] == verdict, "claim"]) == set(SAID[verdict])
    others = found[found["claim"] == "other_architectures"]
    assert dict(zip(others["experiment"], others["verdict"], strict=True)) == OTHERS


def test_metrics_explains_every_measurement_and_nothing_else():
    text = text_of("docs/metrics.md")
    tables = text.partition("## Statistics")[0]
    cells = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    explained = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted([*names.METRICS, *names.ENSEMBLES])
    statistics, _, studies = text.partition("## Statistics")[2].partition("## What the studies")
    assert set(first_cells(statistics)) <= set(STATISTICS)
    assert sorted(first_cells(studies)) == sorted(
        {*names.FEATURES, *names.SHORTCUT} - {"patch_area"}  # explained beside attribution_mass
    )


def first_cells(text):
    """The names in the first column of the tables of a text."""
    columns = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.M)
    return [name for cell in columns for name in re.findall(r"`(\w+)`", cell)]


def test_the_glossary_has_each_term_once():
    terms = re.findall(r"^\| ([^|]+) \| ", text_of("docs/glossary.md"), re.M)
    words = [word for term in terms for word in term.split(", ") if term != "Term"]
    assert len(words) > 40 and len(set(words)) == len(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_result_is_typed_into_the_prose(page):
    """Outside the generated tables no number with two or more decimals stands in these pages."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- \w+:\w+ -->.*?<!-- end -->", "", text, flags=re.S)
    stray = re.findall(r"(?<![\w./-])\d+\.\d{2,}(?![\w.])", prose)
    no_results = {"2312.02052": "arXiv", **dict.fromkeys(("3.11", "3.12", "3.13"), "Python")}
    assert [number for number in stray if number not in no_results] == []
