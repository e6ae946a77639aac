"""What the gallery holds: which examples have a card or a picture where not all can, and what a card says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pandas as pd

from .rows import REFERENCE_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

NUM_FIRST = 60
"""The most moved examples of each variant come first; those after them take turns by class."""

NUM_PICTURED = 1000
"""Examples a variant that have a picture; no one looks at more of them."""

CARD_BYTES = 5_000_000
"""Of all cards as they stand in the page, without pictures."""

_MOST_CARDS = 25_000

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


@dataclass(frozen=True)
class Moved:
    """A row of the table of PIEs: how a variant's votes on an example differ from the reference's."""

    taxicab: int
    p_value: float | None
    q_value: float | None
    """None where the votes could not be significant whoever cast them."""
    is_significant: bool

    def packed(self) -> list[float | int | None]:
        return [self.taxicab, self.p_value, self.q_value, int(self.is_significant)]


@dataclass(frozen=True)
class Card:
    """An example, or an attribute of one, and what every variant answers."""

    example_id: int
    key: str
    attribute: str | None
    label: int
    modes: tuple[int | None, ...]
    """[variants], the reference first; None where a variant's answer is not known."""
    agreements: tuple[int | None, ...]
    """[variants], in whole percent."""
    moved: Mapping[int, Moved]
    """By place of the variant."""

    @property
    def anchor(self) -> str:
        """What a link to the card names, the same in every report of the same data."""
        about = "" if self.attribute is None else f"-{quote(self.attribute, safe='')}"
        return f"example-{self.example_id}{about}"

    def is_pie(self, place: int) -> bool:
        """Whether a variant's mode is known and is not the reference's."""
        return self.modes[place] not in (None, self.modes[0])

    def packed(self) -> list[Any]:
        """As the page's script takes it."""
        about = [] if self.attribute is None else [self.attribute]
        moved = [[place, *moved.packed()] for place, moved in self.moved.items()]
        return [self.example_id, self.key, self.label, self.modes, self.agreements, moved, *about]


@dataclass(frozen=True)
class Deck:
    """The cards of an evaluation set, in the order in which they are worth their bytes."""

    evaluation_set: str
    variants: tuple[str, ...]
    """The reference first."""
    cards: tuple[Card, ...]
    num_examples: int
    """How many there would be, were there no limit."""


def picture_order(pies: pd.DataFrame, evaluation_set: str) -> npt.NDArray[np.int64]:
    """Ids of the examples that should have a picture, those first that most need one.

    The most moved of every variant come first; then classes take turns, so that each has pictures in every variant.
    """
    rows = by_priority(pies, evaluation_set)
    if not len(rows):
        return np.empty(0, np.int64)
    return rows.loc[rows["place"] < NUM_PICTURED, "example_id"].unique()


def by_priority(pies: pd.DataFrame, evaluation_set: str) -> pd.DataFrame:
    """The rows of an evaluation set, PIEs first; `place` is a row's place among its variant's."""
    rows = pies[pies["evaluation_set"] == evaluation_set] if len(pies) else pies
    if not len(rows):
        return rows
    rows = rows.sort_values(["is_pie", "taxicab", "example_id"], ascending=[False, False, True], kind="stable")
    place = rows.groupby("variant_id").cumcount()
    turn = rows.groupby(["variant_id", *_about(pies), "label"]).cumcount()
    rows = rows.assign(turn=np.where(place < NUM_FIRST, place, NUM_FIRST + turn))
    rows = rows.sort_values(["is_pie", "turn"], ascending=[False, True], kind="stable")
    rows["place"] = rows.groupby("variant_id").cumcount()
    return rows.sort_values(["is_pie", "place"], ascending=[False, True], kind="stable")


