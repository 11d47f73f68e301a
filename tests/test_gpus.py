"""Which GPU a job takes: patched CUDA, and as many processes as there are GPUs and more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from unlearning.runtime import gpus
from unlearning.runtime.device import choose_device
from unlearning.runtime.job import reported, waiting

# A process that sees so many GPUs, says which one it took, and holds it until its stdin ends.
JOB = """
import sys, types
from pathlib import Path
import torch
from unlearning.runtime import gpus
from unlearning.runtime.device import choose_device
taken = []
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: int(sys.argv[2])
torch.cuda.set_device = taken.append
torch.cuda.get_device_properties = lambda index: types.SimpleNamespace(uuid=f"uuid-{index}")
gpus.FOLDER, gpus.PAUSE = Path(sys.argv[1]), 0.05
assert choose_device(1) == "cuda"
print("took", *taken, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Patch CUDA in this process: so many GPUs, and the list of those that were made current."""
    taken = []
    for name in ("UNLEARNING_DEVICE", gpus.ASKED, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(gpus, "PAUSE", 0.01)
    monkeypatch.setattr(gpus, "_held", {})
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)

    def properties(index):
        return type("Properties", (), {"uuid": f"uuid-{index}"})

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)

    def with_gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        return taken

    yield with_gpus
    for handle in gpus._held.values():
        handle.close()


class Job:
    """A job in a process of its own on a machine with so many GPUs."""

    def __init__(self, folder, count, asked="1"):
        environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        environment |= {gpus.ASKED: asked, "UNLEARNING_DEVICE": "auto"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(folder), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def says(self):
        return self.process.stdout.readline().strip()

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()


@pytest.fixture
def job(tmp_path):
    """Start jobs that share one folder of locks; all are ended."""
    started = []

    def start(count, asked="1"):
        started.append(Job(tmp_path / "locks", count, asked))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_each_job_takes_a_gpu_of_its_own_and_the_next_waits_for_one_that_is_free(job):
    first, second = job(2), job(2)
    assert sorted([first.says(), second.says()]) == ["took 0", "took 1"]
    third = job(2)
    assert third.says() == "waiting for a free GPU: other jobs hold all 2"
    second.end()  # killed: nothing could let go of its lock but the system
    assert third.says() in ("took 0", "took 1")
    assert first.process.poll() is None


def test_a_job_that_asks_for_no_gpu_shares_one_where_all_are_held(job):
    assert job(1).says() == "took 0"
    assert job(1, asked="0").says() == "took 0"


def test_a_free_gpu_is_taken_once(machine):
    taken = machine(2)
    assert [choose_device(1), choose_device(1)] == ["cuda", "cuda"]
    assert taken == [0, 0]  # one process keeps its own
    assert [path.name for path in gpus.FOLDER.iterdir()] == ["uuid-0"]
    assert gpus.FOLDER.stat().st_mode & 0o077 == 0


def test_a_named_gpu_is_taken_without_a_lock(machine, monkeypatch):
    taken = machine(2)
    monkeypatch.setenv("UNLEARNING_DEVICE", "cuda:1")
    assert choose_device(1) == "cuda" and taken == [1]
    assert not gpus.FOLDER.exists()


def test_the_one_gpu_that_a_scheduler_gave_is_taken_without_a_lock(machine, monkeypatch):
    taken = machine(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv(gpus.ASKED, "1")
    assert choose_device(1) == "cuda" and taken == [0]
    assert not gpus.FOLDER.exists()


@pytest.mark.parametrize("wanted", ["cuda:2", "cuda:10"])
def test_a_gpu_that_is_not_there_is_refused(machine, monkeypatch, wanted):
    machine(2)
    monkeypatch.setenv("UNLEARNING_DEVICE", wanted)
    with pytest.raises(ValueError, match=f"{wanted}, but torch finds 2 GPUs"):
        choose_device(1)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:-1", "cuda:one", "CPU"])
def test_a_device_that_is_none_is_refused(machine, monkeypatch, wanted):
    machine(2)
    monkeypatch.setenv("UNLEARNING_DEVICE", wanted)
    with pytest.raises(ValueError, match="must be auto, cpu, cuda, cuda:N or mps"):
        choose_device(1)


def test_a_job_that_asks_for_a_gpu_stops_where_there_is_none(machine, monkeypatch):
    machine(0)
    monkeypatch.setenv(gpus.ASKED, "1")
    with pytest.raises(ValueError, match=r"gpu: 1 .* UNLEARNING_DEVICE=cpu"):
        choose_device(1)
    monkeypatch.setenv("UNLEARNING_DEVICE", "cpu")
    assert choose_device(1) == "cpu"
    monkeypatch.setenv("UNLEARNING_DEVICE", "cuda")
    with pytest.raises(ValueError, match="torch finds 0 GPUs"):
        choose_device(1)


def test_a_job_that_asks_for_none_computes_on_the_cpu_where_there_is_none(machine):
    assert machine(0) == [] and choose_device(1) == "cpu"


def test_a_folder_of_another_user_is_refused(machine, monkeypatch):
    machine(1)
    gpus.FOLDER.mkdir()
    monkeypatch.setattr(gpus.os, "getuid", lambda: gpus.FOLDER.stat().st_uid + 1)
    with pytest.raises(ValueError, match="another user"):
        choose_device(1)


def test_seconds_of_waiting_are_no_seconds_of_work(capsys):
    with reported(), waiting():
        time.sleep(0.2)
    assert float(capsys.readouterr().out.split()[1]) < 0.1
    with reported():
        time.sleep(0.2)
    assert float(capsys.readouterr().out.split()[1]) >= 0.2
