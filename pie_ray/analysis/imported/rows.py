"""The rows of a user's predictions: every column checked by itself, as compact arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ...store import schema
from ..user_columns import Coded, Column, find_columns
from ..user_files import UserTable

VARIANT, MEMBER = "variant", "member"
REQUIRED = (VARIANT, MEMBER, schema.EXAMPLE_ID, schema.LABEL, schema.PREDICTION)
MEASURES = {
    schema.CONFIDENCE: (0.0, 1.0),
    schema.LABEL_PROBABILITY: (0.0, 1.0),
    schema.MARGIN: (-1.0, 1.0),
    schema.ENTROPY: (0.0, inf),
    schema.LABEL_RANK: (0.0, float(schema.MAX_CLASSES - 1)),
}
"""Columns of numbers about a prediction, and from where to where they go."""
OPTIONAL = (schema.EVALUATION_SET, schema.KEY, *MEASURES)

DEFAULT_SET = "test"
"""The evaluation set of predictions that name none."""

_ROUNDING = 1e-5
"""How far a probability of 32 bits may be beyond [0, 1]."""


@dataclass(frozen=True, eq=False)
class Rows:
    """One prediction a row; arrays are [rows]."""

    table: UserTable
    variant: Coded
    evaluation_set: Coded
    member: Coded
    example: Coded
    label: np.ndarray
    """uint16"""
    prediction: np.ndarray
    """uint16"""
    class_names: tuple[str, ...]
    key: Coded | None
    """What people find an example by; None where the example's id is that."""
    measures: Mapping[str, np.ndarray]
    """float32 by column, NaN where missing."""
    further: tuple[str, ...]
    """Columns of the file that none of ours is."""


def read_rows(table: UserTable, given_names: Mapping[str, str]) -> Rows:
    """Raises InputError for missing columns, and for values that are missing, of another type or out of range."""
    columns = find_columns(table, given_names, REQUIRED, OPTIONAL)
    label, prediction, class_names = _read_classes(columns[schema.LABEL], columns[schema.PREDICTION])
    taken = {column.given_name for column in columns.values()}
    return Rows(
        table=table,
        variant=_as_names(columns[VARIANT].read_ids()),
        evaluation_set=_read_evaluation_sets(table, columns.get(schema.EVALUATION_SET)),
        member=columns[MEMBER].read_ids(),
        example=columns[schema.EXAMPLE_ID].read_ids(),
        label=label,
        prediction=prediction,
        class_names=class_names,
        key=_as_names(columns[schema.KEY].read_ids()) if schema.KEY in columns else None,
        measures={name: _read_measure(columns[name], *ends) for name, ends in MEASURES.items() if name in columns},
        further=tuple(name for name in table.kinds if name not in taken),
    )


def _as_names(coded: Coded) -> Coded:
    return coded if coded.is_text else Coded(coded.codes, coded.values.cast(pa.string()))


def _read_evaluation_sets(table: UserTable, column: Column | None) -> Coded:
    if column is None:
        return Coded(np.zeros(table.num_rows, np.int32), pa.array([DEFAULT_SET]))
    return _as_names(column.read_ids())


def _read_classes(label: Column, prediction: Column) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Both columns as class indices, uint16 [rows], and the classes' names."""
    accepted = "are class numbers from 0 or class names"
    columns = {label: label.read_ids(accepted=accepted), prediction: prediction.read_ids(accepted=accepted)}
    labels, predictions = columns.values()
    if labels.is_text != predictions.is_text:
        told = " and ".join(
            f"{column} of {'text' if coded.is_text else 'numbers'}" for column, coded in columns.items()
        )
        raise InputError(
            f"{label.table.path}: found {told}; accepted are class numbers in both, or class names in both"
        )
    if labels.is_text:
        names = tuple(sorted({*labels.texts(), *predictions.texts()}))
        _check_number_of_classes(label.table, len(names))
        numbers = {name: number for number, name in enumerate(names)}
        class_of = [np.array([numbers[text] for text in coded.texts()], np.uint16) for coded in columns.values()]
    else:
        for column, coded in columns.items():
            _check_class_numbers(column, coded)
        class_of = [coded.values.to_numpy().astype(np.uint16) for coded in columns.values()]
        names = tuple(map(str, range(1 + int(max(numbers[-1] for numbers in class_of)))))
    return class_of[0][labels.codes], class_of[1][predictions.codes], names


def _check_number_of_classes(table: UserTable, found: int) -> None:
    if found > schema.MAX_CLASSES:
        raise InputError(f"{table.path}: found {found} class names; accepted are up to {schema.MAX_CLASSES}")


def _check_class_numbers(column: Column, coded: Coded) -> None:
    numbers = coded.values.to_numpy()
    wrong = (numbers < 0) | (numbers >= schema.MAX_CLASSES)
    if wrong.any():
        row = int(np.argmax(wrong[coded.codes]))
        raise column.mistake(row, numbers[coded.codes[row]], f"are class numbers 0 to {schema.MAX_CLASSES - 1}")


def _read_measure(column: Column, low: float, high: float) -> np.ndarray:
    """float32 [rows], NaN where missing."""
    values = column.read_floats()
    wrong = (values < low - _ROUNDING) | (values > high + _ROUNDING)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise column.mistake(row, f"{values[row]:g}", f"are {_range_text(low, high)}")
    return np.clip(values, low, high).astype(np.float32)


def _range_text(low: float, high: float) -> str:
    if (low, high) == (0, 1):
        return "fractions from 0 to 1"
    return f"numbers from {low:g} to {high:g}" if high < inf else f"numbers from {low:g}"
