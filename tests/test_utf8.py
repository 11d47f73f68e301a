"""Text is UTF-8 whatever the locale: what is read, what is written and what is hashed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from workspace import PROJECT

LIBRARY = [
    *(
        f
        for part in ("src", "workflow", "figures", "benchmarks")
        for f in PROJECT.glob(f"{part}/**/*.py")
    ),
    *(
        PROJECT / "tests" / f"{name}.py"
        for name in ("conftest", "faults", "forking", "fuzzing", "ledger", "workspace")
    ),
]
HASHES = """
import locale
from unlearning.records.provenance import script_hash
print(locale.getpreferredencoding(False))
print(script_hash("paper/paper.typ", "paper/reported.csv", "paper/claims.yaml", "figures/roc.py"))
"""


def unnamed(tree: ast.AST) -> list[int]:
    """The lines of calls that read or write text in the encoding of the locale."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and _text(node)]


def _text(call: ast.Call) -> bool:
    """Whether a call opens or decodes text and names no encoding."""
    keywords = {word.arg: word.value for word in call.keywords}
    if "encoding" in keywords or None in keywords:
        return False
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if {"text", "universal_newlines"} & keywords.keys():
        return name != "replace"  # of a dataclass with a field of this name
    if name in ("read_text", "write_text") and owner:  # files.write_text names its own
        return len(call.args) < (1 if name == "read_text" else 2)
    if f"{owner}.{name}" in (".open", "io.open", "os.fdopen"):
        mode = keywords.get("mode", call.args[1] if len(call.args) > 1 else ast.Constant("r"))
    elif name == "NamedTemporaryFile":
        mode = keywords.get("mode", call.args[0] if call.args else ast.Constant("w+b"))
    else:
        return False
    return "b" not in ast.literal_eval(mode)


def test_every_file_is_opened_with_an_encoding():
    assert len(LIBRARY) > 100
    found = {
        f"{path.relative_to(PROJECT)}:{line}"
        for path in LIBRARY
        for line in unnamed(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


@pytest.mark.parametrize(
    "call",
    [
        "path.read_text()",
        "Path(x).write_text(text)",
        "open(path)",
        "open(path, 'a', newline='')",
        "open(path, mode='w')",
        "os.fdopen(1, 'w')",
        "subprocess.run(words, text=True)",
        "NamedTemporaryFile('w')",
    ],
)
def test_a_call_without_an_encoding_is_found(call):
    assert unnamed(ast.parse(call)) == [1]


@pytest.mark.parametrize(
    "call",
    [
        "path.read_text(encoding='utf-8')",
        "path.read_text('utf-8')",
        "write_text(path, text)",
        "open(path, 'rb')",
        "open(path, mode='wb')",
        "os.open(path, os.O_RDONLY)",
        "gzip.open(path)",
        "subprocess.run(words)",
        "subprocess.run(words, text=True, encoding='utf-8')",
    ],
)
def test_a_call_of_bytes_or_with_an_encoding_is_not(call):
    assert unnamed(ast.parse(call)) == []


def printed(*words, **environment):
    """What a Python of its own prints in a locale, as UTF-8."""
    ours = ("LC_ALL", "PYTHONIOENCODING", "PYTHONUTF8")
    plain = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=PROJECT,
        env=plain | environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8").splitlines()


def test_a_hash_is_the_same_in_another_locale(another_locale):
    locale, found = printed("-c", HASHES, **another_locale)
    assert locale.lower() not in ("utf-8", "utf8"), "the locale was not taken"
    assert printed("-c", HASHES, PYTHONUTF8="1") == ["utf-8", found]


def test_what_is_printed_is_utf_8_in_another_locale(another_locale):
    assert printed("-m", "unlearning", "--help", **another_locale)[0].endswith("VERB …")
