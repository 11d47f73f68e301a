"""Faults in the real DAG: damaged files, killed jobs, full disks, clocks, two runs at once."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import ledger
import pytest
import yaml
from faults import leftovers, mounted
from workspace import Running, Workspace

from unlearning.metrics.names import COSTS

PROFILE = ("--workflow-profile", "workflow/profiles/local")
ROOT = "results/tiny"
RUNS = f"{ROOT}/runs.csv"
EXPERIMENT = f"{ROOT}/fashion_mnist_mini-strided_cnn"
ORIGINAL = f"{EXPERIMENT}/originals/train-0"
GROUP = f"{EXPERIMENT}/runs/class_removal/class-0/train-0"
DUCK = f"{GROUP}/duck/unlearn-0"
DATA = "data/fashion_mnist_mini.safetensors"
METHODS = 4
MEASURED = {"score": 1, "probe": 1, "collect": 1}
TINY = {
    "run": "tiny",
    "experiments": [
        {
            "dataset": "fashion_mnist_mini",
            "arch": "strided_cnn",
            "training": {"epochs": 1, "batch_size": 128, "lr": 0.1, "schedule": "onecycle"},
            "train_seeds": [0],
            "scenarios": {"class_removal": {"forget": [0]}},
            "methods": [
                {"name": name, "method": name, "settings": {"epochs": 1}}
                for name in ("fine_tuning", "duck")
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A workspace with the runs.csv of four cells; each test leaves it as finished as before."""
    space = Workspace.create(tmp_path_factory.mktemp("faults"))
    (space.root / "configs/tiny.yaml").write_text(yaml.safe_dump(TINY))
    status, text = space.snakemake(RUNS, *PROFILE)
    assert status == 0, text
    return space


def found(space: Workspace) -> list[dict[str, str]]:
    """The rows of runs.csv without what the clock and the allocator say."""
    with open(space.root / RUNS, newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{key: value for key, value in row.items() if key not in COSTS} for row in rows]


def run_again(space: Workspace, before: list[dict]) -> list[str]:
    """What is wrong after the next run of Snakemake, which is to mend everything."""
    status, text = space.snakemake(RUNS, *PROFILE)
    wrong = [] if status == 0 else [text]
    wrong += [] if found(space) == before else ["runs.csv differs"]
    return wrong + leftovers(space.root)


def verify(space: Workspace, *words: str) -> tuple[int, list[str]]:
    status, text = space.command(
        sys.executable, "-m", "unlearning", "verify", "--root", ROOT, *words
    )
    return status, text.splitlines()


def command_of(space: Workspace, folder: str, **changed: str) -> list[str]:
    """The command that made the record in a folder, with options changed."""
    words = shlex.split(json.loads((space.root / folder / "record.json").read_text())["command"])
    for option, value in changed.items():
        words[words.index(f"--{option}") + 1] = value
    return [sys.executable, *words[1:]]


# --- files with changed bytes ---


