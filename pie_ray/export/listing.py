"""The PIEs that somebody asks for: with names, the most forgotten first, a row a variant or a row an example.

The unit is an answer: an example, or of multi-label data an example and attribute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from .text import records

ANSWER = ("evaluation_set", "example_id", "attribute")
"""What tells answers apart; the attribute only of multi-label data."""

_ABOUT = ("key", "label", "label_name", "reference_mode", "reference_mode_name", "reference_agreement")
"""Facts of an answer that are the same whichever variant forgets it."""

_BY_VARIANT = (
    "variant_id",
    "variant_mode",
    "variant_mode_name",
    "variant_agreement",
    "taxicab",
    "p_value",
    "q_value",
    "is_significant",
)
_LISTS = ("num_variants", "variant_ids", "variant_mode_names", "variant_agreements")
_TAKEN = (*ANSWER, *_ABOUT, *_BY_VARIANT, *_LISTS)
_NEEDED = (*ANSWER[:2], *_ABOUT[:2], "reference_mode", "reference_agreement", *_BY_VARIANT, "is_pie")
_MAX_NAMED = 20


def named_pies(pies: pd.DataFrame, examples: Mapping[str, pd.DataFrame], class_names: Sequence[str]) -> pd.DataFrame:
    """The PIEs of the result table with the names of their classes and the groups that their examples are in.

    `examples` has the examples' groups by evaluation set, under their ids: a column a group; sets without are given
    none. `class_names` of multi-label data are those of an answer, "no" and "yes". A row a variant and answer, in the
    table's order.
    """
    if pies.empty:
        # A table without rows may be one without columns.
        pies = pies.reindex(columns=list(dict.fromkeys([*pies.columns, *_NEEDED])))
    rows = pies[pies["is_pie"].astype(bool)].reset_index(drop=True)
    named = ("label", "reference_mode", "variant_mode")
    names = {f"{column}_name": _names(rows[column], class_names) for column in named}
    rows = rows.assign(**names, label=rows["label"].astype(int))
    rows = rows[[*answer_columns(rows), *_ABOUT, *_BY_VARIANT]]
    return _with_groups(rows, examples)


def choose(
    rows: pd.DataFrame,
    *,
    evaluation_sets: Collection[str] = (),
    variants: Collection[str] = (),
    classes: Collection[str] = (),
    only_significant: bool = False,
    limit: int | None = None,
) -> pd.DataFrame:
    """Those of `named_pies` that fit, the most forgotten answers first: by most variants, then by most votes moved.

    No names mean all. `classes` are true classes, by name or number; of multi-label data attributes. Of the answers
    that fit, `limit` are kept, with a row for each variant that forgets them.
    """
    is_wanted = pd.Series(True, index=rows.index)
    for column, names in (("evaluation_set", evaluation_sets), ("variant_id", variants)):
        if names:
            is_wanted &= rows[column].isin(list(names))
    if classes and "attribute" in rows:
        is_wanted &= rows["attribute"].isin(list(classes))
    elif classes:
        is_wanted &= rows["label_name"].isin(list(classes)) | rows["label"].astype(str).isin(list(classes))
    if only_significant:
        is_wanted &= rows["is_significant"].astype(bool)
    return _most_forgotten(rows[is_wanted], limit)


def check_names(option: str, given: Collection[str], accepted: Collection[str]) -> None:
    """Raises InputError for a name that nothing goes by, with those that are accepted."""
    unknown = [name for name in given if name not in accepted]
    if unknown:
        shown = ", ".join(list(accepted)[:_MAX_NAMED]) or "none"
        more = f" and {len(accepted) - _MAX_NAMED} more" if len(accepted) > _MAX_NAMED else ""
        raise InputError(f"{option}: found {', '.join(map(repr, unknown))}; accepted are {shown}{more}")


def by_example(rows: pd.DataFrame) -> pd.DataFrame:
    """A row an answer, in the order of `choose`: which variants forget it, and what they say instead.

    `taxicab` is the largest of the variants', `q_value` the smallest, `is_significant` whether any variant's is.
    """
    keys = answer_columns(rows)
    groups = group_columns(rows)
    of_answer = rows.groupby(keys, sort=False)
    told = {
        "num_variants": of_answer["variant_id"].size(),
        "variant_ids": of_answer["variant_id"].agg(list),
        "variant_mode_names": of_answer["variant_mode_name"].agg(list),
        "variant_agreements": of_answer["variant_agreement"].agg(list),
        "taxicab": of_answer["taxicab"].max(),
        "q_value": of_answer["q_value"].min(),
        "is_significant": of_answer["is_significant"].any(),
    }
    table = rows.drop_duplicates(keys)[[*keys, *_ABOUT, *groups]].reset_index(drop=True)
    table = table.assign(**{name: values.to_numpy() for name, values in told.items()})
    return table[[*keys, *_ABOUT, *told, *groups]]


def answers(rows: pd.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """Each answer's rows, a row a variant, of what `choose` returned."""
    # Not by pandas' groupby, which takes a millisecond an answer.
    for _, of_answer in groupby(records(rows), key=itemgetter(*answer_columns(rows))):
        yield list(of_answer)


def answer_columns(rows: pd.DataFrame) -> list[str]:
    return [name for name in ANSWER if name in rows.columns]


def group_columns(rows: pd.DataFrame) -> list[str]:
    """The columns of `named_pies` that are the examples' groups."""
    return [name for name in rows.columns if name not in (*ANSWER, *_ABOUT, *_BY_VARIANT)]


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or where a column of ours has it already, one like it."""
    while name in taken:
        name = f"group_{name}"
    return name


def _most_forgotten(rows: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Ordered by answers, each one's rows as they were."""
    keys = answer_columns(rows)
    moved = rows.groupby(keys)["taxicab"].agg(["size", "sum"]).reset_index()
    ranked = moved.sort_values(["size", "sum", *keys], ascending=[False, False, *[True] * len(keys)]).head(limit)
    rank = ranked[keys].assign(_rank=np.arange(len(ranked)))
    return rows.merge(rank, on=keys).sort_values("_rank", kind="stable", ignore_index=True).drop(columns="_rank")


def _with_groups(rows: pd.DataFrame, examples: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for name, part in rows.groupby("evaluation_set", sort=False):
        groups = examples.get(str(name), pd.DataFrame())
        groups = groups.rename(columns={group: free_name(group, _TAKEN) for group in groups.columns})
        parts.append(part.join(groups, on="example_id"))
    return pd.concat(parts, ignore_index=True) if parts else rows


def _names(classes: pd.Series, class_names: Sequence[str]) -> list[str]:
    return [class_name(int(index), class_names) for index in classes]


def class_name(index: int, class_names: Sequence[str]) -> str:
    """`class 7` where the data do not name it."""
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"
