"""Code hashes that follow the real imports, seeds that never collide, files that are whole."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import METHOD_FILES, ROOT
from workspace import compiled

from unlearning import files
from unlearning.config import hyperparameters
from unlearning.data.catalogue import catalogue
from unlearning.models import FAMILIES
from unlearning.records import provenance
from unlearning.records.entry import stage_modules
from unlearning.records.provenance import closure, code_hash, script_hash
from unlearning.records.record import input_paths, new_record
from unlearning.results.manifest import COLUMNS, INPUTS, read_manifest
from unlearning.seeds import seed_for

LIBRARY = provenance.PACKAGE
VERBS = sorted(p.stem for p in (LIBRARY / "stages").glob("*.py") if p.stem != "__init__")
METHODS = sorted(
    p.stem for p in (LIBRARY / "methods").glob("*.py") if p.stem not in ("__init__", "base")
)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(LIBRARY.parent),
    "UNLEARNING_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
}

# --- the static closure is what really is imported ---

# One process loads what is slow once; each verb then runs in a fork of it.
RUN_EACH = """
import gc, importlib, json, os, sys, traceback
import matplotlib.pyplot, pandas, scipy.stats, sklearn.linear_model, sklearn.svm, torch
from pathlib import Path

torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)  # the first one loads much
gc.freeze()  # a collection in a fork would walk through, and copy, all of it
for case in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for module in case["modules"]:
                importlib.import_module(module)
            if case["argv"] is not None:
                importlib.import_module(case["modules"][0]).main(case["argv"])
            ours = [m for m in sys.modules if m.split(".")[0] == "unlearning"]
            loaded = [sys.modules[m].__file__.partition("/src/unlearning/")[2] for m in ours]
            Path(case["report"]).write_text(json.dumps(sorted(loaded)))
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    os.waitpid(child, 0)
"""


def case_of(method):
    """The key of a method's unlearning, with the architecture of the original it starts from."""
    ending = hyperparameters.original_of(method, METHOD_FILES).removeprefix("original")
    return "unlearn", f"strided_cnn{ending}", method


def of_one_cell(argv):
    """An attack's command line with the first of its cells alone, as each takes a while."""
    place = argv.index("--cells") + 1
    return [*argv[:place], json.dumps(json.loads(argv[place])[:1]), *argv[place + 1 :]]


def commands(tiny_run, folder):
    """(verb, architecture, method) and a command line that runs it inside `folder`, or None."""
    shutil.copytree(tiny_run.folder, folder, dirs_exist_ok=True)

    def moved(*key):
        return [text.replace(str(tiny_run.folder), str(folder)) for text in tiny_run.commands[key]]

    info = catalogue(ROOT / "configs" / "datasets.csv")["fashion_mnist_mini"].as_json()
    run = folder / "results" / "tiny"
    tables = ["--runs", str(run / "runs.csv"), "--ensembles", str(run / "ensembles.csv")]
    found = {
        ("fetch", None, None): ["--info", info, "--out", str(folder / "fetched")],
        ("split", None, None): moved("split", "seed-0"),
        ("train", "strided_cnn", None): moved("train", "oracle-class-1"),
        ("train", "resnet18", None): None,
        ("score", None, None): moved("score", "class-1"),
        ("resolve", None, None): moved("resolve"),
        ("collect", None, None): moved("collect"),
        ("tabulate", None, None): [*tables, "--out", str(folder / "tables")],
        ("shadow", "strided_cnn", None): moved("shadow", "0"),
        ("attack", None, None): of_one_cell(moved("attack", "class-1")),
        ("probe", "strided_cnn", None): moved("probe", "seed-0"),
        ("ensemble", None, None): moved("ensemble", "class-1"),
    }
    for method in METHODS:
        found[case_of(method)] = moved("unlearn", method, "class-1")
    for verb in VERBS:
        if verb not in {key[0] for key in found}:
            found[verb, None, None] = None
    return found


