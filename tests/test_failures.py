"""Which errors end a job with one line, and which keep their traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from unlearning.config.parsing import ConfigError
from unlearning.data.catalogue import DataError
from unlearning.data.splits import retained
from unlearning.data.surrogates import fit
from unlearning.files import DamagedFile, read_json
from unlearning.runtime import job
from unlearning.stages import estimate
from unlearning.training.loop import Diverged


def error_of(call, *arguments) -> Exception:
    with pytest.raises(Exception) as caught:
        call(*arguments)
    return caught.value


def throw(error: Exception):
    raise error


@pytest.mark.parametrize(
    "error",
    [
        DamagedFile("a.json", "half"),
        ConfigError("first line\nsecond line"),
        DataError("no such data"),
        Diverged("loss is nan"),
        OSError(errno.ENOSPC, "anything", "results/model.safetensors"),
        PermissionError(errno.EACCES, "anything", "results/model.safetensors"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ImportError("libtorch.so: failed to map segment: Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_expected_error_is_one_line_and_status_1(error):
    with pytest.raises(SystemExit) as end, job.in_one_line():
        throw(error)
    text = end.value.code
    assert isinstance(text, str) and text.startswith("error: ") and "\n" not in text
    assert len(text) > len("error: ")


def test_an_error_of_the_disk_names_the_file_and_one_of_memory_the_setting():
    full = job.expected(OSError(errno.ENOSPC, "", "results/model.safetensors"))
    assert full == f"results/model.safetensors: {os.strerror(errno.ENOSPC)}"
    assert "mem_mb" in job.expected(MemoryError())


def test_a_value_error_that_the_package_states_is_expected(tmp_path):
    (tmp_path / "a.json").write_text("{")
    stated = error_of(fit, torch.zeros(1, 2, 4, 4), (3, 4, 4))
    damaged = error_of(read_json, tmp_path / "a.json")
    for error in (stated, damaged):
        assert isinstance(error, ValueError)
        assert job.expected(error) == " ".join(str(error).split())


@pytest.mark.parametrize(
    "call",
    [
        lambda: throw(ValueError("of a module that is not the package's")),
        lambda: int("x"),
        lambda: retained([[0], [0, 1]], 3),  # NumPy refuses, called from the package
        lambda: torch.zeros(2) + torch.zeros(3),
        lambda: {}["key"],
        lambda: os.stat("no such file"),
    ],
)
def test_what_may_be_a_mistake_of_the_code_keeps_its_traceback(call):
    error = error_of(call)
    assert job.expected(error) is None
    with pytest.raises(type(error)), job.in_one_line():
        throw(error)


def test_a_file_that_the_command_line_names_is_missed_in_one_line(tmp_path, monkeypatch):
    """As from a sub-folder; another file that is not there may be a mistake of the code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["show", "--runs=results/mini/runs.csv"])
    missing = FileNotFoundError(errno.ENOENT, "", "results/mini/runs.csv")
    line = job.expected(missing)
    assert line.startswith(f"results/mini/runs.csv: not found in {tmp_path}; ") and "cd" in line
    assert job.expected(FileNotFoundError(errno.ENOENT, "", "other.csv")) is None


def test_an_estimate_takes_a_config_by_its_name(monkeypatch, capsys):
    monkeypatch.setattr(estimate, "pace", lambda: 1.0)
    estimate.main(["--config", str(ROOT / "tests/tiny.yaml")])
    said = capsys.readouterr().out
    assert "Estimate of run tiny" in said and "models and outputs" in said


def test_a_reader_that_has_seen_enough_ends_a_command_quietly():
    """`trace … | head`; a pipe that breaks anywhere else keeps its traceback."""
    words = ["trace", "paper/reference/mini", "class_removal", "duck", "aus"]
    command = [sys.executable, "-m", "unlearning", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
    with pytest.raises(BrokenPipeError), job.in_one_line():
        raise BrokenPipeError(errno.EPIPE, "a server has gone")
