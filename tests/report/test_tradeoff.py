"""What the page says of costs: which variants are worth theirs, by size and by latency, and where their names stand."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie_ray.report import figures
from pie_ray.report.labels import spread
from pie_ray.report.tradeoff import axes_of, tradeoff_section
from pie_ray.report.words import milliseconds, quantity

from .everything import cost_row, summary_row
from .test_figures import text_of, width_of

Known = dict[str, object]


def tables(**variants: Known) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary and costs, of `size`, `speedup` and columns of the summary by variant; chance is 1 point of either."""
    steady: Known = {"top1_std": 0.005 * np.sqrt(6), "half_pie_std": 0.01 / 3, "null_pie_std": 0.01 / 3}
    summary, costs = [summary_row("dense", 0.0, **steady)], [cost_row("dense", 1.0)]
    for name, known in variants.items():
        mine = dict(known)
        costs.append(cost_row(name, mine.pop("size"), mine.pop("speedup", 1.0)))  # type: ignore[arg-type]
        pies = mine.get("pie_fraction", 0.01)
        summary.append(summary_row(name, 0.0, **{**steady, "half_pie_fraction": 0.04 + pies, **mine}))  # type: ignore[operator]
    return pd.DataFrame(summary), pd.DataFrame(costs)


def beaten(by: str, **variants: Known) -> dict[str, str | None]:
    [axis] = [axis for axis in axes_of(*tables(**variants)) if axis.name == by]
    return {point["variant_id"]: point["beaten_by"] for point in axis.points}


def of(size: float, top1: float, pies: float, **others: object) -> Known:
    return {"size": size, "top1_mean": top1, "pie_fraction": pies, **others}


def test_a_variant_is_beaten_by_one_that_is_as_good_in_all_three() -> None:
    found = beaten(
        "size", small=of(0.1, 0.7, 0.2), same_size_worse=of(0.1, 0.6, 0.3), middle=of(0.5, 0.85, 0.05),
        larger_less=of(0.7, 0.85, 0.06), larger_but_forgets_least=of(0.8, 0.8, 0.01), equal=of(0.5, 0.85, 0.05),
    )  # fmt: skip
    assert found == {
        "small": None, "same_size_worse": "small", "middle": None, "equal": None, "larger_less": "middle",
        "larger_but_forgets_least": None, "dense": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("worse", "is_beaten"),
    [
        ({"size": 0.505}, False),
        ({"size": 0.52}, True),
        ({"top1_mean": 0.789}, False),
        ({"top1_mean": 0.785}, True),
        ({"pie_fraction": 0.109}, False),
        ({"pie_fraction": 0.111}, True),
    ],
)
def test_a_difference_within_chance_beats_nobody(worse: Known, is_beaten: bool) -> None:
    assert beaten("size", best=of(0.5, 0.8, 0.1), other=of(0.5, 0.8, 0.1) | worse)["other"] == (
        "best" if is_beaten else None
    )


def test_latencies_count_where_their_quartiles_do_not_overlap() -> None:
    found = beaten(
        "latency", fast=of(1, 0.9, 0.0, speedup=2.0), as_fast=of(1, 0.8, 0.1, speedup=2.05),
        slow=of(1, 0.9, 0.0, speedup=0.5),
    )  # fmt: skip
    assert found == {"fast": None, "as_fast": "fast", "dense": "fast", "slow": "fast"}


def test_of_one_round_a_tenth_is_chance() -> None:
    summary, costs = tables(near=of(1, 0.9, 0.0, speedup=0.9), far=of(1, 0.9, 0.0, speedup=0.7))
    costs = costs.assign(**{f"speedup_{end}_batch_1": np.nan for end in ("low", "high")})
    latency = axes_of(summary, costs)[1]
    assert {point["variant_id"]: point["beaten_by"] for point in latency.points} == {
        "dense": None, "near": None, "far": "dense",
    }  # fmt: skip


