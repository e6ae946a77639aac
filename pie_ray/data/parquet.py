"""Image classification as Hugging Face datasets lays it out: `train*.parquet` and `test*.parquet`, in shards.

The images are a column of encoded bytes, or of structs of bytes and path; the labels a column of integers, or several
of two values that are learned jointly. Other columns of few distinct values describe the examples, and become groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..config import ParquetData
from ..errors import DataError
from .columns import attribute_groups, check_attributes, descriptive_columns, read_attributes, read_groups
from .image_set import Int64Array, LabelArray
from .parquet_columns import (
    check_label_column,
    class_names,
    find_image_column,
    has_field,
    read_keys,
    read_labels,
)
from .parquet_files import find_shards, open_parquet
from .published import Published, PublishedSplit, Source, existing_folder, numbered_names, split_names

_NUM_READ_AHEAD = 512


def parquet_source(config: ParquetData) -> Source:
    """Class names come from the Hugging Face metadata, else they are the labels.

    Raises DataError where files or columns are missing, a file is damaged, or a label is not a whole number.
    """
    folder = existing_folder(config.path)
    paths = {split: find_shards(folder, split) for split in split_names(config)}
    files = tuple(path for shards in paths.values() for path in shards)
    return Source(files=files, read=partial(_read, paths, config))


def _read(paths: dict[str, list[Path]], config: ParquetData) -> Published:
    shards = [_open_shards(split, split_paths, config) for split, split_paths in paths.items()]
    groups = read_groups(*(split.read_described() for split in shards))
    train, test, *validation = (split.published(of_split) for split, of_split in zip(shards, groups, strict=True))
    names = config.attributes or class_names(shards[0].schema, config.label_column) or numbered_names(train)
    return Published(train, test, names, *validation)


@dataclass(frozen=True)
class _Shards:
    """The files of one split, their rows numbered through; `first_rows` [paths + 1] ends with the number of rows.

    `blocks` [row groups + 1] are the first rows of all row groups, and the number of rows.
    """

    split: str
    paths: list[Path]
    first_rows: Int64Array
    blocks: Int64Array
    schema: Any
    image_column: str
    label_column: str
    attributes: tuple[str, ...]

    def published(self, groups: dict[str, npt.NDArray[np.generic]]) -> PublishedSplit:
        labels: LabelArray
        if self.attributes:
            labels = read_attributes(self._read(list(self.attributes)), self.attributes, self.locate)
            groups = groups | attribute_groups(self.attributes, labels)
        else:
            labels = read_labels(self._read_column(self.label_column), self.locate)
        return PublishedSplit(
            place=f"{self.paths[0].parent} ({self.split})",
            labels=labels,
            example_ids=np.arange(len(labels)),
            keys=read_keys(self._read_image_paths(), self.split),
            images=self.images,
            locate=self.locate,
            groups=groups,
            blocks=self.blocks,
            sizes=self.sizes,
        )

    def locate(self, row: int) -> str:
        shard = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return f"{self.paths[shard]}, row {row - self.first_rows[shard]}"

    def images(self, rows: Int64Array) -> Iterator[bytes]:
        """The encoded images of increasing `rows`; row groups that hold none of them are not read."""
        ends = np.searchsorted(rows, self.first_rows)
        for shard, (start, stop) in enumerate(pairwise(ends.tolist())):
            if start == stop:
                continue
            first_row = int(self.first_rows[shard])
            for row, content in _images_of(self.paths[shard], self._bytes_column, first_row, rows[start:stop]):
                if content is None:
                    raise DataError(f"{self.locate(row)}: the image is null")
                yield content

    def sizes(self) -> Int64Array:
        """Bytes of the image column, by row group."""
        found = []
        for path in self.paths:
            with open_parquet(path) as file:
                groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            found += [_bytes_of(group, self._bytes_column) for group in groups]
        return np.array(found, dtype=np.int64)

    def read_described(self) -> Any:
        """Table of the columns that may become groups."""
        taken = (self.image_column, self.label_column)
        return self._read([name for name in descriptive_columns(self.schema) if name not in taken])

    @property
    def _bytes_column(self) -> str:
        is_struct = has_field(self.schema.field(self.image_column).type, "bytes")
        return f"{self.image_column}.bytes" if is_struct else self.image_column

    def _read_image_paths(self) -> list[str | None]:
        if not has_field(self.schema.field(self.image_column).type, "path"):
            return [None] * int(self.first_rows[-1])
        structs = self._read_column(f"{self.image_column}.path").to_pylist()
        return [struct and struct["path"] for struct in structs]

    def _read_column(self, name: str) -> Any:
        return self._read([name]).column(0)

    def _read(self, columns: list[str]) -> Any:
        import pyarrow

        tables = []
        for path in self.paths:
            with open_parquet(path) as file:
                tables.append(file.read(columns=columns, use_threads=torch.get_num_threads() > 1))
        return pyarrow.concat_tables(tables, promote_options="permissive")


def _open_shards(split: str, paths: list[Path], config: ParquetData) -> _Shards:
    num_rows, rows_of_groups, schemas = [], [], []
    for path in paths:
        with open_parquet(path) as file:
            num_rows.append(file.metadata.num_rows)
            rows_of_groups += [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            schemas.append(file.schema_arrow)
        image_column = find_image_column(schemas[-1], path, config)
        if config.attributes:
            check_attributes(config.attributes, schemas[-1].names, str(path))
        else:
            check_label_column(schemas[-1], path, config.label_column)
    first_rows, blocks = np.cumsum([0, *num_rows]), np.cumsum([0, *rows_of_groups])
    return _Shards(split, paths, first_rows, blocks, schemas[0], image_column, config.label_column, config.attributes)


def _bytes_of(row_group: Any, name: str) -> int:
    columns = [row_group.column(index) for index in range(row_group.num_columns)]
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == name)


def _images_of(path: Path, column: str, first_row: int, rows: Int64Array) -> Iterator[tuple[int, bytes | None]]:
    """Increasing `rows` of one file and their contents; `first_row` is the number of the file's first."""
    with open_parquet(path) as file:
        for index in range(file.num_row_groups):
            end = first_row + file.metadata.row_group(index).num_rows
            here = rows[np.searchsorted(rows, first_row) : np.searchsorted(rows, end)]
            if len(here):
                threads = torch.get_num_threads() > 1
                batches = file.iter_batches(_NUM_READ_AHEAD, row_groups=[index], columns=[column], use_threads=threads)
                yield from _pick((batch.column(0) for batch in batches), first_row, here)
            first_row = end


def _pick(columns: Iterable[Any], first_row: int, rows: Int64Array) -> Iterator[tuple[int, bytes | None]]:
    """Increasing `rows` and their contents, from consecutive columns that begin with `first_row`."""
    for column in columns:
        end = first_row + len(column)
        here = rows[np.searchsorted(rows, first_row) : np.searchsorted(rows, end)]
        if len(here):
            yield from zip(here.tolist(), _contents(column.take(here - first_row)), strict=True)
        first_row = end
        if end > rows[-1]:
            return


def _contents(column: Any) -> list[bytes | None]:
    values = column.to_pylist()
    return [value["bytes"] if isinstance(value, dict) else value for value in values]
