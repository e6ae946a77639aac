"""What the gate measures of accuracy: the whole, the worst class, group and attribute, and calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import nan, sqrt

import pandas as pd
from scipy.special import stdtrit

from .. import stats
from ..analysis.comparison import SIGNIFICANCE
from ..variants import REFERENCE_ID
from .case import Case, Measured, NotMeasuredError
from .policy import ClassLimit, GroupLimit
from .words import moved, name

_RATES = {"error": "error", "false_positive": "false-positive rate", "false_negative": "false-negative rate"}


def top1_drop(case: Case, limit: object) -> Iterable[Measured]:
    """Mean top-1 of the reference's members less the variant's."""
    yield accuracy_drop(case, [case.evaluation_set], "top-1")


def accuracy_drop(case: Case, evaluation_sets: Sequence[str], told: str) -> Measured:
    """The same over evaluation sets; interval of Welch's test, of derived members of the paired t-test."""
    before, after = (case.accuracies(list(evaluation_sets), each) for each in (REFERENCE_ID, case.variant_id))
    if case.is_paired:
        common = before.index.intersection(after.index)
        before, after = before[common], after[common]
    errors = (1 - before.to_numpy(), 1 - after.to_numpy())
    found = stats.excess_drop(*errors, is_paired=case.is_paired, alpha=SIGNIFICANCE)
    return Measured(
        float(found.excess),
        f"{told} {moved(before.mean(), after.mean())}",
        float(found.low),
        float(found.high),
        min(len(before), len(after)),
    )


def worst_class_drop(case: Case, limit: ClassLimit) -> Iterator[Measured]:
    """A figure a class: its recall under the reference less that under the variant."""
    num_members = case.smaller_population
    classes = case.rows("classes")
    if classes.empty:
        raise NotMeasuredError("there are no classes: of several attributes at once, judge `max_worst_attribute_drop`")
    classes, left_out = _large(classes[classes["change"].notna()], limit.min_examples, "class")
    if limit.classes != "all":
        if num_members < 2:
            raise NotMeasuredError("classes are tested with two members or more: train more, or judge `classes: all`")
        classes = classes[classes[limit.classes].astype(bool)]
        if classes.empty:
            yield Measured(0.0, f"no class moved apart from the rest significantly{left_out}", 0.0, 0.0)
    for row in classes.to_dict("records"):
        # The table's interval is of the change less the overall one, which it takes as known.
        overall = row["change"] - row["normalised_change"]
        told = f"class {name(row['class_name'])}: recall {moved(row['reference_recall'], row['variant_recall'])}"
        low, high = -(row["high"] + overall), -(row["low"] + overall)
        yield Measured(-row["change"], told + left_out, low, high, num_members)


def worst_group_drop(case: Case, limit: GroupLimit) -> Iterator[Measured]:
    """A figure a group: how much more of it is wrong, or whatever else `rate` counts."""
    num_members = case.smaller_population
    rates = _grouped(case, "groups")
    rates = rates[(rates["rate"] == limit.rate) & rates["change"].notna()]
    if rates.empty:
        raise NotMeasuredError(
            f"no group has a {_RATES[limit.rate]}: name the class that counts as positive, `evaluation.positive_class` "
            "of the recipe or --positive-class, and `pie-ray analyze` again"
        )
    rates, left_out = _large(rates, limit.min_examples, "group")
    for row in rates.to_dict("records"):
        told = f"{_subject(row)}group {name(row['group'])}: {_RATES[limit.rate]}"
        told = f"{told} {moved(row['reference'], row['variant'])}{left_out}"
        yield Measured(row["change"], told, row["low"], row["high"], num_members)


def group_gap_increase(case: Case, limit: object) -> Iterator[Measured]:
    """Growth of the distance between the worst and the best group's error; of several attributes one each."""
    num_members = case.smaller_population
    gaps = _grouped(case, "gaps")
    gaps = gaps[gaps["change"].notna()]
    if gaps.empty:
        raise NotMeasuredError("fewer than two groups have 30 examples or more, so there is no gap")
    for row in gaps.to_dict("records"):
        gap = moved(row["reference_gap"], row["variant_gap"])
        told = f"{_subject(row)}gap between groups {gap}, the worst is {name(row['variant_worst'])}"
        yield Measured(row["change"], told, row["low"], row["high"], num_members)


def _large(rows: pd.DataFrame, min_examples: int, what: str) -> tuple[pd.DataFrame, str]:
    """The classes or groups that are judged, and a remark on those that are too small for it."""
    judged = rows[rows["num_examples"] >= min_examples]
    if judged.empty:
        raise NotMeasuredError(f"no {what} has {min_examples} examples or more: lower its `min_examples`")
    num_small = len(rows) - len(judged)
    return judged, f"; {num_small} of fewer than {min_examples} examples not judged" if num_small else ""


def _grouped(case: Case, table: str) -> pd.DataFrame:
    rows = case.rows(table)
    if rows.empty:
        raise NotMeasuredError(
            "there are no groups: give the examples attributes beside the label (docs/statistics.md#groups)"
        )
    return rows


def _subject(row: dict[str, object]) -> str:
    """What the row is about, of data with several attributes."""
    return f"{name(row['attribute'])}, " if "attribute" in row else ""


def worst_attribute_drop(case: Case, limit: object) -> Iterator[Measured]:
    """A figure an attribute: its accuracy under the reference less that under the variant."""
    case.num_members()
    attributes = case.rows("attributes")
    if attributes.empty:
        raise NotMeasuredError("the data have one label an example, not several attributes: judge the classes")
    for row in attributes.to_dict("records"):
        before, after = row["reference_accuracy"], row["accuracy"]
        yield Measured(before - after, f"attribute {name(row['attribute'])}: accuracy {moved(before, after)}")


def ece_increase(case: Case, limit: object) -> Iterator[Measured]:
    """Growth of the members' mean expected calibration error, with Welch's interval."""
    why = "the predictions have no `confidence`"
    before, after = case.reference_number("ece_mean", why), case.number("ece_mean", why)
    half_width, num_members = nan, case.smaller_population
    if num_members >= 2:
        spreads = case.reference_number("ece_std", why), case.number("ece_std", why)
        half_width = _welch_half_width(spreads, (case.num_members(REFERENCE_ID), case.num_members()))
    change = after - before
    told = f"calibration error {moved(before, after)}"
    yield Measured(change, told, change - half_width, change + half_width, num_members)


def _welch_half_width(stds: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Of the interval of a difference of two means, degrees of freedom by Welch and Satterthwaite."""
    first, second = (std**2 / size for std, size in zip(stds, sizes, strict=True))
    if first + second == 0:
        return 0.0
    degrees = (first + second) ** 2 / (first**2 / (sizes[0] - 1) + second**2 / (sizes[1] - 1))
    return float(stdtrit(degrees, 1 - SIGNIFICANCE / 2)) * sqrt(first + second)
