"""A copy of the project in a folder of its own, in which a test runs Snakemake and edits files."""

from __future__ import annotations

import atexit
import compileall
import contextlib
import functools
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forking

PROJECT = Path(__file__).parent.parent
PARTS = (
    *("Snakefile", "workflow", "src", "configs", "figures", "paper"),
    *("environment.yml", "pyproject.toml"),
)
EDITED = ("src", "configs", "figures", "paper")
KNOWN = Path(".snakemake/code.json")  # what `provenance.remember` keeps, by path


@dataclass(frozen=True)
class Running:
    """A process at work, whose output goes to a file."""

    process: multiprocessing.Process
    log: Path

    def until(self, condition: Callable[[], object], seconds: float = 120) -> Any:
        """What the condition gives as soon as it is true, while the process runs."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.is_alive() and time.monotonic() < end, self.text
            time.sleep(0.005)
        return found

    def ended(self, seconds: float = 300) -> tuple[int, str]:
        """Its exit status and its whole output, once it has ended."""
        self.process.join(seconds)
        assert not self.process.is_alive(), self.text
        return self.process.exitcode, self.text

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Workspace:
    """The copied project; `run` gives Snakemake's exit status and its whole output."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> Workspace:
        """A copy in `root`, compiled and with its code read, as after an earlier start."""
        shutil.copytree(compiled(), root, dirs_exist_ok=True)
        known = root / KNOWN
        text = known.read_text(encoding="utf-8")
        known.write_text(text.replace(str(compiled()), str(root)), encoding="utf-8")
        return cls(root)

    def environment(self) -> dict[str, str]:
        """The tests' environment, with this copy's library before the installed one."""
        bin_folder = str(Path(sys.executable).parent)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        found = {**os.environ, "PYTHONPATH": str(self.root / "src"), "PATH": path}
        found.pop("PYTHONDONTWRITEBYTECODE", None)  # a third of a short command would be compiling
        return found

    def command(self, *words: str, timeout: int = 500) -> tuple[int, str]:
        """Run a command in the copy; stdout and stderr together.

        `snakemake` and `python` begin in a fork that has imported what is slow (forking).
        """
        if words[0] == "snakemake":
            return self._forked(forking.snakemake, *words[1:], timeout=timeout)
        if words[0] in ("python", sys.executable) and words[1] == "-m":
            return self._forked(forking.module, *words[2:], timeout=timeout)
        if words[0] in ("python", sys.executable):
            return self._forked(forking.script, *words[1:], timeout=timeout)
        return self.process(*words, timeout=timeout)

    def process(self, *words: str, timeout: int = 500) -> tuple[int, str]:
        """Run a command in the copy in an interpreter of its own, as a user does."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
        return done.returncode, done.stdout

    def _forked(self, function: Callable[..., None], *words: str, timeout: int) -> tuple[int, str]:
        with tempfile.NamedTemporaryFile() as said:
            log = Path(said.name)
            place = {"folder": self.root, "environment": self.environment()}
            status = forking.forked(function, *words, log=log, timeout=timeout, **place)
            return status, log.read_text(encoding="utf-8", errors="replace")

    @contextlib.contextmanager
    def begun(self, *words: str) -> Iterator[Running]:
        """Snakemake at work, in a process group of its own, which is killed after the block."""
        with tempfile.NamedTemporaryFile() as said:
            log = Path(said.name)
            place = {"log": log, "folder": self.root, "environment": self.environment()}
            running = Running(forking.begun(forking.snakemake, *words, **place), log)
            try:
                yield running
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.process.pid, signal.SIGKILL)

    def snakemake(self, *words: str, config: str = "configs/tiny.yaml") -> tuple[int, str]:
        """Run Snakemake on a config of the copy."""
        return self.command("snakemake", *words, "--cores", "2", "--configfile", config)

    def planned(self, *targets: str, config: str = "configs/tiny.yaml") -> dict[str, int]:
        """How often each rule would run now, by a dry run; empty if there is nothing to do."""
        status, text = self.snakemake(*targets, "-n", config=config)
        assert status == 0, text
        table = text.split("Job stats:")[1].split("\n\n")[0] if "Job stats:" in text else ""
        counts = {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", table, re.M)}
        return {name: n for name, n in counts.items() if name not in ("total", "all", *targets)}

    @contextlib.contextmanager
    def restored(self) -> Iterator[Workspace]:
        """Put sources, configs and figures back after the block, whatever was edited in it."""
        kept = {part: self.contents(part) for part in EDITED}
        yield self
        for part, files in kept.items():
            for name, content in files.items():
                path = self.root / part / name
                if path.read_bytes() != content:  # else its compiled file would be out of date
                    path.write_bytes(content)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text that must be there."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def contents(self, folder: str = "results") -> dict[str, bytes]:
        """Every file below a folder with its content, logs left out."""
        base = self.root / folder
        return {
            str(path.relative_to(base)): path.read_bytes()
            for path in sorted(base.rglob("*"))
            if path.is_file() and "logs" not in path.parts
        }


@functools.cache
def compiled() -> Path:
    """The copy that workspaces are copied from: no test edits it; gone with this process.

    Each workspace would compile and parse the library anew: half of its first plan.
    """
    root = Path(tempfile.mkdtemp(prefix="workspace-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "reference")
    for part in PARTS:
        source = PROJECT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / part, **({"ignore": skip} if source.is_dir() else {}))
    shutil.copy(PROJECT / "tests/tiny.yaml", root / "configs/tiny.yaml")
    compileall.compile_dir(root / "src", quiet=1)
    (root / KNOWN).parent.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    place = {"log": root / "log", "folder": root, "environment": environment}
    status = forking.forked(forking.remember, timeout=100, **place)
    assert status == 0, (root / "log").read_text(encoding="utf-8")
    (root / "log").unlink()
    return root
