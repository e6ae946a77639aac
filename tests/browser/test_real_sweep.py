"""The report of a real sweep in a browser, of images in folders whose names would be markup if anyone let them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from sklearn.datasets import load_digits

from pie_ray.cli import main
from tests.swept import sweep_here

from .conftest import DESKTOP, PHONE, Watched

CLASSES = [f"digit {digit}" for digit in range(10)]
CLASSES[3], CLASSES[8] = "<script>", "<img src=x onerror=alert(8)>"
VARIANTS = "variants=[{pruning: {kind: magnitude, sparsities: [0.5, 0.95]}}, {quantization: [static_int8]}]"
CORRUPTED = (
    "evaluation.suites={corrupted: {kind: corruptions, corruptions: [fog, contrast], severities: [1, 5], "
    "small_images: resize}}"
)


def digits_in_folders(folder: Path, *, num_train: int = 30, num_test: int = 12) -> Path:
    """scikit-learn's digits as PNG, so many of each class."""
    digits = load_digits()
    for digit, name in enumerate(CLASSES):
        pixels = (digits.images[digits.target == digit] * 255 / 16).astype(np.uint8)
        for index, image in enumerate(pixels[: num_train + num_test]):
            split = folder / ("train" if index < num_train else "test") / name
            split.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(split / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real_sweep")
    data = json.dumps({"kind": "image_folder", "path": str(digits_in_folders(folder / "images"))})
    swept = sweep_here(folder, f"data={data}", VARIANTS, CORRUPTED, "execution.tracking={kind: none}")
    where = swept.storage.uri.removeprefix("file://")
    assert main(["analyze", where]) == main(["report", where]) == 0
    return Path(where)


@pytest.fixture
def report(watched: Watched, results: Path) -> Any:
    """The report, opened from disk; in the end nobody has complained and nothing has left the page."""
    address = (results / "report" / "index.html").as_uri()
    watched.page.on("dialog", lambda dialog: pytest.fail(f"a name was run as a script: {dialog.message}"))
    watched.page.goto(address)
    yield watched.page
    assert watched.complaints == []
    assert {url for url in watched.requests if not url.startswith("data:")} == {address}


def choose(report: Any, name: str, text: str) -> None:
    """Choose the option that begins with `text` in a filter of the gallery."""
    select = report.locator(f"#gallery select[name={name}]")
    (option,) = [option for option in select.locator("option").all_inner_texts() if option.startswith(f"{text} (")]
    select.select_option(label=option)


def test_names_of_classes_are_text_wherever_they_stand(report: Any) -> None:
    options = report.locator("#gallery option").all_inner_texts()
    assert any("<script>" in option for option in options) and any("<img src=x" in option for option in options)
    assert report.locator("img[src='x']").count() == 0
    assert report.locator("body").inner_text().count("<img src=x onerror=alert(8)>") > 1


def test_the_gallery_shows_the_pictures_of_a_variant_and_of_a_class(report: Any) -> None:
    choose(report, "variant", "magnitude-0.95")
    cards = report.locator("#gallery .card:visible")
    num_of_variant = cards.count()
    assert num_of_variant > 1
    choose(report, "class", cards.first.locator("b").first.inner_text())
    assert 0 < cards.count() < num_of_variant
    picture = cards.first.locator("img")
    picture.scroll_into_view_if_needed()
    report.wait_for_function("image => image.complete && image.naturalWidth === 8", arg=picture.element_handle())


def test_every_section_that_the_data_has_is_there(report: Any) -> None:
    text = report.locator("body").inner_text()
    for words in ("magnitude-0.95", "static_int8", "fog", "contrast", "Noise floor"):
        assert words in text


@pytest.mark.parametrize(
    "watched",
    [{}, {"color_scheme": "dark"}, {"viewport": PHONE}],
    ids=["light", "dark", "phone"],
    indirect=True,
)
def test_the_page_is_accessible_and_fits(report: Any) -> None:
    found = Axe().run(report)
    assert found.violations_count == 0, found.generate_report()
    assert report.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_gallery_is_worked_by_keyboard(report: Any) -> None:
    assert report.viewport_size == DESKTOP
    report.locator("#gallery .card button, #gallery .card a").first.focus()
    report.keyboard.press("Enter")
    report.locator("dialog[open]").wait_for()
    report.keyboard.press("Escape")
    report.locator("dialog[open]").wait_for(state="detached")
