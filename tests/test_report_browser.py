"""The page in a browser: it asks nothing of the net, sorts, filters, switches, by keyboard too."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from finished_run import finished_run, page
from playwright.sync_api import Browser, Page, sync_playwright

VALUES = ["0.93 ± 0.01", "–", "-2.5", "10.0 ± 3.0", "< 0.001", "not defined", "9.1 [8, 11]", ""]
TRIED = (
    '<div class="sheet" id="tried"><div role="region" aria-label="Tried" tabindex="0"><table>'
    "<thead><tr><th>Name</th><th>Value</th></tr></thead><tbody>"
    + "".join(
        f"<tr><td>class-{n}</td><td>{html.escape(value)}</td></tr>"
        for n, value in zip((10, 2, 1, 3, 4, 5, 6, 7), VALUES, strict=True)
    )
    + "</tbody></table></div></div>"
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with published and searched settings, and a table of ours at its end."""
    folder = finished_run(tmp_path_factory.mktemp("finished"))
    runs = pd.read_csv(folder / "runs.csv", dtype=str, keep_default_na=False)
    kinds = (
        runs["method"]
        .map({"fine_tuning": "searched", "original": "", "oracle": ""})
        .fillna("published")
    )
    runs.assign(settings_from=kinds).to_csv(folder / "runs.csv", index=False)
    path = folder / "tried.html"
    path.write_text(page(folder).replace("</main>", f"{TRIED}</main>"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Browser, written: Path) -> Iterator[Page]:
    """The page, opened once; `heard` has what it asked of the net and what it complained of."""
    tab = browser.new_page(viewport=WIDE)
    tab.heard = []
    tab.on("request", lambda request: tab.heard.append(request.url))
    tab.on("console", lambda message: tab.heard.append(message.text))
    tab.on("pageerror", lambda error: tab.heard.append(str(error)))
    tab.goto(written.as_uri())
    yield tab
    tab.close()


def column(tab: Page, sheet: str, number: int) -> list[str]:
    """The texts of the shown rows in a column, counted from 1."""
    cells = tab.locator(f"#{sheet} tbody tr:not([hidden]) td:nth-child({number})")
    return [text.strip() for text in cells.all_text_contents()]


def test_nothing_is_asked_of_the_net_and_nothing_goes_wrong(opened, written):
    nets = [said for said in opened.heard if not said.startswith("data:")]
    assert nets == [written.as_uri()]
    sizes = opened.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(sizes) == 3 and all(sizes)
    assert written.stat().st_size < 5_000_000


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_page_is_no_wider_than_the_window(opened, size):
    opened.set_viewport_size(size)
    assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    inside = (
        "[...document.querySelectorAll('.judged .wide')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert max(opened.evaluate(inside)) <= 0
    opened.set_viewport_size(WIDE)


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["1280-light", "390-dark"]
)
def test_no_serious_fault_of_accessibility(opened, size, scheme):
    opened.set_viewport_size(size)
    opened.emulate_media(color_scheme=scheme)
    faults = Axe().run(opened).response["violations"]
    serious = [
        (fault["id"], fault["nodes"][0]["html"][:200])
        for fault in faults
        if fault["impact"] in ("serious", "critical")
    ]
    opened.set_viewport_size(WIDE)
    opened.emulate_media(color_scheme="light")
    assert serious == []


def test_a_table_sorts_by_a_click_and_by_the_keyboard(opened):
    name, value = opened.locator("#tried th button").all()
    header = opened.locator("#tried th").nth(1)
    numbers = ["-2.5", "< 0.001", "0.93 ± 0.01", "9.1 [8, 11]", "10.0 ± 3.0"]
    last = ["not defined", "–", ""]
    value.click()
    assert column(opened, "tried", 2) == numbers + last
    assert header.get_attribute("aria-sort") == "ascending"
    value.press("Enter")
    assert column(opened, "tried", 2) == numbers[::-1] + last
    assert header.get_attribute("aria-sort") == "descending"
    name.press("Space")
    assert column(opened, "tried", 1) == [f"class-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10)]
    assert header.get_attribute("aria-sort") == "none"


def test_a_table_is_filtered_by_words_and_by_verdict(opened):
    tools = opened.locator("#audit-table .tools")
    choice, field = tools.locator("select"), tools.locator("input")
    verdicts = ["differs", "not comparable", "ours not run", "reproduced"]
    assert choice.locator("option").all_text_contents() == ["Verdict: any", *verdicts]
    choice.select_option("differs")
    assert column(opened, "audit-table", 4) == ["differs"] * 3
    assert tools.locator("output").text_content() == "3 of 10 rows"
    field.fill("REASON_1 76.2")
    assert column(opened, "audit-table", 8) == ["76.2"]
    choice.select_option("")
    field.fill("none such")
    assert column(opened, "audit-table", 1) == []
    field.fill("")
    assert len(column(opened, "audit-table", 1)) == 10


def test_a_number_leads_to_its_record(opened):
    cells = opened.locator("#trace-mini-class_removal-duck")
    assert cells.get_attribute("open") is None
    opened.locator("#claims-1 tbody tr:first-child > td a").last.press("Enter")
    opened.wait_for_function("document.getElementById('trace-mini-class_removal-duck').open")
    assert "mini/cell-" in cells.locator("dd").first.text_content()


def test_the_answer_leads_to_the_claim_that_fails(opened):
    link = opened.locator(".failing a")
    row = link.get_attribute("href")
    claim = opened.locator(row)
    assert claim.get_attribute("open") is None
    link.press("Enter")
    opened.wait_for_function("id => document.querySelector(id).open", arg=row)
    assert claim.locator("summary").text_content() == link.text_content() == "DUCK is near"


def test_a_point_says_under_focus_what_it_stands_for_and_leads_to_its_cells(opened):
    panel = opened.locator(".panel:visible").first
    point, said = panel.locator(".point.duck"), panel.locator(".said")
    legend = said.text_content()
    point.focus()
    assert said.text_content() == point.get_attribute("aria-label") != legend
    opened.locator("h1").hover()
    panel.locator(".point").first.hover()
    assert said.text_content().startswith("Original: AUS 0.")
    assert "does nothing" in said.text_content()
    opened.evaluate("location.hash = ''")
    point.press("Enter")
    opened.wait_for_function("location.hash === '#trace-mini-class_removal-duck'")


def test_the_plot_switches_by_keyboard_between_scenarios_and_settings(opened):
    def shown() -> list[str]:
        return opened.locator(".panel:visible h3").all_text_contents()

    (first,) = shown()
    assert first.startswith("Class removal") and first.endswith("published settings")
    opened.locator("input[name=Scenario]:checked").press("ArrowRight")
    opened.locator("input[name=Settings]:checked").press("ArrowRight")
    (second,) = shown()
    assert second.startswith("Homogeneous removal") and second.endswith("searched settings")
    names = opened.locator(".panel:visible .point").evaluate_all(
        "points => points.map(p => p.getAttribute('aria-label').split(':')[0])"
    )
    assert names == ["Original", "Oracle", "Fine-Tuning"]
    for name in ("Settings", "Scenario"):
        opened.locator(f"input[name={name}]:checked").press("ArrowLeft")
    assert shown() == [first]


def test_without_scripts_everything_is_shown(browser, written):
    tab = browser.new_page(viewport=WIDE, java_script_enabled=False)
    tab.goto(written.as_uri())
    assert tab.locator(".panel").count() == tab.locator(".panel:visible").count() == 4
    assert not tab.locator(".chooser").is_visible()
    assert tab.locator("#audit-table tbody tr:visible").count() == 10
    tab.close()
