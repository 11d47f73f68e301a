"""Trainings killed, interrupted, short of memory or disk: they resume, and no file is partial."""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import ledger
import pytest
import torch
from faults import Child, die, leftovers, mounted

from unlearning import files
from unlearning.files import canonical_json, load_tensors, save_tensors, sha256_file, write_json
from unlearning.records.provenance import code_hash
from unlearning.records.record import read_record
from unlearning.runtime import forkserver
from unlearning.runtime.job import run_verb
from unlearning.training import loop

SEED = 20240817
KILLS, TERMINATIONS = 20, 8
SETTINGS = {
    **{"dataset": "toy", "arch": "strided_cnn", "pretrained": False, "head_dropout": 0.3},
    **{"precision": "float32", "evaluation": "test", "threads": 1, "train_seed": 0},
    "training": {
        **{"epochs": 4, "batch_size": 16, "lr": 0.05, "momentum": 0.9, "flip": True, "crop": 1},
        "schedule": "onecycle",
    },
}
STEPS = 20


class Training:
    """A training of some seconds: the stage itself, in processes of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        generator = torch.Generator().manual_seed(5)
        self.data, tensors = base / "data/toy.safetensors", {}
        for part, count in (("train", 16 * STEPS), ("test", 20)):
            shape = (count, 1, 16, 16)
            images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            tensors |= {f"{part}_images": images, f"{part}_labels": torch.arange(count) % 4}
        save_tensors(self.data, tensors)
        facts = {"name": "toy", "classes": 4, "mean": [0.5], "std": [0.25]}
        write_json(self.data.with_suffix(".json"), facts | {"sha256": sha256_file(self.data)})
        code_hash(["unlearning.stages.train"])  # what the children would each read again
        began = time.perf_counter()
        assert self.start("whole").end() == 0
        self.seconds = time.perf_counter() - began
        self.weights = (base / "whole/model.safetensors").read_bytes()

    def command(self, folder: Path, **changed) -> list[str]:
        words = {"data": self.data, "settings": canonical_json(SETTINGS | changed)}
        words |= {"model": folder / "model.safetensors", "record": folder / "record.json"}
        return ["train", *(str(w) for name, word in words.items() for w in (f"--{name}", word))]

    def start(self, name: str, before=lambda: None, **changed) -> Child:
        """Begin the training in a folder; `before` is called in its process."""
        folder = self.base / name
        folder.mkdir(exist_ok=True)

        def work():
            os.environ["UNLEARNING_DEVICE"] = "cpu"
            before()
            run_verb(self.command(folder, **changed))

        return Child(work, self.base / f"{name}.log")

    def lost(self, name: str) -> list[str]:
        """What is wrong in a folder in which a process was killed: files that are not whole."""
        folder, wrong = self.base / name, []
        model, record = folder / "model.safetensors", folder / "record.json"
        if model.exists() and model.read_bytes() != self.weights:
            wrong.append("half or other weights under the final name")
        for file in folder.glob("resume/*.safetensors"):
            load_tensors(file)
        if record.exists():
            stated = read_record(record)["outputs"]["model"]
            wrong += [] if model.exists() and stated == sha256_file(model) else ["record"]
        return wrong

    def finished(self, name: str) -> list[str]:
        """What is wrong in a folder whose training has ended well."""
        folder = self.base / name
        names = sorted(path.name for path in folder.rglob("*"))
        left = [] if names == ["model.safetensors", "record.json"] else names
        return self.lost(name) + left


@pytest.fixture(scope="module")
def run(tmp_path_factory, _one_thread):
    return Training(tmp_path_factory.mktemp("training"))


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    (state,) = folder.glob("resume/*.safetensors")
    return load_tensors(state)


# --- killed ---


def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(run):
    moments, wrong, kills, trainings = random.Random(SEED), [], 0, 0
    while kills < KILLS:
        name, trainings = f"killed-{trainings}", trainings + 1
        for _ in range(KILLS):
            child, moment = run.start(name), moments.uniform(0, run.seconds)
            ended = select.select([os.pidfd_open(child.number)], [], [], moment)[0]
            child.kill()
            if child.end() == 0 and ended:
                break
            print(f"{name}: killed after {moment:.3f} s of {run.seconds:.3f} s")
            kills += 1
            wrong += run.lost(name)
        else:
            assert run.start(name).end() == 0
        wrong += run.finished(name)
    ledger.count("kill_training", kills, len(wrong))
    assert not wrong and trainings > 0


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_training_killed_while_it_writes_a_file_leaves_no_half_one(run, call, when):
    """The n-th file of its process: the states, the weights, the record."""
    name, wrong, kills = f"{call}-{when}", [], 0
    for turn in range(1, 9):

        def before(last=turn % 3 + 1):
            real, calls = getattr(os, call), []

            def deadly(*arguments):
                calls.append(None)
                if len(calls) == last and when == "before":
                    die()
                real(*arguments)
                if len(calls) == last:
                    die()

            setattr(os, call, deadly)

        child = run.start(name, before)
        if child.end() == 0:
            break
        kills += 1
        wrong += run.lost(name)
    assert run.start(name).end() == 0
    wrong += run.finished(name)
    ledger.count("kill_training", kills, len(wrong))
    assert kills >= 3 and not wrong


def test_control_a_write_under_the_final_name_would_be_seen_half(run):
    def before():
        def at_once(path, tensors):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(run.weights[: len(run.weights) // 2])
            die()

        from unlearning.stages import train as stage

        stage.save_tensors = at_once

    assert run.start("control", before).end() == -signal.SIGKILL
    assert run.lost("control")


# --- interrupted ---


def started(run, name: str, before=lambda: None, **changed) -> Child:
    """A training of which the first step has begun."""
    reader, writer = os.pipe()

    def tell():
        before()
        real = loop.lr_factor
        loop.lr_factor = lambda *given: os.write(writer, b".") and real(*given)

    child = run.start(name, tell, **changed)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b".", child.words
    finally:
        child.reader = reader  # its end would be the child's SIGPIPE
    return child


def test_a_training_told_to_end_saves_its_state_and_goes_on_to_the_same_bytes(run):
    moments, slowest, between, lost, ends = random.Random(SEED), 0.0, 0, [], 0
    for turn in range(TERMINATIONS):
        name, sign = f"told-{turn}", {2: signal.SIGHUP, 3: signal.SIGINT}.get(turn, signal.SIGTERM)
        child = started(run, name)
        moment = moments.uniform(0, 0.5 * run.seconds)
        time.sleep(moment)
        began = time.perf_counter()
        child.kill(sign)
        status = child.end()
        took = time.perf_counter() - began
        slowest = max(slowest, took)
        print(f"{name}: {sign.name} after {moment:.3f} s, ended with {status} in {took:.3f} s")
        if status == 0:  # it was done
            continue
        ends += 1
        if status == 128 + sign:
            between += state_of(run.base / name)["at.progress"][1] > 0
        else:
            lost.append(f"{name}: status {status}")
        assert run.start(name).end() == 0
        lost += run.finished(name)
    print(f"slowest end: {slowest:.3f} s")
    ledger.count("terminate_training", ends, len(lost))
    assert not lost and slowest < 5
    assert ends > TERMINATIONS // 2 and between > 0


@pytest.fixture
def stopped(run, request):
    """The folder of a training interrupted in the middle of its second epoch."""

    def before():
        real, steps = loop.lr_factor, []

        def counting(*given):
            steps.append(None)
            if len(steps) == STEPS + 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(*given)

        loop.lr_factor = counting

    name = f"stopped-{request.node.originalname}-{abs(hash(request.node.name))}"
    assert run.start(name, before).end() == 128 + signal.SIGTERM
    assert state_of(run.base / name)["at.progress"][:2].tolist() == [1, 7]
    return name


def test_a_training_goes_on_in_the_middle_of_an_epoch(run, stopped):
    assert run.start(stopped).end() == 0
    assert not run.finished(stopped)


@pytest.mark.parametrize("part", ["optim.", "random.batches", "random.dropout", "at.progress"])
def test_control_a_state_without_a_part_of_it_gives_other_weights(run, stopped, part):
    (path,) = (run.base / stopped).glob("resume/*.safetensors")
    tensors = load_tensors(path)
    if part == "at.progress":
        tensors[part][1] += 1  # a step is left out
    elif part == "optim.":
        tensors = {name: t for name, t in tensors.items() if not name.startswith(part)}
    else:
        tensors[part] = torch.Generator().manual_seed(3).get_state()
    save_tensors(path, tensors)
    assert run.start(stopped).end() == 0
    assert run.lost(stopped)


@pytest.fixture(scope="module")
def server():
    """The environment of commands whose jobs a server forks."""
    text = (
        "import os, sys; from unlearning.runtime import forkserver; forkserver.start();"
        "print(os.environ[forkserver.FOLDER], flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "UNLEARNING_DEVICE": "cpu"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", text], env=environment, **pipes) as parent:
        folder = parent.stdout.readline().strip()
        yield environment | {forkserver.FOLDER: folder}
        parent.stdin.close()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_the_same_through_the_server_that_forks_jobs(run, server, sign):
    name = f"forked-{sign.name}"
    words = [sys.executable, "-m", "unlearning", *run.command(run.base / name)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = subprocess.Popen(words, env=server, **pipes)
    assert "epoch 1/" in command.stdout.readline()
    time.sleep(0.1 * run.seconds)
    began = time.perf_counter()
    command.send_signal(sign)
    text = command.stdout.read()  # until the job too has closed it
    status, took = command.wait(), time.perf_counter() - began
    print(f"{sign.name}: status {status}, job ended in {took:.3f} s: {text}")
    assert "interrupted: state saved" in text and took < 5
    assert status == (143 if sign == signal.SIGTERM else -signal.SIGKILL)
    assert state_of(run.base / name)["at.progress"][0] >= 1
    assert subprocess.run(words, env=server, **pipes).returncode == 0
    wrong = run.finished(name)
    ledger.count("terminate_training", 1, len(wrong))
    assert not wrong


# --- the clock ---


def test_a_clock_that_jumps_changes_neither_weights_nor_seconds(run):
    jumps = random.Random(SEED)

    def before():
        real = time.time
        time.time = lambda: real() + jumps.choice([-3600, 0, 3600])

    began = time.perf_counter()
    assert run.start("clock", before).end() == 0
    limit = time.perf_counter() - began
    seconds = read_record(run.base / "clock/record.json")["training_seconds"]
    wrong = run.finished("clock") + ([] if 0 < seconds < limit else ["seconds"])
    ledger.count("clock", 1, len(wrong))
    assert not wrong


# --- too little memory, and a machine that is told so in one line ---


def address_space() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_a_training_out_of_memory_says_so_in_one_line_and_leaves_no_half_file(run):
    """All its images in one batch of float32 would need some gigabytes."""
    count, generator = 20_000, torch.Generator().manual_seed(1)
    tensors = {}
    for part, n in (("train", count), ("test", 8)):
        shape = (n, 1, 48, 48)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        tensors |= {f"{part}_images": images, f"{part}_labels": torch.arange(n) % 4}
    data = run.base / "large.safetensors"
    save_tensors(data, tensors)
    facts = {"name": "toy", "classes": 4, "mean": [0.5], "std": [0.25]}
    write_json(data.with_suffix(".json"), facts | {"sha256": sha256_file(data)})

    def before():
        run.data = data
        limit = address_space() + 600 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    wide = {"training": SETTINGS["training"] | {"batch_size": count}}
    child = run.start("starved", before, **wide)
    status, words = child.end(), child.words.splitlines()
    print(words)
    clear = len(words) == 1 and words[0].startswith("error: out of memory") and "mem_mb" in words[0]
    wrong = [] if status == 1 and clear else [words]
    wrong += list((run.base / "starved").rglob("*.*"))
    ledger.count("out_of_memory", 1, len(wrong))
    assert not wrong


# --- a disk that is full, or cannot be written ---


@pytest.fixture
def disk(run):
    with mounted(run.base / "disk", "8m") as disk:
        yield disk


@pytest.mark.parametrize("file", ["state", "model.safetensors", "record.json"])
def test_a_full_disk_is_one_clear_error_and_the_next_try_succeeds(run, disk, file):
    def before():
        from unlearning.stages import train as stage

        module = {"state": loop, "model.safetensors": stage, "record.json": stage}[file]
        name = "write_record" if file == "record.json" else "save_tensors"
        real = getattr(module, name)

        def on_a_full_disk(path, *rest):
            disk.leave(0)
            real(path, *rest)

        setattr(module, name, on_a_full_disk)

    earlier = disk.folder / "model.safetensors"
    earlier.write_bytes(run.weights)
    child = run.start("disk", before)
    status, words = child.end(), child.words.splitlines()[-1]
    print(words)
    named = "resume" if file == "state" else file
    clear = words.startswith("error: ") and named in words and "No space left" in words
    wrong = [] if status == 1 and clear and ".part" not in words else [words]
    wrong += leftovers(disk.folder) + run.lost("disk")
    disk.free()
    assert run.start("disk").end() == 0
    wrong += run.finished("disk")
    ledger.count("disk_full", 1, len(wrong))
    assert not wrong


def test_a_folder_that_cannot_be_written_is_one_clear_error_and_loses_nothing(run, disk):
    assert run.start("disk").end() == 0
    disk.remount("ro")
    child = run.start("disk")
    status, words = child.end(), child.words.splitlines()
    print(words)
    (error,) = [line for line in words if line.startswith("error: ")]
    clear = "Read-only" in error and str(disk.folder) in error and ".part" not in error
    wrong = [] if status == 1 and clear and words[-1] == error else [words]
    disk.remount("rw")
    wrong += run.finished("disk")
    ledger.count("read_only", 1, len(wrong))
    assert not wrong


# --- temporary files ---


def test_a_temporary_file_that_nobody_holds_is_removed_and_one_in_use_is_not(tmp_path):
    abandoned = tmp_path / ".a.txt.0123.part"
    abandoned.write_text("half")
    other = tmp_path / ".b.txt.0123.part"
    other.write_text("of another file")
    with files.whole(tmp_path / "a.txt") as slow:
        slow.write_text("slow")
        files.write_text(tmp_path / "a.txt", "quick")
        assert slow.exists() and not abandoned.exists() and other.exists()
        assert (tmp_path / "a.txt").read_text() == "quick"
    assert (tmp_path / "a.txt").read_text() == "slow"
    assert leftovers(tmp_path) == [other.name]


def test_a_weights_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "weights", {"a": torch.zeros(2)})
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "weights")}
    assert len(modes) == 1
