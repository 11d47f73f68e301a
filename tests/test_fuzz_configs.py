"""Any config at all: it is a run, or every line of one error says file, key and what is wrong.

Right configs are made wrong at random. What reads them is what the Snakefile asks
(`checks.plan`); a sample goes through Snakemake itself.
"""

from __future__ import annotations

import copy
import gc
import itertools
import os
import re
import reprlib
import sys
import traceback

import ledger
import pytest
import yaml
from conftest import METHOD_FILES, ROOT
from fuzzing import fuzzing
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from test_config import DATASETS, VALID, changed
from workspace import PROJECT, Workspace

from unlearning.config.parsing import ConfigError
from unlearning.config.yaml_files import read_yaml
from unlearning.plan import grid
from unlearning.plan.checks import plan

FILE = "configs/mine.yaml"
PLANNED = 120 if ledger.NIGHTLY else 24
LONGEST = 2_000  # characters of a line: it says what is wrong, not the whole of it
SHAPES = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "configs").glob("*.yaml"))
}
BASES = st.sampled_from([VALID] * 3 * len(SHAPES) + list(SHAPES.values()))
TINY = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text(encoding="utf-8"))
FUZZ = fuzzing(2_000, 6_000)
SMALL = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 12)
    | st.sampled_from([2**31, 2**32, 2**63, 10**30, 1e400, -0.0, 1e-320])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["duck", "oracle", "release", "validation", "cifar10", "vit", "a\nb", "../x"])
    | st.sampled_from(["original_erm", "feature_space", "shortcut", "packed:cifar10", "a" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NOISE = SMALL | SMALL.map(lambda value: [value] * 3000) | st.just(list(range(3000)))
KEYS = (
    st.text(max_size=10)
    | st.sampled_from(["Run", "train-seeds", "int", "str", "lr", "1", "study", "models_of"])
    | st.sampled_from(["draw", "tuning", "attacks", "features", "settings", "precision"])
)


@pytest.fixture(scope="module")
def tally():
    """How many inputs a fuzz made, and how many were handled wrongly: counted at the end."""
    found = {}
    yield found
    for what, (times, lost) in found.items():
        ledger.count(what, times, lost)


def places(value, path=()):
    """The path of everything inside `value`, of a list of its first ten."""
    pairs = enumerate(value[:10]) if isinstance(value, list) else ()
    pairs = value.items() if isinstance(value, dict) else pairs
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


class Raw:
    """A config that is short to print: Hypothesis writes dicts and dataclasses out in full."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Raw({reprlib.repr(self.value)})"


@st.composite
def mutations(draw, bases=BASES):
    """A right config with one to three things in it dropped, replaced, added, renamed or copied."""
    raw = copy.deepcopy(draw(bases))
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(raw))
        if not paths:
            break
        *parents, last = draw(st.sampled_from(paths))
        block = at(raw, parents)
        kind = draw(st.sampled_from(["drop", "replace", "add", "rename", "repeat", "graft"]))
        if kind == "drop":
            del block[last]
        elif kind == "graft":  # something right in a place where it is wrong
            block[last] = copy.deepcopy(at(raw, draw(st.sampled_from(paths))))
        elif kind == "replace":
            block[last] = copy.deepcopy(draw(NOISE))
        elif isinstance(block, list):
            block.append(
                copy.deepcopy(block[last]) if kind == "repeat" else copy.deepcopy(draw(NOISE))
            )
        else:
            block[draw(KEYS)] = block.pop(last) if kind == "rename" else copy.deepcopy(draw(NOISE))
    return Raw(raw)


def at(raw, path):
    """What lies at a path."""
    for key in path:
        raw = raw[key]
    return raw


def explained(error, *files):
    """Whether each line of an error names one of the files, a place in it, and a reason."""
    pattern = rf"({'|'.join(map(re.escape, files))})(: |, line \d+)\S.{{3,}}"
    lines = str(error).splitlines()
    return bool(lines) and all(
        re.fullmatch(pattern, line) and len(line) < LONGEST and line.isprintable() for line in lines
    )


def run_or_error(raw):
    """The cells of a config, or the error that says why there are none."""
    try:
        config, searches = plan(raw, FILE, DATASETS, METHOD_FILES)
        cells = [*grid.cells(config), *grid.study_cells(config)]
        return cells + [c for e in searches for c in grid.cells_of(e)]
    except ConfigError as error:
        return error


@FUZZ
@given(raw=mutations())
@example(raw=Raw(changed({"Run": "x"})))
@example(raw=Raw(changed({"run": [[[0] * 3000] * 3000] * 3000})))
@example(raw=Raw(changed({"experiments.0.train_seeds": list(range(3000))})))
def test_any_config_is_a_run_or_explained(tally, raw):
    times, lost = tally.get("fuzz_config", (0, 0))
    tally["fuzz_config"] = times + 1, lost + 1
    found = run_or_error(raw.value)
    assert found
    assert isinstance(found, list) or explained(found, FILE, str(METHOD_FILES)), found
    tally["fuzz_config"] = times + 1, lost


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A copy of the project in which nothing was made yet."""
    return Workspace.create(tmp_path_factory.mktemp("fuzz"))


def planned(space, text):
    """Exit status and words of `snakemake -n` on a config file with these bytes.

    Snakemake is imported once and a process forked for each plan: with the library of this one.
    """
    from snakemake import cli

    (space.root / FILE).write_bytes(text)
    log = space.root / "plan.log"
    log.write_text("")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            gc.freeze()  # a collection would walk through, and copy, what is shared
            os.chdir(space.root)
            for stream in (1, 2):
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            sys.stdout = sys.stderr = os.fdopen(1, "w", encoding="utf-8")
            words = ["--snakefile", str(PROJECT / "Snakefile"), "--configfile", FILE]
            cli.main(["-n", "--quiet", "rules", "--cores", "1", *words])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, log.read_text(errors="replace")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in itertools.pairwise("abcdef")
)
TEXTS = {
    "empty": b"",
    "control characters": bytes(range(128)),
    "a list": b"- run\n- experiments\n",
    "one word": b"experiments",
    "tabs": b"run: x\n\texperiments: []\n",
    "not closed": b"run: [x\n",
    "an unknown anchor": b"run: *nobody\nexperiments: []\n",
    "a Python object": b"run: !!python/object/apply:os.system ['touch stolen']\nexperiments: []\n",
    "aliases of aliases": BOMB.encode() + b"run: x\nexperiments: *f\n",
    "two documents": b"run: x\n---\nrun: y\n",
    "no experiments": b"run: x\n",
}


def refused(space, status, text):
    """Whether a plan failed with our words or Snakemake's, and not with a traceback."""
    told = FILE in text or "configs/" in text or "YAML" in text
    return status == 1 and told and "Traceback" not in text and len(text) < 60_000


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_config_is_refused_by_snakemake(space, tally, text):
    before = space.contents(".")
    times, lost = tally.get("fuzz_plan", (0, 0))
    tally["fuzz_plan"] = times + 1, lost + 1
    status, words = planned(space, text)
    assert refused(space, status, words), words[:2000]
    assert untouched(space, before)
    tally["fuzz_plan"] = times + 1, lost


def test_bytes_that_are_no_text_end_in_snakemakes_own_words(space):
    """Snakemake reads the file before it reads the Snakefile, and shows where it stumbled."""
    before = space.contents(".")
    status, words = planned(space, b"run: \xff\xfe\nexperiments: []\n")
    assert status == 1 and "UnicodeDecodeError: 'utf-8' codec" in words.strip().splitlines()[-1]
    assert untouched(space, before)


def untouched(space, before):
    """Whether a plan left everything as it was, but for its own log and file."""
    own = {FILE, "plan.log"}
    now = {name: content for name, content in space.contents(".").items() if name not in own}
    kept = {name: content for name, content in before.items() if name not in own}
    return {n for n in now.keys() ^ kept.keys() if not n.startswith(".snakemake")} == set() and all(
        now[name] == kept[name] for name in kept if not name.startswith(".snakemake")
    )


@settings(FUZZ, max_examples=PLANNED, phases=[Phase.explicit, Phase.generate])
@given(raw=mutations(st.sampled_from([TINY, TINY, VALID])))
@example(raw=Raw(TINY))
def test_snakemake_plans_a_config_or_says_what_is_wrong(space, tally, raw):
    """What the check finds right can be planned, and what it refuses Snakemake refuses."""
    before = space.contents(".")
    times, lost = tally.get("fuzz_plan", (0, 0))
    tally["fuzz_plan"] = times + 1, lost + 1
    text = yaml.safe_dump(raw.value, allow_unicode=True)
    status, words = planned(space, text.encode())
    found = run_or_error(read_yaml(space.root / FILE))
    if isinstance(found, list):
        assert status == 0 and "Traceback" not in words, words[-3000:]
    else:
        assert refused(space, status, words), words[-3000:]
    assert untouched(space, before)
    tally["fuzz_plan"] = times + 1, lost


def test_the_fuzz_can_fail():
    """An error without a place, or with the whole of a long list, is not an explanation."""
    assert explained(ConfigError(f"{FILE}: training.lr: should be a number, got 'x'"), FILE)
    for text in ("", "something is wrong", f"{FILE}: x", f"{FILE}: run: got {'a' * 9000}"):
        assert not explained(ConfigError(text), FILE)
