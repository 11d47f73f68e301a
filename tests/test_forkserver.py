"""The server that forks jobs: they do what they do without it, and end with who asked for them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unlearning.runtime import forkserver
from unlearning.runtime.delegate import FOLDER

LIBRARY = forkserver.LIBRARY

SLEEPER = '''"""sleeper: write this process's number and sleep."""
import os, sys, time
from pathlib import Path


def main(argv):
    if argv[0] == "fail":
        sys.exit("a reason")
    if argv[0] == "raise":
        raise ValueError("a cause")
    if argv[0] == "status":
        sys.exit(7)
    if argv[0] == "loaded":
        print(sorted(name for name in sys.modules if name.startswith(("torch", "unlearning"))))
        return
    if argv[0] == "place":
        print(os.getcwd(), os.environ["A_SETTING"], sys.argv[1:])
        print("on stderr", file=sys.stderr)
        return
    Path(argv[1]).write_text(str(os.getpid()))
    time.sleep(60)
'''


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A copy of the library with one verb more; its parent folder."""
    root = tmp_path_factory.mktemp("library")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(LIBRARY, root / "unlearning", ignore=ignored)
    (root / "unlearning/stages/sleeper.py").write_text(SLEEPER)
    return root


@pytest.fixture(scope="module")
def server(library):
    """A process that started a server, as Snakemake does, and the environment of its commands."""
    environment = {**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop(FOLDER, None)
    text = (
        "import os, sys; from unlearning.runtime import forkserver;"
        "forkserver.start(['unlearning.seeds', 'unlearning.stages.sleeper']);"
        f"print(os.environ[{FOLDER!r}], flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, "-c", text], env=environment, **pipes)
    folder = Path(parent.stdout.readline().strip())
    yield parent, {**environment, FOLDER: str(folder)}
    parent.kill()


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    """Where no other library lies, of which a command would tell."""
    monkeypatch.chdir(tmp_path)


def wait_for(condition, seconds=10):
    """The condition's value once it is true; fails after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def command(*words):
    return [sys.executable, "-m", "unlearning", "sleeper", *words]


def run(environment, *words, cwd=None):
    return subprocess.run(
        command(*words), env=environment, cwd=cwd, capture_output=True, text=True, timeout=60
    )


def number_in(path):
    """The number that a job wrote, once it did."""
    return int(wait_for(lambda: path.exists() and path.read_text()))


def alive(process):
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_has_torch_and_the_library_from_the_start_until_a_file_of_it_changes(server, library):
    loaded = run(server[1], "loaded").stdout
    assert "'torch'" in loaded and "'unlearning.seeds'" in loaded
    plain = {key: value for key, value in server[1].items() if key != FOLDER}
    assert "'torch'" not in run(plain, "loaded").stdout
    for edited in (library / "unlearning/stages/sleeper.py", library / "unlearning/seeds.py"):
        whole, times = edited.read_text(), edited.stat()
        edited.write_text(whole.replace("a reason", "another reason") + "# longer")
        changed = run(server[1], "loaded").stdout
        assert "'torch'" in changed and "'unlearning.seeds'" not in changed
        reason = "another reason" if whole == SLEEPER else "a reason"
        assert run(server[1], "fail").stderr == f"{reason}\n"
        edited.write_text(whole)
        os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(server[1], "loaded").stdout.splitlines()[0] == loaded.splitlines()[0]
    (library / "unlearning/methods/another.py").write_text("")
    assert "'unlearning.seeds'" not in run(server[1], "loaded").stdout
    (library / "unlearning/methods/another.py").unlink()


def test_jobs_compile_once_and_not_beside_the_sources_where_that_is_not_wanted(server, library):
    run(server[1], "loaded")
    folder = Path(server[1][FOLDER])
    compiled = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")}
    assert any("sleeper" in path.name for path in compiled)
    assert run(server[1], "loaded").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")} == compiled
    assert not list(library.rglob("__pycache__"))


def test_a_job_is_of_the_session_of_who_started_the_server_and_of_another_group(server, tmp_path):
    """Linux gives processors to sessions: a run at the lowest priority has all its jobs in its own.

    A Ctrl-C reaches the group of the foreground.
    """
    client = subprocess.Popen(command("sleep", str(tmp_path / "number")), env=server[1])
    number, started_by = number_in(tmp_path / "number"), server[0].pid
    client.kill()
    assert os.getsid(number) == os.getsid(started_by)
    assert os.getpgid(number) != os.getpgid(started_by)
    wait_for(lambda: not alive(number))


def test_a_job_runs_in_the_place_of_its_command(server, tmp_path):
    done = run({**server[1], "A_SETTING": "set"}, "place", cwd=tmp_path)
    first, last = done.stdout.splitlines()
    assert first == f"{tmp_path} set ['sleeper', 'place']"
    assert last.startswith("worked 0.0")
    assert (done.stderr, done.returncode) == ("on stderr\n", 0)


@pytest.mark.parametrize(("word", "status"), [("fail", 1), ("raise", 1), ("status", 7)])
def test_a_failure_ends_with_the_same_status_and_words(server, word, status):
    plain = {key: value for key, value in server[1].items() if key != FOLDER}
    found = [run(environment, word) for environment in (server[1], plain)]
    assert [done.returncode for done in found] == [status, status]
    assert found[0].stderr.splitlines()[-1:] == found[1].stderr.splitlines()[-1:]
    assert "worked" not in found[0].stdout


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_a_job_ends_with_its_command(server, tmp_path, sign):
    client = subprocess.Popen(command("sleep", str(tmp_path / "number")), env=server[1])
    number = number_in(tmp_path / "number")
    assert number != client.pid and alive(number)
    client.send_signal(sign)
    wait_for(lambda: not alive(number))
    assert client.wait() != 0


def test_a_command_fails_when_its_job_is_killed(server, tmp_path):
    errors = {"stderr": subprocess.PIPE, "text": True}
    client = subprocess.Popen(command("sleep", str(tmp_path / "number")), env=server[1], **errors)
    number = number_in(tmp_path / "number")
    os.kill(number, signal.SIGKILL)
    assert client.communicate()[1] == "the process that ran this job was killed\n"
    assert client.returncode == 1


def test_another_copy_of_the_library_is_not_asked(server, tmp_path):
    other = {**server[1], "PYTHONPATH": str(LIBRARY.parent)}
    refused = run(other, "fail")  # this copy has no such verb
    assert refused.returncode == 2 and "verbs" in refused.stdout


def test_a_schedulers_job_is_not_run_outside_it(server):
    assert "'torch'" in run(server[1], "loaded").stdout
    assert "'torch'" not in run({**server[1], "SLURM_JOB_ID": "7"}, "loaded").stdout


def test_without_a_server_the_command_runs_as_it_stands(server, tmp_path):
    done = run({**server[1], FOLDER: str(tmp_path)}, "fail")
    assert (done.returncode, done.stderr) == (1, "a reason\n")


def test_the_server_ends_with_the_process_that_started_it_and_its_jobs_go_on(server, tmp_path):
    parent, environment = server
    folder = Path(environment[FOLDER])
    client = subprocess.Popen(command("sleep", str(tmp_path / "number")), env=environment)
    number = number_in(tmp_path / "number")
    parent.kill()
    wait_for(lambda: not folder.exists())
    assert alive(number)
    client.kill()
    wait_for(lambda: not alive(number))


def test_a_command_waits_for_a_server_that_is_not_ready_and_runs_by_itself_if_it_never_is(
    library, tmp_path
):
    environment = {**os.environ, "PYTHONPATH": str(library)}
    text = (
        "import os, subprocess, sys; from unlearning.runtime import forkserver;"
        "forkserver.start([sys.argv[1]]);"
        "words = [sys.executable, '-m', 'unlearning', 'sleeper'];"
        "said = [subprocess.run([*words, word], capture_output=True, text=True) for word in"
        " ('loaded', 'fail')]; print(\"'torch'\" in said[0].stdout, said[1].stderr)"
    )
    for module, served in (("json", True), ("a_module_that_is_not_there", False)):
        words = [sys.executable, "-c", text, module]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout == f"{served} a reason\n\n", done.stderr
