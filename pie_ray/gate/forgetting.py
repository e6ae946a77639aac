"""What the gate measures of forgotten examples: PIEs, significant or beyond chance, and flips of single networks."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor

import pandas as pd

from .. import stats
from ..analysis.comparison import SIGNIFICANCE
from ..report.words import percent
from ..variants import REFERENCE_ID
from .case import Case, Measured, NotMeasuredError
from .policy import CountLimit, ShareLimit
from .words import name

_MOST_MEMBERS = 1000
_NUM_EXAMPLES = 5
_OF_SHARE = 1e-9
"""A share of the examples is a whole number of them but for rounding."""


def significant_pies(case: Case, limit: CountLimit) -> Iterable[Measured]:
    """Number of PIEs at q <= .05."""
    yield _significant(case, limit.limit, 1)


def significant_fraction(case: Case, limit: ShareLimit) -> Iterable[Measured]:
    """Share of the answers that are PIEs at q <= .05."""
    num_answers = case.number("num_answers", "the summary has no `num_answers`: `pie-ray analyze` again")
    yield _significant(case, floor(limit.limit * num_answers + _OF_SHARE), num_answers)


def _significant(case: Case, allowed: int, divisor: float) -> Measured:
    why = "the summary has no significance: `pie-ray analyze` again"
    found, num_testable = (int(case.number(column, why)) for column in ("num_significant_pies", "num_testable"))
    if found <= allowed:
        _refuse_blindness(case, num_testable, allowed)
    pies = case.rows("pies")
    rows = pies[pies["is_pie"] & pies["is_significant"]] if len(pies) else pies
    told = f"{found:,} PIEs significant at q ≤ .05, of {num_testable:,} testable examples"
    return Measured(found / divisor, told, examples=_keys(rows))


def _refuse_blindness(case: Case, num_testable: int, allowed: int) -> None:
    """Raise NotMeasuredError where a violation could not be found: `allowed` + 1 examples that wholly changed.

    By Benjamini and Hochberg k of m examples with the smallest p there is are found if p m <= .05 k.
    """
    sizes = _sizes(case)
    if _can_find(allowed + 1, num_testable, sizes, case.is_paired):
        return
    smallest = stats.smallest_p_value(*sizes, is_paired=case.is_paired)
    counted = f"{sizes[1]} pairs of members" if case.is_paired else f"{sizes[0]} and {sizes[1]} members"
    why = f"too few members: with {counted} the smallest p is {smallest:.2g}, so the test"
    if smallest > SIGNIFICANCE:
        why += " can never be significant"
    else:
        why += f" of {num_testable:,} testable examples could not find {allowed + 1:,} that wholly changed"
    needed = _members_needed(allowed + 1, num_testable, case.is_paired)
    raise NotMeasuredError(f"{why}; {needed} members a variant could, or judge `max_pies_beyond_noise`")


def _sizes(case: Case) -> tuple[int, int]:
    """Members that the test compares."""
    if case.is_paired:
        num_pairs = max(len(case.rows("pairs")), 1)
        return num_pairs, num_pairs
    return case.num_members(REFERENCE_ID), case.num_members()


def _can_find(num_changed: int, num_testable: int, sizes: tuple[int, int], is_paired: bool) -> bool:
    smallest = stats.smallest_p_value(*sizes, is_paired=is_paired)
    return smallest * max(num_testable, num_changed) <= SIGNIFICANCE * num_changed


def _members_needed(num_changed: int, num_testable: int, is_paired: bool) -> int:
    sizes = range(1, _MOST_MEMBERS)
    return next(size for size in sizes if _can_find(num_changed, num_testable, (size, size), is_paired))


def pies_beyond_noise(case: Case, limit: object) -> Iterable[Measured]:
    """PIEs between halves of the populations, less those between two halves of the reference."""
    why = "the noise floor takes two members or more, as many of the variant as of the reference"
    half, noise = (case.number(column, why) for column in ("half_pie_fraction", "null_pie_fraction"))
    pies = case.rows("pies")
    examples = _keys(pies[pies["is_pie"]] if len(pies) else pies)
    told = f"PIEs between halves {percent(half, 2)}, noise floor {percent(noise, 2)}"
    yield Measured(half - noise, told, examples=examples)


def cie(case: Case, limit: object) -> Iterable[Measured]:
    """Share of predictions that differ between members of equal seed."""
    yield _flips(case, "cie", "predictions that differ from the reference's")


def cie_u(case: Case, limit: object) -> Iterable[Measured]:
    """The same where the reference's member was right."""
    yield _flips(case, "cie_u", "predictions that differ where the reference was right")


def _flips(case: Case, column: str, told: str) -> Measured:
    case.num_members()
    pairs = case.rows("pairs")
    if pairs.empty:
        raise NotMeasuredError("no member has one of the reference with an equal seed (or number) to be held against")
    found = stats.member_mean(pairs[f"{column}_fraction"].to_numpy(), alpha=SIGNIFICANCE)
    told = f"{told}, mean of {len(pairs)} pairs"
    chance = case.rows("summary").iloc[0].get(f"null_{column}_mean")
    if not pd.isna(chance):
        told += f"; between two trainings of the reference {percent(chance, 2)}"
    return Measured(float(found.mean), told, float(found.low), float(found.high), found.num_members)


def _keys(pies: pd.DataFrame) -> tuple[str, ...]:
    """What the first of the rows are about, the most moved first."""
    first = pies.head(_NUM_EXAMPLES)
    keys = [name(row.get("key", row["example_id"])) for row in first.to_dict("records")]
    if "attribute" in first:
        keys = [f"{key} ({name(attribute)})" for key, attribute in zip(keys, first["attribute"], strict=True)]
    return tuple(keys)
