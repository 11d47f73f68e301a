"""Where and how a run is started: options, the library that is found, locks, environments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from faults import mounted
from workspace import PROJECT, Workspace

from unlearning import __main__ as command_line
from unlearning.data.catalogue import DataError, catalogue
from unlearning.data.sources import fetch
from unlearning.files import read_json
from unlearning.records import provenance
from unlearning.runtime import forkserver, interrupt, owner, surroundings

CONFIG = "results/tiny/config.json"
ORIGINAL = "results/tiny/fashion_mnist_mini-strided_cnn/originals/train-0/model.safetensors"


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return Workspace.create(tmp_path_factory.mktemp("place"))


# --- options ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--cores 0", "--cores 0: give at least 1"),
        ("--cores -3", "--cores -3: give at least 1"),
        (f"{CONFIG} --cores 1000 --configfile configs/tiny.yaml", "--cores 1000: this machine has"),
        ("-n --configfile configs/tiny.yaml configs/mini.yaml", "one config, not 2"),
        ("-n --configfile configs/absent.yaml", "configs/absent.yaml: no such config"),
        ("-n --configfile configs/tiny.yaml tables", "tables: no such config; targets go before"),
    ],
)
def test_an_option_that_cannot_be_meant_is_one_line(space, words, said):
    status, text = space.command("snakemake", *words.split())
    assert status == 1 and said in text and "Traceback" not in text, text


class Misled(Workspace):
    """With the library of another checkout on the path."""

    def environment(self):
        return super().environment() | {"PYTHONPATH": str(PROJECT / "src")}


def test_the_library_of_another_checkout_is_refused(space):
    status, text = Misled(space.root).command("snakemake", "-n", "--cores", "1")
    assert status == 1 and f"the library of {PROJECT}, not that of {space.root}" in text, text


def test_a_verb_says_which_library_it_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "src/unlearning").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command_line.main([])
    assert f"library: {PROJECT}/src/unlearning" in capsys.readouterr().out
    command_line.warn_of_another_library()
    assert f"the library in {PROJECT}/src/unlearning, not the one here" in capsys.readouterr().err
    monkeypatch.chdir(PROJECT)
    command_line.warn_of_another_library()
    assert capsys.readouterr().err == ""


# --- locks ---


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder in which Snakemake has a lock."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(owner.RUN, raising=False)
    owner.LOCKS.mkdir(parents=True)
    (owner.LOCKS / "0.output.lock").write_text(CONFIG)
    return tmp_path


def claimed_by_another(folder, then):
    """A process that claims the folder, runs some code and waits for its end of input."""
    code = f"from unlearning.runtime import owner; owner.claim(); {then}; input()"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=folder, **pipes)
    return process, process.stdout.readline().strip()


def test_a_lock_is_left_once_the_run_and_its_jobs_are_dead(locked):
    # The job says its own number: before that it may not have its environment yet.
    start = "import subprocess as s; s.Popen(['sh', '-c', 'echo $$; read line'])"
    process, job = claimed_by_another(locked, start)
    try:
        assert not owner.left_lock()
        process.kill()
        process.wait()
        assert not owner.left_lock()  # its job works on
    finally:
        os.kill(int(job), signal.SIGKILL)
    end = time.monotonic() + 10
    while not owner.left_lock():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_lock_of_a_living_run_of_another_machine_or_of_nobody_stays(locked):
    assert not owner.lift()
    owner.claim()
    (file,) = owner.OWNERS.iterdir()
    assert not owner.lift()
    living = read_json(file)
    dead = {**living, "run": "1-0.0"}
    for found in ({**dead, "host": "elsewhere"}, {}):
        owner.write_json(file, found)
        assert not owner.lift()
    owner.write_json(file, dead)
    owner.write_json(file.with_name("another.json"), living)
    assert not owner.lift() and list(owner.LOCKS.iterdir())
    file.with_name("another.json").unlink()
    assert owner.lift() and not owner.LOCKS.exists()


def test_a_closed_terminal_ends_a_run_and_the_next_one_goes_on(space):
    """A signal to the whole group, as the system sends it: to Snakemake and to its jobs."""
    words = (ORIGINAL, "--cores", "2", "--configfile", "configs/tiny.yaml")
    log = space.root / "results/tiny/logs/originals/fashion_mnist_mini-strided_cnn/train-0.log"
    with space.begun(*words) as running:
        running.until(log.exists)
        os.killpg(running.process.pid, signal.SIGHUP)
        status, text = running.ended()
    locks = space.root / owner.LOCKS
    assert status == 1 and not (locks.exists() and list(locks.iterdir())), text
    assert list((space.root / owner.OWNERS).iterdir()) == []
    with space.begun(*words, "--rerun-incomplete") as running:
        running.until(lambda: list((space.root / owner.OWNERS).iterdir()))
        os.killpg(running.process.pid, signal.SIGKILL)
    assert list(locks.iterdir())
    status, text = space.snakemake(ORIGINAL, "--rerun-incomplete")
    assert status == 0 and "lock of an earlier run, which was killed, is lifted" in text, text


def test_what_is_to_outlive_its_terminal_does(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.deferred() as told:
            os.kill(os.getpid(), signal.SIGHUP)
        assert told == []
    finally:
        signal.signal(signal.SIGHUP, before)


# --- containers ---


def test_a_user_without_a_name_gets_a_number(monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(surroundings.getpass, "getuser", nameless)
    monkeypatch.setenv("USER", "")
    surroundings.name_user()
    assert os.environ["USER"] == str(os.getuid())


def test_a_socket_has_a_short_folder_or_there_is_no_server(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(surroundings, "SHORT", ("/tmp",))
    folder = surroundings.socket_folder()
    assert folder.startswith("/tmp/")
    os.rmdir(folder)
    monkeypatch.setattr(surroundings, "SHORT", ("/nonexistent",))
    assert surroundings.socket_folder() is None
    assert forkserver.start() is None


def test_a_full_folder_for_temporary_files_is_no_damaged_image(tmp_path, monkeypatch):
    with mounted(tmp_path / "small", "1m") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        with pytest.raises(DataError, match=r"No space left on device; set TMPDIR"):
            fetch(catalogue()["fashion_mnist_mini"], tmp_path / "data")


# --- the commit in a record ---


def git(*words, cwd):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=cwd, check=True
    )


def test_the_commit_is_of_the_checkout_and_none_of_what_it_lies_in(tmp_path, monkeypatch):
    project = tmp_path / "outer/project"
    (project / "src/unlearning").mkdir(parents=True)
    monkeypatch.setattr(provenance, "PROJECT", project)
    monkeypatch.setattr(provenance, "PACKAGE", project / "src/unlearning")
    git("init", "--quiet", cwd=tmp_path / "outer")
    git("commit", "--quiet", "--allow-empty", "-m", "another project", cwd=tmp_path / "outer")
    state = provenance.git_state()
    assert state["commit"] is None and "not a git repository" in state["no_commit"]
    git("init", "--quiet", cwd=project)
    git("commit", "--quiet", "--allow-empty", "-m", "this one", cwd=project)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer/.git"))  # as in a hook there
    state = provenance.git_state()
    head = (project / ".git" / (project / ".git/HEAD").read_text().split()[1]).read_text().strip()
    assert state == {"commit": head, "dirty": False}


def test_without_git_a_record_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    state = provenance.git_state()
    assert state["commit"] is None and "git" in state["no_commit"]


# --- make ---


def make(folder, *words, **environment):
    """Run make on a copy of the Makefile in a folder; its output, both streams."""
    (folder / "Makefile").write_text((PROJECT / "Makefile").read_text())
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "me"} | environment
    kept = {name: value for name, value in kept.items() if value is not None}
    done = subprocess.run(["make", *words], cwd=folder, env=kept, stdout=-1, stderr=-2, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("cores", ["0", "-3", "x", "", "2 3"])
def test_make_refuses_a_number_of_cores_that_is_none(tmp_path, cores):
    status, text = make(tmp_path, f"CORES={cores}", "-n", "reproduce")
    assert status == 2 and f'CORES="{cores}": give a number' in text


def test_make_refuses_a_folder_with_a_space_for_its_environment(tmp_path):
    status, text = make(tmp_path, "VENV=my env", "-n", "reproduce")
    assert status == 2 and "without spaces" in text and not list(tmp_path.glob("*env*"))


def test_make_lets_no_foreign_variable_through_and_finds_a_home(tmp_path):
    foreign = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONPATH", "PYTHONHOME")
    foreign += ("SNAKEMAKE_PROFILE",)
    environment = dict.fromkeys(foreign, "/elsewhere") | {"HOME": "/proc/none", "USER": None}
    status, text = make(
        tmp_path, "--eval=shown: ; @env", "shown", PIP_INDEX_URL="kept", **environment
    )
    assert status == 0, text
    shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert not set(foreign) & set(shown)
    assert shown["PIP_INDEX_URL"] == "kept" and shown["USER"]
    assert os.access(shown["HOME"], os.W_OK)


def test_make_clean_keeps_results_and_what_made_them(tmp_path):
    for folder in (".venv", ".snakemake/metadata", "results", "data"):
        (tmp_path / folder).mkdir(parents=True)
    status, text = make(tmp_path, "clean")
    assert status == 0, text
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        *(".snakemake", "data", "results")
    ]
