"""The page's section on how uncertain the uncompressed networks are about the PIEs, and about all other examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import legend, section
from .rows import number, rows_of, variants_of
from .tables import Column, table_block
from .words import MISSING, percent, plain

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

_TURNED = {"unconfidence": "mean confidence", "unlikely_label": "probability of the true label"}
"""Scores that are minus a probability, by the name of that probability."""

_LABELLED = "unlikely_label"
"""The score that needs true labels, so that it says of errors as much as of uncertainty."""

SPREAD = ("q25", "median", "q75")


def foretelling_section(foretelling: pd.DataFrame, figure: str) -> str:
    """A row a variant and score, the best first; `figure` is HTML."""
    rows = [row for row in rows_of(foretelling) if not math.isnan(number(row, "auroc"))]
    if not rows:
        return ""
    has_spread = any(not math.isnan(number(row, "median_on_pies")) for row in rows)
    columns: list[Column] = [
        (
            "Score",
            "of the uncompressed networks alone",
            lambda row: escape(SCORES.get(str(row["score"]), str(row["score"]))),
        ),
        ("AUROC", "chance that a PIE scores above another example", lambda row: plain(number(row, "auroc"))),
        (
            "Average precision",
            "its base rate is the share of PIEs",
            lambda row: plain(number(row, "average_precision")),
        ),
        *(
            (f"Top {share} %", f"share of the PIEs among the {share} % with the highest score", _recall(share))
            for share in (1, 5, 10)
        ),
        *(_SPREAD_COLUMNS if has_spread else ()),
    ]
    text = (
        "Scores that need no compressed network: how uncertain the uncompressed ones are about an example, and how "
        "well that foretells which examples become PIEs. Examples to look at before anything is compressed; borderline "
        "ones become PIEs by chance, too, so a high figure does not say that compression caused them."
    )
    if not has_spread:
        text += (
            " These results were analysed before the scores' spread was kept: <code>pie-ray analyze RESULTS</code> "
            "adds how uncertain the networks are about PIEs and about the rest."
        )
    best = [
        row
        for variant_id in variants_of(rows)
        for row in sorted((r for r in rows if r["variant_id"] == variant_id), key=lambda r: -r["auroc"])
    ]
    title = "What the uncompressed networks foretell"
    return section("foretelling", title, text, _plot(figure) + table_block(best, columns, title))


def best_score(rows: list[Row]) -> str | None:
    """The score that ranks PIEs best without the true labels, mean over variants; None where no spread is known."""
    known = [row for row in rows if row["score"] != _LABELLED and not math.isnan(number(row, "median_on_pies"))]
    by_score: dict[str, list[float]] = {}
    for row in known:
        by_score.setdefault(str(row["score"]), []).append(number(row, "auroc"))
    return max(by_score, key=lambda name: sum(by_score[name]) / len(by_score[name]), default=None)


def score_title(score: str) -> str:
    """What `quartiles` are of."""
    return _TURNED.get(score, SCORES.get(score, score))


def quartiles(row: Row, where: str) -> tuple[float, float, float]:
    """25 %, median and 75 % of a score on `pies` or on the `rest`; of minus a probability, the probability's."""
    low, middle, high = (number(row, f"{name}_on_{where}") for name in SPREAD)
    return (-high, -middle, -low) if row["score"] in _TURNED else (low, middle, high)


def _plot(figure: str) -> str:
    if not figure:
        return ""
    text = (
        "How uncertain the uncompressed networks are about the examples that become PIEs, against all others. The mark "
        "is the median, the bar the middle half of the examples; the score is the one that ranks PIEs best without the "
        "true labels."
    )
    marks = legend([("solid", "PIEs"), ("dot", "all other examples")])
    return f'<div class="figures">{figure}<div class="beside"><p>{text}</p>{marks}</div></div>'


def _recall(share: int) -> Callable[[Row], str]:
    return lambda row: percent(number(row, f"recall_at_{share}_percent"), 0)


def _spread(where: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        low, middle, high = quartiles(row, where)
        if math.isnan(middle):
            return MISSING
        return f"{plain(middle, 2)} <small>{plain(low, 2)} to {plain(high, 2)}</small>"

    return cell


_SPREAD_COLUMNS: tuple[Column, ...] = (
    (
        "On PIEs",
        "median, and the middle half of the examples: entropies in nats, else the probability itself",
        _spread("pies"),
    ),
    ("On the rest", "the same of all other examples", _spread("rest")),
)
