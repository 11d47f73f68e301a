"""Settings are read as they are meant, or refused with file, key and what would be right."""

from __future__ import annotations

import copy
import json
import re
import shutil

import pytest
import yaml
from conftest import METHOD_FILES, ROOT
from workspace import Workspace

from unlearning.audit.reported import read_reported
from unlearning.claims.deviations import read_decisions
from unlearning.claims.statements import read_claims
from unlearning.config import hyperparameters
from unlearning.config.parsing import ConfigError, parse
from unlearning.config.resources import MOST_DAYS, Resources, megabytes, minutes
from unlearning.config.yaml_files import read_yaml
from unlearning.data.catalogue import catalogue
from unlearning.jobs import costs
from unlearning.stages.estimate import stated_gpu

HEAD = """run: trial
experiments:
  - dataset: fashion_mnist_mini
    arch: strided_cnn
"""
BODY = """    training: {epochs: 1, batch_size: 128, lr: 0.1, schedule: onecycle}
    train_seeds: [0]
    scenarios:
      class_removal: {forget: [0]}
    methods: [fine_tuning, duck]
"""
CONFIG = HEAD + BODY
SECOND = """    scenarios:
      homogeneous_removal: {fraction: 0.1, split_seeds: [0]}
"""
METHOD = """defaults:
  source: here
  settings: {lr: 0.1, epochs: 10}
"""
CLAIM = """- claim: forgets
  statement: it forgets
  source: Table 1
  scenario: class_removal
  kind: level
  metric: aus
  method: duck
  below: 0.05
"""
DECISION = """- part: The method
  decision: targets
  paper: one
  release: another
  here: the paper's
  switch: none
  reason: it is the paper's
"""


@pytest.fixture
def write(tmp_path):
    """Write a text as a file and give its path."""

    def make(text, name="mine.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return make


def refusal(read, path):
    """The lines that `read` refuses a file with, without the file's name, which each must have."""
    with pytest.raises(ValueError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


# --- a key that is given twice ---

TWICE = {
    "a block of an experiment": (
        CONFIG + SECOND,
        ["experiments.0: scenarios is given twice (lines 7 and 10); keep one"],
    ),
    "a whole grid": (
        CONFIG + CONFIG.split("\n", 1)[1],
        ["(top level): experiments is given twice (lines 2 and 10); keep one"],
    ),
    "three times": (
        "a: 1\nb: 2\na: 3\na: 4\n",
        [f"(top level): a is given twice (lines 1 and {line}); keep one" for line in (3, 4)],
    ),
    "on one line": (
        "a: {b: [0, {c: 1, c: 1}]}\n",
        ["a.b.1: c is given twice (lines 1 and 1); keep one"],
    ),
    "quoted once": ("a: 1\n'a': 2\n", ["(top level): a is given twice (lines 1 and 2); keep one"]),
    "in an anchor, which is one place": (
        "a: &x {c: 1, c: 2}\nb: *x\n",
        ["a: c is given twice (lines 1 and 1); keep one"],
    ),
    "a merge": (
        "a: &x {c: 1}\nb: &y {c: 2}\nd:\n  <<: *x\n  <<: *y\n",
        ["d: << is given twice (lines 4 and 5); keep one"],
    ),
}


@pytest.mark.parametrize(("text", "lines"), TWICE.values(), ids=TWICE)
def test_a_key_that_stands_twice_is_refused_with_both_lines(write, text, lines):
    assert refusal(read_yaml, write(text)) == lines


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 100_000, "{a: " * 5000, "[" * 101 + "]" * 101]
)
def test_what_lies_too_deep_for_the_reader_in_c_is_refused(tmp_path, text):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 100 + "]" * 100, encoding="utf-8")
    assert str(read_yaml(path)) == "[" * 100 + "]" * 100
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"deep.yaml: .*more than 100 levels"):
        read_yaml(path)


def test_a_key_that_stands_twice_in_json_is_refused(write):
    (line,) = refusal(read_yaml, write('{"a": {"b": 1, "b": 2}}', "config.json"))
    assert "b is given twice" in line


