"""The page's sections on what is compression and what is chance: examples, repetitions, flips of single networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .markup import section
from .rows import REFERENCE_ID, number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, p_value_text, percent, plural, with_spread

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

_BLIND_P_VALUE = 0.001
"""A smallest possible p above this survives the correction for many examples hardly ever."""


def significance_section(rows: Sequence[Row]) -> str:
    """PIEs, those that chance would make, and the examples whose votes differ beyond it."""
    compared = [row for row in rows if row["variant_id"] != REFERENCE_ID and "num_significant" in row]
    if not compared:
        return ""
    columns: list[Column] = [
        ("PIEs", "between the whole populations", lambda row: count(number(row, "num_pies"))),
        (
            "Half size",
            "PIEs between a half of the reference and a half of the variant, mean over halvings",
            lambda row: _examples(row, "half_pie_fraction"),
        ),
        (
            "By chance",
            "PIEs between two halves of the reference: what to expect at half size where nothing changed",
            lambda row: _examples(row, "null_pie_fraction"),
        ),
        ("Significant", "examples with q ≤ .05", lambda row: f"<b>{count(number(row, 'num_significant'))}</b>"),
        ("of them PIEs", "significant, and the mode moved", lambda row: count(number(row, "num_significant_pies"))),
        (
            "Testable",
            "examples whose votes, pooled, could have been significant at all",
            lambda row: count(number(row, "num_testable")),
        ),
        (
            "Smallest p",
            "that these numbers of members allow",
            lambda row: p_value_text(number(row, "smallest_p_value")),
        ),
        ("Test", "how members are permuted", lambda row: "sign flips in pairs" if row["is_paired"] else "permutation"),
    ]
    text = (
        "A PIE can be chance: two trainings of the same network disagree on borderline examples. <i>Half size</i> "
        "against <i>by chance</i> is like against like. For each example, a permutation test asks whether the answers "
        "of the two populations differ at all; among the significant ones at most 5 % are expected to be chance "
        f"(Benjamini-Hochberg over the testable examples).{_too_few(compared)}"
    )
    title = "Compression, or chance?"
    return section("chance", title, text, table_block(compared, columns, title))


def has_too_few(row: Row) -> bool:
    """Whether so few members were trained that hardly any example could be significant."""
    return not row.get("is_paired") and number(row, "smallest_p_value") > _BLIND_P_VALUE


def _too_few(rows: Sequence[Row]) -> str:
    blind = [row for row in rows if has_too_few(row)]
    if not blind:
        return ""
    smallest = max(number(row, "smallest_p_value") for row in blind)
    members = plural(number(blind[0], "num_members"), "member")
    return (
        f" <b>With {members} a variant no p is below {smallest:.2g}, too large to survive many examples: train more "
        "members to name single examples.</b>"
    )


def stability_section(stability: pd.DataFrame, figure: str) -> str:
    if not rows_of(stability):
        return ""
    text = (
        "Train both populations again: how many PIEs would be the same? Measured by splitting the members in two sets "
        "of equal size: shared PIEs over all PIEs of either (Jaccard). PIEs that are chance alone share up to a third. "
        "<code>pie-ray plan RESULTS --target-jaccard 0.9</code> tells how many members a variant needs."
    )
    beside = f'<div class="beside"><p>{text}</p></div>'
    return section("stability", "How stable the PIEs are", "", f'<div class="figures">{figure}{beside}</div>')


def flip_section(rows: Sequence[Row], pairs: pd.DataFrame) -> str:
    """CIE and CIE-U, member against member."""
    compared = [row for row in rows if not math.isnan(number(row, "cie_mean"))]
    if not compared:
        return ""
    by_variant: dict[str, list[Row]] = {}
    for pair in rows_of(pairs):
        by_variant.setdefault(pair["variant_id"], []).append(pair)
    columns: list[Column] = [
        ("CIE", "share of examples that a compressed member answers otherwise than its reference", _cie),
        ("CIE-U", "of all examples: answered otherwise, and the reference was right", _cie_u),
        (
            "Two trainings",
            "CIE between two members of the reference: what another seed alone changes",
            lambda row: percent(number(row, "null_cie_mean"), 2),
        ),
        ("Gained", "examples that only the compressed member has right, mean", lambda row: _gained(row, by_variant)),
        (
            "McNemar",
            "pairs in which right turned wrong significantly more, or less, often than the reverse (q ≤ .05)",
            lambda row: _mcnemar(row, by_variant),
        ),
        (
            "Pairs",
            "derived: the compressed member was made from its reference; by seed: trained apart",
            lambda row: "derived" if row["is_paired"] else "by seed",
        ),
    ]
    text = (
        "One compressed network against one uncompressed one (Joseph et al., arXiv 2012.01604), as who ships a single "
        "network sees it. Networks trained apart differ by their seeds alone as much as <i>two trainings</i> says; "
        "derived ones differ by compression only."
    )
    title = "Flips: network against network"
    return section("flips", title, text, table_block(compared, columns, title))


def _examples(row: Row, column: str) -> str:
    """A share of all answers, as a number of them."""
    share = number(row, column)
    return MISSING if math.isnan(share) else count(share * number(row, "num_answers"))


def _cie(row: Row) -> str:
    return with_spread(number(row, "cie_mean"), number(row, "cie_std"))


def _cie_u(row: Row) -> str:
    return with_spread(number(row, "cie_u_mean"), number(row, "cie_u_std"))


def _gained(row: Row, pairs: Mapping[str, list[Row]]) -> str:
    mine = pairs.get(row["variant_id"], [])
    return f"{sum(pair['num_only_variant_right'] for pair in mine) / len(mine):,.1f}" if mine else MISSING


def _mcnemar(row: Row, pairs: Mapping[str, list[Row]]) -> str:
    mine = pairs.get(row["variant_id"], [])
    return f"{sum(pair['q_value'] <= 0.05 for pair in mine)} <small>of {len(mine)}</small>" if mine else MISSING
