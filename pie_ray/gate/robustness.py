"""What the gate measures on corrupted and natural sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean

import pandas as pd

from ..analysis import CORRUPTION, NATURAL
from ..report.words import percent
from ..variants import REFERENCE_ID
from .accuracy import accuracy_drop
from .case import Case, Measured, NotMeasuredError
from .words import moved, name


def corrupted_top1_drop(case: Case, limit: object) -> Iterator[Measured]:
    """Mean top-1 over the corrupted sets of the reference's members less the variant's."""
    sets = list(case.shifted(CORRUPTION)["evaluation_set"])
    yield accuracy_drop(case, sets, f"mean top-1 over {len(sets)} corrupted sets")


def natural_top1_drop(case: Case, limit: object) -> Iterator[Measured]:
    """A figure a natural set: top-1 of the reference's members less the variant's."""
    for evaluation_set in case.shifted(NATURAL)["evaluation_set"]:
        yield accuracy_drop(case, [evaluation_set], f"{name(evaluation_set)}: top-1")


def excess_drop(case: Case, limit: object) -> Iterator[Measured]:
    """Mean of the corrupted sets' excess drops; its interval's ends are the means of theirs, too wide if anything.

    The standard deviation of a mean is at most the mean of the standard deviations, however the sets depend.
    """
    drops = list(_excess_drops(case, case.shifted(CORRUPTION)))
    told = f"top-1 lost to corruption beyond the reference's loss, mean over {len(drops)} sets"
    lows, highs = zip(*(each.interval for each in drops), strict=True)
    yield Measured(fmean(each.value for each in drops), told, fmean(lows), fmean(highs))


def worst_set_excess_drop(case: Case, limit: object) -> Iterable[Measured]:
    """A figure a corrupted or natural set: its excess drop."""
    return _excess_drops(case, case.shifted(CORRUPTION, NATURAL))


def _excess_drops(case: Case, rows: pd.DataFrame) -> Iterator[Measured]:
    if rows["excess_drop"].isna().any():
        raise NotMeasuredError("there is no clean set that the members' losses could be counted from")
    num_reference = case.num_members(REFERENCE_ID)
    for row in rows.to_dict("records"):
        lost = moved(row["reference_drop"], row["drop"])
        told = f"{name(row['evaluation_set'])}: top-1 lost by the reference → by the variant {lost}"
        num_members = min(int(row["num_members"]), num_reference)
        yield Measured(row["excess_drop"], told, row["excess_low"], row["excess_high"], num_members)


def mce(case: Case, limit: object) -> Iterator[Measured]:
    """Mean corruption error over the 15 common corruptions, or over whatever there are."""
    num_members = min(int(case.shifted(CORRUPTION)["num_members"].min()), case.num_members(REFERENCE_ID))
    errors = case.rows("corruption_errors", CORRUPTION)
    level = "common" if (errors["level"] == "common").any() else "all"
    row = errors[errors["level"] == level].iloc[0]
    if pd.isna(row["mce"]):
        raise NotMeasuredError("the reference makes no errors on the corrupted sets, which its error would divide")
    told = (
        f"mean error over {int(row['num_sets'])} corrupted sets {percent(row['reference_error_mean'], 2)} → "
        f"{percent(row['error_mean'], 2)}"
    )
    yield Measured(row["mce"], told, row["mce_low"], row["mce_high"], num_members)
