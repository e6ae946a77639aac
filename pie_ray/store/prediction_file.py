"""One member's predictions on one suite as a Parquet file: what its metadata says, writing and reading it.

Each evaluation set is one row group, so that reading some sets skips the others. The metadata holds a digest of each
set's example ids and labels: members are compared by it without reading either column.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..identity import MemberSpec
from . import paths, schema
from .lists import to_numpy
from .parquet import write_parquet
from .storage import Storage


@dataclass(frozen=True)
class SetInfo:
    """One evaluation set of a file."""

    name: str
    num_rows: int
    examples: str
    """Digest of the example ids and labels in their order."""


@dataclass(frozen=True)
class FileInfo:
    """A predictions file's metadata; the sets are in the order of the row groups."""

    member_id: str
    variant_id: str
    seed: int
    suite: str
    evaluation_sets: tuple[SetInfo, ...]

    def to_metadata(self) -> dict[str, str]:
        return {
            "schema_version": str(schema.VERSION),
            "member_id": self.member_id,
            "variant_id": self.variant_id,
            "seed": str(self.seed),
            "suite": self.suite,
            "num_rows": str(sum(part.num_rows for part in self.evaluation_sets)),
            "evaluation_sets": json.dumps([vars(part) for part in self.evaluation_sets]),
        }

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes] | None) -> Self:
        """Raises KeyError or ValueError where the metadata are not ours."""
        texts = {key.decode(): value.decode() for key, value in (metadata or {}).items()}
        if texts["schema_version"] != str(schema.VERSION):
            raise ValueError(f"its schema version is {texts['schema_version']}, this pie_ray reads {schema.VERSION}")
        return cls(
            member_id=texts["member_id"],
            variant_id=texts["variant_id"],
            seed=int(texts["seed"]),
            suite=texts["suite"],
            evaluation_sets=tuple(SetInfo(**part) for part in json.loads(texts["evaluation_sets"])),
        )


def write_predictions(storage: Storage, spec: MemberSpec, suite: str, table: pa.Table) -> None:
    """Write the table of a `PredictionCollector`, sorted as it is, at once and in full."""
    row_groups = dict(_by_evaluation_set(table))
    sets = tuple(_describe(name, part) for name, part in row_groups.items())
    metadata = FileInfo(spec.member_id, spec.variant_id, spec.seed, suite, sets).to_metadata()
    write_parquet(
        storage,
        paths.predictions(suite, spec.variant_id, spec.seed),
        [part.replace_schema_metadata(metadata) for part in row_groups.values()],
        schema.predictions_writer(table.schema),
    )


def read_columns(file: pq.ParquetFile, set_index: int, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of one evaluation set, each [examples]; a list is [examples, items]. KeyError where one is absent."""
    return read_sets(file, [set_index], columns)[0]


def read_sets(file: pq.ParquetFile, set_indices: Sequence[int], columns: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """`read_columns` of several evaluation sets in one request: a third of the time, and one round to an object store.

    The arrays of one column are views of one.
    """
    table = file.read_row_groups(list(set_indices), columns=list(columns), use_threads=False)
    num_rows = [file.metadata.row_group(index).num_rows for index in set_indices]
    split = {name: np.split(to_numpy(table[name]), np.cumsum(num_rows)[:-1]) for name in columns}
    return [{name: split[name][place] for name in columns} for place in range(len(num_rows))]


def _by_evaluation_set(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The runs of equal evaluation sets, each with a dictionary of its one name."""
    index = table.schema.get_field_index(schema.EVALUATION_SET)
    column = table[index].combine_chunks()
    codes = column.indices.to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]
    for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
        name = column[start].as_py()
        names = schema.constant(name, end - start)
        yield name, table.slice(start, end - start).set_column(index, table.field(index), names)


def _describe(name: str, part: pa.Table) -> SetInfo:
    return SetInfo(
        name, part.num_rows, examples_digest(part[schema.EXAMPLE_ID].to_numpy(), to_numpy(part[schema.LABEL]))
    )


def examples_digest(example_ids: np.ndarray, labels: np.ndarray) -> str:
    """Stands for the examples of a set: int64 [examples], ascending, and their labels as they are stored."""
    digest = hashlib.sha256(np.ascontiguousarray(example_ids).tobytes())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()[:16]
