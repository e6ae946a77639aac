"""The page's section about corrupted and natural images: do compressed networks lose more there than others?"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import section
from .robustness import by_variant, least_robust, most_changed, natural_rows, set_name
from .rows import REFERENCE_ID, number, variants_of
from .tables import Column, table_block
from .words import MISSING, count, p_value_text, percent, plural, points, relative, with_spread

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

TITLE = "Robustness"


def robustness_section(
    robustness: pd.DataFrame | None,
    errors: pd.DataFrame | None,
    *,
    plots: str = "",
    fragile: str = "",
    samples: bytes | None = None,
) -> str:
    """The section, empty without rows; `plots` and `fragile` are HTML, `samples` is a PNG."""
    lines, natural = by_variant(robustness, errors), natural_rows(robustness)
    if not lines and not natural:
        return ""
    if not lines:
        return section("robustness", TITLE, _natural_finding(natural), _natural_block(natural))
    body = (
        table_block(lines, _VARIANT_COLUMNS, "Robustness by variant")
        + f'<p class="after muted">{_about_figures(lines[0])}</p>'
        + _natural_block(natural)
        + plots
        + _reduced_block(lines)
        + fragile
        + _samples_block(samples)
    )
    return section("robustness", TITLE, _finding(lines), body)


def _finding(lines: Sequence[Row]) -> str:
    """What the least robust variant loses, and whether the PIEs of the clean set break first."""
    worst = least_robust(lines)
    if worst is None:
        top1 = percent(number(lines[0], "top1_mean"))
        return f"On corrupted images the mean top-1 is <b>{top1}</b>; no compressed variant is complete yet."
    mce = number(worst, "mce")
    ratio = "" if math.isnan(mce) else f" (mCE <b>{_ratio(mce)}</b>, where 1 is as robust as they are)"
    excess = (
        f", and in <b>{worst['num_more']} of {worst['num_tested']}</b> sets they lose more of their clean accuracy "
        "than those do, beyond chance"
    )
    return (
        f"On corrupted images <b>{escape(str(worst['variant_id']))}</b> networks reach "
        f"{percent(number(worst, 'top1_mean'))} top-1 against {percent(number(worst, 'reference_top1_mean'))} of the "
        f"uncompressed ones{ratio}{excess if worst['num_tested'] else ''}.{_breaking(worst)}"
    )


def _breaking(row: Row) -> str:
    on, off, reference_on, reference_off = (
        number(row, f"{who}break_{where}") for who in ("", "reference_") for where in ("on_clean_pies", "elsewhere")
    )
    if math.isnan(on) or math.isnan(off):
        return ""
    order = _compare(on, off)
    said = {1: "break first", 0: "break no sooner than other images", -1: "do not break first"}[order]
    text = (
        f" The PIEs of the clean set {said}: of those that they answer rightly there, corruption turns "
        f"<b>{percent(on, 0)}</b> wrong, of other images {percent(off, 0)}"
    )
    if math.isnan(reference_on) or math.isnan(reference_off):
        return text + "."
    theirs = f"{percent(reference_on, 0)} against {percent(reference_off, 0)}"
    if order != _compare(reference_on, reference_off):
        return f"{text}; in the uncompressed networks it is otherwise ({theirs})."
    if order < 1:
        return f"{text}; nor do they in the uncompressed networks ({theirs})."
    return f"{text}; in the uncompressed networks as well ({theirs}): such images are hard to begin with."


def _compare(first: float, second: float) -> int:
    """1 or -1 where the first is larger or smaller by half a percentage point or more, else 0."""
    return 0 if abs(first - second) < 0.005 else int(math.copysign(1, first - second))


def _natural_finding(rows: Sequence[Row]) -> str:
    worst = most_changed(rows)
    if worst is None:
        return "No compressed variant is complete yet."
    return (
        f"<b>{escape(str(worst['variant_id']))}</b> networks reach {percent(number(worst, 'top1_mean'))} top-1 on "
        f"{escape(set_name(worst))} against {percent(number(worst, 'reference_top1_mean'))} of the "
        f"uncompressed ones (<b>{relative(number(worst, 'change'))}</b>); on the clean set their top-1 differs by "
        f"{relative(number(worst, 'clean_change'))}."
    )


def _about_figures(line: Row) -> str:
    corruptions = plural(line["num_corruptions"], "common corruption" if line["is_common"] else "corruption")
    return (
        f"Means over {plural(line['num_sets'], 'set')} of {corruptions}. mCE: a corruption's error summed over "
        "severities, over the reference's, mean over corruptions (Hendrycks &amp; Dietterich, arXiv 1903.12261, with "
        "the uncompressed population in AlexNet's place); relative mCE: the same of what error adds to the clean one. "
        "Intervals are 95 % over members. A set counts where the members' drops differ from the reference members' at "
        "q ≤ .05 (Benjamini-Hochberg over all sets and variants)."
    )


_VARIANT_COLUMNS: list[Column] = [
    (
        "Error",
        "mean over corrupted sets, with its 95 % interval",
        lambda row: _span(row, "error", "error_mean", percent),
    ),
    ("mCE", "mean corruption error against the reference's: 1 is as robust", lambda row: _span(row, "mce", "mce")),
    (
        "Relative mCE",
        "the same of the error beyond the clean set's: above 1, more is lost than the clean loss explains",
        lambda row: _span(row, "relative_mce", "relative_mce"),
    ),
    ("Drop", "top-1 on the clean set minus here, points", lambda row: _span(row, "drop", "drop_mean", _plain_points)),
    ("Excess", "drop beyond the reference's, points", lambda row: _excess(row)),
    ("Lose more", "sets whose drop exceeds the reference's beyond chance (q ≤ .05)", lambda row: _num_sets(row)),
]


# ------------------------------------------------------------------------------------------------- natural sets, PIEs


def _natural_block(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    sets = dict.fromkeys(row["evaluation_set"] for row in rows)
    ordered = [row | {"name": set_name(row)} for name in sets for row in rows if row["evaluation_set"] == name]
    columns: list[Column] = [
        ("Variant", "", lambda row: escape(str(row["variant_id"]))),
        ("Images", "", lambda row: count(number(row, "num_examples"))),
        ("Top-1", "mean over members ± standard deviation", _top1),
        ("Drop", "top-1 on the clean set minus here, points", lambda row: _span(row, "drop", "drop", _plain_points)),
        (
            "Change",
            "of top-1 against the reference's on the same images, in % of the reference's",
            lambda row: _compared(row, lambda: _span(row, "change", "change", relative)),
        ),
        (
            "On clean",
            "the same change on the clean set",
            lambda row: _compared(row, lambda: relative(number(row, "clean_change"))),
        ),
        ("q", "of the drop against the reference's", lambda row: p_value_text(number(row, "q_value"))),
        ("PIEs", "share of this set's images whose mode differs from the reference's", _pies),
    ]
    title = "Natural images from elsewhere"
    return f"<h3>{title}</h3>{table_block(ordered, columns, title, 'Set', 'name')}"


def _reduced_block(lines: Sequence[Row]) -> str:
    compared = [row for row in lines if row["variant_id"] in variants_of(list(lines))]
    if not compared:
        return ""
    columns: list[Column] = [
        ("All", "top-1: reference → variant", _move("top1_mean")),
        ("PIEs only", "those of each set: its mode differs from the reference's there", _move("top1_on_pies")),
        ("Without PIEs", "those of each set", _move("top1_without_pies")),
        ("Clean PIEs only", "the PIEs of the clean set, among these images", _move("top1_on_clean_pies")),
        ("Without these", "without the PIEs of the clean set", _move("top1_without_clean_pies")),
        ("PIEs break", "of the clean PIEs that were right there: share wrong here", _move("break_on_clean_pies", 0)),
        ("Others break", "of all others that were right there: share wrong here", _move("break_elsewhere", 0)),
    ]
    text = (
        "Means over the same corrupted sets, reference → variant. An image <i>breaks</i> where a population's most "
        "frequent answer is right on the clean image and wrong on the corrupted one; the share is of those that are "
        "right on the clean one. On a PIE the two populations answer differently, so that they are never both right: "
        "the PIEs that can break are others for the reference than for the variant."
    )
    title = "Corrupted, with and without the PIEs"
    return f"<h3>{title}</h3><p>{text}</p>{table_block(compared, columns, title)}"


def heat_map_block(figure: str) -> str:
    text = (
        "Each cell is (variant − reference) / reference on the same images, as published, so that sets on which all "
        "networks do poorly can be held against others. The first row is the clean set's: a loss that corruption does "
        "not add to would repeat it all the way down. A dot is a severity at which the drop differs from the "
        "reference's beyond chance."
    )
    legend = (
        '<ul class="legend"><li><i class="solid"></i>worse than the reference</li>'
        '<li><i class="without"></i>better</li></ul>'
    )
    return f"<div><h3>By corruption</h3><p>{text}</p>{legend}{figure}</div>"


def curves_block(panels: str, legend: Sequence[tuple[str, str, bool]]) -> str:
    """`legend` is each line's name, its colour as CSS and whether it is dashed; the reference's is the first."""
    if not panels:
        return ""
    items = "".join(
        f'<li><i class="line{" dashed" if is_dashed else ""}" style="border-color:{escape(colour)}"></i>{escape(name)}'
        "</li>"
        for name, colour, is_dashed in legend
    )
    text = (
        "Means over a family's corruptions; bars are 95 % intervals over members, their ends averaged over the "
        "corruptions as well."
    )
    if len(legend) > 1:
        text += " The last panel has what the variants lose beyond the reference, over all corruptions."
    return (
        f'<div><h3>By severity</h3><p>{text}</p><ul class="legend">{items}</ul><div class="panels">{panels}</div></div>'
    )


def _samples_block(samples: bytes | None) -> str:
    if samples is None:
        return ""
    width, height = struct.unpack(">II", samples[16:24])
    data = base64.b64encode(samples).decode()
    style = f"aspect-ratio:{width}/{height};min-width:{width * 3 // 4}px;max-width:{width}px"
    return (
        '<h3>What the corruptions look like</h3><p class="muted">A row a corruption, severity from left to right.</p>'
        '<div class="wide" role="region" aria-label="Sample images" tabindex="0">'
        '<div class="samples" role="img" aria-label="sample images by corruption and severity" '
        f'style="{style};background-image:url(data:image/png;base64,{data})"></div></div>'
    )


# --------------------------------------------------------------------------------------------------------------- cells


def _ratio(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3f}"


def _plain_points(fraction: float) -> str:
    """Percentage points where the sign says nothing new: drops are positive."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}".replace("-", "−")


