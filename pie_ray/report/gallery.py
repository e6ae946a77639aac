"""The pictures that compression forgets first: a card a PIE, most moved first within its variant."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .rows import rows_of
from .words import percent

if TYPE_CHECKING:
    import pandas as pd

NUM_CARDS = 60
"""A variant; a page of hundreds of pictures is slow and no one looks at them."""

_PIXELATED_BELOW = 65

_LONG_NAME = 12
"""Class names beyond this many letters get wider cards."""

Row = dict[str, Any]


def pictured_examples(pies: pd.DataFrame, evaluation_set: str) -> npt.NDArray[np.int64]:
    """Ids of the examples that have a card, ascending."""
    if not len(pies):
        return np.empty(0, np.int64)
    shown = pies[(pies["evaluation_set"] == evaluation_set) & pies["is_pie"]]
    return np.unique(shown.groupby("variant_id").head(NUM_CARDS)["example_id"].to_numpy())


def gallery_section(
    pies: pd.DataFrame,
    evaluation_set: str,
    class_names: Sequence[str],
    thumbnails: Mapping[int, bytes],
    chosen: str,
) -> str:
    """HTML of the whole section; `chosen` is the variant that is shown first."""
    by_variant = pies_by_variant(rows_of(pies, evaluation_set))
    kind = "gallery long" if max(map(len, class_names), default=0) > _LONG_NAME else "gallery"
    shown = cards(by_variant, class_names, thumbnails) or '<p class="muted">No example\'s modal answer changed.</p>'
    return f"""<style>{picture_rules(by_variant, thumbnails)}</style>
<section>
<h2>Most forgotten examples</h2>
<p>The most frequent answer of the uncompressed (dense) and of the compressed (now) networks, with the share of
networks that give it; most moved answers first.</p>
<form class="filters" hidden>
<label>Variant<select id="by-variant"><option value="">all</option>
{variant_options(by_variant, chosen)}</select></label>
<label>True class<select id="by-class"><option value="">all</option>
{class_options(by_variant, class_names)}</select></label>
<output class="muted" id="num-shown"></output>
</form>
<div class="{kind}">{shown}</div>
</section>"""


def pies_by_variant(pie_rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Every PIE under its variant, ordered by how many answers moved."""
    ranked = sorted((row for row in pie_rows if row["is_pie"]), key=lambda row: (-row["taxicab"], row["example_id"]))
    by_variant: dict[str, list[Row]] = {row["variant_id"]: [] for row in pie_rows}
    for row in ranked:
        by_variant[row["variant_id"]].append(row)
    return {variant_id: rows for variant_id, rows in by_variant.items() if rows}


def cards(by_variant: Mapping[str, Sequence[Row]], class_names: Sequence[str], pictured: Mapping[int, bytes]) -> str:
    return "".join(_card(row, class_names, pictured) for rows in by_variant.values() for row in rows[:NUM_CARDS])


def variant_options(by_variant: Mapping[str, Sequence[Row]], chosen: str) -> str:
    """Options of the filter by variant; the values are what the cards carry."""
    options = []
    for variant_id, rows in by_variant.items():
        shown = f"{len(rows):,}" if len(rows) <= NUM_CARDS else f"first {NUM_CARDS} of {len(rows):,}"
        selected = " selected" if variant_id == chosen else ""
        options.append(f'<option value="{escape(variant_id)}"{selected}>{escape(variant_id)} ({shown})</option>')
    return "".join(options)


def class_options(by_variant: Mapping[str, Sequence[Row]], class_names: Sequence[str]) -> str:
    labels = sorted({int(row["label"]) for rows in by_variant.values() for row in rows[:NUM_CARDS]})
    return "".join(f'<option value="{label}">{escape(_name(label, class_names))}</option>' for label in labels)


def picture_rules(by_variant: Mapping[str, Sequence[Row]], thumbnails: Mapping[int, bytes]) -> str:
    """Style rules that hold each picture once, however many variants forget it."""
    wanted = {int(row["example_id"]) for rows in by_variant.values() for row in rows[:NUM_CARDS]}
    rules = []
    for example_id in sorted(wanted & set(thumbnails)):
        data = base64.b64encode(thumbnails[example_id]).decode()
        crisp = "image-rendering:pixelated;" if _width(thumbnails[example_id]) < _PIXELATED_BELOW else ""
        rules.append(f".{_picture_class(example_id)}{{{crisp}background-image:url(data:image/png;base64,{data})}}")
    return "\n".join(rules)


def _card(row: Row, class_names: Sequence[str], pictured: Mapping[int, bytes]) -> str:
    example_id, label = int(row["example_id"]), int(row["label"])
    variant_id, true_name = escape(str(row["variant_id"])), escape(_name(label, class_names))
    if example_id in pictured:
        picture = f'<div class="picture {_picture_class(example_id)}" role="img" aria-label="a {true_name}"></div>'
    else:
        picture = '<div class="picture none">no picture</div>'
    return (
        f'<figure class="card" data-variant="{variant_id}" data-class="{label}">{picture}<figcaption>'
        f'<div class="true"><span>true</span><b>{true_name}</b></div>'
        f"{_answer('dense', row['reference_mode'], row['reference_agreement'], label, class_names)}"
        f"{_answer('now', row['variant_mode'], row['variant_agreement'], label, class_names)}"
        f'<div class="from" title="{int(row["taxicab"])} answers moved">{variant_id} · {_about(row)}#{example_id}</div>'
        "</figcaption></figure>"
    )


def _about(row: Row) -> str:
    """The attribute that a card of multi-label data is about."""
    return f"{escape(str(row['attribute']))} · " if "attribute" in row else ""


def _answer(who: str, mode: int, agreement: float, label: int, class_names: Sequence[str]) -> str:
    kind = "right" if int(mode) == label else "wrong"
    name = escape(_name(int(mode), class_names))
    return f'<div class="{kind}"><span>{who}</span><b>{name}</b><i>{percent(float(agreement), 0)}</i></div>'


def _name(index: int, class_names: Sequence[str]) -> str:
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"


def _picture_class(example_id: int) -> str:
    return f"e{example_id}".replace("-", "_")


def _width(png: bytes) -> int:
    """Pixels, from the header."""
    return int(struct.unpack(">I", png[16:20])[0]) if len(png) >= 24 else 0
