"""The table `corruption_errors`: a variant's errors over many corrupted sets, relative to the reference's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd

from .. import stats
from ..config import CORRUPTION_FAMILIES, CORRUPTIONS
from .comparison import SIGNIFICANCE
from .evaluation_sets import CORRUPTION, SetKind, severity_name


@dataclass(frozen=True, eq=False)
class SetErrors:
    """One corrupted set: errors of both populations' members and what these lose there, by seed."""

    kind: SetKind
    variant_id: str
    is_paired: bool
    reference: dict[int, float]
    variant: dict[int, float]
    reference_drop: dict[int, float]
    """Error here less error on the clean set; of the members that are on both."""
    variant_drop: dict[int, float]
    seed: int
    """Of draws of members; the first set's is taken for all, so that rows differ by their sets alone."""


def levels(kinds: Sequence[SetKind]) -> Iterator[tuple[str, str, list[int]]]:
    """The level and name of every row, and which of the corrupted sets it is about."""
    everything = list(range(len(kinds)))
    yield "all", "", everything
    common = [index for index in everything if kinds[index].is_common]
    if common:
        yield "common", "", common
    families, severities = ({getattr(kind, name) for kind in kinds} for name in ("family", "severity"))
    corruptions = dict.fromkeys([*CORRUPTIONS, *sorted(kind.corruption for kind in kinds)])
    for family in CORRUPTION_FAMILIES:
        if family in families:
            yield "family", family, [index for index in everything if kinds[index].family == family]
    for corruption in corruptions:
        some = [index for index in everything if kinds[index].corruption == corruption]
        if some:
            yield "corruption", corruption, some
    for severity in sorted(value for value in severities if not isnan(value)):
        some = [index for index in everything if kinds[index].severity == severity]
        yield "severity", severity_name(severity), some


def error_table(sets: Sequence[SetErrors]) -> pd.DataFrame:
    """A row a level and name; empty without corrupted sets."""
    kinds = [each.kind for each in sets]
    rows = [
        {
            "evaluation_set": CORRUPTION,
            "variant_id": sets[0].variant_id,
            "level": level,
            "name": name,
            "num_sets": len(some),
            **_columns([sets[index] for index in some], sets[0].seed),
        }
        for level, name, some in (levels(kinds) if sets else ())
    ]
    return pd.DataFrame(rows)


def _columns(sets: Sequence[SetErrors], seed: int) -> dict[str, float]:
    corruptions = [each.kind.corruption for each in sets]
    is_paired = all(each.is_paired for each in sets)
    errors = _matched([each.reference for each in sets], [each.variant for each in sets], is_paired)
    drops = _matched([each.reference_drop for each in sets], [each.variant_drop for each in sets], is_paired)
    columns = _interval("error", errors[1])
    columns["reference_error_mean"] = float(errors[0].mean()) if errors[0].size else np.nan
    for name, statistic, values in (
        ("mce", stats.mean_corruption_error, errors),
        ("relative_mce", stats.relative_mean_corruption_error, drops),
    ):
        columns |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
        if not (values[0].size and values[1].size):
            continue
        rng = np.random.default_rng(seed)
        found = statistic(*values, corruptions, rng=rng, alpha=SIGNIFICANCE, is_paired=is_paired)
        columns[name] = float(found.value)
        # Of the reference against itself no draw can differ, and some may have nothing to divide by.
        if not np.array_equal(*values):
            columns |= {f"{name}_low": float(found.low), f"{name}_high": float(found.high)}
    return columns | _interval("drop", drops[1])


def _interval(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean over the sets, with its interval over members; `values` are [members, sets]."""
    if not values.size:
        return dict.fromkeys((f"{name}_mean", f"{name}_low", f"{name}_high"), np.nan)
    found = stats.member_mean(values.mean(axis=1), alpha=SIGNIFICANCE)
    return {f"{name}_mean": float(found.mean), f"{name}_low": float(found.low), f"{name}_high": float(found.high)}


def _matched(
    reference: Sequence[dict[int, float]], variant: Sequence[dict[int, float]], is_paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """[members, sets] of both, of the members that are on all of the sets; of paired ones those of common seeds."""
    seeds, other_seeds = _common_seeds(reference), _common_seeds(variant)
    if is_paired:
        seeds = other_seeds = [seed for seed in seeds if seed in set(other_seeds)]
    return _table(reference, seeds), _table(variant, other_seeds)


def _common_seeds(by_set: Sequence[dict[int, float]]) -> list[int]:
    return [seed for seed in by_set[0] if all(seed in values for values in by_set)]


def _table(by_set: Sequence[dict[int, float]], seeds: Sequence[int]) -> np.ndarray:
    rows = [[values[seed] for values in by_set] for seed in seeds]
    return np.array(rows, np.float64).reshape(len(seeds), len(by_set))
