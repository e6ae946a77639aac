"""One variant before the gate: its rows of the result tables, and what cannot be read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, nan

import pandas as pd

from ..variants import REFERENCE_ID

Tables = Mapping[str, pd.DataFrame]


class NotMeasuredError(Exception):
    """These tables do not answer a limit's question: the reason, and what to do about it."""


@dataclass(frozen=True)
class Measured:
    """A figure that a limit is held against; of several, such as one a class, the worst counts."""

    value: float
    told: str
    """What it is, in words: `class 8: recall 91.20 % → 80.10 %`."""
    low: float = nan
    """Lower end of the 95 % interval; NaN where there is none."""
    high: float = nan
    num_members: int = 0
    """Members, the smaller population's, that the interval is over; where two or more do not differ it is the value."""
    examples: tuple[str, ...] = ()
    """Keys of the examples that it is about, the most forgotten first."""

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends; NaN where there are none."""
        is_steady = isnan(self.low) and self.num_members >= 2
        return (self.value, self.value) if is_steady else (self.low, self.high)


@dataclass(frozen=True, eq=False)
class Case:
    """A variant, the tables, and the evaluation set that is judged."""

    tables: Tables
    evaluation_set: str
    variant_id: str
    num_planned: Mapping[str, int]
    """Members by variant, where the plan is known."""

    def rows(self, table: str, evaluation_set: str | None = None) -> pd.DataFrame:
        """The variant's rows on an evaluation set, by default the judged one; empty where there are none."""
        return self._of(table, self.variant_id, evaluation_set or self.evaluation_set)

    def number(self, column: str, why: str, *, variant_id: str | None = None) -> float:
        """The summary's figure of the variant, or of another. Raises NotMeasuredError, with `why`, where it is NaN."""
        name = variant_id or self.variant_id
        rows = self._of("summary", name, self.evaluation_set)
        if rows.empty:
            raise NotMeasuredError(
                f"no member of {name} is in the tables: finish the sweep, then `pie-ray analyze` it again"
            )
        value = rows.iloc[0].get(column, nan)
        if pd.isna(value):
            raise NotMeasuredError(why)
        return float(value)

    def reference_number(self, column: str, why: str) -> float:
        """`number` of the reference."""
        return self.number(column, why, variant_id=REFERENCE_ID)

    def num_members(self, variant_id: str | None = None) -> int:
        """Members on the evaluation set. Raises NotMeasuredError where there are none."""
        return int(self.number("num_members", "the summary has no `num_members`", variant_id=variant_id))

    @property
    def smaller_population(self) -> int:
        """Members of the smaller of the two populations."""
        return min(self.num_members(), self.num_members(REFERENCE_ID))

    @property
    def is_paired(self) -> bool:
        """Whether its members were derived from the reference's."""
        return bool(self.number("is_paired", "the summary has no `is_paired`"))

    def shifted(self, *kinds: str) -> pd.DataFrame:
        """The variant's rows of `robustness` on all sets of these kinds (`corruption`, `natural`).

        Raises NotMeasuredError where there are none, and where it lacks some that the reference has.
        """
        table = self.tables.get("robustness", pd.DataFrame())
        table = table[table["kind"].isin(kinds)] if len(table) else table
        if table.empty:
            named = " or ".join({"corruption": "corrupted", "natural": "natural"}[kind] for kind in kinds)
            raise NotMeasuredError(
                f"there are no {named} sets: add a suite and `pie-ray evaluate` it (docs/robustness.md)"
            )
        mine = table[table["variant_id"] == self.variant_id]
        absent = sorted(set(table["evaluation_set"]) - set(mine["evaluation_set"]))
        if absent:
            raise NotMeasuredError(
                f"{len(absent)} sets are without members of {self.variant_id}, the first is {absent[0]}: "
                "`pie-ray evaluate` the rest"
            )
        return mine

    def accuracies(self, evaluation_sets: list[str], variant_id: str) -> pd.Series:
        """Mean top-1 over evaluation sets of each member that is on all of them, by seed."""
        table = self.tables.get("accuracy", pd.DataFrame())
        if table.empty:
            raise NotMeasuredError("the tables have no accuracy by member: `pie-ray analyze` again")
        mine = table[(table["variant_id"] == variant_id) & table["evaluation_set"].isin(evaluation_sets)]
        by_seed = mine.groupby("seed")["top1"]
        found: pd.Series = by_seed.mean()[by_seed.size() == len(evaluation_sets)]
        if found.empty:
            raise NotMeasuredError(f"no member of {variant_id} is on all of the sets: `pie-ray evaluate` the rest")
        return found

    def cost(self, column: str, why: str) -> float:
        """The variant's figure of `costs`. Raises NotMeasuredError, with `why`, where it is not known."""
        table = self.tables.get("costs", pd.DataFrame())
        mine = table[table["variant_id"] == self.variant_id] if len(table) else table
        value = nan if mine.empty else mine.iloc[0].get(column, nan)
        if pd.isna(value):
            raise NotMeasuredError(why)
        return float(value)

    def num_missing(self, variant_id: str) -> int:
        """Planned members that lack some evaluation set; without a plan, those that only some of its sets have."""
        counts = self._counts(variant_id)
        if variant_id not in self.num_planned:
            counts = [count for count in counts if count]
        planned = self.num_planned.get(variant_id, max(counts, default=0))
        return max(planned - min(counts, default=0), 0)

    def _counts(self, variant_id: str) -> list[int]:
        """Members of a variant on each evaluation set that the reference or it has."""
        found: dict[str, int] = {}
        for name in ("summary", "robustness"):
            table = self.tables.get(name, pd.DataFrame())
            if table.empty:
                continue
            found |= dict.fromkeys(table["evaluation_set"], 0) | found
            mine = table[table["variant_id"] == variant_id]
            found |= dict(zip(mine["evaluation_set"], mine["num_members"].astype(int), strict=True))
        return list(found.values())

    def _of(self, name: str, variant_id: str, evaluation_set: str) -> pd.DataFrame:
        table = self.tables.get(name, pd.DataFrame())
        if table.empty:
            return table
        return table[(table["variant_id"] == variant_id) & (table["evaluation_set"] == evaluation_set)]