def test_axes_are_relative_to_the_reference_and_of_the_smallest_batch() -> None:
    size, latency = axes_of(*tables(pruned=of(0.25, 0.8, 0.1, speedup=0.5)))
    assert [(point["variant_id"], point["cost"]) for point in size.points] == [("pruned", 0.25), ("dense", 1.0)]
    assert [(point["variant_id"], point["cost"]) for point in latency.points] == [("dense", 1.0), ("pruned", 2.0)]
    assert "image by itself" in latency.unit


def test_what_is_not_known_is_left_out() -> None:
    summary, costs = tables(pruned=of(0.5, 0.8, 0.1))
    assert axes_of(summary, None) == axes_of(summary, pd.DataFrame()) == axes_of(summary.iloc[:1], costs) == []
    assert [axis.name for axis in axes_of(summary, costs.assign(relative_compressed_bytes=np.nan))] == ["latency"]
    assert [axis.name for axis in axes_of(summary, costs.assign(speedup_batch_1=np.nan))] == ["size"]
    assert axes_of(summary.assign(top1_mean=np.nan), costs) == []
    assert tradeoff_section([], None, "") == "" == tradeoff_section([], pd.DataFrame(), "")


def test_old_results_and_those_without_latencies_say_so() -> None:
    summary, costs = tables(pruned=of(0.5, 0.8, 0.1))
    counted = costs.drop(columns=[name for name in costs if "batch" in name or name in ("device", "num_threads")])
    html = tradeoff_section(axes_of(summary, counted), counted, "")
    assert "Latencies were not measured" in html and "ms at" not in html and "Beaten in size" in html
    assert figures.tradeoff_panels(summary, None) == []


def test_the_section_tells_costs_and_what_beats_a_variant() -> None:
    summary, costs = tables(**{"good": of(0.5, 0.8, 0.1, speedup=2.0), "<b>": of(0.5, 0.7, 0.2)})
    html = tradeoff_section(axes_of(summary, costs), costs, "")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "&lt;b&gt; 70.00 % 40 20.00 % 50.0 % good 100.0 % dense" in text and "<b>50" not in html
    assert "good 11 k 5.5 k 44 kB 100 % 20 kB 50 % 1 M 500 k 0.250 2.00 1.96 to 2.04 10.0 2.00 1.96 to 2.04" in text
    assert "9 rounds of batches of 1, 9 rounds of batches of 128" in text and "on 1 thread of a processor" in text
    assert "<b>fast" not in html


def test_the_points_of_the_front_are_named_first() -> None:
    crowd = {f"crowd-{index}": of(0.5 + index / 1000, 0.8 - index / 1000, 0.1) for index in range(30)}
    summary, costs = tables(best=of(0.1, 0.85, 0.01), **crowd)
    shown = text_of(figures.tradeoff_panels(summary, costs)[0].svg).split()
    assert "best" in shown and 0 < sum(name.startswith("crowd") for name in shown) < 30
    assert width_of(figures.tradeoff(summary, costs)) == 1400
    assert [panel.title for panel in figures.tradeoff_panels(summary, costs)] == [
        "Top-1 by size", "PIEs by size", "Top-1 by latency", "PIEs by latency",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (818, "818"), (5142, "5.14 k"), (999_999, "1 M"), (1_814_073_344, "1.81 G"), (np.nan, "–")],
)
def test_large_numbers_have_three_digits(value: float, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.1101, "0.110"), (2.1, "2.10"), (12.34, "12.3"), (1480.2, "1,480"), (np.nan, "–")]
)
def test_latencies_have_three_digits(value: float, text: str) -> None:
    assert milliseconds(value) == text


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.08))
def test_names_are_moved_apart_and_stay_in_order(heights: list[float], gap: float) -> None:
    placed = spread(heights, gap, 1.0)
    ranked = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = [placed[index] for index in ranked]
    assert all(above - below >= gap - 1e-9 for below, above in pairwise(moved))
    assert all(height <= 1 + 1e-9 for height in placed)
    if all(above - below >= gap for below, above in pairwise(sorted(heights))):
        assert placed == heights
