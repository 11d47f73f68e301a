"""Build the documentation as a site in .site/html, without network.

    make site

Collects README.md and every page and picture that it links to, directly or by another page, adds
the API from the docstrings of API, and runs MkDocs, which ends at a link or anchor that leads
nowhere. Then looks for anything that a page would load from the network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SITE = PROJECT / ".site"
API = ("library", "methods", "metrics", "analysis", "stats")
"""The packages of the library whose public functions the site describes."""
LINK = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//[^\"]+\"")
LOADED_BY_LINK = re.compile(r"<link\b[^>]*\bhref=\"(?:https?:)?//[^\"]+\"[^>]*>")
FETCHED = re.compile(r"url\(\s*['\"]?(?:https?:)?//[^)]+\)|@import\s+['\"](?:https?:)?//")
HARMLESS = re.compile(r'rel="(?:canonical|license|author)"')


def collected(start: str = "README.md") -> list[Path]:
    """The start and every file of the project that it links to, over as many pages as it takes.

    Raises FileNotFoundError for a link to a file that is not there.
    """
    found, waiting = [], [PROJECT / start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.append(path)
        if path.suffix == ".md":
            waiting += linked(path)
    return sorted(path.relative_to(PROJECT) for path in found)


def linked(page: Path) -> Iterator[Path]:
    """The files of the project that a page links to or shows."""
    for link in map("".join, LINK.findall(page.read_text(encoding="utf-8"))):
        file = link.partition("#")[0]
        if not file or "://" in file:
            continue
        target = (page.parent / file).resolve()
        if not target.is_file():
            where = page.relative_to(PROJECT)
            raise FileNotFoundError(f"{where}: links to {file}, which is not there")
        yield target


def api_pages() -> dict[str, str]:
    """The pages of the API by name: an index, and a page a package with its modules."""
    index = "# API\n\nThe public functions, from their docstrings.\n\n"
    pages = {}
    for package in API:
        folder = PROJECT / "src/unlearning" / package
        modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        text = [f"# unlearning.{package}", f"::: unlearning.{package}"]
        text += [f"::: unlearning.{package}.{module}" for module in modules]
        pages[f"api/{package}.md"] = "\n\n".join(text) + "\n"
        index += f"- [unlearning.{package}]({package}.md): {', '.join(modules)}\n"
    return pages | {"api/index.md": index}


def from_network(folder: Path) -> list[str]:
    """What the pages and style sheets in a folder would load from the network, a line each."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".html", ".css"):
            continue
        text = path.read_text(encoding="utf-8")
        loads = FETCHED.findall(text)
        if path.suffix == ".html":
            links = [tag for tag in LOADED_BY_LINK.findall(text) if not HARMLESS.search(tag)]
            loads += [*LOADED.findall(text), *links]
        found += [f"{path.relative_to(folder)}: {load}" for load in loads]
    return found


def main() -> None:
    """Build the site; exit status 1 if a link is broken or a page needs the network."""
    source, html = SITE / "source", SITE / "html"
    shutil.rmtree(SITE, ignore_errors=True)
    for file in collected():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / file, source / file)
    for name, text in api_pages().items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    config = PROJECT / "workflow/site/mkdocs.yml"
    words = ["mkdocs", "build", "--strict", "--config-file", str(config)]
    done = subprocess.run([sys.executable, "-m", *words], check=False)
    if done.returncode:
        sys.exit(1)
    if loads := from_network(html):
        sys.exit("\n".join(["these pages need the network:", *loads]))
    print(f"The site: {html.relative_to(PROJECT)}/index.html")


if __name__ == "__main__":
    main()
