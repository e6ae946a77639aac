"""The report in a browser: contrast and names for everyone, the table of contents by keyboard, a phone, no request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from pie_ray.report.page import render_report
from tests.report.everything import every_table

from .conftest import DESKTOP, PHONE, Watched

VARIANTS = ["magnitude-0.50", "global_magnitude-0.90+static_int8"]
EVIL = "<script>document.title = 'evil'</script>"

LIGHT, DARK = {"color_scheme": "light"}, {"color_scheme": "dark"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every section, with names that want to be more than names."""
    tables = every_table([*VARIANTS, EVIL], class_name=EVIL + "{}")
    html = render_report(
        title="a study", tables=tables, class_names=[EVIL] * 10, thumbnails={}, notes=["2 of 24 members are missing."],
        provenance={"torch": "2.15"}, missing=["dense seed 3"], recipe="name: study",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(html)
    return path.as_uri()


@pytest.fixture
def opened(watched: Watched, address: str) -> Iterator[Any]:
    """The page; it must have complained of nothing and asked for nothing by the end of the test."""
    watched.page.goto(address)
    yield watched.page
    assert watched.complaints == [] and watched.requests == [address]


@pytest.mark.parametrize("watched", [LIGHT, DARK, LIGHT | {"viewport": PHONE}], indirect=True, ids=str)
def test_nothing_stands_in_anyones_way(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    violations = Axe().run(opened).response["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in violations] == []


@pytest.mark.parametrize("watched", [{"viewport": DESKTOP}, {"viewport": PHONE}], indirect=True, ids=str)
def test_the_page_itself_does_not_scroll_sideways(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("watched", [LIGHT, DARK], indirect=True, ids=str)
def test_text_in_figures_can_be_read(opened: Any) -> None:
    """Which axe leaves out: contrast of at least 4.5 between a figure's text and the page."""
    colours = opened.evaluate(
        """() => [...document.querySelectorAll('.plot svg text')].map((text) => getComputedStyle(text).fill)"""
    )
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert len(colours) > 100 and all(contrast(colour, paper) >= 4.5 for colour in set(colours))


def until(page: Any, condition: str) -> None:
    """Wait for a JavaScript expression; the page's own rules forbid Playwright's way to wait."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def contrast(first: str, second: str) -> float:
    """Of two colours as CSS, by WCAG 2."""
    darker, lighter = sorted(map(luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_contents_work_by_keyboard(opened: Any) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the report"
    while opened.evaluate("document.activeElement.hash") != "#classes":
        opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    until(opened, "Math.abs(document.getElementById('classes').getBoundingClientRect().top) < 80")
    opened.wait_for_selector("a[href='#classes'][aria-current]")
    # and on from there, not from the top
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.closest('section').id") == "classes"


def test_the_skip_link_leads_past_the_contents(opened: Any) -> None:
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.closest('section').id") == "variants"


@pytest.mark.parametrize("watched", [{"viewport": PHONE}], indirect=True, ids=str)
def test_tables_scroll_by_keyboard_and_keep_their_names_in_sight(opened: Any) -> None:
    box = opened.locator("#variants .scroll")
    box.focus()
    for _ in range(5):
        opened.keyboard.press("ArrowRight")
    until(opened, "document.querySelector('#variants .scroll').scrollLeft > 50")
    name = opened.locator("#variants tbody th").nth(1).bounding_box()
    assert name["x"] < 30 and name["width"] < 200


@pytest.mark.parametrize("watched", [{"viewport": PHONE}], indirect=True, ids=str)
def test_the_contents_are_folded_on_a_phone(opened: Any) -> None:
    link = opened.locator(".contents a[href='#classes']")
    assert not link.is_visible()
    opened.locator(".contents summary").click()
    link.click()
    until(opened, "Math.abs(document.getElementById('classes').getBoundingClientRect().top) < 120")
    assert not link.is_visible()


def test_what_columns_mean_can_be_read_without_a_pointer(opened: Any) -> None:
    about = opened.locator("#variants .about")
    assert not about.locator("dl").is_visible()
    about.locator("summary").focus()
    opened.keyboard.press("Enter")
    assert about.get_by_text("mean over members ± standard deviation", exact=True).is_visible()


def test_names_stay_names(opened: Any) -> None:
    assert opened.title() == "a study: what compression forgets"
    assert opened.locator("#variants tbody th").nth(3).text_content() == EVIL


def test_the_page_works_within_a_sandbox(watched: Watched, address: str) -> None:
    """As MLflow shows it among a sweep's artifacts."""
    page, server = watched.page, "http://mlflow.test/"
    page.route(server, lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(server)
    page.evaluate(
        """(html) => {
          const frame = document.createElement("iframe");
          frame.setAttribute("sandbox", "allow-scripts");
          frame.style = "width: 1300px; height: 800px";
          frame.src = URL.createObjectURL(new Blob([html], { type: "text/html" }));
          document.body.append(frame);
        }""",
        Path(address.removeprefix("file://")).read_text(),
    )
    frame = page.frame_locator("iframe")
    frame.locator(".contents a[href='#classes']").click()
    frame.locator(".contents a[href='#classes'][aria-current]").wait_for()
    top = frame.locator("#classes").evaluate("(section) => section.getBoundingClientRect().top")
    assert abs(top) < 80 and watched.complaints == []


@pytest.mark.parametrize("watched", [DARK], indirect=True, ids=str)
def test_paper_is_white(opened: Any) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.locator(".contents").is_visible()
    assert opened.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