def _span(row: Row, name: str, column: str, text: Callable[[float], str] = _ratio) -> str:
    """A value with its interval, where it has one."""
    low, high = number(row, f"{name}_low"), number(row, f"{name}_high")
    if math.isnan(low) or math.isnan(high):
        return text(number(row, column))
    return (
        f"{text(number(row, column))} <small>{text(low).removesuffix(' %')} to {text(high).removesuffix(' %')}</small>"
    )


def _compared(row: Row, cell: Callable[[], str]) -> str:
    """Nothing of the reference, which is not compared with itself."""
    return MISSING if row["variant_id"] == REFERENCE_ID else cell()


def _excess(row: Row) -> str:
    return _compared(row, lambda: points(number(row, "excess_drop")))


def _num_sets(row: Row) -> str:
    less = f", {row['num_less']} less" if row["num_less"] else ""
    return f"<b>{row['num_more']}</b> <small>of {row['num_tested']}{less}</small>" if row["num_tested"] else MISSING


def _top1(row: Row) -> str:
    return with_spread(number(row, "top1_mean"), number(row, "top1_std"))


def _pies(row: Row) -> str:
    return _compared(row, lambda: percent(number(row, "pie_fraction")))


def _move(column: str, decimals: int = 1) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        before, after = number(row, f"reference_{column}"), number(row, column)
        moved = f"{percent(before, decimals).removesuffix(' %')} → {percent(after, decimals)}"
        return MISSING if math.isnan(after) else moved

    return cell
