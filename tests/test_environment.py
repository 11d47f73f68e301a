"""One set of versions: requirements.txt and environment.yml pin what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
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


PROJECT_TABLE = PYPROJECT["project"]
EXTRAS = PROJECT_TABLE["optional-dependencies"]
WANTED = [
    *PROJECT_TABLE["dependencies"],
    *(line for name, lines in EXTRAS.items() if name != "docs" for line in lines),
    *PYPROJECT["build-system"]["requires"],
]


def ranges(lines):
    """{name: versions allowed} of requirements, the project's own extras left out."""
    found = map(Requirement, lines)
    return {one.name.lower(): one.specifier for one in found if one.name != "unlearning"}


@pytest.mark.parametrize(("name", "allowed"), ranges(WANTED).items())
def test_a_range_holds_the_version_of_requirements_and_later_ones(name, allowed):
    assert REQUIREMENTS[name] in allowed
    assert {part.operator for part in allowed} == {">="}


def test_the_site_s_environment_has_its_own_versions():
    named = pins(EXTRAS["docs"])
    assert named and named.items() <= DOCS.items()


def test_conda_installs_the_versions_of_requirements():
    installed = pins(CONDA[-1]["pip"])
    assert installed.items() <= REQUIREMENTS.items()
    assert installed.keys() == ranges(WANTED).keys() - {"setuptools"}
    assert "python=3.11" in CONDA


def test_the_extras_of_a_run_are_what_the_workflow_needs():
    assert {*EXTRAS} == {"report", "workflow", "dev", "docs"}
    assert "unlearning[report]" in EXTRAS["workflow"]
    assert {"torchvision", "snakemake"}.isdisjoint(ranges(PROJECT_TABLE["dependencies"]))


def test_torch_and_torchvision_are_a_pair():
    assert (REQUIREMENTS["torch"], REQUIREMENTS["torchvision"]) == ("2.13.0", "0.28.0")


def test_readme_makefile_and_package_say_the_same_of_python():
    assert PYPROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert "(3, 11) <= sys.version_info < (3, 14)" in makefile
    said = "3.11, 3.12 or 3.13"
    assert f"needs Python {said}" in makefile and f"python3 ({said})" in makefile
    assert f"`python3` ({said};" in (PROJECT / "README.md").read_text(encoding="utf-8")


def test_a_range_is_no_pin():
    with pytest.raises(AttributeError):
        pins(["numpy>=2"])
