"""The code that made a run: the checkout at the run's commit."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

PARTS = (
    *("Snakefile", "Makefile", "README.md", "LICENSE", "CITATION.cff", "codecheck.yml"),
    *("environment.yml", "requirements.txt", "pyproject.toml"),
    *("workflow", "src", "configs", "figures", "paper", "docs"),
)
"""What of a checkout makes a run again."""
LEFT_OUT = ("__pycache__", "*.egg-info", "reference")
"""Of the PARTS: compiled files, and the committed runs in paper/."""


def export(checkout: Path, commit: str | None, out: Path) -> bool:
    """Write the PARTS of a checkout into `out` as they were at a commit.

    Returns whether git knew the commit; if not, the files are those of the checkout as it is.
    """
    archived = _archive(checkout, commit) if commit else None
    if archived is None:
        for part in PARTS:
            source = checkout / part
            if source.is_dir():
                shutil.copytree(source, out / part, ignore=shutil.ignore_patterns(*LEFT_OUT))
            elif source.is_file():
                out.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, out / part)
        return False
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        archive.extractall(out, filter="data")
    return True


def _archive(checkout: Path, commit: str) -> bytes | None:
    """The PARTS at a commit as a tar archive; None if git or the commit is not there."""
    try:
        listed = _git(checkout, "ls-tree", "--name-only", commit).decode().splitlines()
        here = [part for part in PARTS if part in listed]
        return _git(checkout, "archive", commit, "--", *here, ":(exclude)paper/reference")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(checkout: Path, *words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, check=True)
    return done.stdout