def test_a_setting_that_stands_twice_is_refused_in_every_other_file(write):
    method = METHOD.replace("{lr: 0.1,", "{lr: 0.001, lr: 5.0,")
    (line,) = refusal(hyperparameters.load, write(method))
    assert line == "defaults.settings: lr is given twice (lines 3 and 3); keep one"
    (line,) = refusal(read_claims, write(CLAIM + "  below: 5\n"))
    assert line == "0: below is given twice (lines 8 and 9); keep one"
    (line,) = refusal(read_decisions, write(DECISION + "  paper: other\n"))
    assert line == "0: paper is given twice (lines 3 and 8); keep one"


def test_the_same_files_with_each_key_once_are_read(write):
    assert hyperparameters.load(write(METHOD))["defaults"]["settings"] == {"lr": 0.1, "epochs": 10}
    assert [claim.bound for claim in read_claims(write(CLAIM))] == [0.05]
    assert [one.paper for one in read_decisions(write(DECISION))] == ["one"]


def test_a_merge_that_a_key_overrides_is_no_key_that_stands_twice(write):
    text = "a: &x {c: 1, d: 2}\nb: {<<: *x, c: 3}\ne: {<<: [*x, {f: 4}]}\n"
    merged = {"b": {"c": 3, "d": 2}, "e": {"c": 1, "d": 2, "f": 4}}
    assert read_yaml(write(text)) == {"a": {"c": 1, "d": 2}} | merged


FILES = [
    *ROOT.glob("configs/*.yaml"),
    *ROOT.glob("configs/methods/*.yaml"),
    *ROOT.glob("paper/*.yaml"),
]


def test_the_files_of_the_repository_hold_what_yaml_1_1_reads_in_them():
    for path in FILES:
        assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text(encoding="utf-8"))), path


def test_an_alias_within_itself_ends(write):
    found = read_yaml(write("a: &x [1, *x]\n"))
    assert found["a"][1] is found["a"]


# --- numbers ---


@pytest.mark.parametrize(
    "form", ["010", "-010", "08", "0x10", "0o10", "0b11", "1_000", "1:30", "12:00:00", "1_0.5"]
)
def test_a_number_that_is_not_in_plain_decimal_digits_stays_text(write, form):
    assert read_yaml(write(f"a: {form}\n")) == {"a": form}


@pytest.mark.parametrize(
    ("form", "number"),
    {
        **{"10": 10, "-3": -3, "+3": 3, "0": 0, "0.5": 0.5, ".5": 0.5, "5.": 5.0},
        **{"1e-3": 1e-3, "5e-4": 5e-4, "1E5": 1e5, "1.5e3": 1.5e3, "-2e+1": -20.0},
    }.items(),
)
def test_a_plain_number_is_that_number(write, form, number):
    found = read_yaml(write(f"a: {form}\n"))["a"]
    assert found == number and type(found) is type(number)


PLACES = {
    "train_seeds.0": ("train_seeds: [0]", "train_seeds: [{}]"),
    "training.epochs": ("epochs: 1", "epochs: {}"),
    "training.lr": ("lr: 0.1", "lr: {}"),
    "scenarios.class_removal.forget.0": ("forget: [0]", "forget: [{}]"),
    "scenarios.homogeneous_removal.split_seeds.0": (
        "class_removal: {forget: [0]}",
        "homogeneous_removal: {{fraction: 0.1, split_seeds: [{}]}}",
    ),
    "scenarios.homogeneous_removal.count": (
        "class_removal: {forget: [0]}",
        "homogeneous_removal: {{count: {}, split_seeds: [0]}}",
    ),
    "attacks.shadows": ("    train_seeds", "    attacks: {{shadows: {}}}\n    train_seeds"),
}


@pytest.mark.parametrize("form", ["010", "1:30", "0x10", "1_000"])
@pytest.mark.parametrize(("key", "place"), PLACES.items(), ids=PLACES)
def test_another_form_of_a_number_is_refused_with_key_and_text(write, key, place, form):
    old, new = place
    assert old in CONFIG
    path = write(CONFIG.replace(old, new.format(form)))
    lines = refusal(lambda path: parse(read_yaml(path), str(path)), path)
    got = f"got '{form}'; write plain decimal digits"
    assert any(line.startswith(f"experiments.0.{key}: ") and got in line for line in lines), lines


