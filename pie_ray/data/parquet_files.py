"""Finding a split's Parquet files, and opening one so that whatever is wrong with it is said with its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError

_SHARD = re.compile(r"-of-(\d+)")


def find_shards(folder: Path, split: str) -> list[Path]:
    """The split's files by name: in `folder` itself, in its `data` folder, or in its only other folder that has some.

    Raises DataError where there are none, where two folders have some, and where shards of `-of-00004` are missing.
    """
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in ("data", split))
    for place in (folder, folder / "data"):
        if shards := _shards_in(place, split):
            return _all_there(shards, place, split)
    found = {place: shards for place in subfolders if (shards := _shards_in(place, split))}
    if len(found) > 1:
        raise DataError(f"{split}*.parquet lie in {', '.join(map(str, found))}: set data.path to one of them")
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise DataError(f"{folder} holds no {split}*.parquet, nor do its folders; found {there}")
    ((place, shards),) = found.items()
    return _all_there(shards, place, split)


def _shards_in(place: Path, split: str) -> list[Path]:
    """The closest naming wins, so that `train_extra-...` does not join `train-...`."""
    for pattern in (f"{split}-*.parquet", f"{split}.parquet", f"{split}/*.parquet", f"{split}*.parquet"):
        if shards := sorted(place.glob(pattern)):
            return shards
    return []


def _all_there(shards: list[Path], place: Path, split: str) -> list[Path]:
    promised = {int(match[1]) for path in shards if (match := _SHARD.search(path.name))}
    if promised and promised != {len(shards)}:
        counts = " or ".join(map(str, sorted(promised)))
        raise DataError(f"{place}: {len(shards)} files of the {split} split, their names promise {counts}")
    return shards


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A pyarrow ParquetFile; what goes wrong while it is read becomes a DataError that names it."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
