"""The page's sections about one question each; a section without rows is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .rows import REFERENCE_ID, number, rows_of, variants_of
from .tables import Column, table_of
from .words import MISSING, count, percent, plural, points

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

SCORES = {
    "entropy": "entropy of the mean prediction",
    "mutual_information": "mutual information across members",
    "expected_entropy": "mean entropy of members",
    "vote_entropy": "entropy of the votes",
    "unconfidence": "low mean confidence",
    "unlikely_label": "low probability of the true label",
}
"""How people call what the reference alone says of an example."""

RATES = {"error": "error", "false_positive": "FPR", "false_negative": "FNR"}

_NUM_GROUPS = 24


def section(title: str, text: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{text}</p>\n{body}\n</section>"


def scrolled(table: str) -> str:
    return f'<div class="scroll">{table}</div>'


# ------------------------------------------------------------------------------------------------ chance, stability


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
    return section("Compression, or chance?", text, scrolled(table_of(compared, columns)))


def _too_few(rows: Sequence[Row]) -> str:
    """Said where so few members were trained that hardly anything could be significant."""
    blind = [row for row in rows if not row["is_paired"] and number(row, "smallest_p_value") > 0.001]
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
    return f'<section>\n<h2>How stable the PIEs are</h2>\n<div class="figures">{figure}{beside}</div>\n</section>'


# ------------------------------------------------------------------------------------------------- flips, foretelling


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
    return section("Flips: network against network", text, scrolled(table_of(compared, columns)))


def foretelling_section(foretelling: pd.DataFrame) -> str:
    """A row a variant and score."""
    rows = [row for row in rows_of(foretelling) if not math.isnan(number(row, "auroc"))]
    if not rows:
        return ""
    columns: list[Column] = [
        (
            "Score",
            "of the uncompressed networks alone",
            lambda row: escape(SCORES.get(str(row["score"]), str(row["score"]))),
        ),
        ("AUROC", "chance that a PIE scores above another example", lambda row: f"{row['auroc']:.3f}"),
        ("Average precision", "its base rate is the share of PIEs", lambda row: f"{row['average_precision']:.3f}"),
        *(
            (f"Top {share} %", f"share of the PIEs among the {share} % with the highest score", _recall(share))
            for share in (1, 5, 10)
        ),
    ]
    text = (
        "Scores that need no compressed network: how uncertain the uncompressed ones are about an example, and how "
        "well that foretells which examples become PIEs. Examples to look at before anything is compressed; borderline "
        "ones become PIEs by chance, too, so a high figure does not say that compression caused them."
    )
    best = [
        row
        for variant_id in variants_of(rows)
        for row in sorted((r for r in rows if r["variant_id"] == variant_id), key=lambda r: -r["auroc"])
    ]
    return section("What the uncompressed networks foretell", text, scrolled(table_of(best, columns)))


# --------------------------------------------------------------------------------------------------- classes, groups


def class_section(body: str) -> str:
    text = (
        "How far each class's recall moved beyond the overall change. Significant is where a Welch test over members "
        "rejects that the class moved as accuracy did (p ≤ .05, as published, not corrected for the number of "
        "classes); the table has the rule that is (q ≤ .05)."
    )
    return section("The cost by class", text, body)


def class_summary(classes: pd.DataFrame) -> str:
    """Significant classes by the paper's rule and with the false discovery rate controlled."""
    rows = [row for row in rows_of(classes) if not math.isnan(number(row, "p_value"))]
    if not rows or "discovered" not in rows[0]:
        return ""
    lines = []
    for variant_id in variants_of(rows):
        mine = [row for row in rows if row["variant_id"] == variant_id]
        lines.append(
            {
                "variant_id": variant_id,
                "num_classes": len(mine),
                "significant": sum(bool(row["significant"]) for row in mine),
                "discovered": sum(bool(row["discovered"]) for row in mine),
                "strongest": max(mine, key=lambda row: abs(number(row, "normalised_change"))),
            }
        )
    columns: list[Column] = [
        ("p ≤ .05", "the paper's rule, not corrected", lambda row: f"{row['significant']} of {row['num_classes']}"),
        (
            "By chance",
            "classes with p ≤ .05 to expect where nothing changed",
            lambda row: f"{row['num_classes'] / 20:g}",
        ),
        ("q ≤ .05", "Benjamini-Hochberg over all variants and classes", lambda row: f"<b>{row['discovered']}</b>"),
        ("Moved most", "points of recall beyond the overall change, with its 95 % interval", _strongest),
    ]
    return scrolled(table_of(lines, columns))