def test_another_form_of_a_number_is_refused_in_other_files(write):
    variant = METHOD + "overrides:\n  - when: {}\n    source: there\n    settings: {epochs: 010}\n"
    (line,) = refusal(hyperparameters.load, write(variant))
    assert line.startswith("overrides.0.settings.epochs: should be a int like 10, got '010'; write")
    (line,) = refusal(read_claims, write(CLAIM.replace("0.05", "1:30")))
    assert "below: " in line and "got '1:30'; write plain decimal digits" in line


def test_an_exponent_without_a_point_is_a_number_also_as_the_text_that_snakemake_makes_of_it(write):
    text = CONFIG.replace("lr: 0.1", "lr: 1e-3, weight_decay: 5e-4").replace(
        "fine_tuning,", "{name: x, method: fine_tuning, settings: {lr: 5e-4}},"
    )
    path = write(text)
    for raw in (read_yaml(path), yaml.safe_load(text)):
        training = parse(raw, "x").experiments[0].training
        assert (training.lr, training.weight_decay) == (1e-3, 5e-4)
    assert parse(read_yaml(path), "x").experiments[0].methods[0].settings == {"lr": 5e-4}


# --- units ---


@pytest.mark.parametrize(
    ("text", "whole"),
    {
        **{"2h": 120, "1d": 1440, "90m": 90, "90 min": 90, "1.5h": 90, "1d 12h": 2160},
        **{"12:00:00": 720, "1-12:00:00": 2160, "1-12": 2160, "2-00:30": 2910},
        **{"00:00:30": 1, "2 hours": 120, "1W": 10080, "100s": 2},
    }.items(),
)
def test_a_time_is_minutes_rounded_up(write, text, whole):
    assert minutes(text) == whole
    assert Resources(**read_yaml(write(f"runtime: {text}\n"))).runtime == whole  # unquoted


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("4GB", 4000),
        ("4000MB", 4000),
        ("4GiB", 4295),
        ("4G", 4000),
        ("1.5 gb", 1500),
        ("1TB", 10**6),
    ],
)
def test_an_amount_of_memory_is_megabytes_rounded_up(write, text, whole):
    assert megabytes(text) == whole
    assert Resources(**read_yaml(write(f"mem_mb: {text}\n"))).mem_mb == whole


WRONG_RESOURCES = {
    "seconds": ("runtime: 43200", "runtime: 43200 minutes are 30 days, the most is 14; write min"),
    "a month": ("runtime: 30d", "runtime: 43200 minutes are 30 days, the most is 14"),
    "hours or minutes": ("runtime: 1:30", "runtime: 1:30 may be hours and minutes or minutes and"),
    "an unknown unit": ("runtime: 3 moons", "runtime: not a time: '3 moons'; write minutes, 720"),
    "base 60 without a leading zero": ("runtime: 1:99:00", "runtime: not a time: '1:99:00'"),
    "octal minutes": ("runtime: 010", "runtime: not a time: '010'; write minutes"),
    "a fraction": ("runtime: 1.5", "runtime: input should be a valid integer, got 1.5"),
    "octal memory": ("mem_mb: 04000", "mem_mb: not an amount of memory: '04000'; write MB, 4000"),
    "gigabytes for megabytes": ("mem_mb: 4", "mem_mb: 4 MB are not between 256 and 4000000 MB"),
    "bytes for megabytes": ("mem_mb: 4000000000", "mem_mb: 4000000000 MB are not between"),
    "several GPUs": ("gpu: 2", "gpu: a job computes on one GPU, got 2; write 1 or 0"),
}


@pytest.mark.parametrize(("setting", "line"), WRONG_RESOURCES.values(), ids=WRONG_RESOURCES)
def test_a_resource_that_is_not_meant_is_refused_with_its_unit(write, setting, line):
    path = write(CONFIG + f"    resources: {{{setting}}}\n")
    (found,) = refusal(lambda path: parse(read_yaml(path), str(path)), path)
    assert found.startswith(f"experiments.0.resources.{line}")


def test_the_longest_time_is_accepted():
    assert Resources(runtime=MOST_DAYS * 1440).runtime == Resources(runtime="14d").runtime == 20160


