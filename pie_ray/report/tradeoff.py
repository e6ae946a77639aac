"""What a variant's cost buys: which variants no other beats in cost, accuracy and PIEs at once; by size and latency."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from .costs import batch_sizes, cost_block, measured_on, rows_without_sets
from .headline import NUM_DEVIATIONS
from .markup import legend, section
from .rows import REFERENCE_ID, number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, percent

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

Interval = tuple[float, float, float]
"""Lower end, value, upper end."""

_LEAST = 0.02
"""Costs that differ by less, as a share, count as the same."""
_UNKNOWN_SPREAD = 0.1
"""Taken for a latency's spread where one round alone was measured."""


@dataclass(frozen=True)
class Axis:
    """One cost, and the variants against it."""

    name: str
    """`size` or `latency`"""
    unit: str
    points: list[Row]
    """The cheapest first. `cost` and its ends `cost_low` and `cost_high` are relative to the reference's; `top1_mean`;
    `pies` is the share of PIEs, none of the reference's; `beaten_by` is a variant that is better, or None."""


def axes_of(summary: pd.DataFrame, costs: pd.DataFrame | None) -> list[Axis]:
    """Of size and latency those that are known of the reference and of another variant.

    Size is the compressed checkpoint's; latency that of the smallest batch, and over the reference's in float32.
    """
    known = rows_without_sets(costs)
    candidates: list[tuple[str, str, Callable[[Row], Interval]]] = [
        ("size", "size of the compressed checkpoint", _size)
    ]
    if sizes := batch_sizes(known):
        what = "an image by itself" if sizes[0] == 1 else f"a batch of {sizes[0]:,}"
        candidates.append(("latency", f"latency of {what}", _latency(sizes[0])))
    by_variant = {row["variant_id"]: row for row in known}
    axes = []
    for name, unit, interval_of in candidates:
        points = [_point(row, interval_of(by_variant.get(row["variant_id"], {}))) for row in rows_of(summary)]
        axes.append(Axis(name, unit, _compared([point for point in points if point is not None])))
    return [axis for axis in axes if axis.points]


def _size(cost: Row) -> Interval:
    size = number(cost, "relative_compressed_bytes")
    return size, size, size


def _latency(batch_size: int) -> Callable[[Row], Interval]:
    def interval_of(cost: Row) -> Interval:
        slow, middle, fast = (
            1 / speedup if (speedup := number(cost, f"speedup{end}_batch_{batch_size}")) else math.nan
            for end in ("_low", "", "_high")
        )
        if math.isnan(slow):
            return middle * (1 - _UNKNOWN_SPREAD), middle, middle * (1 + _UNKNOWN_SPREAD)
        return fast, middle, slow

    return interval_of


def _point(row: Row, cost: Interval) -> Row | None:
    is_reference = row["variant_id"] == REFERENCE_ID
    point = row | {
        "cost_low": cost[0],
        "cost": cost[1],
        "cost_high": cost[2],
        "pies": 0.0 if is_reference else number(row, "pie_fraction"),
        "num_pies": 0.0 if is_reference else number(row, "num_pies"),
    }
    is_known = not any(math.isnan(number(point, name)) for name in ("cost", "top1_mean", "pies"))
    return point if is_known and point["cost"] > 0 else None


def _compared(points: list[Row]) -> list[Row]:
    if len(points) < 2 or all(point["variant_id"] != REFERENCE_ID for point in points):
        return []
    beaten = [point | {"beaten_by": _beaten_by(point, points)} for point in points]
    return sorted(beaten, key=lambda point: (point["cost"], point["variant_id"]))


# ------------------------------------------------------------------------------------------------ what beats what


def _beaten_by(point: Row, points: Sequence[Row]) -> str | None:
    """The most accurate of the variants that beat it, of equals the cheapest."""
    better = [other for other in points if _beats(other, point)]
    best = max(better, key=lambda other: (other["top1_mean"], -other["cost"]), default=None)
    return None if best is None else str(best["variant_id"])


def _beats(other: Row, point: Row) -> bool:
    """As accurate, with as few PIEs and not dearer; and in one of them better by more than chance."""
    if other["top1_mean"] < point["top1_mean"] or other["pies"] > point["pies"]:
        return False
    leads = [lead(other, point) for lead in (_is_cheaper, _is_more_accurate, _forgets_less)]
    return leads[0] >= 0 and max(leads) > 0


