"""The page says what the tables say, for any study, and asks nothing of the network."""

from __future__ import annotations

import math
import re
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pie_ray.analysis.tables import TABLES
from pie_ray.report import words
from pie_ray.report.page import render_report

from .everything import every_table
from .study import CLASS_NAMES, Study, make_study


def render(study: Study, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "digits",
        "class_names": CLASS_NAMES,
        "thumbnails": study.thumbnails,
        "notes": [],
        "provenance": {"sweep id": "abc123"},
    }
    tables = dict.fromkeys(TABLES, pd.DataFrame()) | study.tables
    tables |= {name: changes.pop(name) for name in TABLES if name in changes}
    return render_report(tables=tables, **(arguments | changes))


class Page(HTMLParser):
    """Text and elements of a page; fails where tags are not closed in order."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.text = " ".join([self.text, *data.split()])

    @property
    def cards(self) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if attributes.get("class") == "card"]


def test_every_tag_is_closed_and_nothing_is_fetched(study: Study) -> None:
    html = render(study)
    page = Page(html)
    without_pictures = re.sub(r"data:image/\w+;base64,[\w+/=]*", "data:", html)
    assert not re.search(r"https?:|//|@import|url\((?!data:|#)", without_pictures)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.elements}
    targets = [
        str(attributes[name]) for _, attributes in page.elements for name in {"src", "href", "action"} & {*attributes}
    ]
    assert all(target.startswith(("#", "data:image/")) for target in targets)


def test_the_page_opens_with_what_compression_costs(study: Study) -> None:
    row = study.summary.loc[study.summary["pie_fraction"].idxmax()]
    text = Page(render(study)).text
    before, after = 100 * row["reference_top1_mean"], 100 * row["top1_mean"]
    change = f"{after - before:+.1f}".replace("-", "−")
    assert f"{row['variant_id']} forgets most: {change} points of top-1 ({before:.1f} → {after:.1f} %)" in text
    assert f"another most frequent answer on {row['num_pies']} of 797 examples" in text
    assert f"where nothing was compressed, on {100 * row['null_pie_fraction']:.1f} %" in text


def test_each_variant_is_in_the_table_with_its_figures(study: Study) -> None:
    text = Page(render(study)).text
    for row in study.summary.to_dict("records"):
        assert row["variant_id"] in text and f"{100 * row['top1_mean']:.2f} %" in text
        if row["variant_id"] != "dense":
            assert f"{row['num_pies']} {100 * row['pie_fraction']:.2f} %" in text


def test_what_people_wrote_is_escaped(study: Study) -> None:
    evil = "<script>alert('$title')</script>&\""
    html = render(
        study,
        title=evil,
        notes=[evil],
        provenance={evil: evil},
        class_names=[evil] * 10,
        summary=study.summary.replace("magnitude-0.90", evil),
        classes=study.classes.replace("magnitude-0.90", evil).assign(class_name=evil),
        pies=study.pies.replace("magnitude-0.90", evil),
    )
    scripts = [attributes for tag, attributes in Page(html).elements if tag == "script" and "type" not in attributes]
    assert len(scripts) == 1
    assert "<script>alert" not in html and "alert(&#x27;$title&#x27;)" in html


def test_notes_and_provenance_are_shown(study: Study) -> None:
    text = Page(render(study, notes=["2 of 24 members are missing."], provenance={"torch": "2.9.1"})).text
    assert "2 of 24 members are missing." in text and "torch 2.9.1" in text


def test_a_variant_with_fewer_members_is_marked(study: Study) -> None:
    summary = study.summary.assign(num_members=[4, 4, 4, 3, 4, 4])
    assert '<span class="warn">3 of 4</span>' in render(study, summary=summary, missing=["static_int8 seed 3"])
    assert 'class="warn"' not in render(study)


def test_a_variant_that_was_to_have_fewer_members_is_not(study: Study) -> None:
    summary = study.summary.assign(num_members=[4, 4, 4, 3, 4, 4])
    assert 'class="warn"' not in render(study, summary=summary)


def test_one_member_has_no_spread_and_no_noise_floor() -> None:
    text = Page(render(make_study(num_members=1, variants=("dense", "magnitude-0.90")))).text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE) and "two halves" not in text.split("Words")[0]


def test_no_pies_is_said(study: Study) -> None:
    summary = study.summary.assign(num_pies=0, pie_fraction=0.0, top1_on_pies=np.nan, reference_top1_on_pies=np.nan)
    page = Page(render(study, summary=summary, pies=study.pies.iloc[:0]))
    assert "as before on all 797 examples" in page.text and "No example's modal answer changed." in page.text
    assert not page.cards


def test_the_reference_alone_makes_a_page(study: Study) -> None:
    page = Page(render(study, summary=study.summary.iloc[:1], pies=pd.DataFrame(), classes=pd.DataFrame()))
    assert "no compressed variant is complete yet" in page.text and "No class was compared yet." in page.text
    assert "nothing to compare" in Page(render(study, summary=study.summary.iloc[:0], pies=study.pies.iloc[:0])).text


def test_other_evaluation_sets_have_a_table_of_their_own(study: Study) -> None:
    fog = study.summary.assign(evaluation_set="corruption/fog/3", top1_mean=0.4321)
    text = Page(render(study, summary=pd.concat([fog, study.summary]))).text
    assert "population study on test" in text and "corruption/fog/3" in text and "43.2 %" in text
    assert "All evaluation sets" in text and "All evaluation sets" not in Page(render(study)).text


def test_classes_without_examples_are_not_counted(study: Study) -> None:
    classes = study.classes.assign(significant=True)
    classes.loc[classes["class_index"] == 3, "normalised_change"] = np.nan
    assert "9 of 9 classes moved" in Page(render(study, classes=classes)).text


def test_numbers_read_as_people_write_them() -> None:
    assert [words.percent(value) for value in (0.1234, 0.0, math.nan)] == ["12.3 %", "0.0 %", "–"]
    assert [words.points(value) for value in (0.012, -0.034, -0.0001, math.nan)] == ["+1.2", "−3.4", "±0.0", "–"]
    assert [words.relative(value) for value in (-0.034, math.nan)] == ["−3.4 %", "–"]
    assert [words.file_size(value) for value in (12, 44_444, 1_234_567, 5e10)] == [
        "12 B",
        "44.4 kB",
        "1.23 MB",
        "50 GB",
    ]
    assert words.plural(1, "class", "classes") == "1 class" and words.plural(1234, "member") == "1,234 members"


# ---------------------------------------------------------------------------------------------- the page as a whole


def render_everything(tables: dict[str, pd.DataFrame], **changes: Any) -> str:
    return render_report(title="study", tables=tables, **(PLAIN | changes))


PLAIN: dict[str, Any] = {
    "class_names": CLASS_NAMES, "thumbnails": {}, "notes": [], "provenance": {"torch": "2.15"},
}  # fmt: skip


@pytest.fixture(scope="module")
def everything() -> dict[str, pd.DataFrame]:
    return every_table(["magnitude-0.50", "magnitude-0.90"])


@pytest.fixture(scope="module")
def whole(everything: dict[str, pd.DataFrame]) -> Page:
    return Page(render_everything(everything, recipe="name: study"))


def test_the_contents_lead_to_every_section_and_no_other(whole: Page) -> None:
    sections = [attributes["id"] for tag, attributes in whole.elements if tag == "section"]
    links = [str(attributes["href"])[1:] for tag, attributes in whole.elements if tag == "a" and "href" in attributes]
    assert len(sections) == len(set(sections)) > 13
    assert [name for name in links if name in sections and name != "gallery"] == [
        name for name in sections if name != "gallery"
    ]
    ids = [attributes["id"] for _, attributes in whole.elements if "id" in attributes]
    assert set(links) <= set(ids) and len(ids) == len(set(ids))


def test_a_section_that_has_nothing_to_say_is_in_neither(study: Study) -> None:
    html = render(study)
    assert 'href="#groups"' not in html and 'id="groups"' not in html and 'href="#variants"' in html


def test_headings_do_not_skip_a_level(whole: Page) -> None:
    levels = [int(tag[1]) for tag, _ in whole.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_every_table_scrolls_in_a_box_with_a_name_of_its_own(whole: Page) -> None:
    elements = whole.elements
    boxes = [attributes for _, attributes in elements if attributes.get("class") in ("scroll", "scroll tall", "wide")]
    names = [attributes["aria-label"] for attributes in boxes]
    assert all(attributes["tabindex"] == "0" and attributes["role"] == "region" for attributes in boxes)
    assert len(names) == len(set(names)) and len(boxes) >= sum(tag == "table" for tag, _ in elements)


def test_what_a_pointer_shows_over_a_heading_is_text_as_well(whole: Page) -> None:
    titles = [str(attributes["title"]) for tag, attributes in whole.elements if tag == "th" and "title" in attributes]
    assert len(titles) > 40 and all(" ".join(title.split()) in whole.text for title in titles)


def test_missing_members_are_named(study: Study) -> None:
    note = "2 of 24 members are missing from these figures."
    text = Page(render(study, notes=[note], missing=["dense seed 3", "<b> seed 4 on corruptions"])).text
    assert f"{note} Which members are missing (2) dense seed 3, <b> seed 4 on corruptions" in text
    assert "Which members" not in Page(render(study, notes=[note])).text


def test_the_recipe_is_shown_as_it_is(study: Study) -> None:
    recipe = "name: digits\ndata:\n  kind: '<script>'\n"
    html = render(study, recipe=recipe)
    assert f"<pre>{escape(recipe)}</pre>" in html and "<pre>" not in render(study)


def test_everything_that_comes_from_data_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    tables = every_table([evil, "x"], class_name=evil + "{}")
    tables["groups"] = tables["groups"].assign(group=evil, rate=evil)
    tables["gaps"] = tables["gaps"].assign(reference_worst=evil, variant_worst=evil)
    tables["evidence"] = tables["evidence"].assign(evidence=evil)
    tables["foretelling"] = tables["foretelling"].assign(score=evil)
    tables["fragility"] = tables["fragility"].assign(key=evil, attribute=evil)
    html = render_everything(tables, class_names=[evil] * 10, missing=[evil], recipe=evil)
    assert "<script>alert" not in html and html.count("&lt;script&gt;alert") > 50


def test_twenty_variants_of_a_hundred_classes_weigh_little() -> None:
    html = render_everything(every_table([f"global_magnitude-{share / 100}" for share in range(60, 80)], 100))
    assert len(html.encode()) < 1_500_000
    assert not re.search(r"\bnan\b", Page(html).text, re.IGNORECASE)


def test_results_without_the_newer_columns_make_a_page(everything: dict[str, pd.DataFrame]) -> None:
    older = dict(everything)
    older["summary"] = older["summary"].drop(columns=[c for c in older["summary"] if c.startswith("top1_change")])
    older["foretelling"] = older["foretelling"].filter(regex="^(?!.*_on_(pies|rest)$)")
    older["fragility"] = pd.DataFrame()
    text = Page(render_everything(older)).text
    assert "pie-ray analyze RESULTS adds how uncertain the networks are" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE) and "Examples that corruption moves" not in text
