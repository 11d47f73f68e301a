"""How far a run is: the count, the pace and what a terminal or a file is shown of it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from workspace import Workspace

from unlearning.config.parsing import parse
from unlearning.data.catalogue import catalogue
from unlearning.jobs import costs, progress
from unlearning.jobs.progress import Progress, minutes
from unlearning.plan import grid
from unlearning.stages.estimate import Estimate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress, "expected", {"a": 10.0, "b": 30.0, "c": 60.0, "d": 100.0})
    return Clock()


def test_the_time_left_is_what_was_expected_at_the_pace_so_far(clock):
    run = Progress(4, cores=2, clock=clock)
    assert run.left() is None  # nothing is done: no pace
    run.start(1, "train", "a")
    run.start(2, "unlearn", "b")
    clock.now += 20  # twice as long as expected
    assert run.finish(1) == ("train", 20)
    # 190 core-seconds are expected to be left, at half the table's pace, 20 of them spent, 2 cores
    assert run.left() == pytest.approx((190 * 2 - 20) / 2)
    assert run.line() == "1 of 4 | 20 s, about 3 min 0 s left | unlearn"
    clock.now += 40
    run.finish(2)
    assert run.left() == pytest.approx(160 * 80 / 40 / 2)  # 80 s for 40 expected


def test_a_failed_job_is_counted_and_no_longer_runs(clock):
    run = Progress(4, cores=1, clock=clock)
    run.start(1, "train", "a")
    run.fail(1)
    assert (run.done, run.failed, run.running) == (0, 1, {})
    assert run.line() == "0 of 4, 1 failed | 0 s"
    run.start(1, "train", "a")
    clock.now += 10
    run.finish(1)
    assert run.done == 1


def test_jobs_that_were_done_before_are_not_waited_for(clock):
    run = Progress(2, cores=1, clock=clock)  # of the four of the whole run
    run.start(1, "", "d")
    clock.now += 100
    run.finish(1)
    assert run.left() == pytest.approx(60)  # one job: at most the longest of those left


def test_a_line_fits_its_width(clock):
    run = Progress(4, cores=1, clock=clock)
    run.start(1, "x" * 200, "a")
    assert len(run.line(80)) == 79 and run.line(80).endswith("…")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_minutes(seconds, said):
    assert minutes(seconds) == said


def test_expected_seconds_are_those_of_the_estimate():
    """Every architecture of the embedded grid is measured, so both know the same."""
    config = parse(yaml.safe_load(Path("configs/mini.yaml").read_text(encoding="utf-8")), "mini")
    table = costs.read()
    found = progress.seconds(config, catalogue(), table, [])
    asked = Estimate(config, table, [], factor=1.0)
    assert found.keys() == asked.seconds.keys()
    assert sum(found.values()) == pytest.approx(sum(asked.seconds.values()), rel=0.1)
    cells = {
        f"unlearn/{c.experiment}/{c.group}/{c.method}-{c.unlearn_seed}" for c in grid.cells(config)
    }
    assert len(cells & found.keys()) > 100


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return Workspace.create(tmp_path_factory.mktemp("progress"))


TARGET = "results/tiny/fashion_mnist_mini-strided_cnn/originals/train-0/model.safetensors"
PROFILE = ("--workflow-profile", "workflow/profiles/local")


def test_a_file_has_a_line_a_job_and_the_log_has_everything(space):
    status, text = space.snakemake(*PROFILE, TARGET)
    assert status == 0, text
    lines = [line for line in text.splitlines() if not line.startswith("Using workflow specific")]
    assert len(lines) == 4, text
    assert re.fullmatch(r"1 of 2 +[\d.]+ s  fetch fashion_mnist_mini: .*", lines[0])
    assert re.fullmatch(r"2 of 2 +[\d.]+ s  train originals of .*, seed 0", lines[1])
    log = re.fullmatch(r"Complete log\(s\): (.*)", lines[2])[1]
    assert re.fullmatch(r"2 of 2 jobs in \d+ s", lines[3])
    kept = (space.root / log).read_text(encoding="utf-8")
    for said in ("Reason: ", "Finished jobid: 0 (Rule: train_original)", "Job stats:"):
        assert said in kept
    status, text = space.snakemake(*PROFILE, TARGET)
    assert status == 0 and "Nothing to be done" in text


def test_a_dry_run_is_shown_as_snakemake_shows_it(space):
    assert space.planned(*PROFILE, "tables")["unlearn"] > 5


def test_a_failed_job_is_shown_with_its_log(space):
    with space.restored():
        space.edit("src/unlearning/stages/train.py", "    seconds = train(", "    seconds = traim(")
        status, text = space.snakemake(*PROFILE, TARGET)
    assert status != 0
    assert "Error in rule train_original: train originals of" in text
    log = re.search(r"^    log: (.*/logs/originals/.*)$", text, re.M)[1]
    last = (space.root / log).read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("NameError: ") and f"    {last}\n" in text
    assert "--settings" not in text
    assert "Nothing to be done" not in text and "1 failed" in text


def test_a_terminal_has_one_live_line(space):
    """What a terminal gets returns to the start of its line; nothing else scrolls it."""
    (space.root / TARGET).unlink(missing_ok=True)
    here, there = pty.openpty()
    words = ["snakemake", *PROFILE, TARGET, "--cores", "2", "--configfile", "configs/tiny.yaml"]
    with subprocess.Popen(
        words, cwd=space.root, env=space.environment(), stdout=there, stderr=there
    ) as job:
        os.close(there)
        shown = b""
        while part := _read(here):
            shown += part
    os.close(here)
    text = shown.decode()
    assert job.returncode == 0, text
    assert text.count("\r\x1b[K0 of 1 | ") >= 2  # drawn once a second at least
    scrolled = [line for line in text.split("\r\n") if line]
    assert len(scrolled) <= 3, scrolled
    assert re.search(r"\x1b\[K1 of 1 jobs in \d+ s$", scrolled[-1])


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""