def make_deck(pies: pd.DataFrame, evaluation_set: str, answers: pd.DataFrame | None = None) -> Deck:
    """A card an example, or attribute of one, whose mode moved or whose votes differ significantly.

    `answers` is what `analysis.answers_of` gives; without it only what the table of PIEs says is known.
    """
    rows = by_priority(pies, evaluation_set)
    if not len(rows):
        return Deck(evaluation_set, (REFERENCE_ID,), (), 0)
    keys = ["example_id", *_about(pies)]
    shown = rows.drop_duplicates(keys)
    first = shown.head(_MOST_CARDS)
    index = first.set_index(keys).index
    known = _answers_in(rows, keys) if answers is None else pd.concat([_answers_in(rows, keys), answers])
    known = known[known["example_id"].isin(first["example_id"])].drop_duplicates([*keys, "variant_id"])
    named = [str(name) for table in (answers, rows) if table is not None for name in table["variant_id"].unique()]
    variants = tuple(dict.fromkeys([REFERENCE_ID, *named]))
    modes, agreements = _by_variant(known, keys, index, variants)
    moved = _moved(rows[rows["example_id"].isin(first["example_id"])], keys, variants)
    attributes = first["attribute"].tolist() if "attribute" in first else [None] * len(first)
    facts = zip(
        first["example_id"].tolist(), first["key"], attributes, first["label"].tolist(), modes, agreements, index,
        strict=True,
    )  # fmt: skip
    cards = tuple(
        Card(example_id, str(key), about, int(label), mode, agreement, moved[at])
        for example_id, key, about, label, mode, agreement, at in facts
    )
    return Deck(evaluation_set, variants, cards, len(shown))


def cards_within(cards: Iterable[Card], budget: int = CARD_BYTES) -> tuple[list[Card], str]:
    """The cards up to the first that does not fit the budget, and JSON of them that is safe within a script."""
    kept: list[Card] = []
    texts: list[str] = []
    left = budget
    for card in cards:
        text = script_json(card.packed())
        left -= len(text) + 1
        if left < 0:
            break
        kept.append(card)
        texts.append(text)
    return kept, f"[{','.join(texts)}]"


def script_json(value: Any) -> str:
    """Compact JSON in ASCII that neither ends a script nor begins a comment or tag, whatever texts it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for unsafe, harmless in _UNSAFE.items():
        text = text.replace(unsafe, harmless)
    return text


def _about(pies: pd.DataFrame) -> list[str]:
    """The column that says which attribute a row of multi-label data is about."""
    return ["attribute"] if "attribute" in pies else []


def _answers_in(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """What the table of PIEs itself says of answers: the reference's, and those of variants that moved."""
    both = {
        who: rows[[*keys, "variant_id", f"{who}_mode", f"{who}_agreement"]].rename(
            columns={f"{who}_mode": "mode", f"{who}_agreement": "agreement"}
        )
        for who in ("reference", "variant")
    }
    return pd.concat([both["reference"].assign(variant_id=REFERENCE_ID), both["variant"]])


def _by_variant(
    answers: pd.DataFrame, keys: list[str], index: pd.Index, variants: Sequence[str]
) -> tuple[list[tuple[int | None, ...]], list[tuple[int | None, ...]]]:
    """Modes, and agreements in percent, of the examples in `index`: [examples] of [variants]."""
    columns: tuple[list[list[int | None]], list[list[int | None]]] = ([], [])
    for variant_id in variants:
        mine = answers[answers["variant_id"] == variant_id].set_index(keys).reindex(index)
        for column, values in zip(columns, (mine["mode"], 100 * mine["agreement"]), strict=True):
            column.append([None if np.isnan(value) else round(value) for value in values.astype(float)])
    return [*zip(*columns[0], strict=True)], [*zip(*columns[1], strict=True)]


def _moved(rows: pd.DataFrame, keys: list[str], variants: Sequence[str]) -> dict[Any, dict[int, Moved]]:
    """By key of the example and place of the variant."""
    places = {name: place for place, name in enumerate(variants)}
    found: dict[Any, dict[int, Moved]] = {}
    columns = (rows[name].tolist() for name in ("variant_id", "taxicab", "p_value", "q_value", "is_significant"))
    for key, variant_id, taxicab, *values, is_significant in zip(rows.set_index(keys).index, *columns, strict=True):
        p_value, q_value = (None if value != value else float(f"{value:.3g}") for value in values)
        moved = Moved(round(taxicab), p_value, q_value, bool(is_significant))
        found.setdefault(key, {})[places[variant_id]] = moved
    return found
