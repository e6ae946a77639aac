"""The gallery holds what the tables say, within its budgets, whatever people called their classes and files."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from pie_ray import stages
from pie_ray.analysis import Analysis, open_predictions
from pie_ray.config import DigitsData
from pie_ray.data import load_splits
from pie_ray.report import cards, gallery, pictures
from pie_ray.reporting import analyze_source, write_report
from pie_ray.store import Storage

from .study import CLASS_NAMES, VARIANTS, Study

CHOSEN = "magnitude-0.90"
EVIL = "</script><script>alert('$title')</script><!--&\"\u2028"


def render(study: Study, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "pies": study.pies,
        "evaluation_set": "test",
        "class_names": CLASS_NAMES,
        "thumbnails": study.thumbnails,
        "chosen": CHOSEN,
        "answers": study.answers,
    }
    return gallery.gallery_section(**(arguments | changes))


def json_in(html: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="gallery-{name}">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


class Elements(HTMLParser):
    """The elements of a section and the texts of those of each tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def cards(self) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.of("li") if attributes.get("class") == "card"]


def make_pies(rows: int = 1, **columns: Any) -> pd.DataFrame:
    """Rows of the table of PIEs; `columns` replace what each of them says."""
    row = {
        "evaluation_set": "test",
        "variant_id": "small",
        "example_id": np.arange(rows),
        "key": "k",
        "label": 0,
        "reference_mode": 0,
        "variant_mode": 1,
        "reference_agreement": 1.0,
        "variant_agreement": 0.5,
        "taxicab": 4.0,
        "is_pie": True,
        "p_value": 0.012345,
        "q_value": 0.2,
        "is_significant": False,
    }
    return pd.DataFrame(row | columns, index=range(rows))


# -------------------------------------------------------------------------------------------------------- contents


def test_the_cards_say_what_the_tables_say(study: Study) -> None:
    data = json_in(render(study), "data")
    assert data["variants"] == list(VARIANTS) and data["classes"] == CLASS_NAMES
    found = {card[0]: card for card in data["cards"]}
    assert set(found) == set(study.pies["example_id"])
    for row in study.answers.to_dict("records"):
        _, _, _, modes, agreements, _ = found[row["example_id"]]
        place = data["variants"].index(row["variant_id"])
        assert (modes[place], agreements[place]) == (row["mode"], round(100 * row["agreement"]))
    moved = {(card[0], place): values for card in data["cards"] for place, *values in card[5]}
    assert len(moved) == len(study.pies)
    for row in study.pies.to_dict("records"):
        card = found[row["example_id"]]
        assert card[1:3] == [row["key"], row["label"]]
        taxicab, p_value, q_value, is_significant = moved[row["example_id"], data["variants"].index(row["variant_id"])]
        assert taxicab == row["taxicab"] and is_significant == row["is_significant"]
        assert [p_value, q_value] == pytest.approx([row["p_value"], row["q_value"]], rel=5e-3)


def test_without_javascript_the_most_moved_examples_of_the_chosen_variant_are_shown(study: Study) -> None:
    html = render(study)
    mine = study.pies[study.pies["variant_id"] == CHOSEN]
    ranked = mine.sort_values(["taxicab", "example_id"], ascending=[False, True]).head(gallery.NUM_PLAIN)
    assert [card["data-example"] for card in Elements(html).cards] == [str(name) for name in ranked["example_id"]]
    first = ranked.iloc[0]
    for who, column in (("dense", "reference"), ("now", "variant")):
        name, share = CLASS_NAMES[first[f"{column}_mode"]], f"{100 * first[f'{column}_agreement']:.0f} %"
        assert f"<span>{who}</span><b>{name}</b><i>{share}</i>" in html
    assert f"first {gallery.NUM_PLAIN}, for {CHOSEN}" in html


def test_a_variant_without_pies_gives_way_to_one_that_has_some(study: Study) -> None:
    html = render(study, chosen="dense")
    assert len(Elements(html).cards) > 10 and json_in(html, "data")["chosen"] == 1


def test_what_the_table_says_stands_whatever_was_predicted_since() -> None:
    answers = pd.DataFrame(
        {"example_id": 0, "variant_id": ["dense", "other", "small"], "mode": [2, 2, 2], "agreement": 0.25}
    )
    (card,) = cards.make_deck(make_pies(), "test", answers).cards
    assert card.modes == (0, 2, 1) and card.agreements == (100, 25, 50)


def test_without_answers_the_table_is_all_that_is_known() -> None:
    pies = pd.concat([make_pies(2), make_pies(1, variant_id="tiny")])
    deck = cards.make_deck(pies, "test")
    assert deck.variants == ("dense", "small", "tiny")
    assert {card.example_id: card.modes for card in deck.cards} == {0: (0, 1, 1), 1: (0, 1, None)}


