"""Tables that users bring: Parquet or CSV files, or folders of them, read a column at a time.

The files of a folder, by name, are one table. Rows are numbered from 0 in each file, a CSV's header not counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from pyarrow import types

from ..errors import InputError

SUFFIXES = (".parquet", ".csv", ".csv.gz")
ACCEPTED = "accepted is a file .parquet, .csv or .csv.gz, or a folder of such files"

Kind = Literal["integers", "numbers", "booleans", "text", "nothing", "other"]
"""What a column holds, whatever its width or encoding; `nothing` is nulls alone."""

TEXT = pa.dictionary(pa.int32(), pa.string())
_READ_AS: dict[Kind, pa.DataType] = {"integers": pa.int64(), "numbers": pa.float64(), "booleans": pa.bool_()}

_CSV_BLOCK_BYTES = 1 << 24
_NUM_SHOWN = 12


@dataclass(frozen=True, eq=False)
class _File:
    """One file; `read` gives a column, of a CSV file only once, as it is freed then."""

    path: Path
    num_rows: int
    schema: pa.Schema
    read: Callable[[str], pa.ChunkedArray]


@dataclass(frozen=True, eq=False)
class UserTable:
    """The rows of one file or of a folder's files."""

    path: Path
    """As the user gave it."""
    kinds: Mapping[str, Kind]
    """By column, in the first file's order."""
    notes: tuple[str, ...]
    """What was left out."""
    _files: tuple[_File, ...]
    _first_rows: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        return self._first_rows[-1]

    @property
    def file_names(self) -> tuple[str, ...]:
        """Relative to the folder that was given."""
        return tuple(_name_below(self.path, file.path) for file in self._files)

    @property
    def title(self) -> str:
        """The name that was given, without its suffix."""
        name = self.path.absolute().name
        return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)

    def locate(self, row: int) -> str:
        """The file and row that an error names."""
        index = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return f"{self._files[index].path}, row {row - self._first_rows[index]}"

    def take(self, name: str) -> pa.ChunkedArray:
        """A column [rows]: int64, float64, bool, `TEXT` or null, by its kind. Each can be taken once.

        Raises InputError for damage, and for integers beyond 64 bits.
        """
        kind = self.kinds[name]
        chunks = [chunk for file in self._files for chunk in _read_column(file, name, kind).chunks]
        return pa.chunked_array(chunks, _READ_AS.get(kind, TEXT if kind == "text" else pa.null()))

    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the files' bytes, one after the other."""
        sha256 = hashlib.sha256()
        for file in self._files:
            with open(file.path, "rb") as content:
                while block := content.read(1 << 20):
                    sha256.update(block)
        return sha256.hexdigest()[:16]


def open_user_table(path: str) -> UserTable:
    """Open a Parquet or CSV file, gzipped or not, or all of them below a folder; CSV is UTF-8 with commas.

    Raises InputError where there is no such file, no row, another suffix, damage, and where files differ in columns.
    """
    place = Path(path).expanduser()
    paths, notes = _find(place)
    files = tuple(_open(file) for file in paths)
    kinds = _common_kinds(files)
    first_rows = tuple(accumulate((file.num_rows for file in files), initial=0))
    if first_rows[-1] == 0:
        raise InputError(f"{place}: found no rows; accepted is at least one")
    return UserTable(place, kinds, notes, files, first_rows)


def shown(names: Sequence[object]) -> str:
    """Names for a message, not more than a dozen."""
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(map(str, names[:_NUM_SHOWN])) + more


# ------------------------------------------------------------------------------------------------------------ files