def group_section(groups: pd.DataFrame, gaps: pd.DataFrame, summary_rows: Sequence[Row]) -> str:
    """Error, FPR and FNR by group: the largest changes first."""
    rows = [row for row in rows_of(groups) if not row["is_small"] and not math.isnan(number(row, "change"))]
    if not rows:
        return ""
    rows.sort(key=lambda row: -abs(row["change"]))
    columns: list[Column] = [
        ("Variant", "", lambda row: escape(str(row["variant_id"]))),
        *_attribute_column(rows),
        ("Rate", "", lambda row: RATES.get(row["rate"], str(row["rate"]))),
        ("Examples", "", lambda row: count(number(row, "num_examples"))),
        ("Reference", "", lambda row: percent(number(row, "reference"))),
        ("Variant's", "", lambda row: percent(number(row, "variant"))),
        ("Change", "points, with 95 % interval over members", _interval),
        ("Normalised", "change over the reference's rate", lambda row: _relative(number(row, "normalised_change"))),
        ("PIEs", "in the group", lambda row: count(number(row, "num_pies"))),
    ]
    more = f" The {_NUM_GROUPS} largest of {len(rows):,} changes." if len(rows) > _NUM_GROUPS else ""
    few = min(number(row, "num_members") for row in summary_rows)
    short = " With fewer than ten members the intervals are too short." if few < 10 else ""
    text = f"Error rates by attributes beside the label; groups of few examples are left out.{more}{short}"
    body = scrolled(table_of(rows[:_NUM_GROUPS], columns, "Group", "group")) + _gap_table(gaps)
    return section("The cost by group", text, body)


def _attribute_column(rows: Sequence[Row]) -> list[Column]:
    """What multi-label rows are about; nothing of classes."""
    return [("Attribute", "", lambda row: escape(str(row["attribute"])))] if "attribute" in rows[0] else []


def _gap_table(gaps: pd.DataFrame) -> str:
    rows = rows_of(gaps)
    if not rows:
        return ""
    columns: list[Column] = [
        *_attribute_column(rows),
        ("Worst before", "group of the highest error", lambda row: escape(str(row["reference_worst"]))),
        ("Gap before", "highest minus lowest error", lambda row: points(number(row, "reference_gap"))),
        ("Worst after", "", lambda row: escape(str(row["variant_worst"]))),
        ("Gap after", "", lambda row: points(number(row, "variant_gap"))),
        ("Change", "points, with 95 % interval over members", _interval),
    ]
    return scrolled(table_of(rows, columns))


def evidence_section(evidence: pd.DataFrame) -> str:
    rows = rows_of(evidence)
    if not rows:
        return ""
    columns: list[Column] = [
        ("Evidence", "", lambda row: escape(str(row["evidence"]))),
        ("On PIEs", "mean", lambda row: _plain(number(row, "mean_on_pies"))),
        ("On the rest", "mean", lambda row: _plain(number(row, "mean_on_rest"))),
        ("AUROC", "chance that a PIE has the larger value", lambda row: _plain(number(row, "auroc"))),
        ("p", "permutation test of the means", lambda row: p_value_text(number(row, "p_value"))),
        ("PIEs", "with this evidence", lambda row: count(number(row, "num_pies"))),
    ]
    text = "What is known of the examples from elsewhere, on the PIEs and on all others."
    return section("Evidence from elsewhere", text, scrolled(table_of(rows, columns)))


# --------------------------------------------------------------------------------------------------------------- cells


def _examples(row: Row, column: str) -> str:
    """A share of all answers, as a number of them."""
    share = number(row, column)
    return MISSING if math.isnan(share) else count(share * number(row, "num_answers"))


def p_value_text(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"


def _with_spread(row: Row, mean: str, std: str) -> str:
    deviation = number(row, std)
    spread = "" if math.isnan(deviation) else f" <small>± {100 * deviation:.2f}</small>"
    return percent(number(row, mean), 2) + spread


def _cie(row: Row) -> str:
    return _with_spread(row, "cie_mean", "cie_std")


def _cie_u(row: Row) -> str:
    return _with_spread(row, "cie_u_mean", "cie_u_std")


def _gained(row: Row, pairs: Mapping[str, list[Row]]) -> str:
    mine = pairs.get(row["variant_id"], [])
    return f"{sum(pair['num_only_variant_right'] for pair in mine) / len(mine):,.1f}" if mine else MISSING


def _mcnemar(row: Row, pairs: Mapping[str, list[Row]]) -> str:
    mine = pairs.get(row["variant_id"], [])
    return f"{sum(pair['q_value'] <= 0.05 for pair in mine)} <small>of {len(mine)}</small>" if mine else MISSING


def _recall(share: int) -> Any:
    return lambda row: percent(number(row, f"recall_at_{share}_percent"), 0)


def _strongest(row: Row) -> str:
    strongest = row["strongest"]
    low, high = (points(number(strongest, side)) for side in ("low", "high"))
    change = points(number(strongest, "normalised_change"))
    return f"{escape(str(strongest['class_name']))} {change} <small>{low} to {high}</small>"


def _interval(row: Row) -> str:
    low, high = points(number(row, "low")), points(number(row, "high"))
    return f"{points(number(row, 'change'))} <small>{low} to {high}</small>"


def _relative(change: float) -> str:
    return MISSING if math.isnan(change) else f"{100 * change:+.0f} %".replace("-", "−")


def _plain(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3g}"
