"""Groups of examples by attributes beside the label: whose errors does compression raise (arXiv 2010.03058)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..errors import InputError
from .comparison import SIGNIFICANCE, Comparison
from .source import PopulationSource

MAX_VALUES = 20
"""A column of more values is no attribute that anyone would compare groups by."""

Masks = Mapping[str, np.ndarray]

MAX_CROSSED = 4
"""Up to here every pair of attributes is crossed without being asked for."""

IDENTITY_CATEGORIES = ("Male", "Young", "Chubby", "Pale_Skin")


def group_masks(attributes: Mapping[str, np.ndarray], wanted: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    """Booleans [examples] by group: `Male`, `not Male`, `origin=asia`, `Male & Young`.

    `wanted` names attributes, or several joined by ` & ` to be crossed; None is each attribute of few values, and all
    pairs of them where they are no more than four. Raises InputError for an attribute that there is not.
    """
    if wanted is None:
        few = [name for name, values in attributes.items() if 1 < len(np.unique(values)) <= MAX_VALUES]
        crossings: list[tuple[str, ...]] = [(name,) for name in few]
        if len(few) <= MAX_CROSSED:
            crossings += [(first, second) for i, first in enumerate(few) for second in few[i + 1 :]]
    else:
        crossings = [tuple(part.strip() for part in text.split("&")) for text in wanted]
    masks: dict[str, np.ndarray] = {}
    for names in crossings:
        for name in names:
            if name not in attributes:
                known = ", ".join(attributes) or "none"
                raise InputError(f"evaluation.groups: found {name!r}; accepted are the attributes of the data: {known}")
        masks |= stats.intersections({name: attributes[name] for name in names}, order=len(names))
    return masks


def positive_class(source: PopulationSource) -> int | None:
    """Index of the class whose FPR and FNR are told: the one named, else the second of two, else none."""
    named, names = source.evaluation.positive_class, source.class_names
    if named is None:
        return 1 if len(names) == 2 else None
    if named not in names:
        raise InputError(f"evaluation.positive_class: found {named!r}; accepted are {', '.join(names)}")
    return names.index(named)


def group_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """`groups`, a row a group and rate with intervals from members drawn anew; `gaps`, the worst group of each variant.

    Of multi-label data for each attribute. Both are empty where there are no groups.
    """
    masks = _masks(comparison)
    groups, gaps = [], []
    for attribute, impact in _impacts(comparison, masks) if masks else ():
        is_pie = _pies_of(comparison, attribute)
        rates = pd.concat([_rate_rows(impact, name) for name in ("error", "false_positive", "false_negative")])
        rates = rates.assign(num_pies=[int((masks[group] & is_pie).sum()) for group in rates["group"]])
        groups.append(_named(rates.reset_index(drop=True), comparison, attribute))
        gaps.append(_named(_gap_row(impact.gap), comparison, attribute))
    if not groups:
        return {"groups": pd.DataFrame(), "gaps": pd.DataFrame()}
    return {"groups": pd.concat(groups, ignore_index=True), "gaps": pd.concat(gaps, ignore_index=True)}


def _gap_row(gap: stats.ErrorGap) -> pd.DataFrame:
    row = {
        "reference_worst": gap.reference_worst,
        "variant_worst": gap.variant_worst,
        "reference_gap": gap.reference,
        "variant_gap": gap.variant,
        "change": gap.change,
        "low": gap.change_low,
        "high": gap.change_high,
    }
    return pd.DataFrame([row])


def _named(table: pd.DataFrame, comparison: Comparison, attribute: str | None) -> pd.DataFrame:
    names = comparison.names | ({} if attribute is None else {"attribute": attribute})
    return pd.DataFrame({name: [value] * len(table) for name, value in names.items()}, index=table.index).join(table)


def _masks(comparison: Comparison) -> dict[str, np.ndarray]:
    wanted = comparison.source.evaluation.groups
    attributes = comparison.examples.groups
    if wanted is None and comparison.source.is_multilabel:
        wanted = default_categories(attributes)
    return group_masks(attributes, wanted)


def default_categories(attributes: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The identity categories of Iofinova et al. (arXiv 2304.12622) that there are, else every yes-or-no attribute."""
    known = tuple(name for name in IDENTITY_CATEGORIES if name in attributes)
    return known or tuple(name for name, values in attributes.items() if values.dtype == np.bool_)


def _impacts(comparison: Comparison, masks: Masks) -> Iterator[tuple[str | None, stats.GroupImpact]]:
    """One for each attribute of multi-label data, else one without a name."""
    options: dict[str, Any] = {
        "rng": comparison.subject.rng(f"groups {comparison.variant.variant_id}"),
        "alpha": SIGNIFICANCE,
        "is_paired": comparison.is_paired,
    }
    before, after = comparison.matched
    labels, names = comparison.labels, comparison.source.class_names
    if not comparison.source.is_multilabel:
        yield (
            None,
            stats.group_impact(before, after, labels, masks, positive=positive_class(comparison.source), **options),
        )
        return
    for index, name in enumerate(names):
        others = {group: mask for group, mask in masks.items() if name not in _attributes_of(group)}
        if others:
            ours, theirs, truth = (values[..., index :: len(names)] == 1 for values in (before, after, labels))
            yield name, stats.binary_group_impact(ours, theirs, truth, others, **options)


def _attributes_of(group: str) -> set[str]:
    """`Male & not Young` -> Male, Young: an attribute says nothing new of its own group."""
    return {part.removeprefix("not ") for part in group.split(" & ")}


def _pies_of(comparison: Comparison, attribute: str | None) -> np.ndarray:
    """Booleans [examples]."""
    if attribute is None:
        return comparison.pies.is_pie
    names = comparison.source.class_names
    return comparison.pies.is_pie[names.index(attribute) :: len(names)]


def _rate_rows(impact: stats.GroupImpact, rate: str) -> pd.DataFrame:
    rates: stats.GroupRates | None = getattr(impact, rate)
    if rates is None:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "group": list(impact.names),
            "rate": rate,
            "num_examples": rates.num_examples,
            "is_small": rates.is_small,
            "reference": rates.reference,
            "variant": rates.variant,
            "change": rates.change,
            "low": rates.change_low,
            "high": rates.change_high,
            "normalised_change": rates.normalised_change,
            "normalised_low": rates.normalised_change_low,
            "normalised_high": rates.normalised_change_high,
        }
    )
