"""One network against one: what the page says where no population has more than one member.

The mode of one network is its answer, so that PIEs are CIEs (Joseph et al., arXiv 2012.01604); nothing is known of what
another training would have changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import section
from .rows import REFERENCE_ID, number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, listed, p_value_text, percent

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

NOTE = (
    "One network of each was compared. Where this page says PIE, read CIE: an example that one network answers "
    "otherwise than another. What another training would have changed too cannot be known; several networks would tell."
)


def are_lone(rows: Sequence[Row]) -> bool:
    """Whether variants were compared, and each population is one network."""
    return len(rows) > 1 and all(number(row, "num_members") == 1 for row in rows)


def changed_clause(row: Row, asked: str) -> str:
    """How many of the examples, `asked` in words, are answered otherwise."""
    num_changed = number(row, "num_pies")
    if num_changed == 0:
        return f"the same answer on all {asked}"
    clause = f"another answer on <b>{count(num_changed)}</b> of {asked} (<b>{percent(number(row, 'pie_fraction'))}</b>)"
    lost = _lost(row)
    return clause if math.isnan(lost) else f"{clause}, on <b>{count(lost)}</b> of which the reference was right"


def findings(compared: Sequence[Row]) -> list[str]:
    """Sentences of HTML below the headline."""
    same = [f"<b>{escape(str(row['variant_id']))}</b>" for row in compared if number(row, "num_pies") == 0]
    harmless = [f"{listed(same)} answers every example as the reference does."] if same else []
    return [
        *harmless,
        "One network against one shows which answers changed (CIEs), not what of it is compression and what is chance: "
        "networks of several trainings of each would.",
    ]


def worst_lost(compared: Sequence[Row]) -> tuple[str, str]:
    """A tile: right answers that changed, of the variant that loses most."""
    shares = [number(row, "cie_u_mean") for row in compared]
    known = [share for share in shares if not math.isnan(share)]
    return percent(max(known)) if known else MISSING, "of answers were right and changed, at worst"


def pair_section(rows: Sequence[Row], pairs: pd.DataFrame) -> str:
    """CIE and CIE-U of each variant's one pair."""
    compared = [
        row for row in rows if row["variant_id"] != REFERENCE_ID and not math.isnan(number(row, "pie_fraction"))
    ]
    by_variant = {pair["variant_id"]: pair for pair in rows_of(pairs)}
    columns: list[Column] = [
        ("CIE", "examples that the compressed network answers otherwise than the reference", _changed),
        ("CIE-U", "of them: the reference was right", lambda row: count(_lost(row))),
        (
            "Gained",
            "examples that only the compressed network has right",
            lambda row: count(_of_pair(row, by_variant, "num_only_variant_right")),
        ),
        (
            "McNemar",
            "p-value: do more answers turn wrong than right, or fewer, than a fair coin would have it? Of these two "
            "networks, not of other trainings",
            lambda row: p_value_text(_of_pair(row, by_variant, "p_value")),
        ),
    ]
    text = (
        "One compressed network against one uncompressed one (Joseph et al., arXiv 2012.01604), as who ships a single "
        "network sees it. Which answers changed is exact. Not known from one pair: the noise floor (what another "
        "training changes), intervals over trainings, and which single examples or classes changed beyond chance. For "
        "these train or collect several networks of each; five see something, ten or more do well."
    )
    title = "Flips: network against network"
    return section("flips", title, text, table_block(compared, columns, title)) if compared else ""


def _changed(row: Row) -> str:
    return f"<b>{count(number(row, 'num_pies'))}</b> <small>{percent(number(row, 'pie_fraction'), 2)}</small>"


def _lost(row: Row) -> float:
    answers = number(row, "num_answers")
    return number(row, "cie_u_mean") * (number(row, "num_examples") if math.isnan(answers) else answers)


def _of_pair(row: Row, pairs: Mapping[str, Row], column: str) -> float:
    return number(pairs.get(str(row["variant_id"]), {}), column)