@pytest.fixture(scope="module")
def imported(tiny_run, tmp_path_factory):
    """The library files that each verb loaded when it ran, or when it was imported.

    Of a copy that is compiled and read: else each fork would do it again.
    """
    folder = tmp_path_factory.mktemp("imported")
    keyed = commands(tiny_run, folder / "run")
    cases = {
        key: {
            "modules": stage_modules(*key),
            "argv": argv,
            "report": str(folder / "-".join(map(str, key))),
        }
        for key, argv in keyed.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH],
        input=json.dumps(list(cases.values())),
        env=ENVIRONMENT | {"PYTHONPATH": str(compiled() / "src")},
        capture_output=True,
        text=True,
        cwd=compiled(),
    )
    missing = [key for key, case in cases.items() if not Path(case["report"]).exists()]
    assert not missing, done.stderr
    return {key: set(files.read_json(case["report"])) for key, case in cases.items()}


def names(paths):
    return {str(Path(path).relative_to(LIBRARY)) for path in paths}


BUILDERS = ("train", "shadow", "probe")
CASES = [(verb, None, None) for verb in VERBS if verb not in (*BUILDERS, "unlearn")]
CASES += [(verb, "strided_cnn", None) for verb in BUILDERS] + [("train", "resnet18", None)]
CASES += [case_of(method) for method in METHODS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(filter(None, case)))
def test_the_closure_is_what_the_verb_imports(imported, case):
    assert names(closure(stage_modules(*case))) == imported[case]


def test_the_closure_follows_the_method_and_the_architecture(imported):
    duck = imported["unlearn", "strided_cnn", "duck"]
    assert {"methods/duck.py", "models/strided_cnn.py"} < duck
    assert not {"methods/fine_tuning.py", "models/resnet.py", "data/sources.py"} & duck


def test_no_import_is_relative_since_the_closure_follows_full_names():
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"unlearning\.stages\.nothing"):
        closure(["unlearning.stages.nothing"])


# --- torch is loaded only by those who need it ---

LOADED = """
import importlib, json, sys
importlib.import_module("unlearning.stages." + sys.argv[1]).main(sys.argv[2:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("verb", ["score", "attack", "ensemble", "collect", "resolve", "split"])
def test_torch_is_not_loaded_to_score_collect_and_resolve(tiny_run, tmp_path, verb):
    key = {"collect": (), "resolve": (), "split": ("seed-0",)}.get(verb, ("class-1",))
    argv = list(tiny_run.commands[verb, *key])
    if verb == "attack":
        argv = of_one_cell(argv)
    argv[argv.index("--out") + 1] = str(tmp_path / "out")
    command = [sys.executable, "-c", LOADED, verb, *argv]
    place = {"env": ENVIRONMENT | {"PYTHONPATH": str(compiled() / "src")}, "cwd": compiled()}
    done = subprocess.run(command, **place, capture_output=True, text=True, check=True)
    assert (tmp_path / "out").exists()
    assert ("torch" in json.loads(done.stdout)) == (verb == "split")


# --- what the hash counts ---


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the library that a test may edit."""
    copy = tmp_path / "unlearning"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    return copy


def hash_now(*key):
    (found,) = hashes_now([key]).values()
    return found


def hashes_now(keys):
    """The code hash of each key, of the library's text as it is now: each file is read once."""
    provenance._read.cache_clear()
    return {key: code_hash(stage_modules(*key)) for key in keys}


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


DUCK = "unlearn", "strided_cnn", "duck"


def test_a_copy_of_the_library_has_the_same_hash(package, monkeypatch):
    copied = hash_now(*DUCK)
    monkeypatch.setattr(provenance, "PACKAGE", LIBRARY)
    assert hash_now(*DUCK) == copied


