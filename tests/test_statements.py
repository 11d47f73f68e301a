"""What is said for archives and checklists: data statements, CITATION.cff, codecheck.yml."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml
from workspace import PROJECT

from unlearning.data.catalogue import catalogue
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.shown import FIGURES, STUDY_FIGURES, TABLES

DATASETS = catalogue(PROJECT / "configs/datasets.csv")
SCHEMA = json.loads((PROJECT / "tests/cff-1.2.0.schema.json").read_text(encoding="utf-8"))
"""The schema of the Citation File Format 1.2.0 (CC BY 4.0), by which cffconvert validates."""


def read(name):
    return yaml.load((PROJECT / name).read_text(encoding="utf-8"), yaml.BaseLoader)


def statements():
    """The part of docs/data.md on each data set, by its name in the catalogue."""
    text = (PROJECT / "docs/data.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.M)[1:]
    named = {re.search(r"^`(\w+)`, version", part, re.M): part for part in parts}
    return {name[1]: part for name, part in named.items() if name}


def test_every_data_set_of_the_catalogue_has_a_statement():
    assert list(statements()) == list(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_a_statement_says_what_the_catalogue_says(name):
    info, text = DATASETS[name], statements()[name]
    files = re.findall(r"^\| `([^`]+)` \| ([\d,]+) \| `(\w+)` \|$", text, re.M)
    assert files == [
        (file.file, f"{file.bytes:,}", file.checksum.removeprefix("sha256:")) for file in info.files
    ]
    facts = dict(re.findall(r"^\| ([^|`]+) \| ([^|]+) \|$", text, re.M))
    assert facts["Licence"].startswith(info.licence)
    channels = f"{info.size} × {info.size}, {info.channels} channel{'s' * (info.channels > 1)}"
    assert facts["Images"] == (
        f"{info.train:,} training, {info.test:,} test; {info.classes} classes; {channels}"
    )
    assert ("measured" in facts["Normalised by"]) == (info.mean is None)
    assert facts["Known faults"] and facts["How split"] and f"version {info.version}" in text


def test_the_citation_is_valid():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(read("CITATION.cff"), SCHEMA)


@pytest.mark.parametrize("broken", [{"authors": []}, {"licence": "MIT"}, {"cff-version": "9"}])
def test_an_invalid_citation_is_seen(broken):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read("CITATION.cff") | broken, SCHEMA)


def test_codecheck_lists_every_table_and_figure_of_the_embedded_run():
    listed = read("codecheck.yml")["manifest"]
    shown = {
        f"results/mini/tables/{name}.md" for name in (*PAPER_SCENARIOS, *TABLES, *STUDY_TABLES)
    }
    shown |= {f"results/mini/figures/{name}.png" for name in (*FIGURES, *STUDY_FIGURES)}
    shown |= {"results/mini/paper.pdf", "results/mini/audit.html"}
    assert {one["file"] for one in listed} == shown and len(listed) == len(shown)
    assert all(len(one["comment"]) > 10 for one in listed)