def _find(place: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files to read, and a note of those in the folder that are none."""
    if place.is_file():
        if not place.name.endswith(SUFFIXES):
            raise InputError(f"{place}: found a file of another suffix; {ACCEPTED}")
        return [place], ()
    if not place.is_dir():
        raise InputError(f"{place}: found no such file or folder (seen from {Path.cwd()}); {ACCEPTED}")
    there = sorted(path for path in place.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(place)))
    paths = [path for path in there if path.name.endswith(SUFFIXES)]
    others = [_name_below(place, path) for path in there if not path.name.endswith(SUFFIXES)]
    if not paths:
        raise InputError(f"{place}: found {shown(others) or 'an empty folder'}; {ACCEPTED}")
    return paths, (f"Files of another suffix were not read: {shown(others)}.",) if others else ()


def _is_hidden(path: Path) -> bool:
    """Whether it is no data of the user's, such as `_SUCCESS` or `.part-0.crc`."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _name_below(place: Path, path: Path) -> str:
    return path.name if path == place else path.relative_to(place).as_posix()


def _open(path: Path) -> _File:
    file = _open_parquet(path) if path.name.endswith(".parquet") else _open_csv(path)
    doubled = [name for name in dict.fromkeys(file.schema.names) if file.schema.names.count(name) > 1]
    if doubled:
        raise InputError(f"{path}: found more than one column called {shown(doubled)}; accepted is one of each name")
    return file


@contextmanager
def _explaining(path: Path, accepted: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise InputError(f"{path} cannot be read: {told}; accepted is {accepted}") from error


# ---------------------------------------------------------------------------------------------------------- Parquet


def _open_parquet(path: Path) -> _File:
    with _explaining_parquet(path), pq.ParquetFile(path) as file:
        return _File(path, file.metadata.num_rows, file.schema_arrow, partial(_read_parquet_column, path))


def _read_parquet_column(path: Path, name: str) -> pa.ChunkedArray:
    # A dictionary spares the memory of texts that repeat; it is ignored for columns of other types.
    with (
        _explaining_parquet(path),
        pq.ParquetFile(path, read_dictionary=[name], page_checksum_verification=True) as file,
    ):
        return file.read(columns=[name]).column(name)


def _explaining_parquet(path: Path) -> Any:
    return _explaining(path, "a whole Parquet file")


# -------------------------------------------------------------------------------------------------------------- CSV


def _open_csv(path: Path) -> _File:
    with _explaining(path, "UTF-8 text with a header, commas, and as many values in every row"):
        batches = _read_csv(path)
    schema = batches[0].schema
    undecoded = [field.name for field in schema if types.is_binary(field.type)]
    if undecoded:
        raise InputError(f"{path}: found text in column {shown(undecoded)} that is not UTF-8; accepted is UTF-8")
    columns = {
        name: pa.chunked_array([batch.column(name) for batch in batches])
        for name in set(schema.names)
        if schema.names.count(name) == 1
    }
    return _File(path, sum(batch.num_rows for batch in batches), schema, columns.pop)


def _read_csv(path: Path) -> list[pa.RecordBatch]:
    """Blocks whose types the first one decides, unless a later one contradicts it: then every value has a say.

    pyarrow's own reader of whole files, which always asks them all, needs three times the memory.
    """
    options = pc.ReadOptions(block_size=_CSV_BLOCK_BYTES)
    with pc.open_csv(path, read_options=options) as reader:
        schema = reader.schema
    try:
        return _read_typed_csv(path, schema)
    except pa.ArrowInvalid:
        return _read_typed_csv(path, pc.read_csv(path, read_options=options).schema)


def _read_typed_csv(path: Path, schema: pa.Schema) -> list[pa.RecordBatch]:
    """Texts that look like a date or time stay texts; "NA" is missing among numbers, and text among texts."""
    column_types = {
        field.name: TEXT if types.is_string(field.type) or types.is_temporal(field.type) else field.type
        for field in schema
    }
    options = pc.ConvertOptions(column_types=column_types)
    with pc.open_csv(path, pc.ReadOptions(block_size=_CSV_BLOCK_BYTES), convert_options=options) as reader:
        return [*reader] or [pa.RecordBatch.from_pylist([], reader.schema)]


# ---------------------------------------------------------------------------------------------------------- columns


def _kind(column_type: pa.DataType) -> Kind:
    if types.is_dictionary(column_type):
        column_type = column_type.value_type
    tests: dict[Kind, tuple[Callable[[pa.DataType], bool], ...]] = {
        "integers": (types.is_integer,),
        "numbers": (types.is_floating, types.is_decimal),
        "booleans": (types.is_boolean,),
        "text": (types.is_string, types.is_large_string, types.is_string_view),
        "nothing": (types.is_null,),
    }
    return next((kind for kind, checks in tests.items() if any(check(column_type) for check in checks)), "other")


def _common_kinds(files: Sequence[_File]) -> dict[str, Kind]:
    """Of all files; integers and fractions join as numbers, and a column without a value joins any."""
    kinds: dict[str, Kind] = {field.name: _kind(field.type) for field in files[0].schema}
    givers = dict.fromkeys(kinds, files[0].path)
    for file in files[1:]:
        for names, other in ((file.schema.names, files[0]), (files[0].schema.names, file)):
            extra = sorted(set(names) - set(other.schema.names))
            if extra:
                raise InputError(
                    f"{other.path}: found no column {shown(extra)}, which another file of {file.path.parent} has; "
                    "accepted are files of the same columns"
                )
        for field in file.schema:
            before, kind = kinds[field.name], _kind(field.type)
            joined = _join(before, kind)
            if joined is None:
                raise InputError(
                    f"{file.path}: found {kind} in column {field.name}, where {givers[field.name]} has {before}; "
                    "accepted are files of the same columns"
                )
            if before == "nothing":
                givers[field.name] = file.path
            kinds[field.name] = joined
    return kinds


def _join(first: Kind, second: Kind) -> Kind | None:
    kinds = {first, second} - {"nothing"}
    if kinds == {"integers", "numbers"}:
        return "numbers"
    return None if len(kinds) > 1 else next(iter(kinds), "nothing")


def _read_column(file: _File, name: str, kind: Kind) -> pa.ChunkedArray:
    column = file.read(name)
    if kind in ("nothing", "other"):
        return pa.chunked_array([pa.nulls(len(column))])
    if types.is_null(column.type) or column.type == _READ_AS.get(kind, TEXT):
        return column.cast(_READ_AS.get(kind, TEXT))
    try:
        return column.cast(pa.string()).dictionary_encode() if kind == "text" else column.cast(_READ_AS[kind])
    except pa.ArrowInvalid as error:
        raise InputError(f"{file.path}: column {name} of {column.type} cannot be read: {error}") from error
