"""The gallery in a browser: filters, links, pictures, keyboard, contrast, and 50,000 examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe

from pie_ray.analysis.tables import TABLES
from pie_ray.report import cards, pictures
from pie_ray.report.page import render_report
from tests.report.study import CLASS_NAMES, Study, make_study

from .conftest import PHONE, Watched

WORST = "magnitude-0.90+static_int8"
"""Has the most PIEs, so that the page begins with it."""
OTHER = "magnitude-0.50"
EVIL = "</script><script>alert(1)</script>'\"<img src=x onerror=alert(2)>"


@pytest.fixture(scope="session")
def study() -> Study:
    return make_study(num_members=4)


def render(study: Study, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "digits",
        "class_names": CLASS_NAMES,
        "thumbnails": study.thumbnails,
        "notes": [],
        "provenance": {},
        "answers": study.answers,
    }
    tables = dict.fromkeys(TABLES, pd.DataFrame()) | study.tables
    tables |= {name: changes.pop(name) for name in TABLES if name in changes}
    return render_report(tables=tables, **(arguments | changes))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    folder = tmp_path_factory.mktemp("gallery")

    def write(name: str, html: str) -> str:
        (folder / name).write_text(html)
        return (folder / name).as_uri()

    return write


@pytest.fixture(scope="session")
def address(study: Study, written: Callable[[str, str], str]) -> str:
    return written("study.html", render(study))


def pies_of(study: Study, variant_id: str) -> pd.DataFrame:
    mine = study.pies[study.pies["variant_id"] == variant_id]
    return mine.sort_values(["taxicab", "example_id"], ascending=[False, True])


def shown(page: Any) -> list[int]:
    return [int(name) for name in page.eval_on_selector_all(".card", "cards => cards.map((c) => c.dataset.example)")]


def choose(page: Any, name: str, value: str) -> None:
    page.locator(f"#gallery-filters [name={name}]").select_option(value)


def count(page: Any) -> str:
    return str(page.locator("#gallery-filters output").inner_text())


def is_open(page: Any) -> bool:
    return bool(page.evaluate("document.getElementById('gallery-example').open"))


# --------------------------------------------------------------------------------------------------------- filters


def test_filters_choose_the_cards_and_say_how_many(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    first = pies_of(study, WORST)
    assert shown(page) == list(first["example_id"][:60]) and count(page) == f"{len(first)} examples"
    page.locator("#gallery-more").click()
    assert shown(page) == list(first["example_id"]) and not page.locator("#gallery-more").is_visible()

    choose(page, "variant", label_of(page, OTHER))
    mine = pies_of(study, OTHER)
    assert shown(page) == list(mine["example_id"])
    choose(page, "kind", "lost")
    lost = mine[mine["reference_mode"] == mine["label"]]
    assert shown(page) == list(lost["example_id"]) and count(page).startswith(str(len(lost)))
    choose(page, "kind", "gained")
    assert shown(page) == list(mine[mine["variant_mode"] == mine["label"]]["example_id"])
    choose(page, "kind", "disputed")
    both_wrong = (mine["reference_mode"] != mine["label"]) & (mine["variant_mode"] != mine["label"])
    assert shown(page) == list(mine[both_wrong]["example_id"])

    page.get_by_role("button", name="Clear filters").click()
    label = int(first["label"].mode()[0])
    choose(page, "class", str(label))
    assert shown(page) == list(first[first["label"] == label]["example_id"])
    option = page.locator(f"#gallery-filters [name=class] option[value='{label}']").inner_text()
    assert option == f"{CLASS_NAMES[label]} ({len(shown(page))})"
    choose(page, "order", "id")
    assert shown(page) == sorted(shown(page))
    assert not watched.complaints


def label_of(page: Any, variant_id: str) -> str:
    options = "options => options.map((option) => [option.dataset.name, option.value])"
    return dict(page.eval_on_selector_all("[name=variant] option", options))[variant_id]


def test_a_key_or_an_id_finds_an_example(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    row = pies_of(study, WORST).iloc[3]
    page.locator("[name=text]").fill(row["key"].upper())
    assert shown(page) == [row["example_id"]] and count(page) == "1 example"
    page.locator("[name=text]").fill("nowhere")
    assert shown(page) == [] and count(page) == "0 examples"


def test_variants_stand_side_by_side(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    choose(page, "variant", "0")
    assert count(page) == f"{study.pies['example_id'].nunique()} examples"
    choose(page, "order", "variants")
    most = study.pies.groupby("example_id").size()
    assert most[shown(page)[0]] == most.max()
    card = page.locator(".card").first
    lines = card.locator(".line").all_inner_texts()
    moved = study.pies[study.pies["example_id"] == shown(page)[0]]["variant_id"]
    assert [line.split()[0] for line in lines] == ["true", "dense", *moved]


def test_the_address_keeps_what_was_chosen(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address)
    choose(page, "variant", label_of(page, OTHER))
    choose(page, "kind", "lost")
    cards, kept = shown(page), page.url
    assert kept.startswith(f"{address}#gallery?")
    page.goto("about:blank")
    page.goto(kept)
    assert shown(page) == cards and page.locator("[name=kind]").input_value() == "lost"
    for foreign in ("variant=nonsense&class=99&kind=x&other=1", "text=%E0%A4%A"):
        page.goto("about:blank")
        page.goto(f"{address}#gallery?{foreign}")
        assert page.locator("[name=kind]").input_value() == "changed"
    assert not watched.complaints


# -------------------------------------------------------------------------------------------------------- examples


def test_a_link_opens_an_example_that_is_filtered_out(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    hidden = set(study.pies["example_id"]) - set(pies_of(study, WORST)["example_id"])
    row = study.pies[study.pies["example_id"] == min(hidden)].iloc[0]
    page.goto(f"{address}#example-{row['example_id']}")
    dialog = page.locator("#gallery-example")
    assert is_open(page) and row["key"] in dialog.inner_text()
    mine = study.answers[study.answers["example_id"] == row["example_id"]]
    rows = [line.split() for line in dialog.locator("tbody tr").all_inner_texts()]
    assert [(line[0], line[1]) for line in rows] == [
        (answer["variant_id"], CLASS_NAMES[answer["mode"]]) for answer in mine.to_dict("records")
    ]
    assert dialog.locator("[name=link]").input_value() == f"{address}#example-{row['example_id']}"
    page.keyboard.press("Escape")
    # told by an event of the dialog's, a moment later
    page.wait_for_url(address)
    assert not is_open(page)
    page.evaluate("location.hash = '#example-999999'")
    assert not is_open(page) and not watched.complaints


def test_the_place_of_its_rows_can_be_copied(
    watched: Watched, address: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = watched.page
    example_id = pies_of(study, WORST).iloc[0]["example_id"]
    page.goto(f"{address}#example-{example_id}")
    page.locator(".copies button").first.click()
    assert page.locator(".copies button").first.inner_text() == "Copied"
    (tmp_path / "analysis").mkdir()
    study.pies.to_parquet(tmp_path / "analysis" / "pies.parquet")
    monkeypatch.chdir(tmp_path)
    read, choice = page.locator("[name=rows]").input_value().split("; ")
    scope: dict[str, Any] = {"pd": pd}
    exec(read, scope)
    pd.testing.assert_frame_equal(eval(choice, scope), study.pies[study.pies["example_id"] == example_id])


def test_the_keyboard_does_it_all(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    ids = list(pies_of(study, WORST)["example_id"])
    page.locator("[name=text]").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.closest('.card').dataset.example"
    assert page.evaluate(focused) == str(ids[0])
    assert page.evaluate("getComputedStyle(document.activeElement.closest('.card')).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    title = page.locator("#gallery-example h3")
    assert is_open(page) and title.inner_text().lower() == f"example {ids[1]}"
    page.keyboard.press("ArrowRight")
    assert title.inner_text().lower() == f"example {ids[2]}" and page.url.endswith(f"#example-{ids[2]}")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert title.inner_text().lower() == f"example {ids[0]}"
    page.keyboard.press("Escape")
    page.wait_for_function(f"{focused} === '{ids[1]}'")
    assert not is_open(page)
    page.locator("#gallery-more").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == str(ids[60])


# ------------------------------------------------------------------------------------------------ pictures and page


_LOOK_AT_ALL = """async () => {
  for (const image of document.querySelectorAll(".card img")) { image.scrollIntoView(); await image.decode(); }
}"""


def test_pictures_load_and_nothing_leaves_the_page(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    choose(page, "variant", "0")
    while page.locator("#gallery-more").is_visible():
        page.locator("#gallery-more").click()
    page.evaluate(_LOOK_AT_ALL)
    widths = page.eval_on_selector_all(".card img", "images => images.map((image) => image.naturalWidth)")
    assert widths == [8] * study.pies["example_id"].nunique()
    assert {request.split(":")[0] for request in watched.requests} <= {"file", "data"}
    assert [request for request in watched.requests if request.startswith("file:")] == [address]
    assert not watched.complaints


@pytest.mark.parametrize("watched", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript_the_first_cards_are_there(watched: Watched, address: str, study: Study) -> None:
    page = watched.page
    page.goto(address)
    cards = page.locator(".card")
    assert cards.count() == 24 and cards.first.is_visible() and page.locator("#gallery noscript").is_visible()
    assert not page.locator("#gallery-filters").is_visible()


def test_it_works_in_the_sandbox_of_an_artifact_viewer(watched: Watched, address: str, study: Study) -> None:
    """As MLflow shows HTML: a frame without an origin, from a blob."""
    page = watched.page
    page.set_content("<iframe sandbox='allow-scripts' width=1200 height=800></iframe>")
    html = Path(address.removeprefix("file://")).read_text()
    show = "(frame, html) => { frame.src = URL.createObjectURL(new Blob([html], {type: 'text/html'})); }"
    page.eval_on_selector("iframe", show, html)
    frame = page.frame_locator("iframe")
    frame.locator("#gallery-filters [name=variant]").select_option("0")
    assert frame.locator("output").inner_text() == f"{study.pies['example_id'].nunique()} examples"
    frame.locator(".card a").first.click()
    assert frame.locator("#gallery-example h3").is_visible()
    frame.locator(".copies button").first.click()
    frame.locator("#gallery-example .close").click()
    assert not frame.locator("#gallery-example h3").is_visible()
    assert not watched.complaints


def test_what_people_wrote_runs_nowhere(watched: Watched, study: Study, written: Callable[[str, str], str]) -> None:
    names = {WORST: "<script>alert(1)</script>"}
    html = render(
        study,
        class_names=[EVIL] * 10,
        summary=study.summary.replace(names),
        classes=study.classes.replace(names),
        pies=study.pies.replace(names).assign(key=EVIL),
        answers=study.answers.replace(names),
    )
    page = watched.page
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(written("evil.html", html))
    choose(page, "variant", "0")
    page.locator(".card a").first.click()
    told = page.locator("#gallery-example")
    assert told.locator("dd").all_inner_texts()[:2] == [EVIL, EVIL] and EVIL in told.locator("tbody").inner_text()
    assert not alerts and not watched.complaints


def test_of_several_attributes_each_has_a_card_and_an_address(
    watched: Watched, study: Study, written: Callable[[str, str], str]
) -> None:
    pies = study.pies[study.pies["variant_id"] == WORST].head(12)
    names = ["Big Nose", "Red/Blue", "constructor"]
    pies = pd.concat([pies.assign(attribute=name, label=0, reference_mode=0, variant_mode=1) for name in names])
    html = render(study, pies=pies, class_names=["no", "yes"], answers=None)
    page = watched.page
    page.goto(written("attributes.html", html))
    assert count(page) == "36 examples"
    options = page.locator("[name=attribute] option").all_inner_texts()
    assert options == ["all (36)", "Big Nose (12)", "Red/Blue (12)", "constructor (12)"]
    choose(page, "attribute", "Red/Blue")
    assert count(page) == "12 examples" and len(set(shown(page))) == 12
    page.locator(".card a").last.click()
    linked, title = page.url, page.locator("#gallery-example h3").inner_text()
    assert title.endswith("Red/Blue")
    page.goto("about:blank")
    page.goto(linked)
    assert page.locator("#gallery-example h3").inner_text() == title
    assert '(pies.attribute == "Red/Blue")' in page.locator("[name=rows]").input_value()
    assert not watched.complaints


_SCHEMES = ("light", "dark")


@pytest.mark.parametrize(
    "watched",
    [
        {"color_scheme": scheme, **size}
        for scheme, size in itertools.product(_SCHEMES, ({}, {"viewport": PHONE, "has_touch": True}))
    ],
    indirect=True,
    ids=[f"{scheme}-{size}" for scheme, size in itertools.product(_SCHEMES, ("desktop", "phone"))],
)
def test_everyone_can_read_it(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(f"{address}#gallery?text=digits%5B11")
    assert 5 < len(shown(page)) < 30, "axe takes long where there is much"
    found = [Axe().run(page, context="#gallery")]
    choose(page, "variant", "0")
    found.append(Axe().run(page, context="#gallery"))
    page.locator(".card a").first.click()
    found.append(Axe().run(page, context="#gallery-example"))
    assert [result.generate_report() for result in found if result.violations_count] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Escape")
    targets = "parts => Math.min(...parts.map((part) => part.getBoundingClientRect().height).filter((h) => h))"
    assert page.eval_on_selector_all("#gallery select, #gallery button, .card", targets) >= 38


# ----------------------------------------------------------------------------------------------------------- size


def test_fifty_thousand_examples_and_twenty_variants(
    watched: Watched, study: Study, written: Callable[[str, str], str]
) -> None:
    """Every example is a PIE of some variant, so neither all cards nor all pictures find room."""
    rng = np.random.default_rng(0)
    variants = [f"magnitude-0.{place:02}" for place in range(20)]
    parts = [large_pies(variant_id, rng) for variant_id in variants]
    pies = pd.concat(parts, ignore_index=True)
    base = study.summary.iloc[[3]]
    summary = pd.concat([study.summary.iloc[[0]], *(base.assign(variant_id=name) for name in variants)])
    answers = pd.concat(
        pd.DataFrame({"example_id": range(50_000), "variant_id": name, "mode": rng.integers(0, 1000, 50_000)})
        for name in ("dense", *variants)
    ).assign(agreement=0.5)
    noise = [pictures.encode_thumbnail(rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)) for _ in range(40)]
    each = max(len(pictures.data_uri(thumbnail)) for thumbnail in noise)
    order = cards.picture_order(pies, "test").tolist()
    thumbnails = {name: noise[name % 40] for name in order[: pictures.PICTURE_BYTES // each]}
    html = render(
        study, class_names=[f"a class of many words {index}" for index in range(1000)], summary=summary,
        classes=study.classes.iloc[:0], pies=pies, answers=answers, thumbnails=thumbnails,
    )  # fmt: skip
    assert 15_000_000 < len(html.encode()) < 20_000_000
    page = watched.page
    page.goto(written("large.html", html), wait_until="domcontentloaded")
    assert page.locator(".card").first.is_visible() and page.locator(".card").count() == 60
    num_shown = count(page)
    choose(page, "variant", "0")
    assert count(page) != num_shown and page.locator(".card").count() == 60
    page.locator("[name=text]").fill("image-000")
    assert page.locator(".card").count() == 60
    assert not watched.complaints


def large_pies(variant_id: str, rng: np.random.Generator) -> pd.DataFrame:
    ids = rng.choice(50_000, 10_000, replace=False)
    modes = rng.integers(0, 500, len(ids))
    return pd.DataFrame(
        {
            "evaluation_set": "test",
            "variant_id": variant_id,
            "example_id": ids,
            "key": [f"validation/n0{name % 1000}/image-{name:06}.jpg" for name in ids],
            "label": ids % 1000,
            "reference_mode": ids % 500,
            "variant_mode": np.where(modes == ids % 500, 999, modes),
            "reference_agreement": 0.9,
            "variant_agreement": rng.random(len(ids)),
            "taxicab": rng.integers(1, 60, len(ids)),
            "is_pie": True,
            "p_value": rng.random(len(ids)),
            "q_value": rng.random(len(ids)),
            "is_significant": rng.random(len(ids)) < 0.1,
        }
    )
