"""What import-linter cannot see: imports by name, and what Snakemake parses."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
from workspace import PROJECT

LIBRARY = PROJECT / "src/unlearning"
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
BY_NAME = {
    "__init__.py": "unlearning.library.public",
    "runtime/job.py": "unlearning.stages.VERB",
    "runtime/forkserver.py": "PRELOADED and what Snakemake asks for, then unlearning.runtime.job",
    "runtime/vision.py": "torchvision",
    "models/__init__.py": "unlearning.models.FAMILY",
    "models/factory.py": "the module of a network of the user's own",
    "methods/__init__.py": "unlearning.methods.METHOD",
    "stages/draw.py": "a figure's script",
}
"""Every file that imports by name or runs a script, and what."""


def test_modules_are_imported_by_name_in_known_places_only():
    calls = re.compile(r"\b(import_module|__import__|run_path|run_module|exec|spec_from\w+)\(")
    found = {
        str(path.relative_to(LIBRARY))
        for path in LIBRARY.rglob("*.py")
        if calls.search(path.read_text(encoding="utf-8"))
    }
    assert found == set(BY_NAME)


def parsed_by_snakemake():
    """The modules of the library that its files import as they are read, functions left out."""
    files = [PROJECT / "Snakefile", *(PROJECT / "workflow/rules").glob("*.smk")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    lines = re.findall(r"^from unlearning[\w.]* import (?:\([^)]*\)|.*)", text, re.M)
    plugin = PROJECT / "src/snakemake_logger_plugin_unlearning/__init__.py"
    nodes = ast.parse("\n".join(lines)).body + ast.parse(plugin.read_text(encoding="utf-8")).body
    found = set()
    for node in [node for node in nodes if isinstance(node, ast.ImportFrom)]:
        for name in [alias.name for alias in node.names]:
            inside = LIBRARY.parent.joinpath(*node.module.split("."), f"{name}.py")
            found.add(f"{node.module}.{name}" if inside.exists() else node.module)
    return {name for name in found if name.split(".")[0] == "unlearning"}


def test_the_contract_on_torch_names_all_that_snakemake_parses():
    (contract,) = [c for c in CONTRACTS if c["type"] == "forbidden"]
    assert parsed_by_snakemake() == set(contract["source_modules"])


@pytest.mark.parametrize("package", sorted(p.parent.name for p in LIBRARY.glob("*/__init__.py")))
def test_an_init_imports_nothing_of_the_library(package):
    tree = ast.parse((LIBRARY / package / "__init__.py").read_text(encoding="utf-8"))
    statements = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in statements if node.module.startswith("unlearning")]