def damage(path: Path) -> None:
    """Change one bit in the middle of a file; its size and its time stay."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def elsewhere(space: Workspace, file: str) -> list[str]:
    """The command of a job that uses the file, writing outside the results."""
    made = {name: f"elsewhere/{name}" for name in ("model", "record")}
    if file == DATA:
        return command_of(space, ORIGINAL, **made)
    if file.startswith(ORIGINAL):
        return command_of(space, DUCK, **made, outputs="elsewhere/outputs")
    verb = "collect --config results/tiny/config.json --root results/tiny --out elsewhere"
    return [sys.executable, "-m", "unlearning", *verb.split()]


STARTS = {"train_original": 1, "evaluate": 1}
ALL = {"make_split": 1, **STARTS, "train_oracle": 1, "unlearn": METHODS, **MEASURED}


@pytest.mark.parametrize(
    ("what", "file", "planned"),
    [
        ("corrupt_data", DATA, {"fetch_dataset": 1, **ALL}),
        (
            "corrupt_weights",
            f"{ORIGINAL}/model.safetensors",
            {**STARTS, "unlearn": METHODS - 1, **MEASURED},
        ),
        ("corrupt_record", f"{DUCK}/record.json", {"unlearn": 1, **MEASURED}),
    ],
)
def test_a_file_with_changed_bytes_is_refused_named_and_made_again(space, what, file, planned):
    before, size = found(space), (space.root / file).stat().st_size
    assert verify(space)[0] == 0
    damage(space.root / file)
    assert (space.root / file).stat().st_size == size
    assert space.planned(RUNS) == {}  # Snakemake sees nothing
    status, text = space.command(*elsewhere(space, file))
    lines = text.splitlines()
    clear = len(lines) == 1 and lines[0].startswith(f"error: {file}: ") and "verify" in lines[0]
    wrong = [] if status == 1 and clear else [text]
    shutil.rmtree(space.root / "elsewhere", ignore_errors=True)
    status, lines = verify(space)
    print(*lines, sep="\n")
    wrong += [] if status == 1 and [line.split(": ")[0] for line in lines[:-1]] == [file] else lines
    assert verify(space, "--delete")[0] == 1
    assert space.planned(RUNS) == planned
    wrong += run_again(space, before)
    wrong += verify(space)[1] if verify(space)[0] else []
    ledger.count(what, 1, len(wrong))
    assert not wrong


def test_a_record_of_other_weights_than_are_there_is_named(space):
    """The original's weights and record, consistent with each other but of another training."""
    kept = space.root / "kept"
    shutil.copytree(space.root / ORIGINAL, kept)
    try:
        oracle = space.root / EXPERIMENT / "oracles/class_removal/class-0/train-0"
        shutil.copytree(oracle, space.root / ORIGINAL, dirs_exist_ok=True)
        status, lines = verify(space)
    finally:
        shutil.copytree(kept, space.root / ORIGINAL, dirs_exist_ok=True)
        shutil.rmtree(kept)
    named = {line.split(": ")[0]: line for line in lines[:-1]}
    made_from_it = [f"{GROUP}/{m}/unlearn-0" for m in ("original", "fine_tuning", "duck")]
    made_from_it.append(f"{ORIGINAL}/evaluated")
    assert status == 1 and set(named) == {f"{folder}/record.json" for folder in made_from_it}
    assert all("made from other files: its start" in line for line in named.values())


# --- jobs that are killed ---


def clear(space: Workspace, *methods: str) -> None:
    """Take cells away, and runs.csv, which asks for them."""
    (space.root / RUNS).unlink()
    for method in methods:
        shutil.rmtree(space.root / GROUP / method)


def begin(space: Workspace, *words: str) -> contextlib.AbstractContextManager[Running]:
    return space.begun(RUNS, *words, "--cores", "2", "--configfile", "configs/tiny.yaml")


def jobs_of(space: Workspace, *words: str) -> list[int]:
    """The processes in the workspace whose command line has all words."""
    numbers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().split(b"\0")
            ours = os.readlink(folder / "cwd") == str(space.root)
            said = all(word.encode() in b" ".join(line) for word in words)
            if ours and said and line[1:3] == [b"-m", b"unlearning"]:
                numbers.append(int(folder.name))
    return numbers


def test_a_killed_job_stops_no_other_and_is_all_that_runs_again(space):
    before = found(space)
    clear(space, "duck", "fine_tuning")
    with begin(space, "--keep-going") as running:
        for number in running.until(lambda: jobs_of(space, "unlearn", '"method":"duck"')):
            os.kill(number, signal.SIGKILL)
        status, text = running.ended()
    wrong = [] if status == 1 else [text]
    wrong += [] if (space.root / GROUP / "fine_tuning/unlearn-0/record.json").exists() else [text]
    again = space.planned(RUNS)
    wrong += [] if again == {"unlearn": 1, **MEASURED} else [str(again)]
    wrong += run_again(space, before)
    ledger.count("kill_worker", 1, len(wrong))
    assert not wrong


