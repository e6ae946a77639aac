"""Further columns of a user's predictions that describe the examples: they become groups."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..user_columns import Coded, encode
from ..user_files import UserTable, shown
from .layout import Layout
from .rows import OPTIONAL, REQUIRED, Rows

MAX_VALUES = 50
"""As image sets have it: a column of more values describes examples, not groups of them."""


def read_groups(rows: Rows, layout: Layout) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Groups [pairs of set and example] by column, and notes of the columns that are none.

    Values are bool, int64 or text; a column with missing values is text that says `null`, as image sets have it.
    """
    groups: dict[str, np.ndarray] = {}
    refused: dict[str, list[str]] = {}
    for name in rows.further:
        found = _read(rows, layout, name)
        if isinstance(found, str):
            refused.setdefault(found, []).append(name)
        else:
            groups[name] = found
    notes = (f"Columns left out, being {reason}: {shown(names)}." for reason, names in refused.items())
    return groups, tuple(notes)


def _read(rows: Rows, layout: Layout, name: str) -> np.ndarray | str:
    """A group, or why the column is none."""
    kind = rows.table.kinds[name]
    if name in (*REQUIRED, *OPTIONAL):
        return "replaced by the columns named for them"
    if kind not in ("integers", "booleans", "text"):
        return "neither integers, booleans nor text"
    column = _take_few(rows.table, name)
    if column is None:
        return f"of more than {MAX_VALUES} values"
    coded = encode(column)
    of_pair = np.empty(len(layout.pair_example), np.int32)
    of_pair[layout.pair] = coded.codes
    if not np.array_equal(of_pair[layout.pair], coded.codes):
        return "of different values for one example"
    return _values(coded, is_boolean=kind == "booleans")[of_pair]


def _take_few(table: UserTable, name: str) -> pa.ChunkedArray | None:
    """The column; None where it has too many values, without remembering them all."""
    column = table.take(name)
    values: set[object] = set()
    for chunk in column.chunks:
        distinct = pc.unique(chunk)
        if len(distinct) <= MAX_VALUES:
            values.update(distinct.to_pylist())
        if len(distinct) > MAX_VALUES or len(values) > MAX_VALUES:
            return None
    return column


def _values(coded: Coded, *, is_boolean: bool) -> np.ndarray:
    """The distinct values; the last one, which `MISSING` indexes, stands for none."""
    if coded.first_missing() is not None:
        return np.array([*coded.texts(), "null"])
    if is_boolean:
        return np.array([text == "true" for text in coded.texts()])
    return np.array(coded.texts()) if coded.is_text else coded.values.to_numpy()