def test_examples_that_are_significant_without_being_pies_have_a_card() -> None:
    pies = pd.concat([make_pies(1), make_pies(1, example_id=7, variant_mode=0, is_pie=False, is_significant=True)])
    deck = cards.make_deck(pies, "test")
    assert [card.example_id for card in deck.cards] == [0, 7]
    assert not deck.cards[1].is_pie(1) and deck.cards[1].moved[1].is_significant


def test_values_that_are_unknown_are_null() -> None:
    html = render_pies(make_pies(p_value=np.nan, q_value=np.nan))
    assert json_in(html, "data")["cards"] == [[0, "k", 0, [0, 1], [100, 50], [[1, 4, None, None, 0]]]]


def render_pies(pies: pd.DataFrame, **changes: Any) -> str:
    arguments: dict[str, Any] = {"class_names": ["cat", "dog", "owl"], "thumbnails": {}, "chosen": "small"}
    return gallery.gallery_section(pies, "test", **(arguments | changes))


def test_other_evaluation_sets_stay_out() -> None:
    pies = pd.concat([make_pies(2), make_pies(1, example_id=9, evaluation_set="natural/drawings")])
    assert [card.example_id for card in cards.make_deck(pies, "test").cards] == [0, 1]


@pytest.mark.parametrize("pies", [pd.DataFrame(), make_pies(1, is_pie=False, variant_mode=0), make_pies(0)])
def test_no_pies_is_said(pies: pd.DataFrame) -> None:
    html = render_pies(pies)
    assert "No example's modal answer changed." in html and not Elements(html).cards


def test_of_several_attributes_each_has_a_card_and_an_address() -> None:
    pies = make_pies(4, example_id=[3, 3, 5, 5], attribute=["Big Nose", "Red/Blue", "Big Nose", EVIL])
    thumbnails = {3: pictures.encode_thumbnail(np.zeros((1, 8, 8), np.uint8))}
    html = render_pies(pies, class_names=["no", "yes"], thumbnails=thumbnails)
    packed = json_in(html, "data")["cards"]
    about = zip(pies["example_id"], pies["attribute"], strict=True)
    assert sorted((card[0], card[6]) for card in packed) == sorted(about)
    anchors = {card.anchor for card in cards.make_deck(pies, "test").cards}
    assert len(anchors) == 4 and {"example-3-Big%20Nose", "example-3-Red%2FBlue"} < anchors
    assert [card["data-example"] for card in Elements(html).cards] == ["3", "5"]
    assert html.count("data:image/") == 1
    assert "4 questions about examples in all" in html


# --------------------------------------------------------------------------------------------------------- escaping


def test_what_people_wrote_is_escaped(study: Study) -> None:
    html = render(
        study,
        class_names=[EVIL] * 10,
        chosen=EVIL,
        pies=study.pies.replace(CHOSEN, EVIL).assign(key=EVIL),
        answers=study.answers.replace(CHOSEN, EVIL),
    )
    elements = Elements(html)
    assert [script.get("type") for script in elements.of("script")] == ["application/json"] * 2
    data = json_in(html, "data")
    assert set(data["classes"]) == {card[1] for card in data["cards"]} == {EVIL} and EVIL in data["variants"]
    assert {image["alt"] for image in elements.of("img")} == {f"labelled {EVIL}"}
    assert elements.texts.count(EVIL) > gallery.NUM_PLAIN


@settings(max_examples=50)
@given(st.text())
def test_json_within_a_script_is_what_it_was_and_harmless(text: str) -> None:
    packed = cards.script_json([text])
    assert json.loads(packed) == [text] and packed.isascii() and not set("<>&") & set(packed)


# --------------------------------------------------------------------------------------------------------- pictures


def test_a_picture_stands_once_however_many_variants_forget_it(study: Study) -> None:
    html = render(study)
    assert study.pies["example_id"].duplicated().any()
    for thumbnail in study.thumbnails.values():
        assert html.count(pictures.data_uri(thumbnail)) >= 1
    assert html.count("data:image/") == study.pies["example_id"].nunique()


def test_pictures_that_have_no_card_stay_out() -> None:
    thumbnail = pictures.encode_thumbnail(np.zeros((1, 8, 8), np.uint8))
    assert render_pies(make_pies(), thumbnails={0: thumbnail, 99: thumbnail}).count("data:image/") == 1


def test_without_pictures_cards_are_a_compact_list(study: Study) -> None:
    html = render(study, thumbnails={})
    elements = Elements(html)
    assert (
        len(elements.cards) == gallery.NUM_PLAIN and not elements.of("img") and "no picture" not in html.split("<p")[0]
    )
    assert 'class="cards plain"' in html and "there are no pictures" in html and "no picture here" not in html