def test_comments_docstrings_and_layout_do_not_count(package):
    before, path = hash_now(*DUCK), package / "methods" / "duck.py"
    edit(path, "from __future__", "# a comment\nfrom __future__")
    assert hash_now(*DUCK) == before
    edit(path, '"""DUCK (', '"""Another text (')
    edit(path, '"""Run DUCK', '"""Another text about DUCK')
    assert hash_now(*DUCK) == before
    path.write_text(ast.unparse(ast.parse(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert hash_now(*DUCK) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("methods/duck.py", "gamma=0.5", "gamma=0.4"),
        ("methods/base.py", "seen < rule.forget_target", "seen <= rule.forget_target"),
        ("models/strided_cnn.py", "stride=2", "stride=3"),
        ("models/base.py", "nn.Dropout(head_dropout)", "nn.Dropout(0)"),
        ("recipe.py", "VALIDATION_SHARE = 0.2", "VALIDATION_SHARE = 0.3"),
        ("seeds.py", ">> 1", ">> 2"),
        ("stages/unlearn.py", "WARM_UP_BATCH = 128", "WARM_UP_BATCH = 64"),
    ],
)
def test_a_changed_number_counts(package, file, old, new):
    before = hash_now(*DUCK)
    edit(package / file, old, new)
    assert hash_now(*DUCK) != before


def test_a_new_name_of_a_file_counts(package):
    before = hash_now("resolve")
    (package / "files.py").rename(package / "documents.py")
    edit(package / "stages" / "resolve.py", "unlearning.files", "unlearning.documents")
    assert hash_now("resolve") != before


def imports(method, other):
    text = (LIBRARY / "methods" / f"{method}.py").read_text(encoding="utf-8")
    return method == other or f"methods.{other}" in text or f"methods import {other}" in text


@pytest.mark.parametrize("edited", ["duck", "random_labels"])
def test_editing_one_method_changes_the_hash_of_its_own_runs_alone(package, edited):
    before = hashes_now(CASES)
    with open(package / "methods" / f"{edited}.py", "a", encoding="utf-8") as handle:
        handle.write("\nEDITED = 1\n")
    changed = {case for case, found in hashes_now(CASES).items() if found != before[case]}
    assert changed == {case_of(method) for method in METHODS if imports(method, edited)}


def test_editing_one_architecture_leaves_the_others_alone(package):
    keys = [("train", arch) for arch in FAMILIES]
    before = hashes_now(keys)
    edit(package / "models" / "strided_cnn.py", "width: int = 16", "width: int = 8")
    assert [key[1] for key, found in hashes_now(keys).items() if found != before[key]] == [
        "strided_cnn"
    ]


def test_an_import_for_type_checking_does_not_count(package):
    before = closure(["unlearning.stages.resolve"])
    path = package / "stages" / "resolve.py"
    text = path.read_text(encoding="utf-8")
    lines = "\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    {0}\n"
    edit(path, text, text + lines.format("from unlearning.plan import grid"))
    provenance._read.cache_clear()  # as in the next process
    assert closure(["unlearning.stages.resolve"]) == before
    edit(path, "\nif TYPE_CHECKING:\n", "\ndef late():\n")
    provenance._read.cache_clear()
    assert package / "plan/grid.py" in closure(["unlearning.stages.resolve"])


def test_a_scripts_hash_follows_the_script_and_what_it_imports(package, tmp_path):
    script, style = tmp_path / "figure.py", tmp_path / "style.txt"
    script.write_text("from unlearning.plan import grid\nWIDTH = 3\n", encoding="utf-8")
    style.write_text("blue", encoding="utf-8")

    def now():
        provenance._read.cache_clear()
        return script_hash(script, style)

    seen = [now()]
    script.write_text("# wide\nfrom unlearning.plan import grid\n\nWIDTH = 3\n", encoding="utf-8")
    assert now() == seen[0]
    for path, old, new in (
        (script, "WIDTH = 3", "WIDTH = 4"),
        (style, "blue", "red"),
        (package / "plan/grid.py", "<= 10", "<= 9"),
    ):
        edit(path, old, new)
        seen.append(now())
    assert len(set(seen)) == 4


# --- seeds ---


def test_seeds_are_what_they_always_were():
    assert seed_for("cifar10", "resnet18", 0, "weights") == 6515051776269002067
    assert seed_for("forget", "cifar100", 42) == 3580899269162043706


def test_seeds_fit_the_generators():
    seeds = [seed_for("x", i) for i in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert min(seeds) < 2**60 and max(seeds) > 2**62


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((1,), ("1",)),
        ((1, 2), (12,)),
        (("a",), ("a", "")),
        ((), ("",)),
        ((-1,), (1,)),
        (("a", "b"), ("a str:b",)),
        (("a", 1), ("a int:1",)),
    ],
)
def test_different_parts_give_different_seeds(a, b):
    assert seed_for(*a) != seed_for(*b)


