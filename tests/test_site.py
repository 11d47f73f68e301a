"""What `make site` collects, without building it: pages, API, links, nothing from the network."""

from __future__ import annotations

import re
import sys

import pytest
from workspace import PROJECT

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
import build_site

CONFIG = (PROJECT / "workflow/site/mkdocs.yml").read_text(encoding="utf-8")


def test_every_page_of_the_site_is_in_its_navigation():
    pages = {path.as_posix() for path in build_site.collected() if path.suffix == ".md"}
    pages |= set(build_site.api_pages())
    named = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", CONFIG.partition("\nnav:\n")[2], re.M)
    left_out = re.search(r"^not_in_nav: /(\S+)$", CONFIG, re.M)[1]
    assert sorted(named) == sorted(page for page in pages if not page.startswith(left_out))
    assert {f"docs/{path.name}" for path in PROJECT.glob("docs/*.md")} <= pages


def test_the_api_has_every_module_of_its_packages():
    pages = build_site.api_pages()
    for package in build_site.API:
        files = (PROJECT / "src/unlearning" / package).glob("*.py")
        wanted = {f"unlearning.{package}.{path.stem}" for path in files if path.stem != "__init__"}
        named = re.findall(r"^::: (\S+)$", pages[f"api/{package}.md"], re.M)
        assert set(named) == wanted | {f"unlearning.{package}"} and len(wanted) > 2


def test_a_link_to_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(build_site, "PROJECT", tmp_path)
    (tmp_path / "README.md").write_text("[a](b.md#c), [d](https://e.f)", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"README.md: links to b.md"):
        build_site.collected()
    (tmp_path / "b.md").write_text('<img src="p.png">', encoding="utf-8")
    (tmp_path / "p.png").write_bytes(b"")
    assert [path.name for path in build_site.collected()] == ["README.md", "b.md", "p.png"]


@pytest.mark.parametrize(
    ("file", "text", "count"),
    [
        ("a.html", '<script src="https://cdn.example/m.js"></script>', 1),
        ("a.html", '<link rel="stylesheet" href="//cdn.example/f.css">', 1),
        ("a.html", '<img alt="x" src="http://example/x.png">', 1),
        ("a.css", "body { background: url('https://example/x.png') }", 1),
        ("a.css", '@import "https://example/x.css";', 1),
        ("a.html", '<a href="https://example">x</a> <script src="m.js"></script>', 0),
        ("a.html", '<link rel="canonical" href="https://example">', 0),
        ("a.css", "body { background: url('x.png') }", 0),
    ],
)
def test_what_a_page_loads_from_the_network_is_found(file, text, count, tmp_path):
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert len(build_site.from_network(tmp_path)) == count