def test_what_has_no_picture_is_counted(study: Study) -> None:
    some = dict(list(study.thumbnails.items())[:7])
    num_cards = study.pies["example_id"].nunique()
    html = render(study, thumbnails=some)
    assert f"{num_cards} examples in all, every one in <code>analysis/pies.parquet</code>" in html
    assert f"{num_cards - 7} cards have no picture" in html and "no picture here" in html
    assert "cards have no picture" not in render(study)


def test_pictures_go_to_the_most_moved_and_then_to_classes_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "NUM_FIRST", 2)
    monkeypatch.setattr(cards, "NUM_PICTURED", 5)
    labels = [0, 0, 0, 0, 0, 1, 1, 2]
    small = make_pies(8, label=labels, taxicab=np.arange(8, 0, -1))
    tiny = make_pies(3, variant_id="tiny", example_id=[20, 21, 22], taxicab=[2, 2, 6])
    order = cards.picture_order(pd.concat([small, tiny]), "test").tolist()
    assert [name for name in order if name < 20] == [0, 1, 5, 7, 6]
    assert [name for name in order if name >= 20] == [22, 20, 21]
    assert order[:4] == [0, 22, 1, 20], "variants take turns"


def test_pictures_keep_to_their_budget_and_no_further_image_is_read() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    sizes = [len(pictures.data_uri(pictures.encode_thumbnail(image))) for image in images]
    read: list[int] = []

    def reading(example_id: int) -> Any:
        read.append(example_id)
        return images[example_id]

    kept = pictures.thumbnails_within(range(10), reading, budget=sum(sizes[:4]))
    assert list(kept) == [0, 1, 2, 3] and read == [0, 1, 2, 3, 4]
    assert len(pictures.thumbnails_within(range(10), images.__getitem__, budget=sum(sizes))) == 10


def test_cards_keep_to_their_budget() -> None:
    deck = cards.make_deck(make_pies(50, key="<" * 20), "test")
    kept, packed = cards.cards_within(deck.cards, budget=2000)
    assert 0 < len(kept) < 50 and len(packed) <= 2001 and len(json.loads(packed)) == len(kept)
    assert len(packed) + len(cards.script_json(deck.cards[0].packed())) > 2000


def test_a_page_without_room_for_all_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "cards_within", lambda found: cards.cards_within(found, budget=1000))
    html = render_pies(make_pies(100))
    num_kept = len(json_in(html, "data")["cards"])
    assert 0 < num_kept < 100 and f"has room for {num_kept} of them" in html and "100 examples in all" in html


def test_small_images_keep_every_pixel() -> None:
    for shape in ((1, 8, 8), (3, 32, 32), (3, 64, 64)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        thumbnail = pictures.encode_thumbnail(image)
        decoded = np.asarray(Image.open(io.BytesIO(thumbnail)).convert("L" if shape[0] == 1 else "RGB"))
        assert np.array_equal(decoded.reshape(shape[1], shape[2], -1).transpose(2, 0, 1), image)
        assert pictures.is_crisp(thumbnail)


def test_large_images_shrink_to_a_few_kilobytes() -> None:
    ramp = np.linspace(0, 255, 300 * 200).reshape(300, 200).astype(np.uint8)
    thumbnail = pictures.encode_thumbnail(np.stack([ramp, ramp.T.reshape(300, 200), 255 - ramp]))
    assert Image.open(io.BytesIO(thumbnail)).size == (64, 96)
    assert len(thumbnail) < 4000 and not pictures.is_crisp(thumbnail)
    assert pictures.data_uri(thumbnail).startswith("data:image/webp;base64,")


# ---------------------------------------------------------------------------------------------------------- sources


def test_pictures_of_a_sweep_are_those_of_its_examples() -> None:
    splits = load_splits(DigitsData(kind="digits"), None)
    test = splits.test
    place = 5
    pies = make_pies(1, example_id=int(test.example_ids[place]))
    summary = pd.DataFrame({"evaluation_set": ["test"], "variant_id": ["dense"]})
    found = stages.thumbnails_of(SimpleNamespace(test=test), Analysis(summary=summary, pies=pies))
    ((example_id, thumbnail),) = found.items()
    assert example_id == test.example_ids[place]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(thumbnail)).convert("L")), test.images[place, 0].numpy())


def test_predictions_from_elsewhere_show_every_variant(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"variant": variant, "member": member, "example_id": example, "label": example % 3}
        for variant in ("dense", "small", "tiny")
        for member in range(3)
        for example in range(40)
    ]
    pd.DataFrame(rows).assign(prediction=rng.integers(0, 3, len(rows))).to_csv(tmp_path / "p.csv", index=False)
    source = open_predictions(tmp_path / "p.csv", storage=Storage(str(tmp_path / "results")))
    page = write_report(source, analyze_source(source, Console(quiet=True)), {})["report/index.html"].decode()
    data = json_in(page, "data")
    assert data["variants"] == ["dense", "small", "tiny"] and len(data["cards"]) > 10
    assert all(None not in card[3] for card in data["cards"])
