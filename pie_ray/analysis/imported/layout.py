"""Where each row's values go, so that every population is a full array [members, examples].

Cells are one member on one evaluation set; they lie one after the other, by evaluation set, variant and member, and in
each the set's examples ascend. Grouping takes no sort of the rows: ranks are looked up, then scattered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ..user_columns import encode
from .rows import Rows


@dataclass(frozen=True, eq=False)
class Layout:
    """Indices of sets, variants, members and examples are those of `Rows`' distinct values."""

    position: np.ndarray
    """int64 [rows]: a permutation."""
    pair: np.ndarray
    """int32 [rows]: the row's pair of evaluation set and example."""
    cell: np.ndarray
    """int32 [rows]"""
    pair_example: np.ndarray
    """[pairs], by set and ascending example."""
    first_pair: np.ndarray
    """[sets + 1]"""
    cell_set: np.ndarray
    """[cells]"""
    cell_variant: np.ndarray
    cell_member: np.ndarray
    first_row: np.ndarray
    """[cells + 1]: where a cell begins."""
    pair_label: np.ndarray
    """uint16 [pairs]"""
    pair_key: np.ndarray | None
    """[pairs]; None where there are no keys."""


def lay_out(rows: Rows) -> Layout:
    """Raises InputError for doubled rows, members of one set on different examples, labels or keys that disagree."""
    num_sets, num_examples, num_members = (
        len(coded.values) for coded in (rows.evaluation_set, rows.example, rows.member)
    )
    num_variants = len(rows.variant.values)
    set_codes = rows.evaluation_set.codes.astype(np.int64)
    pair, pairs = _number(set_codes * num_examples + rows.example.codes)
    cell, cells = _number((set_codes * num_variants + rows.variant.codes) * num_members + rows.member.codes)
    first_pair = np.searchsorted(pairs, np.arange(num_sets + 1) * num_examples)
    cell_set = cells // (num_variants * num_members)
    size = np.diff(first_pair)[cell_set]
    first_row = np.concatenate([[0], np.cumsum(size)])
    position = first_row[cell] + pair - first_pair[cell_set[cell]]
    layout = Layout(
        position=position,
        pair=pair,
        cell=cell,
        pair_example=pairs % num_examples,
        first_pair=first_pair,
        cell_set=cell_set,
        cell_variant=cells // num_members % num_variants,
        cell_member=cells % num_members,
        first_row=first_row,
        pair_label=_last_value(rows.label, pair, len(pairs)),
        pair_key=None if rows.key is None else _last_value(rows.key.codes, pair, len(pairs)),
    )
    if not _is_full(layout, size):
        _refuse_doubled(rows, layout)
        _refuse_absent(rows, layout, size)
    _refuse_other_labels(rows, layout)
    _refuse_other_keys(rows, layout)
    return layout


def _number(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each key among the distinct ones, and those, ascending."""
    coded = encode(pa.chunked_array([keys]))
    return coded.codes, coded.values.to_numpy()


def _last_value(values: np.ndarray, keys: np.ndarray, num_keys: int) -> np.ndarray:
    """Of each key's rows."""
    found = np.empty(num_keys, values.dtype)
    found[keys] = values
    return found


def _is_full(layout: Layout, size: np.ndarray) -> bool:
    """Whether every cell has each example of its set once."""
    if not np.array_equal(np.bincount(layout.cell, minlength=len(size)), size):
        return False
    is_filled = np.zeros(len(layout.position), np.bool_)
    is_filled[layout.position] = True
    return bool(is_filled.all())


def _refuse_doubled(rows: Rows, layout: Layout) -> None:
    keys = layout.cell.astype(np.int64) * len(layout.pair_example) + layout.pair
    rank, distinct = _number(keys)
    num_doubled = len(keys) - len(distinct)
    if num_doubled:
        last = _last_value(np.arange(len(keys)), rank, len(distinct))[rank]
        row = int(np.argmax(last != np.arange(len(keys))))
        raise InputError(
            f"{rows.table.path}: found {num_doubled} more predictions of a member for an example that it has one of; "
            f"the first is {_told(rows, layout, row)}, again in {rows.table.locate(int(last[row]))}; accepted is one "
            "row for each variant, member, example and evaluation set"
        )


def _refuse_absent(rows: Rows, layout: Layout, size: np.ndarray) -> None:
    num_absent = size - np.bincount(layout.cell, minlength=len(size))
    cell = int(np.argmax(num_absent > 0))
    set_code = int(layout.cell_set[cell])
    pairs = np.arange(*layout.first_pair[set_code : set_code + 2])
    absent = int(np.setdiff1d(pairs, layout.pair[layout.cell == cell])[0])
    row = int(np.argmax(layout.pair == absent))
    raise InputError(
        f"{rows.table.path}: found no prediction of {_member(rows, layout, cell)} for example "
        f"{_example(rows, layout, absent)} of evaluation set {_set(rows, layout, cell)}, which "
        f"{_member(rows, layout, int(layout.cell[row]))} has; {int(num_absent.sum())} predictions are absent in all; "
        "accepted are members with the same examples in an evaluation set"
    )


def _refuse_other_labels(rows: Rows, layout: Layout) -> None:
    differs = layout.pair_label[layout.pair] != rows.label
    if not differs.any():
        return
    row = int(np.argmax(differs))
    other = int(np.argmax((layout.pair == layout.pair[row]) & (rows.label != rows.label[row])))
    names = rows.class_names
    raise InputError(
        f"{rows.table.path}: found label {names[rows.label[row]]} at {_told(rows, layout, row)}, and label "
        f"{names[rows.label[other]]} at {_told(rows, layout, other)}; accepted is one label an example"
    )


def _refuse_other_keys(rows: Rows, layout: Layout) -> None:
    if rows.key is None or layout.pair_key is None:
        return
    differs = layout.pair_key[layout.pair] != rows.key.codes
    if differs.any():
        row = int(np.argmax(differs))
        keys = rows.key.values
        raise InputError(
            f"{rows.table.path}: found key {keys[int(rows.key.codes[row])]} at {_told(rows, layout, row)}, and key "
            f"{keys[int(layout.pair_key[layout.pair[row]])]} in another row of it; accepted is one key an example"
        )


def _told(rows: Rows, layout: Layout, row: int) -> str:
    cell = int(layout.cell[row])
    return (
        f"{_member(rows, layout, cell)}, example {_example(rows, layout, int(layout.pair[row]))}, evaluation set "
        f"{_set(rows, layout, cell)} ({rows.table.locate(row)})"
    )


def _member(rows: Rows, layout: Layout, cell: int) -> str:
    variant = rows.variant.values[int(layout.cell_variant[cell])]
    return f"{variant} member {rows.member.values[int(layout.cell_member[cell])]}"


def _set(rows: Rows, layout: Layout, cell: int) -> str:
    return str(rows.evaluation_set.values[int(layout.cell_set[cell])])


def _example(rows: Rows, layout: Layout, pair: int) -> str:
    return str(rows.example.values[int(layout.pair_example[pair])])