def test_a_second_snakemake_on_one_dag_is_refused_and_writes_nothing(space):
    before, times = found(space), {}
    clear(space, "duck")
    for path in (space.root / "results").rglob("*.safetensors"):
        times[path] = path.stat().st_mtime_ns
    with begin(space) as first:
        # Held until the second has been refused: it is the lock that refuses it only while the job
        # has not ended, and has left no file without a record.
        (job,) = first.until(lambda: jobs_of(space, "unlearn"))
        os.kill(job, signal.SIGSTOP)
        status, text = space.snakemake(RUNS)
        os.kill(job, signal.SIGCONT)
        ended, words = first.ended()
    wrong = [] if status == 1 and "lock" in text.lower() and "Traceback" not in text else [text]
    wrong += [] if ended == 0 else [words]
    wrong += [] if words.count("unlearn class-0") == 1 else [words]
    wrong += [str(path) for path, at in times.items() if path.stat().st_mtime_ns != at]
    wrong += run_again(space, before)
    ledger.count("race_dag", 1, len(wrong))
    assert not wrong


# --- a disk that is full ---


COMMANDS = {
    "outputs": None,
    "runs.csv": "-m unlearning collect --config {root}/config.json --root {root} --out full",
    "accuracies.svg": "figures/accuracies.py --runs {root}/runs.csv --out full/accuracies",
    "class_removal.csv": "-m unlearning tabulate --runs {root}/runs.csv"
    " --ensembles {root}/ensembles.csv --out full",
}


@pytest.mark.parametrize("file", COMMANDS)
def test_a_full_disk_is_one_clear_error_and_the_same_command_then_succeeds(space, file):
    if file == "outputs":
        made = {"model": "elsewhere/model", "record": "elsewhere/record", "outputs": "full/outputs"}
        command = command_of(space, DUCK, **made)
    else:
        command = [sys.executable, *COMMANDS[file].format(root=ROOT).split()]
    with mounted(space.root / "full", "16m") as disk:
        earlier = space.root / "full" / file
        earlier.write_text("as it was")
        disk.leave(0)
        status, text = space.command(*command)
        print(text)
        (error,) = [line for line in text.splitlines() if line.startswith("error: ")]
        one = "Traceback" not in text and f"full/{file}: No space left on device" in error
        wrong = [] if status == 1 and one else [text]
        wrong += [] if earlier.read_text() == "as it was" else ["the earlier file"]
        wrong += leftovers(space.root)
        disk.free()
        status, text = space.command(*command)
        wrong += [] if status == 0 and earlier.stat().st_size > 20 else [text]
        ledger.count("disk_full", 1, len(wrong))
        assert not wrong
    shutil.rmtree(space.root / "elsewhere", ignore_errors=True)


def test_a_run_on_a_full_disk_fails_clearly_and_the_next_one_goes_on(space):
    before, folder, kept = found(space), space.root / GROUP, space.root / "kept"
    shutil.rmtree(folder)
    (space.root / RUNS).unlink()
    with mounted(folder, "700k") as disk:
        status, text = space.snakemake(RUNS, "--keep-going")
        logs = (space.root / ROOT / "logs/unlearn").rglob("*.log")
        errors = [log.read_text() for log in logs if "error: " in log.read_text()]
        print(*errors)
        clear = re.compile(rf"error: {GROUP}\S+: No space left on device\n")
        wrong = [] if status == 1 and errors and all(map(clear.search, errors)) else [text, *errors]
        wrong += leftovers(space.root)
        disk.remount("size=64m")
        wrong += run_again(space, before)
        shutil.copytree(folder, kept)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    shutil.rmtree(kept)
    ledger.count("disk_full", 1, len(wrong))
    assert not wrong


# --- a clock that jumps ---


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumped_between_jobs_retrains_nothing(space, hours):
    """Files from before or after their inputs' times: through a profile contents count.

    Without one Snakemake hashes what is below a megabyte, and believes the time of the data set.
    """
    before, files = found(space), list((space.root / ORIGINAL).iterdir())
    times = {path: path.stat() for path in files}
    for path, at in times.items():
        moved = at.st_mtime_ns + hours * 3600 * 10**9
        os.utime(path, ns=(moved, moved))
    planned = space.planned(RUNS, *PROFILE)
    assert ("train_original" in space.planned(RUNS)) == (hours < 0)
    wrong = [name for name in planned if name.startswith("train")]
    wrong += run_again(space, before)
    for path, at in times.items():
        os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    ledger.count("clock", 1, len(wrong))
    assert not wrong
