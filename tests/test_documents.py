"""README and CONTRIBUTING say what is so: their commands run, their tree and table are true."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys

import ledger
import pandas as pd
import pytest
from workspace import PROJECT, Workspace

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
import write_reliability
from update_reference import with_tables

from unlearning.claims.statements import read_claims
from unlearning.claims.verdicts import judge
from unlearning.metrics import names
from unlearning.tables.evaluation_tables import STATISTICS

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/guide.md", "paper/AUDIT.md")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
REFERENCE = PROJECT / "paper/reference/fashion"
FRAME = ("Two commands", "The house", "Licence")  # of the README alone


def commands():
    """Every line of every shell block, once, without comments."""
    texts = [(PROJECT / document).read_text(encoding="utf-8") for document in DOCUMENTS]
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
    return space


@pytest.mark.parametrize("line", commands())
def test_every_printed_command_is_understood(line, space):
    """Make targets exist, Snakemake lines plan, verbs and scripts know their options."""
    words = line.split()
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
    else:
        assert words[0] in ("git", "cd", "source"), f"no test knows how to check {line!r}"


def test_the_method_that_contributing_adds_runs(space):
    """Its module and its block are written as printed; the DAG and the tests find them."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    module, block = (
        re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml")
    )
    assert len([line for line in module.splitlines() if line.strip()]) <= 25
    (space.root / "src/unlearning/methods/cf_1.py").write_text(module)
    (space.root / "configs/methods/cf_1.yaml").write_text(block)
    tiny = (space.root / "configs/tiny.yaml").read_text()
    (space.root / "configs/added.yaml").write_text(
        tiny.partition("    methods:")[0] + "    methods: [cf_1]\n"
    )
    runs, table = (f"results/tiny/{name}" for name in ("runs.csv", "tables/class_removal.md"))
    status, text = space.snakemake(runs, table, config="configs/added.yaml")
    assert status == 0, text
    with open(space.root / runs, newline="") as handle:
        found = [row for row in csv.DictReader(handle) if row["method"] == "cf_1"]
    assert [(row["status"], row["touches"]) for row in found] == [("ok", "retain")] * 2
    assert "cf_1" in (space.root / table).read_text()


def test_the_tree_names_files_that_exist_and_all_modules():
    tree = re.search(r"```text\n(.*?)```", README, re.S).group(1)
    named = [line.split("#")[0].rstrip() for line in tree.splitlines() if line.strip()]
    paths, stack = set(), []
    for line in named:
        depth = (len(line) - len(line.lstrip())) // 2
        stack = [*stack[:depth], line.strip()]
        paths.add("".join(stack))
    absent = sorted(p for p in paths if not list(PROJECT.glob(p.rstrip("/"))))
    assert not absent
    modules = {str(p.relative_to(PROJECT)) for p in PROJECT.glob("src/unlearning/**/*.py")}
    unnamed = {m for m in modules if not m.endswith("__init__.py")} - paths
    assert not unnamed


def test_the_readme_shows_the_reference_table_as_the_dag_wrote_it():
    assert with_tables(README, REFERENCE) == README
    changed = README.replace("| duck", "| dukc", 1)
    assert with_tables(changed, REFERENCE) == README != changed


def test_the_reliability_table_is_what_a_run_of_the_tests_counted():
    counts = pd.read_csv(write_reliability.COUNTED)
    assert write_reliability.with_table(README, counts) == README
    assert set(counts["what"]) == set(ledger.DONE)
    assert counts["lost"].sum() == 0 and (counts["times"] > 0).all()
    more = counts.assign(times=counts["times"] + 1)
    assert write_reliability.with_table(README, more) != README