@pytest.mark.parametrize("part", [1.0, True, None, b"a", ("a",), np.int64(3)])
def test_a_part_without_a_stable_text_is_refused(part):
    with pytest.raises(TypeError, match="text and integers"):
        seed_for("x", part)


# --- files ---


def test_a_failed_write_leaves_nothing_and_keeps_the_old_file(tmp_path):
    final = tmp_path / "folder" / "file.txt"
    with pytest.raises(RuntimeError), files.whole(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(final.parent.iterdir()) == []
    files.write_text(final, "old")
    with pytest.raises(RuntimeError), files.whole(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in final.parent.iterdir()] == ["file.txt"]
    assert final.read_text() == "old"


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    final = tmp_path / "file.txt"
    files.write_text(final, "old")
    with files.whole(final) as temporary:
        temporary.write_text("new")
        assert final.read_text() == "old" and temporary.parent == final.parent
    assert final.read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_is_renamed_into_place_after_it_reached_the_disk(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*arguments, name=name, real=real):
            order.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, spy)
    files.write_json(tmp_path / "a.json", {"a": 1})
    assert order == ["fsync", "replace"]


def test_a_broken_json_file_is_named(tmp_path):
    (tmp_path / "record.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"record\.json"):
        files.read_json(tmp_path / "record.json")


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    a, b = {"x": 1, "y": {"p": [1, 2], "q": "ü"}}, {"y": {"q": "ü", "p": [1, 2]}, "x": 1}
    assert files.canonical_json(a) == files.canonical_json(b)
    assert files.canonical_json(a) != files.canonical_json(b | {"x": 2})
    assert "\n" not in files.canonical_json({"x": "a\nb"})


def test_content_hashes_are_those_of_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(tmp_path / "file") == files.sha256_text("abc") == known


def test_what_was_read_of_the_code_is_kept_and_an_edit_is_read_again(
    package, tmp_path, monkeypatch
):
    """The next process parses the edited file alone; a kept file that is damaged is no harm."""
    monkeypatch.chdir(tmp_path)
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(provenance.ast, "parse", lambda text: parsed.append(text) or parse(text))

    def next_process():
        provenance._known.cache_clear()
        parsed.clear()
        return hash_now("train", "strided_cnn")

    before = next_process()
    assert len(parsed) > 20
    provenance.remember()
    assert next_process() == before and not parsed
    edit(package / "recipe.py", "VALIDATION_SHARE = 0.2", "VALIDATION_SHARE = 0.3")
    edited = next_process()
    assert edited != before and len(parsed) == 1
    kept = tmp_path / provenance.KEPT
    whole = kept.read_text(encoding="utf-8")
    for damaged in (whole[:-9], "[]", whole.replace('"python": "', '"python": "x')):
        kept.write_text(damaged, encoding="utf-8")
        assert next_process() == edited and len(parsed) > 20
    provenance._known.cache_clear()


def test_a_record_names_its_inputs_and_an_older_one_by_its_command(tmp_path):
    file = tmp_path / "data.safetensors"
    file.write_bytes(b"images")
    record = new_record({"arch": "x"}, {"data": file}, ["unlearning.seeds"])
    assert record["version"] == 1 and input_paths(record) == {"data": str(file)}
    assert record["inputs"] == {"data": files.sha256_file(file)}
    older = {key: record[key] for key in record if key not in ("version", "paths")}
    older["command"] = f"python -m unlearning train --data {file} --settings '{{}}' --model m"
    assert input_paths(older) == {"data": str(file)}


def test_an_older_manifest_has_settings_and_paths_by_its_commands():
    older = read_manifest(ROOT / "paper/reference/mini_seeds/manifest.csv")
    assert set(COLUMNS) <= set(older)
    ran = older[older["record"] != ""]
    assert set(older["version"]) == {""} and len(ran) > 100
    for row in ran.to_dict("records"):
        assert json.loads(row["settings"])["method"] == row["method"]
        assert all(row[f"{role}_path"] for role in INPUTS)
    assert (older.loc[older["record"] == "", "settings"] == "").all()
