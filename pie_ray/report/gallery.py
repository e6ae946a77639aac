"""The gallery of what compression forgets first: a card an example, its picture, and what every variant answers.

The first cards are HTML; the page's script makes all others from JSON when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from .cards import Card, Deck, cards_within, make_deck, script_json
from .pictures import data_uri, is_crisp
from .words import plural

if TYPE_CHECKING:
    import pandas as pd

NUM_PLAIN = 24
"""Cards that stand in the page as HTML, for readers without JavaScript."""

_WIDTHS = (158, 236)
"""Pixels of a card at least: so wide that the longest class name stands beside its agreement, within these bounds."""

_TABLE = "<code>analysis/pies.parquet</code>"


def gallery_section(
    pies: pd.DataFrame,
    evaluation_set: str,
    class_names: Sequence[str],
    thumbnails: Mapping[int, bytes],
    chosen: str,
    answers: pd.DataFrame | None = None,
) -> str:
    """HTML of the whole section.

    Arguments:
        class_names: of the answers; of multi-label data, what 0 and 1 mean.
        thumbnails: PNG or WebP by example id.
        chosen: the variant that is shown first.
        answers: what every variant answers on the examples, as `analysis.answers_of` gives it.
    """
    deck = make_deck(pies, evaluation_set, answers)
    cards, packed = cards_within(deck.cards)
    place = _first_place(deck, cards, chosen)
    if place is None:
        return '<section id="gallery"><h2>Most forgotten examples</h2><p class="muted">' + (
            "No example's modal answer changed.</p></section>"
        )
    plain = _most_moved(cards, place)[:NUM_PLAIN]
    shown = {card.example_id for card in plain}
    wanted = {card.example_id for card in cards} & set(thumbnails)
    parts = {
        "about": _about(deck, cards, wanted),
        "num_first": str(len(plain)),
        "chosen": escape(deck.variants[place]),
        "kind": _kind(thumbnails),
        "width": str(_width(class_names)),
        "cards": "".join(_card(card, place, class_names, thumbnails) for card in plain),
        "data": _data(deck, class_names, place, packed),
        # those of the cards above are in the page already
        "pictures": script_json({str(name): data_uri(thumbnails[name]) for name in sorted(wanted - shown)}),
    }
    return Template(files(__package__).joinpath("gallery.html").read_text("utf-8")).substitute(parts)


def _first_place(deck: Deck, cards: Sequence[Card], chosen: str) -> int | None:
    """Place of the variant to show first: the one chosen, or another where that has no PIE; None where none has."""
    places = sorted(range(1, len(deck.variants)), key=lambda place: deck.variants[place] != chosen)
    return next((place for place in places if any(card.is_pie(place) for card in cards)), None)


def _most_moved(cards: Sequence[Card], place: int) -> list[Card]:
    """A variant's PIEs in the order that the script begins with, an example once."""
    found = [card for card in cards if card.is_pie(place) and place in card.moved]
    ranked = sorted(found, key=lambda card: (card.moved[place].taxicab, -card.example_id))
    by_example = {card.example_id: card for card in ranked}
    return [*by_example.values()][::-1]


def _data(deck: Deck, class_names: Sequence[str], place: int, packed: str) -> str:
    head = {
        "evaluationSet": deck.evaluation_set,
        "classes": list(class_names),
        "variants": deck.variants,
        "chosen": place,
    }
    return f'{script_json(head)[:-1]},"cards":{packed}}}'


def _kind(thumbnails: Mapping[int, bytes]) -> str:
    """CSS classes of the list of cards."""
    first = next(iter(thumbnails.values()), None)
    if first is None:
        return "cards plain"
    return "cards crisp" if is_crisp(first) else "cards"


def _width(class_names: Sequence[str]) -> int:
    narrowest, widest = _WIDTHS
    return min(max(narrowest, 118 + 8 * max(map(len, class_names), default=0)), widest)


def _about(deck: Deck, cards: Sequence[Card], pictured: set[int]) -> str:
    """How many there are, what this page leaves out, and where all of them are."""
    noun = ("question about an example", "questions about examples") if _asks(deck) else ("example", "examples")
    told = f"{plural(deck.num_examples, *noun)} in all, every one in {_TABLE}."
    if len(cards) < deck.num_examples:
        told += f" This page has room for {len(cards):,} of them, the most moved first."
    num_without = sum(card.example_id not in pictured for card in cards)
    if not pictured:
        return f"{told} The images were not at hand, so there are no pictures."
    if num_without:
        told += f" To keep the page small, {plural(num_without, 'card has', 'cards have')} no picture."
    return told


def _asks(deck: Deck) -> bool:
    return deck.cards[0].attribute is not None


def _card(card: Card, place: int, class_names: Sequence[str], thumbnails: Mapping[int, bytes]) -> str:
    """The script makes further cards by filling a copy of the first."""
    true_name = escape(_name(card.label, class_names))
    title = f"example {card.example_id}" + (f" · {escape(card.attribute)}" if card.attribute else "")
    moved = card.moved.get(place)
    mark = "<em>significant</em>" if moved is not None and moved.is_significant else ""
    return (
        f'<li class="card" id="{escape(card.anchor)}" data-example="{card.example_id}">'
        f'{_picture(card, true_name, thumbnails)}<div class="told"><a href="#{escape(card.anchor)}">{title}</a>{mark}'
        f'<div class="line true"><span>true</span><b>{true_name}</b></div>'
        f"{_answer('dense', card, 0, class_names)}{_answer('now', card, place, class_names)}"
        f'<div class="key">{escape(card.key)}</div></div></li>'
    )


def _picture(card: Card, true_name: str, thumbnails: Mapping[int, bytes]) -> str:
    if not thumbnails:
        return ""
    if card.example_id not in thumbnails:
        return '<div class="picture none">no picture here</div>'
    source = data_uri(thumbnails[card.example_id])
    return f'<img class="picture" alt="labelled {true_name}" loading="lazy" decoding="async" src="{source}">'


def _answer(who: str, card: Card, place: int, class_names: Sequence[str]) -> str:
    mode = card.modes[place]
    assert mode is not None
    kind = "right" if mode == card.label else "wrong"
    name = escape(_name(mode, class_names))
    return f'<div class="line {kind}"><span>{who}</span><b>{name}</b><i>{card.agreements[place]} %</i></div>'


def _name(index: int, class_names: Sequence[str]) -> str:
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"
