"""One set of versions: requirements.txt, pyproject.toml and environment.yml agree."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from workspace import PROJECT


def pins(lines):
    """{name: version} of `name==version` lines; anything that is no exact pin is an error."""
    found = {}
    for line in lines:
        if line := line.split("#")[0].strip():
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
            found[name.lower()] = version
    return found


REQUIREMENTS = pins((PROJECT / "requirements.txt").read_text().splitlines())
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
DOCS = pins((PROJECT / "requirements-docs.txt").read_text(encoding="utf-8").splitlines())
CONDA = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]


@pytest.mark.parametrize(
    "lines",
    [
        PYPROJECT["project"]["dependencies"],
        PYPROJECT["project"]["optional-dependencies"]["dev"],
        PYPROJECT["build-system"]["requires"],
        CONDA[-1]["pip"],
    ],
    ids=["dependencies", "dev", "build", "environment.yml"],
)
def test_versions_are_those_of_requirements(lines):
    named = pins(lines)
    assert named
    assert named.items() <= REQUIREMENTS.items()


def test_the_site_s_environment_has_its_own_versions():
    named = pins(PYPROJECT["project"]["optional-dependencies"]["docs"])
    assert named and named.items() <= DOCS.items()


def test_conda_installs_what_the_project_imports():
    wanted = PYPROJECT["project"]["dependencies"]
    wanted = wanted + PYPROJECT["project"]["optional-dependencies"]["dev"]
    assert pins(CONDA[-1]["pip"]) == pins(wanted)
    assert "python=3.11" in CONDA


def test_torch_and_torchvision_are_a_pair():
    assert (REQUIREMENTS["torch"], REQUIREMENTS["torchvision"]) == ("2.13.0", "0.28.0")


def test_a_range_is_no_pin():
    with pytest.raises(AttributeError):
        pins(["numpy>=2"])