@pytest.mark.parametrize("document", [*DOCUMENTS, "paper/DEVIATIONS.md"])
def test_everything_that_a_document_shows_or_links_is_committed(document):
    text = (PROJECT / document).read_text(encoding="utf-8")
    shown = re.findall(r"\]\(([^)]+)\)", text)
    assert shown or document == "paper/AUDIT.md"  # which has no link yet
    for link in shown:
        file, _, heading = link.partition("#")
        target = (PROJECT / document).parent / file if file else PROJECT / document
        assert target.is_file(), link
        assert not heading or heading in anchors(target), link


def anchors(document):
    """What a link may name in a Markdown document: its headings, as the usual renderers do."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_and_guide_answer_the_same_questions_in_the_same_order():
    def questions(document):
        text = (PROJECT / document).read_text(encoding="utf-8")
        return [q for q in re.findall(r"^## (.*)$", text, re.M) if q not in FRAME]

    assert questions("README.md") == questions("docs/guide.md")
    assert len(questions("README.md")) == 8


SAID = {  # of Fashion-MNIST, in the README's four lists
    "holds": (
        *("forgets_class", "keeps_retained_classes", "near_oracle_class", "keeps_accuracy"),
        *("forgotten_margin", "attributions_near_oracle", "shortcut_removed"),
    ),
    "does not discriminate": (
        *("forgets_images", "near_oracle_images", "nearest_centroid"),
        *("membership_class", "membership_images", "first_attack_images"),
    ),
    "does not hold": (
        *("faster_than_fine_tuning_as_reported", "faster_than_random_labels"),
        "retained_density",
    ),
    "not told apart": (
        *("beats_negative_gradient", "beats_random_labels", "beats_boundary_shrink"),
        *("beats_boundary_expanding", "beats_erm", "scrub_better", "scar_better"),
        *("fine_tuning_as_good", "beats_fine_tuning_images", "beats_negative_gradient_images"),
        *("beats_scar_images", "forget_loss_needed", "retain_loss_needed"),
        *("many_classes_aus", "many_classes_accuracy"),
        *("faster_than_retraining", "faster_than_fine_tuning", "faster_than_boundary_shrink"),
        *("faster_than_boundary_expanding", "faster_than_erm", "negative_gradient_faster"),
    ),
}


def test_what_the_readme_says_of_the_claims_is_what_the_audit_finds():
    found = judge(read_claims(PROJECT / "paper/claims.yaml"), REFERENCE)
    verdicts = dict(zip(found["claim"], found["verdict"], strict=True))
    for verdict, claims in SAID.items():
        assert {name: verdicts[name] for name in claims} == dict.fromkeys(claims, verdict)
    for verdict in ("does not hold", "does not discriminate"):
        assert set(found.loc[found["verdict"] == verdict, "claim"]) == set(SAID[verdict])


def test_the_glossary_explains_every_measurement_and_nothing_else():
    text = (PROJECT / "paper/METRICS.md").read_text(encoding="utf-8")
    tables = text.partition("## Statistics")[0]
    cells = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    explained = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted([*names.METRICS, *names.ENSEMBLES])
    assert "paper/METRICS.md" in README
    statistics, _, studies = text.partition("## Statistics")[2].partition("## What the studies")
    assert set(first_cells(statistics)) <= set(STATISTICS)
    assert sorted(first_cells(studies)) == sorted(
        {*names.FEATURES, *names.SHORTCUT} - {"patch_area"}  # explained beside attribution_mass
    )


def first_cells(text):
    """The names in the first column of the tables of a text."""
    columns = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.M)
    return [name for cell in columns for name in re.findall(r"`(\w+)`", cell)]


def test_no_result_is_typed_into_the_prose():
    """Outside the generated tables no number with two or more decimals stands in the README."""
    prose = re.sub(r"<!-- \w+:\w+ -->.*?<!-- end -->", "", README, flags=re.S)
    stray = re.findall(r"(?<![\w./-])\d+\.\d{2,}(?![\w.])", prose)
    no_results = {"2312.02052": "arXiv", "3.11": "Python"}
    assert [number for number in stray if number not in no_results] == []
