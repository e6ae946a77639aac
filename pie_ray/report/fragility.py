"""The page's block on single examples under corruption: which ones move on most of the corrupted sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .robustness import all_rows
from .rows import number, variants_of
from .tables import Column, table_block
from .words import MISSING, count, percent

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

NUM_EXAMPLES = 20


def fragility_block(fragility: pd.DataFrame | None, class_names: Sequence[str]) -> str:
    """How many examples move under corruption, by variant, and those that move on most sets; empty without rows."""
    rows = all_rows(fragility)
    if not rows:
        return ""
    text = (
        "An example is counted where the variant's most frequent answer differs from the reference's on a corrupted "
        "set. Those that move on most sets are the ones to look at before the variant meets bad images."
    )
    title = "Examples that corruption moves"
    by_variant = table_block(_by_variant(rows), _VARIANT_COLUMNS, f"{title}, by variant")
    return f"<h3>{title}</h3><p>{text}</p>{by_variant}{_most_moved(rows, class_names)}"


def _by_variant(rows: Sequence[Row]) -> list[Row]:
    lines = []
    for variant_id in variants_of(list(rows)):
        mine = [row for row in rows if row["variant_id"] == variant_id]
        lines.append(
            {
                "variant_id": variant_id,
                "num_moved": len(mine),
                "num_clean_pies": sum(bool(row["is_clean_pie"]) for row in mine),
                "num_often": sum(2 * number(row, "num_pie_sets") >= number(row, "num_sets") for row in mine),
                "num_always": sum(number(row, "num_pie_sets") == number(row, "num_sets") for row in mine),
            }
        )
    return lines


_VARIANT_COLUMNS: list[Column] = [
    ("Move", "examples that move on one corrupted set or more", lambda row: count(row["num_moved"])),
    ("Clean PIEs", "of these, those that are PIEs of the clean set", lambda row: count(row["num_clean_pies"])),
    ("On half", "of these, those that move on half of the sets or more", lambda row: count(row["num_often"])),
    ("On all", "of these, those that move on every set", lambda row: count(row["num_always"])),
]


def _most_moved(rows: Sequence[Row], class_names: Sequence[str]) -> str:
    """A row an example, about the variant on which it moves most."""
    by_example: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        by_example.setdefault((int(row["example_id"]), str(row.get("attribute", ""))), []).append(row)
    examples = [
        max(mine, key=_share) | {"name": _name(mine[0]), "num_variants": len(mine)} for mine in by_example.values()
    ]
    examples.sort(key=lambda row: (-_share(row), -row["num_variants"], row["name"]))
    shown = examples[:NUM_EXAMPLES]
    columns: list[Column] = [
        ("True", "the example's label", lambda row: escape(_label(row, class_names))),
        ("Moves on", "corrupted sets on which it moves, for the variant on which it moves most often", _sets),
        ("Variant", "that variant, which the columns to the right are about", _variant),
        ("Variants", "on which it moves on one set or more", lambda row: count(row["num_variants"])),
        (
            "Clean PIE",
            "whether it moves on the clean image already",
            lambda row: "yes" if row["is_clean_pie"] else "no",
        ),
        (
            "Breaks on",
            "share of the sets on which the mode is wrong, reference → variant; – where it is wrong on the clean image",
            lambda row: _move(row, "break_fraction", lambda share: percent(share, 0)),
        ),
        (
            "First break",
            "the lowest severity at which the mode is wrong, reference → variant; – where it never breaks",
            lambda row: _move(row, "first_break", lambda severity: f"{severity:g}"),
        ),
    ]
    first = f'<p class="after">The {count(len(shown))} that move on the largest share of their sets:</p>'
    return first + table_block(shown, columns, "Examples that move on most corrupted sets", "Example", "name")


def _share(row: Row) -> float:
    return number(row, "num_pie_sets") / max(number(row, "num_sets"), 1)


def _name(row: Row) -> str:
    """By the file it came from, where that is known."""
    key = row.get("key")
    name = f"#{int(row['example_id'])}" if key is None or key != key or key == "" else str(key)
    return f"{name}, {row['attribute']}" if "attribute" in row else name


def _label(row: Row, class_names: Sequence[str]) -> str:
    index = int(row["label"])
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"


def _sets(row: Row) -> str:
    return f"<b>{count(number(row, 'num_pie_sets'))}</b> <small>of {count(number(row, 'num_sets'))}</small>"


def _variant(row: Row) -> str:
    return escape(str(row["variant_id"]))


def _move(row: Row, column: str, text: Callable[[float], str]) -> str:
    """One dash where neither population has a value."""
    values = number(row, f"reference_{column}"), number(row, column)
    if all(map(math.isnan, values)):
        return MISSING
    return " → ".join(MISSING if math.isnan(value) else text(value) for value in values)
