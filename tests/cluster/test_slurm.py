"""The DAG on a SLURM cluster of one node: whole, cancelled, drained, and submitted twice."""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import forking
import ledger
import pytest
import quick
import slurm
import yaml
from submitting import submit
from workspace import Running, Workspace

PROFILE = ("--workflow-profile", "workflow/profiles/slurm")
# A cluster without accounting, asked from 2 seconds after the start.
NODE = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2")
REAL = Path(sys.executable).parent  # the folder of an interpreter; that of a fork: `quick`
DUCK = {"name": "duck", "method": "duck", "settings": {"epochs": 1}}
SMALL = ("--cores", "2", "--latency-wait", "20")
RUNS = "results/small/runs.csv"
ORIGINAL = "results/{run}/fashion_mnist_mini-strided_cnn/originals/train-0/model.safetensors"
LOG = "results/{run}/logs/originals/fashion_mnist_mini-strided_cnn/train-0.log"
ASKED = {"runtime": 47, "mem_mb": 3210}
LOCAL_RULES = {"all", "resolve_config", "collect", "first_table", "rulegraph"}
DIFFERS = {"unlearning_seconds", "official_seconds", "peak_memory_mb", "commit"}


@pytest.fixture(scope="module")
def cluster():
    """The running cluster; skips, with the reason, where there can be none."""
    if missing := slurm.what_is_missing():
        pytest.skip(missing)
    running = slurm.Cluster()
    try:
        yield running.start()
    finally:
        for left in multiprocessing.active_children():  # by a test that failed
            left.kill()
        running.stop()


@pytest.fixture(scope="module")
def python(cluster):
    """The folder of a `python` that forks; the others are of an interpreter."""
    folder = quick.folder_with_python(str(cluster.folder / "quick"))
    environment = os.environ | {"PYTHONPATH": str(Path(forking.__file__).parent)}
    place = {"log": cluster.folder / "quick.out", "folder": cluster.folder}
    server = forking.begun(quick.serve, folder, **place, environment=environment)
    yield folder
    server.kill()


def workspace(folder: Path, data: Path | None = None) -> Workspace:
    """A copy of the project with two configs: one forget set, and a training of many epochs."""
    folder.mkdir(exist_ok=True)
    space = Workspace.create(folder)
    config = yaml.safe_load((folder / "configs/tiny.yaml").read_text())
    (experiment,) = config["experiments"]
    experiment |= {"methods": [DUCK], "resources": ASKED}
    del experiment["attacks"]  # a shadow model asks for what any training does
    del experiment["scenarios"]["homogeneous_removal"]
    (folder / "configs/small.yaml").write_text(yaml.safe_dump(config | {"run": "small"}))
    experiment["training"]["epochs"] = 12
    (folder / "configs/long.yaml").write_text(yaml.safe_dump(config | {"run": "long"}))
    if data:
        shutil.copytree(data / "data", folder / "data")
    return space


class Submission:
    """Snakemake, impatient, in a workspace as on a login node; `wait` gives its exit status.

    python: the folder of the `python` of its jobs.
    """

    def __init__(self, cluster, space, run, *words, python=REAL, profile=(*PROFILE, *NODE)):
        shims = cluster.environment["PATH"].split(os.pathsep)[0]
        environment = space.environment() | cluster.environment
        environment["UNLEARNING_DEVICE"] = "cpu"  # the node's GPUs are made up
        environment["PATH"] = os.pathsep.join((shims, str(python), space.environment()["PATH"]))
        self.before = {job["JobId"] for job in cluster.jobs()}
        self.cluster, log = cluster, space.root / f"said-{time.monotonic_ns()}"
        words = (
            f"{python}/python",
            "--configfile",
            f"configs/{run}.yaml",
            *profile,
            *SMALL,
            *words,
        )
        place = {"log": log, "folder": space.root, "environment": environment}
        self.running = Running(forking.begun(submit, *words, **place), log)

    def wait(self) -> int:
        return self.running.ended(400)[0]

    @property
    def text(self) -> str:
        return self.running.text

    def jobs(self) -> list[dict[str, str]]:
        """The cluster's jobs since this was started."""
        return [job for job in self.cluster.jobs() if job["JobId"] not in self.before]

    def until(self, condition, what: str) -> None:
        """Wait for a condition while Snakemake runs."""
        end = time.monotonic() + 200
        while not condition():
            assert self.running.process.is_alive(), f"ended before {what}\n{self.text}"
            assert time.monotonic() < end, f"never saw {what}\n{self.text}"
            time.sleep(0.2)


def states(submission: Submission) -> list[str]:
    return [job["JobState"] for job in submission.jobs()]


def weights(space: Workspace, run: str) -> bytes:
    return (space.root / ORIGINAL.format(run=run)).read_bytes()


