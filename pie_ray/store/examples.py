"""The examples of an evaluation set: what an example id stands for, and the groups that it is in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from . import paths, schema
from .lists import to_lists, to_numpy
from .parquet import read_parquet, write_parquet
from .storage import Storage


@dataclass(frozen=True, eq=False)
class Examples:
    """One evaluation set, by ascending example id: row for row the `examples` axis of a `Population`."""

    evaluation_set: str
    example_ids: np.ndarray
    """int64 [examples]"""
    labels: np.ndarray
    """uint16 [examples]; bool [examples, attributes] where attributes are learned jointly"""
    keys: tuple[str, ...]
    """Where each image is found in its source: a path, or an index."""
    groups: dict[str, np.ndarray]
    """Each [examples], as it was given: bool, integers or text."""
    class_names: tuple[str, ...]
    """Of the classes, or of the attributes."""


def write_examples(
    storage: Storage,
    evaluation_set: str,
    example_ids: np.ndarray,
    labels: np.ndarray,
    keys: Sequence[str],
    groups: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> None:
    """Write integers [examples], one key an example, and any number of group columns, each [examples].

    `labels` is integers [examples], or bool [examples, attributes]. Raises StoreError where an example id is doubled or
    a group has the name of another column.
    """
    order = np.argsort(example_ids, kind="stable")
    ids = np.asarray(example_ids, np.int64)[order]
    doubled = ids[1:][ids[1:] == ids[:-1]]
    if len(doubled):
        raise StoreError(f"evaluation set {evaluation_set}: example id {doubled[0]} is doubled")
    reserved = sorted(set(groups) & set(schema.EXAMPLES.names))
    if reserved:
        raise StoreError(f"evaluation set {evaluation_set}: no group can be called {' or '.join(reserved)}")
    group_columns = {name: pa.array(np.asarray(values)[order]) for name, values in groups.items()}
    labels = np.asarray(labels)[order]
    label_column = to_lists(labels) if labels.ndim == 2 else labels.astype(np.uint16)
    columns = [ids, label_column, [keys[row] for row in order], *group_columns.values()]
    num_attributes = labels.shape[1] if labels.ndim == 2 else None
    fields = schema.examples_schema({name: column.type for name, column in group_columns.items()}, num_attributes)
    metadata = {
        "schema_version": str(schema.VERSION),
        "evaluation_set": evaluation_set,
        "class_names": json.dumps(list(class_names)),
    }
    table = pa.table(columns, schema=fields.with_metadata(metadata))
    write_parquet(storage, paths.examples(evaluation_set), [table], schema.examples_writer(groups))


def read_examples(storage: Storage, evaluation_set: str) -> Examples:
    """Raises StoreError where the file is absent or damaged."""

    def read(file: pq.ParquetFile) -> Examples:
        return _from_table(evaluation_set, file.read(use_threads=False))

    try:
        return read_parquet(storage, paths.examples(evaluation_set), read)
    except FileNotFoundError as error:
        raise StoreError(f"{error}: the sweep writes it when it starts") from error


def _from_table(evaluation_set: str, table: pa.Table) -> Examples:
    columns = {name: to_numpy(table[name]) for name in table.column_names if name != schema.KEY}
    return Examples(
        evaluation_set=evaluation_set,
        example_ids=columns.pop(schema.EXAMPLE_ID),
        labels=columns.pop(schema.LABEL),
        keys=tuple(table[schema.KEY].to_pylist()),
        groups=columns,
        class_names=tuple(json.loads(table.schema.metadata[b"class_names"])),
    )
