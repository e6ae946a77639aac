"""Which variants are worth their size, and where their names stand."""

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
from pie_ray.report.tradeoff import points_of, tradeoff_section

from .everything import summary_row
from .test_figures import text_of, width_of


def summary(**variants: tuple[float, float, float]) -> pd.DataFrame:
    """Sparsity, top-1 and share of PIEs by variant."""
    rows = [summary_row("dense", 0.0)]
    for name, (sparsity, top1, pies) in variants.items():
        changes = {"achieved_sparsity_mean": sparsity, "top1_mean": top1, "pie_fraction": pies}
        rows.append(summary_row(name, 0.01, **changes))
    return pd.DataFrame(rows)


def test_a_variant_is_beaten_by_one_that_is_as_good_in_all_three() -> None:
    table = summary(
        small=(0.9, 0.7, 0.2), same_size_worse=(0.9, 0.6, 0.3), middle=(0.5, 0.85, 0.05), larger_less=(0.3, 0.85, 0.06),
        larger_but_forgets_least=(0.2, 0.8, 0.01), equal=(0.5, 0.85, 0.05),
    )  # fmt: skip
    beaten = {point["variant_id"]: point["beaten_by"] for point in points_of(table)}
    assert beaten == {
        "small": None, "same_size_worse": "small", "middle": None, "equal": None, "larger_less": "middle",
        "larger_but_forgets_least": None, "dense": None,
    }  # fmt: skip
    assert [point["relative_size"] for point in points_of(table)][::3] == pytest.approx([0.1, 0.5, 1.0])


def test_size_is_bytes_without_zeros() -> None:
    table = summary(pruned=(0.5, 0.8, 0.1), quantized=(0.0, 0.8, 0.1))
    table.loc[2, "checkpoint_bytes_mean"] = 11_000
    assert {point["variant_id"]: point["relative_size"] for point in points_of(table)} == {
        "quantized": 0.25, "pruned": 0.5, "dense": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("column", ["checkpoint_bytes_mean", "achieved_sparsity_mean", "top1_mean", "pie_fraction"])
def test_what_is_not_known_is_left_out(column: str) -> None:
    table = summary(pruned=(0.5, 0.8, 0.1))
    assert points_of(table.assign(**{column: np.nan})) == [] == points_of(table.drop(columns=column))
    assert tradeoff_section([], "") == "" and points_of(table.iloc[:1]) == points_of(pd.DataFrame()) == []


def test_the_section_names_what_beats_a_variant() -> None:
    points = points_of(summary(**{"good": (0.5, 0.8, 0.1), "<b>": (0.5, 0.7, 0.2)}))
    html = tradeoff_section(points, "")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "&lt;b&gt; 50.0 % 70.00 % 80 20.00 % good" in text and "<b>50" not in html


def test_the_points_of_the_front_are_named_first() -> None:
    crowd = {f"crowd-{index}": (0.5 - index / 1000, 0.8 - index / 1000, 0.1) for index in range(30)}
    table = summary(best=(0.9, 0.85, 0.01), **crowd)
    shown = text_of(figures.tradeoff_panels(table)[0].svg).split()
    assert "best" in shown and 0 < sum(name.startswith("crowd") for name in shown) < 30
    assert width_of(figures.tradeoff(table)) == 1400


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.08))
def test_names_are_moved_apart_and_stay_in_order(heights: list[float], gap: float) -> None:
    placed = spread(heights, gap, 1.0)
    ranked = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = [placed[index] for index in ranked]
    assert all(above - below >= gap - 1e-9 for below, above in pairwise(moved))
    assert all(height <= 1 + 1e-9 for height in placed)
    if all(above - below >= gap for below, above in pairwise(sorted(heights))):
        assert placed == heights