def rows(space: Workspace) -> list[dict[str, str]]:
    with open(space.root / RUNS, newline="") as handle:
        found = list(csv.DictReader(handle))
    return [{key: value for key, value in row.items() if key not in DIFFERS} for row in found]


@pytest.fixture(scope="module")
def running(cluster, python, tmp_path_factory):
    """The small grid, submitted through the profile, while the local runs are made."""
    space = workspace(tmp_path_factory.mktemp("slurm"))
    submission = Submission(cluster, space, "small", python=python)
    yield space, submission
    submission.running.process.kill()


@pytest.fixture(scope="module")
def local(running, tmp_path_factory):
    """The small grid and the long training, run without SLURM."""
    space = workspace(tmp_path_factory.mktemp("local"))
    for run, target in (("small", RUNS), ("long", ORIGINAL.format(run="long"))):
        status, text = space.snakemake(target, config=f"configs/{run}.yaml")
        assert status == 0, text
    return space


@pytest.fixture(scope="module")
def submitted(running, local):
    """The small grid, run to the end through the profile."""
    space, submission = running
    assert submission.wait() == 0, submission.text
    return space, submission.text, submission.jobs()


def test_the_grid_through_slurm_is_the_grid_without_it(local, submitted):
    space, _, jobs = submitted
    assert rows(space) == rows(local) and rows(space)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    status, text = space.snakemake("-n", config="configs/small.yaml")
    assert status == 0 and "Nothing to be done" in text


def test_a_job_asks_for_what_its_rule_states(submitted):
    _, _, jobs = submitted
    asked = {}
    for job in jobs:
        rule = re.match(r"rule_(.+?)(_wildcards_|$)", job["Comment"]).group(1)
        memory = re.search(r"mem=([\d.]+[MG])", job["TRES"]).group(1)
        asked.setdefault(rule, set()).add((memory, job["TimeLimit"]))
    stated = {("3210M", "00:47:00")}
    for rule in ("train_original", "train_oracle", "unlearn"):
        assert asked[rule] == stated, asked
    assert asked["fetch_dataset"] == {("8000M", "02:00:00")}


def test_short_jobs_are_submitted_together_and_trainings_alone(submitted):
    _, text, jobs = submitted
    table = dict(re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1], re.M))
    local = sum(int(n) for rule, n in table.items() if rule in LOCAL_RULES)
    alone = ("fetch_dataset", "train_original", "train_oracle", "unlearn", "probe")
    single = sum(int(table[rule]) for rule in alone)
    short = int(table["total"]) - local - single
    assert short >= 10
    assert len(jobs) <= single + 5, [job["Comment"] for job in jobs]


def test_nothing_is_left_behind(cluster, submitted):
    """No process works in the folder, no queue, no lock, no unfinished mark, no job's script."""
    space, _, _ = submitted
    assert processes_in(space.root) == []
    assert cluster.run("squeue", "--noheader") == ""
    state = space.root / ".snakemake"
    assert [*state.glob("locks/*"), *state.glob("incomplete/*"), *state.glob("tmp.*")] == []
    sleeper = subprocess.Popen(["sleep", "60"], cwd=space.root)
    try:  # such a process is found
        assert processes_in(space.root) == [sleeper.pid]
    finally:
        sleeper.kill()
        sleeper.wait()


def test_daemons_end_with_a_killed_run_of_the_tests(cluster):
    program = (
        "import slurm, time; found = slurm.Cluster().start();"
        "print(found.folder, *(d.pid for d in found.daemons), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, stdout=-1, text=True
    ) as killed:
        folder, *numbers = killed.stdout.readline().split()
        assert len(numbers) == 3 and all(map(alive, numbers))
        killed.kill()
    end = time.monotonic() + 20
    while any(map(alive, numbers)) and time.monotonic() < end:
        time.sleep(0.2)
    left = [number for number in numbers if alive(number)]
    shutil.rmtree(folder)
    assert left == []


