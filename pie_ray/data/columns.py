"""What a table says of the examples it has a row of: the attributes to learn, and groups. Takes pyarrow's tables."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .image_set import BoolArray

MAX_GROUP_VALUES = 50


def check_attributes(wanted: Sequence[str], known: Sequence[str], place: str) -> None:
    """DataError for a name that is not known, with those that are."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise DataError(f"data.attributes: {place} has no {', '.join(unknown)}; {hint}there are {', '.join(known)}")


def read_attributes(table: Any, names: Sequence[str], locate: Callable[[int], str]) -> BoolArray:
    """Columns of two values as bool [rows, names]; DataError for a null or a third value, with its row."""
    return np.stack([_read_attribute(table.column(name), name, locate) for name in names], axis=1)


def _read_attribute(column: Any, name: str, locate: Callable[[int], str]) -> BoolArray:
    from pyarrow import types

    if not (types.is_boolean(column.type) or types.is_integer(column.type)):
        raise DataError(f"{locate(0)} and following: attribute {name} is {column.type}, needs booleans or integers")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{locate(row)}: attribute {name} is null")
    values = np.asarray(column.to_numpy())
    if values.dtype == np.bool_:
        return values
    wrong = (values != 0) & (values != 1)
    if (values == -1).any():
        wrong = (values != -1) & (values != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{locate(row)}: attribute {name} is {values[row]}, accepted 0 and 1, or -1 and 1")
    return values == 1


def attribute_groups(names: Sequence[str], values: BoolArray) -> dict[str, npt.NDArray[np.generic]]:
    """Each attribute as a group [rows], from bool [rows, names]: learned or not, examples are told apart by it."""
    return {name: np.ascontiguousarray(column) for name, column in zip(names, values.T, strict=True)}


def descriptive_columns(schema: Any) -> list[str]:
    """Columns of integers, booleans or strings."""
    return [field.name for field in schema if _describes(field.type)]


def _describes(column_type: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(column_type):
        column_type = column_type.value_type
    checks = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)
    return any(check(column_type) for check in checks)


def read_groups(*tables: Any) -> list[dict[str, npt.NDArray[np.generic]]]:
    """The groups of each split, from tables of its descriptive columns.

    Values [rows] are int64, bool or text; a column with nulls is text that says `null`. A column of more than 50 values
    in any split is no group.
    """
    groups: list[dict[str, npt.NDArray[np.generic]]] = [{} for _ in tables]
    for name in dict.fromkeys(name for table in tables for name in table.column_names):
        holders = [(index, table.column(name)) for index, table in enumerate(tables) if name in table.column_names]
        if all(len(column.unique()) <= MAX_GROUP_VALUES for _, column in holders):
            for index, column in holders:
                groups[index][name] = _group_values(column)
    return groups


def _group_values(column: Any) -> npt.NDArray[np.generic]:
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        column = column.cast(pyarrow.string()).fill_null("null")
    if types.is_integer(column.type):
        return np.asarray(column.to_numpy(), dtype=np.int64)
    return np.asarray(column.to_pylist(), dtype=np.bool_ if types.is_boolean(column.type) else np.str_)
