"""Which code, software and commit made a file: the facts that a record carries."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from unlearning.files import PROJECT, write_text
from unlearning.runtime.determinism import deterministic

PACKAGE = Path(__file__).parents[1]
KEPT = Path(".snakemake/code.json")
"""What `remember` writes, in the folder of the run."""
SOFTWARE = ("torch", "torchvision", "numpy", "safetensors", "snakemake")


def closure(modules: Iterable[str]) -> list[Path]:
    """The library files that `modules` need, by the import statements in their text, sorted.

    Imports for type checking alone do not count. Modules that are found by name at
    run time (a method, a model family) are named by the caller.
    """
    found: set[Path] = set()
    waiting = [_file(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        found.update(p for p in _packages(path))
        waiting += _read(path)[0]
    return sorted(found)


def code_hash(modules: Iterable[str]) -> str:
    """SHA-256 over the closure of `modules`; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for path in closure(modules):
        digest.update(f"{path.relative_to(PACKAGE)}\n{_read(path)[1]}\n".encode())
    return digest.hexdigest()


def script_hash(*paths: str | Path) -> str:
    """SHA-256 over files outside the library and over the library modules that they import."""
    digest = hashlib.sha256()
    library: set[Path] = set()
    for path in map(Path, paths):
        if path.suffix == ".py":
            imports, text = _read(path)
        else:
            imports, text = [], path.read_text(encoding="utf-8-sig")  # an editor's mark is no edit
        digest.update(text.encode() + b"\0")
        library.update(imports)
    names = sorted(map(_dotted, library))
    digest.update(code_hash(names).encode())
    return digest.hexdigest()


def _dotted(path: Path) -> str:
    """The name of a module of this package, from its file."""
    return ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))


def _file(module: str) -> Path:
    """The file of a dotted name in this package, with a message for a module that is not there."""
    path = _find(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module} in {PACKAGE}")
    return path


def _find(module: str) -> Path | None:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _packages(path: Path) -> list[Path]:
    """The __init__ files that Python runs before it runs `path`."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    folders = [PACKAGE.joinpath(*inside[:depth]) for depth in range(len(inside) + 1)]
    return [folder / "__init__.py" for folder in folders]


def remember() -> None:
    """Keep what was read of the code for the jobs of this run, and for the next start of it.

    Parsing the library takes Snakemake a second at each start, and a job half as long as its work.
    """
    write_text(KEPT, json.dumps({"python": platform.python_version(), "files": _known()}))


@functools.cache
def _known() -> dict[str, list]:
    """By a file's path: the hash of its text, what it imports of this package, its code."""
    try:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        return kept["files"] if kept["python"] == platform.python_version() else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


@functools.cache
def _read(path: Path) -> tuple[list[Path], str]:
    """What a file imports of this package, and its code; looked at once a process."""
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if _known().get(str(path), [None])[0] != digest:
        tree = ast.parse(text)
        _known()[str(path)] = [digest, _imports(tree), _essence(tree)]
    _, names, code = _known()[str(path)]
    return [file for file in map(_find, names) if file], code


def _imports(tree: ast.Module) -> list[str]:
    """The modules of this package, and what may be one, that import statements name."""
    found: dict[str, None] = {}
    for node in _runtime_nodes(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= dict.fromkeys(name for name in names if name.split(".")[0] == PACKAGE.name)
    return list(found)


def _runtime_nodes(tree: ast.AST) -> Iterable[ast.AST]:
    """Every statement, those in functions too, but not what only a type checker reads."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if not isinstance(child, ast.expr):  # no expression holds an import
            yield child
            yield from _runtime_nodes(child)


def _essence(tree: ast.Module) -> str:
    """The code without comments, docstrings and layout; takes the docstrings out of `tree`."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def software() -> dict[str, str]:
    """Versions of Python and of the packages that touch a number; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for package in SOFTWARE:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def host() -> dict[str, str | bool | None]:
    """This machine: its name, architecture and model of CPU, and how it is asked to compute.

    Floating-point sums depend on the CPU's model, not on its architecture alone. `deterministic`:
    see runtime.device. cudnn_tf32: whether a GPU may round the factors in convolutions, None
    without torch.
    """
    torch = sys.modules.get("torch")  # never imported for this alone
    return {
        "name": platform.node(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "deterministic": deterministic(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32 if torch else None,
    }


def cpu_model() -> str:
    """The CPU's model as Linux names it; elsewhere what Python knows, which may be ""."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1].strip() if found else platform.processor()


def git_state() -> dict[str, str | bool | None]:
    """The commit of the checkout this library runs from, and whether it has changes.

    Without a commit `no_commit` says why: what git said, such as that there is no repository, that
    it belongs to somebody else, or that git is missing.
    """
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            cwd=PACKAGE,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            env=_git_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"commit": None, "dirty": None, "no_commit": str(error)}
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        return {"commit": None, "dirty": None, "no_commit": said}
    lines = done.stdout.splitlines()
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    dirty = any(not line.startswith("# ") for line in lines)
    return {"commit": facts["branch.oid"], "dirty": dirty}


def _git_environment() -> dict[str, str]:
    """In which git sees the checkout's own repository only, none that it was unpacked in."""
    foreign = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # a hook of another repository
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    ceiling = str(PROJECT.parent)
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "GIT_CEILING_DIRECTORIES": ceiling, "LC_ALL": "C"}