def _is_cheaper(one: Row, other: Row) -> int:
    """1 for yes, -1 for the contrary, 0 where the two cannot be told apart; as the other leads."""
    if one["cost_high"] * (1 + _LEAST) < other["cost_low"]:
        return 1
    return -1 if other["cost_high"] * (1 + _LEAST) < one["cost_low"] else 0


def _is_more_accurate(one: Row, other: Row) -> int:
    """By two standard errors of the difference."""
    errors = [number(row, "top1_std") / math.sqrt(max(number(row, "num_members"), 1)) for row in (one, other)]
    return _lead(one["top1_mean"] - other["top1_mean"], 2 * math.hypot(*errors))


def _forgets_less(one: Row, other: Row) -> int:
    """By the rule that tells PIEs from the noise floor; where halves are not known, by the PIEs themselves."""
    (share, deviation), (other_share, other_deviation) = _halves(one), _halves(other)
    if math.isnan(share) or math.isnan(other_share):
        return _lead(other["pies"] - one["pies"], 0.0)
    return _lead(other_share - share, NUM_DEVIATIONS * max(deviation, other_deviation))


def _halves(row: Row) -> tuple[float, float]:
    """PIEs between halves, and their standard deviation: the reference's are the noise floor."""
    name = "null_pie" if row["variant_id"] == REFERENCE_ID else "half_pie"
    return number(row, f"{name}_fraction"), number(row, f"{name}_std")


def _lead(difference: float, chance: float) -> int:
    """Where chance is not known, every difference counts."""
    if abs(difference) <= (0.0 if math.isnan(chance) else chance):
        return 0
    return 1 if difference > 0 else -1


# ------------------------------------------------------------------------------------------------------ the section


def tradeoff_section(axes: Sequence[Axis], costs: pd.DataFrame | None, figures: str) -> str:
    """What each variant costs, and which ones are worth it; `figures` are HTML. Empty without costs."""
    rows = rows_without_sets(costs)
    if not rows:
        return ""
    parts = [cost_block(rows)]
    if axes:
        marks = legend([("dot", "reference"), ("solid", "beaten by none"), ("open", "beaten")])
        parts += [f"<p>{_ABOUT_THE_FRONT}</p>{marks}", f'<div class="figures">{figures}</div>', _front_table(axes)]
    return section("tradeoff", "What compression costs and buys", _about(rows), "\n".join(parts))


def _about(rows: Sequence[Row]) -> str:
    text = (
        "What a variant takes: weights, bytes and multiply-adds are counted, latencies measured. Zeros make a "
        "checkpoint smaller once it is compressed; dense kernels multiply by them all the same, so that zeros alone "
        "make no processor faster."
    )
    return f"{text} {measured_on(rows)}"


_ABOUT_THE_FRONT = (
    "Which variants are worth their cost? Filled are those that no other beats: none costs as little, is as accurate, "
    "has as few PIEs, and is better in one of these by more than chance (the Pareto front). Hollow ones are beaten. "
    "More than chance are, of top-1, two standard errors over members; of PIEs, three standard deviations between "
    f"halves; of a latency, quartiles over rounds that do not overlap. Costs within {100 * _LEAST:.0f} % of each other "
    "count as the same."
)


def _front_table(axes: Sequence[Axis]) -> str:
    by_axis = {axis.name: {point["variant_id"]: point for point in axis.points} for axis in axes}
    rows = list({name: point for points in by_axis.values() for name, point in points.items()}.values())
    columns: list[Column] = [
        ("Top-1", "mean over members", lambda row: percent(row["top1_mean"], 2)),
        ("PIEs", "and their share", _pies),
    ]
    for axis in axes:
        columns += [
            (axis.name.capitalize(), f"{axis.unit}, in % of the reference's", _of(by_axis[axis.name], _cost)),
            (f"Beaten in {axis.name}", "by the most accurate variant that does", _of(by_axis[axis.name], _beaten)),
        ]
    return table_block(rows, columns, "Which variants are worth their cost")


def _of(points: dict[str, Row], show: Callable[[Row], str]) -> Callable[[Row], str]:
    return lambda row: show(points[row["variant_id"]]) if row["variant_id"] in points else MISSING


def _cost(point: Row) -> str:
    return percent(point["cost"])


def _pies(row: Row) -> str:
    if row["variant_id"] == REFERENCE_ID:
        return MISSING
    return f"{count(row['num_pies'])} <small>{percent(row['pies'], 2)}</small>"


def _beaten(point: Row) -> str:
    return "by none" if point["beaten_by"] is None else escape(point["beaten_by"])
