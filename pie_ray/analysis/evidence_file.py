"""What is known of the examples from elsewhere: how far people disagree on them, known label errors, image quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..store import schema
from .source import ExampleFacts
from .user_columns import MISSING, Coded, Column, find_columns
from .user_files import UserTable, open_user_table, shown

DEFAULT_SET = "test"
"""The evaluation set that rows are of where the file names none."""

_NO_MAPPING: Mapping[str, str] = {}
_NUM_IDS_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Evidence:
    """Measures of examples, row for row as `ExampleFacts` has them."""

    values: Mapping[str, Mapping[str, np.ndarray]]
    """By evaluation set and column: float64 [examples], NaN where unknown; only sets that a row matched, and in each
    only columns of which a value is known."""
    num_rows: int
    num_matched: int
    """Rows that told of an example."""
    notes: tuple[str, ...]
    """What was left out."""


def read_evidence(
    path: str, *, examples: Mapping[str, ExampleFacts], columns: Mapping[str, str] = _NO_MAPPING
) -> Evidence:
    """Read measures of examples: a .parquet, .csv or .csv.gz file, or a folder of them, with a row an example.

    `examples` are those of every evaluation set. A row tells its example by `example_id` or, without that, by `key`:
    integers are ids (in a column `key`, they are read as keys), texts are keys. It tells its evaluation set by
    `evaluation_set`; without that column it is of `test`, or of the only set there is. `columns` maps these names of
    ours to the file's. Every other column of numbers or booleans (0 and 1) is a measure, but for the examples' own
    `label`; empty values are unknown. A column of texts is left out with a note, since nothing tells which of its
    values is the larger; so are rows of no example that was predicted, and columns without a value for any that was.

    Raises InputError, naming file and row: files that are absent or damaged, neither column of ids, no measure, an
    infinite value, two rows of one example, an evaluation set that must be named, and where no row matches an example.
    """
    table = open_user_table(path)
    found = find_columns(table, columns, (), (schema.EXAMPLE_ID, schema.KEY, schema.EVALUATION_SET))
    measures, notes = _choose_measures(table, found)
    evaluation_set = _read_evaluation_sets(table, found.get(schema.EVALUATION_SET), examples)
    ids = _id_column(table, found)
    coded_ids = ids.read_ids()
    _refuse_doubled(ids, coded_ids, evaluation_set)
    rows = _match(ids, coded_ids, evaluation_set, examples)
    num_matched = len(set().union(*(of_example.tolist() for of_example in rows.values())) - {MISSING})
    if num_matched == 0:
        raise _no_match(ids, coded_ids, evaluation_set, examples)
    if num_matched < table.num_rows:
        notes.append(f"{table.num_rows - num_matched} of {table.num_rows} rows are of no example that was predicted.")
    values, unknown = _values(measures, rows)
    if unknown:
        notes.append(f"Columns left out, having no value for an example that was predicted: {shown(unknown)}.")
    return Evidence(values, table.num_rows, num_matched, (*table.notes, *notes))


def _values(
    measures: list[Column], rows: Mapping[str, np.ndarray]
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """`Evidence.values`, and the measures that are known of no example."""
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name, row in rows.items() if (row != MISSING).any()}
    unknown = []
    for measure in measures:
        of_row = measure.read_floats()
        found = {name: np.where(rows[name] == MISSING, np.nan, of_row[rows[name]]) for name in values}
        known = {name: of_example for name, of_example in found.items() if not np.isnan(of_example).all()}
        for name, of_example in known.items():
            values[name][measure.name] = of_example
        if not known:
            unknown.append(measure.name)
    return values, unknown


def _choose_measures(table: UserTable, found: Mapping[str, Column]) -> tuple[list[Column], list[str]]:
    """The columns to read, and notes of those that are no measures."""
    taken = {schema.LABEL, schema.EXAMPLE_ID, schema.KEY, schema.EVALUATION_SET}
    taken |= {column.given_name for column in found.values()}
    further = {name: kind for name, kind in table.kinds.items() if name not in taken}
    measures = [Column(table, name, name) for name, kind in further.items() if kind not in ("text", "other")]
    if not measures:
        raise InputError(
            f"{table.path}: found no measure, only {shown(list(table.kinds))}; needed are numbers or booleans"
        )
    refused = [name for name in further if name not in {measure.name for measure in measures}]
    notes = [f"Columns left out, being neither numbers nor booleans: {shown(refused)}."] if refused else []
    return measures, notes


def _id_column(table: UserTable, found: Mapping[str, Column]) -> Column:
    column = found.get(schema.EXAMPLE_ID) or found.get(schema.KEY)
    if column is None:
        raise InputError(
            f"{table.path}: found no column {schema.EXAMPLE_ID} or {schema.KEY}, only {shown(list(table.kinds))}; "
            "needed is one of them, where --column NAME=THEIRS tells the name that it has in the file"
        )
    return column


def _read_evaluation_sets(table: UserTable, column: Column | None, examples: Mapping[str, ExampleFacts]) -> Coded:
    if column is not None:
        return column.read_ids()
    name = DEFAULT_SET if DEFAULT_SET in examples else next(iter(examples), DEFAULT_SET)
    if name != DEFAULT_SET and len(examples) > 1:
        raise InputError(
            f"{table.path}: found no column {schema.EVALUATION_SET}; needed is one, as there are the evaluation sets "
            f"{shown(list(examples))}"
        )
    return Coded(np.zeros(table.num_rows, np.int32), pa.array([name]))


def _refuse_doubled(ids: Column, coded: Coded, evaluation_set: Coded) -> None:
    keys = evaluation_set.codes.astype(np.int64) * len(coded.values) + coded.codes
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    again = first[inverse] != np.arange(len(keys))
    if again.any():
        row = int(np.argmax(again))
        raise ids.mistake(
            row,
            f"{coded.values[int(coded.codes[row])]} again, first in {ids.table.locate(int(first[inverse[row]]))} "
            f"({int(again.sum())} such rows)",
            "is one row an example and evaluation set",
        )


def _match(
    ids: Column, coded: Coded, evaluation_set: Coded, examples: Mapping[str, ExampleFacts]
) -> dict[str, np.ndarray]:
    """The row of each example [examples] by evaluation set, `MISSING` where there is none."""
    by_key = coded.is_text or ids.name == schema.KEY
    given = coded.texts() if by_key else coded.values.to_pylist()
    codes = {value: code for code, value in enumerate(given)}
    set_names = evaluation_set.texts()
    rows = {}
    for name, facts in examples.items():
        there = facts.keys if by_key else facts.example_ids.tolist()
        row_of_code = np.full(len(given) + 1, MISSING)
        if name in set_names:
            own = np.flatnonzero(evaluation_set.codes == set_names.index(name))
            row_of_code[coded.codes[own]] = own
        rows[name] = row_of_code[[codes.get(value, MISSING) for value in there]]
    return rows


def _no_match(ids: Column, coded: Coded, evaluation_set: Coded, examples: Mapping[str, ExampleFacts]) -> InputError:
    sets = evaluation_set.texts()
    there = [name for name in sets if name in examples]
    if not there:
        return InputError(
            f"{ids.table.path}: found evaluation sets {shown(sets)}; accepted are those that were predicted: "
            f"{shown(list(examples))}"
        )
    facts = examples[there[0]]
    return InputError(
        f"{ids.table.path}: found {ids} {', '.join(coded.texts()[:_NUM_IDS_SHOWN])} ..., none of them an example's; "
        f"accepted are example ids such as {', '.join(map(str, facts.example_ids[:_NUM_IDS_SHOWN].tolist()))} "
        f"or keys such as {', '.join(facts.keys[:_NUM_IDS_SHOWN])} (evaluation set {there[0]})"
    )
