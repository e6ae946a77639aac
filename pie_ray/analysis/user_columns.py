"""Columns of a user's table as numpy arrays: names and ids as codes into their distinct values, measures as floats.

An empty text is a missing value: in a CSV file the two are one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from .user_files import UserTable, shown

MISSING = -1


@dataclass(frozen=True, eq=False)
class Coded:
    """A column as its distinct values, ascending, and which of them each row has."""

    codes: np.ndarray
    """int32 [rows]; `MISSING` where there is no value."""
    values: pa.Array
    """int64 or text; texts by their code points."""

    @property
    def is_text(self) -> bool:
        return bool(pa.types.is_string(self.values.type))

    def texts(self) -> list[str]:
        """The distinct values as people read them."""
        return [str(value) for value in self.values.to_pylist()]

    def first_missing(self) -> int | None:
        """The first row without a value."""
        row = int(np.argmax(self.codes == MISSING))
        return row if self.codes[row] == MISSING else None


@dataclass(frozen=True)
class Column:
    """One of our columns in a user's table."""

    table: UserTable
    name: str
    """Ours."""
    given_name: str
    """The user's."""

    def __str__(self) -> str:
        return self.name if self.name == self.given_name else f"{self.name} ({self.given_name})"

    def mistake(self, row: int, found: object, accepted: str) -> InputError:
        """The error about a value."""
        return InputError(f"{self.table.locate(row)}: found {self} {found}; accepted {accepted}")

    def read_ids(self, *, accepted: str = "are integers or text") -> Coded:
        """Integers, whole numbers or text, none of them missing; booleans are the texts `false` and `true`.

        Raises InputError for other types, naming the first row of a fraction, NaN or null.
        """
        kind = self.table.kinds[self.given_name]
        if kind == "other":
            raise InputError(f"{self.table.path}: found {self} of a type that is no value; accepted {accepted}")
        column = self.table.take(self.given_name)
        coded = encode(self._whole(column, accepted) if kind == "numbers" else column)
        row = coded.first_missing()
        if row is not None:
            raise self.mistake(row, "without a value", accepted)
        return coded

    def _whole(self, column: pa.ChunkedArray, accepted: str) -> pa.ChunkedArray:
        values = column.to_numpy()
        wrong = ~(np.isnan(values) | ((values == np.rint(values)) & (np.abs(values) < 2.0**63)))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.mistake(row, f"{values[row]:g}", accepted)
        return pa.chunked_array([pa.array(values, from_pandas=True).cast(pa.int64())])

    def read_floats(self) -> np.ndarray:
        """float64 [rows], NaN where missing; booleans are 0 and 1.

        Raises InputError for a column of text or another type, and for an infinite value.
        """
        kind = self.table.kinds[self.given_name]
        if kind not in ("numbers", "integers", "booleans", "nothing"):
            raise InputError(f"{self.table.path}: found {self} of {kind}; accepted are numbers")
        column = self.table.take(self.given_name)
        if kind == "booleans":
            column = column.cast(pa.int8())
        values: np.ndarray = column.cast(pa.float64()).to_numpy()
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise self.mistake(row, f"{values[row]}", "are finite numbers")
        return values


def find_columns(
    table: UserTable, given_names: Mapping[str, str], required: Collection[str], optional: Collection[str]
) -> dict[str, Column]:
    """Our columns that the table has; `given_names` are the user's, by ours.

    Raises InputError for a name that is none of ours, and where a required or renamed column is absent.
    """
    ours = (*required, *optional)
    strange = sorted(set(given_names) - set(ours))
    if strange:
        raise InputError(f"--column: found the name {shown(strange)}; accepted are {', '.join(ours)}")
    names = {name: given_names.get(name, name) for name in ours}
    needed = [name for name in ours if name in required or name in given_names]
    missing = [str(Column(table, name, names[name])) for name in needed if names[name] not in table.kinds]
    if missing:
        found = list(table.kinds)
        hint = (
            "; a CSV file's columns are separated by commas" if len(found) == 1 and not found[0].isidentifier() else ""
        )
        raise InputError(
            f"{table.path}: found no column {', '.join(missing)}, only {shown(found)}; needed are "
            f"{', '.join(required)}, where --column NAME=THEIRS tells the name that one has in the file{hint}"
        )
    columns = {name: Column(table, name, given) for name, given in names.items() if given in table.kinds}
    givens = [column.given_name for column in columns.values()]
    doubled = sorted({given for given in givens if givens.count(given) > 1})
    if doubled:
        raise InputError(f"--column: found {shown(doubled)} taken twice; accepted is one name of ours a column")
    return columns


def encode(column: pa.ChunkedArray) -> Coded:
    """Codes of integers, text or, as text, booleans [rows]."""
    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    values = column.chunk(0).dictionary
    indices = np.concatenate([chunk.indices.fill_null(MISSING).to_numpy() for chunk in column.chunks])
    is_used = np.zeros(len(values) + 1, np.bool_)
    is_used[indices] = True
    is_used[MISSING] = False
    if pa.types.is_string(values.type):
        is_used[:-1] &= pc.not_equal(values, "").to_numpy(zero_copy_only=False)
    used = np.flatnonzero(is_used)
    values = values.take(pa.array(used))
    codes_of = np.full(len(is_used), MISSING, np.int32)
    codes_of[used] = pc.rank(values, tiebreaker="dense").to_numpy().astype(np.int32) - 1
    return Coded(codes_of[indices], pc.unique(values.take(pc.sort_indices(values))))
