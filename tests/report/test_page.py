"""The page says what the tables say, for any study, and asks nothing of the network."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from pie_ray.analysis.tables import TABLES
from pie_ray.report import words
from pie_ray.report.gallery import NUM_CARDS
from pie_ray.report.page import render_report

from .study import CLASS_NAMES, Study, make_study


def shown_pies(study: Study) -> pd.DataFrame:
    ranked = study.pies.sort_values(["taxicab", "example_id"], ascending=[False, True])
    return ranked.groupby("variant_id").head(NUM_CARDS)


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

    VOID = frozenset({"meta", "br", "input", "link", "hr"})

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
    without_pictures = re.sub(r"data:image/png;base64,[\w+/=]*", "data:", html)
    assert not re.search(r"https?:|//|@import|url\((?!data:|#)", without_pictures)
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not any({"src", "href", "action"} & set(attributes) for _, attributes in page.elements)


def test_the_page_opens_with_what_compression_costs(study: Study) -> None:
    row = study.summary.loc[study.summary["pie_fraction"].idxmax()]
    text = Page(render(study)).text
    assert f"{row['variant_id']} networks reach {100 * row['top1_mean']:.1f} % top-1" in text
    assert f"is another on {row['num_pies']} of 797 examples" in text
    assert f"chance alone moves {100 * row['null_pie_fraction']:.1f} %" in text


def test_each_variant_is_in_the_table_with_its_figures(study: Study) -> None:
    text = Page(render(study)).text
    for row in study.summary.to_dict("records"):
        assert row["variant_id"] in text and f"{100 * row['top1_mean']:.2f} %" in text
        if row["variant_id"] != "dense":
            assert f"{row['num_pies']} {100 * row['pie_fraction']:.2f} %" in text


def test_each_pie_has_a_card_with_its_answers(study: Study) -> None:
    html = render(study)
    assert len(Page(html).cards) == len(shown_pies(study)) > 10
    for row in shown_pies(study).to_dict("records"):
        assert f"{row['variant_id']} · #{row['example_id']}" in html
    first = shown_pies(study).iloc[0]
    for who, column in (("dense", "reference"), ("now", "variant")):
        name, share = CLASS_NAMES[first[f"{column}_mode"]], f"{100 * first[f'{column}_agreement']:.0f} %"
        assert f"<span>{who}</span><b>{name}</b><i>{share}</i>" in html


def test_cards_come_most_moved_first_and_at_most_sixty_a_variant(study: Study) -> None:
    pies = pd.DataFrame(
        {
            **study.pies.iloc[0].to_dict(),
            "example_id": np.arange(100),
            "taxicab": np.random.default_rng(0).permutation(100),
        }
    )
    html = render(study, pies=pies)
    shown = [int(number) for number in re.findall(r"#(\d+)</div>", html)]
    assert shown == list(pies.sort_values("taxicab", ascending=False)["example_id"][:60])
    assert "(first 60 of 100)" in html


def test_a_picture_stands_once_however_many_variants_forget_it(study: Study) -> None:
    html = render(study)
    counts = shown_pies(study)["example_id"].value_counts()
    assert counts.iloc[0] > 1
    picture = base64.b64encode(study.thumbnails[int(counts.index[0])]).decode()
    assert html.count(picture) == 1 and html.count(f"picture e{counts.index[0]}") == counts.iloc[0]


def test_examples_without_pictures_are_shown_too(study: Study) -> None:
    page = Page(render(study, thumbnails={}))
    assert len(page.cards) == page.text.count("no picture") == len(shown_pies(study))


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
    assert [tag for tag, _ in Page(html).elements].count("script") == 1
    assert "<script>alert" not in html and "alert(&#x27;$title&#x27;)" in html


def test_notes_and_provenance_are_shown(study: Study) -> None:
    text = Page(render(study, notes=["2 of 24 members are missing."], provenance={"torch": "2.9.1"})).text
    assert "2 of 24 members are missing." in text and "torch 2.9.1" in text


def test_a_variant_with_fewer_members_is_marked(study: Study) -> None:
    summary = study.summary.assign(num_members=[4, 4, 4, 3, 4, 4])
    assert '<span class="warn" title="fewer than others have">3</span>' in render(study, summary=summary)
    assert 'class="warn"' not in render(study)


def test_one_member_has_no_spread_and_no_noise_floor() -> None:
    text = Page(render(make_study(num_members=1, variants=("dense", "magnitude-0.90")))).text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE) and "chance alone" not in text


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