def test_a_config_with_units_survives_being_written_as_json(write):
    path = write(CONFIG + "    resources: {runtime: 12:00:00, mem_mb: 4GB}\n")
    found = parse(read_yaml(path), "x")
    assert parse(json.loads(json.dumps(found.model_dump())), "x") == found


# --- a byte-order mark ---

MARK = "\ufeff".encode()


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("configs/datasets.csv", catalogue),
        ("configs/costs.csv", costs.read),
        ("configs/gpus.csv", lambda path: stated_gpu("a100", path)),
        ("paper/reported.csv", read_reported),
        ("paper/claims.yaml", read_claims),
        ("paper/deviations.yaml", read_decisions),
        ("configs/methods/duck.yaml", hyperparameters.load),
        ("configs/cifar.yaml", read_yaml),
    ],
)
def test_a_byte_order_mark_changes_nothing(tmp_path, file, read):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    for folder, mark in ((plain, b""), (marked, MARK)):
        folder.mkdir()
        shutil.copy(ROOT / "configs/contents.csv", folder / "contents.csv")
        (folder / "file").write_bytes(mark + (ROOT / file).read_bytes())
    assert repr(read(marked / "file")) == repr(read(plain / "file"))


def test_a_byte_order_mark_before_the_hashes_of_contents_changes_nothing(tmp_path):
    shutil.copy(ROOT / "configs/datasets.csv", tmp_path)
    contents = (ROOT / "configs/contents.csv").read_bytes()
    (tmp_path / "contents.csv").write_bytes(MARK + contents)
    found = catalogue(tmp_path / "datasets.csv")
    assert found == catalogue(ROOT / "configs/datasets.csv")
    assert any(info.contents for info in found.values())


# --- Snakemake, which reads the config before the product does ---


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A copy of the project, its catalogue and costs saved by a spreadsheet."""
    found = Workspace.create(tmp_path_factory.mktemp("meant"))
    for table in ("datasets", "contents", "costs", "gpus"):
        path = found.root / f"configs/{table}.csv"
        path.write_bytes(MARK + path.read_bytes())
    return found


def dry_run(space, text):
    (space.root / "configs/mine.yaml").write_text(text, encoding="utf-8")
    return space.snakemake("-n", config="configs/mine.yaml")


def test_snakemake_plans_nothing_where_a_key_stands_twice_or_a_number_is_octal(space):
    status, words = dry_run(space, CONFIG + SECOND)
    assert status == 1 and "Job stats" not in words
    assert re.search(
        r"mine\.yaml: experiments\.0: scenarios is given twice \(lines 7 and 10\)", words
    )
    status, words = dry_run(space, CONFIG.replace("train_seeds: [0]", "train_seeds: [010, 1:30]"))
    assert status == 1 and "Job stats" not in words
    for number, text in enumerate(("010", "1:30")):
        assert re.search(rf"mine\.yaml: experiments\.0\.train_seeds\.{number}: .*'{text}'", words)


def test_snakemake_runs_with_what_is_meant_and_what_is_overridden(space):
    text = "\ufeff" + CONFIG.replace("lr: 0.1", "lr: 1e-1")
    text += "    resources: {runtime: 12:00:00, mem_mb: 4GB}\n"
    (space.root / "configs/mine.yaml").write_text(text, encoding="utf-8")
    written = "results/other/config.json"
    override = ("--config", "run=other", "sources={cifar10: /x}")
    status, words = space.snakemake(written, *override, config="configs/mine.yaml")
    assert status == 0, words
    found = json.loads((space.root / written).read_text(encoding="utf-8"))
    assert (found["run"], found["sources"]) == ("other", {"cifar10": "/x"})
    (experiment,) = found["experiments"]
    assert experiment["training"]["lr"] == 0.1
    assert experiment["resources"] == {"runtime": 720, "mem_mb": 4000, "gpu": 0, "threads": 1}


def test_the_check_of_a_config_can_fail():
    """The same config with nothing wrong in it passes: the refusals above are of one thing."""
    raw = yaml.safe_load(CONFIG)
    methods = hyperparameters.known_methods(METHOD_FILES)
    datasets = catalogue(ROOT / "configs/datasets.csv")
    assert parse(copy.deepcopy(raw), "x", datasets, methods).run == "trial"
    with pytest.raises(ConfigError):
        parse(raw | {"experiments": []}, "x", datasets, methods)