def alive(number: str) -> bool:
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def processes_in(folder: Path) -> list[int]:
    """The processes whose working folder is this one."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # ended since
            if link.readlink() == folder:
                found.append(int(link.parent.name))
    return found


def test_a_group_holds_one_gpu_however_many_of_its_jobs_want_it(cluster, python, submitted):
    """After the tests of the finished grid: its cells are made again as a group that wants GPUs."""
    space, _, _ = submitted
    config = space.root / "configs/small.yaml"
    with_gpu = yaml.safe_load(config.read_text())
    with_gpu["experiments"][0]["resources"] = ASKED | {"gpu": 1}
    (space.root / "configs/gpu.yaml").write_text(yaml.safe_dump(with_gpu))
    records = sorted((space.root / "results/small").glob("*/runs/**/record.json"))
    assert len(records) == 3
    for record in records:
        record.unlink()
    targets = [str(record.relative_to(space.root)) for record in records]
    grouped = ("--groups", "unlearn=unlearn", "--group-components", "unlearn=10", "--")
    submission = Submission(cluster, space, "gpu", *grouped, *targets, python=python)
    submission.until(lambda: "RUNNING" in states(submission), "the group at work")
    (job,) = submission.jobs()
    assert job["TresPerJob"] == "gres:gpu:1"
    assert job["TimeLimit"] == "02:21:00"  # one after another: the minutes add
    cluster.run("scancel", job["JobId"])
    submission.running.process.terminate()
    submission.wait()


def test_a_cancelled_training_goes_on_where_it_stopped(cluster, local, tmp_path):
    space = workspace(tmp_path / "cancel", local.root)
    target, log = ORIGINAL.format(run="long"), space.root / LOG.format(run="long")
    first = Submission(cluster, space, "long", target, "--retries", "0")
    first.until(lambda: log.exists() and "epoch 2/" in log.read_text(), "the second epoch")
    (job,) = first.jobs()
    cluster.run("scancel", job["JobId"])
    assert first.wait() != 0, first.text
    assert states(first) == ["CANCELLED"]
    assert not (space.root / target).exists()
    second = Submission(cluster, space, "long", target)
    status = second.wait()
    epochs = [int(n) for n in re.findall(r"epoch (\d+)/", log.read_text())]
    same = status == 0 and weights(space, "long") == weights(local, "long")
    ledger.count("slurm_cancel", lost=int(not same or epochs[0] < 2))
    assert status == 0, second.text
    assert epochs[0] >= 2 and epochs[-1] == 12
    assert same


def test_a_drained_node_only_delays(cluster, python, local, tmp_path):
    space, target = workspace(tmp_path / "drain"), ORIGINAL.format(run="small")
    submission = Submission(cluster, space, "small", target, python=python)
    submission.until(lambda: "RUNNING" in states(submission), "a running job")
    with drained(cluster):
        submission.until(lambda: "PENDING" in states(submission), "a job that waits")
        time.sleep(3)
        assert states(submission) == ["COMPLETED", "PENDING"]
    status = submission.wait()
    same = status == 0 and weights(space, "small") == weights(local, "small")
    ledger.count("slurm_drain", lost=int(not same or states(submission) != ["COMPLETED"] * 2))
    assert status == 0, submission.text
    assert states(submission) == ["COMPLETED"] * 2
    assert same


@contextlib.contextmanager
def drained(cluster):
    """The node takes no new job inside the block."""
    node = f"nodename={slurm.NODE}"
    cluster.run("scontrol", "update", node, "state=drain", "reason=test")
    try:
        yield
    finally:
        cluster.run("scontrol", "update", node, "state=resume")


def test_of_two_submissions_at_once_one_is_refused(cluster, python, local, tmp_path):
    space = workspace(tmp_path / "race", local.root)
    target = ORIGINAL.format(run="small")
    both = [Submission(cluster, space, "small", target, python=python) for _ in range(2)]
    ended = [submission.wait() for submission in both]
    text = "\n".join(submission.text for submission in both)
    jobs = both[0].jobs()
    same = 0 in ended and weights(space, "small") == weights(local, "small")
    ledger.count("slurm_race", lost=int(not same or len(jobs) != 1))
    assert sorted(ended) == [0, 1], text
    assert "LockException" in text
    assert len(jobs) == 1
    assert same


def test_the_other_profile_submits_with_a_plain_command(cluster, local, tmp_path):
    space = workspace(tmp_path / "generic", local.root)
    profile = ("--workflow-profile", "workflow/profiles/generic")
    target = ORIGINAL.format(run="small")
    submission = Submission(cluster, space, "small", target, profile=profile)
    assert submission.wait() == 0, submission.text
    (job,) = submission.jobs()
    assert job["JobName"] == "train_original" and job["TimeLimit"] == "00:47:00"
    assert "mem=3210M" in job["TRES"]
    assert weights(space, "small") == weights(local, "small")

    # A job that fails, is cancelled or waits is told from one that ended well.
    def ask(number):
        script = space.root / "workflow/profiles/generic/status.sh"
        environment = os.environ | cluster.environment
        return subprocess.run([script, number], env=environment, stdout=-1, text=True).stdout

    assert ask(job["JobId"]) == "success\n"
    failing = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3").strip()
    held = cluster.run("sbatch", "--parsable", "--output=/dev/null", "-H", "--wrap=true").strip()
    assert ask(held) == "running\n"
    cluster.run("scancel", held)
    assert ask(held) == "failed\n" and ask("999999") == "failed\n"
    end = time.monotonic() + 30
    while (said := ask(failing)) == "running\n" and time.monotonic() < end:
        time.sleep(0.2)
    assert said == "failed\n"
