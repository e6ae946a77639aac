"""A population's predictions as arrays, member axis first.

Legend: `members` is the seeds that were found, in the order asked for; `examples` is one evaluation set's, by
ascending example id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from . import paths, schema
from .parquet import read_parquet
from .prediction_file import FileInfo, read_sets
from .storage import Storage


@dataclass(frozen=True, eq=False)
class Population:
    """The members of one variant on one evaluation set."""

    variant_id: str
    evaluation_set: str
    seeds: tuple[int, ...]
    """[members]"""
    example_ids: np.ndarray
    """int64 [examples], ascending."""
    labels: np.ndarray
    """uint16 [examples]; bool [examples, attributes] where attributes are learned jointly"""
    arrays: dict[str, np.ndarray]
    """Each column [members, examples], in its stored type; logits [members, examples, classes or attributes]."""
    missing_seeds: tuple[int, ...]
    """Seeds that were asked for and are not on the storage."""

    @property
    def num_members(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class _Part:
    """What is read of one member, by evaluation set."""

    path: str
    digests: dict[str, str]
    columns: dict[str, dict[str, np.ndarray]]


@final
class PredictionStore:
    """Reads the predictions of a sweep. After

        dense = PredictionStore(Storage("results").child("demo")).read_population("clean", "test", "dense", range(30))

    `dense.arrays["prediction"]` is uint16 [members, examples].
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def read_population(
        self,
        suite: str,
        evaluation_set: str,
        variant_id: str,
        seeds: Iterable[int],
        columns: Iterable[str] = (schema.PREDICTION,),
        *,
        member_ids: Mapping[int, str] | None = None,
    ) -> Population:
        """Read `columns` of those members that are on the storage; none of them may be.

        `member_ids`, by seed, refuses members of another recipe. Raises StoreError where a file is damaged, is another
        member's or holds no such evaluation set or column, and where members disagree on examples or labels.
        """
        sets = (evaluation_set,)
        return self.read_populations(suite, sets, variant_id, seeds, columns, member_ids=member_ids)[evaluation_set]

    def read_populations(
        self,
        suite: str,
        evaluation_sets: Iterable[str],
        variant_id: str,
        seeds: Iterable[int],
        columns: Iterable[str] = (schema.PREDICTION,),
        *,
        member_ids: Mapping[int, str] | None = None,
    ) -> dict[str, Population]:
        """`read_population` of several evaluation sets of a suite, by set: each member's file is opened once.

        Sets of the same examples share the arrays of their ids and labels. Raises StoreError as `read_population` does.
        """
        sets, seeds, columns = tuple(evaluation_sets), tuple(seeds), tuple(columns)
        assert set(columns) <= {*schema.PREDICTIONS.names, schema.LOGITS}, columns
        read = _MemberReader(self.storage, suite, variant_id, member_ids or {})
        with ThreadPoolExecutor(_num_threads(self.storage)) as pool:
            parts = pool.map(lambda seed: read(seed, sets, columns), seeds)
            found = {seed: part for seed, part in zip(seeds, parts, strict=True) if part is not None}
        identities = _identities(read, list(found.values()), sets)
        return {
            name: Population(
                variant_id=variant_id,
                evaluation_set=name,
                seeds=tuple(found),
                example_ids=identities[name][schema.EXAMPLE_ID],
                labels=identities[name][schema.LABEL],
                arrays=_stack(columns, [part.columns[name] for part in found.values()]),
                missing_seeds=tuple(seed for seed in seeds if seed not in found),
            )
            for name in sets
        }

    def stored_columns(self, suite: str, variant_id: str, seed: int) -> frozenset[str]:
        """Names of a member's columns. Raises FileNotFoundError where it has no predictions, StoreError for damage."""
        path = paths.predictions(suite, variant_id, seed)
        return frozenset(read_parquet(self.storage, path, lambda file: file.schema_arrow.names))


def _num_threads(storage: Storage) -> int:
    """No more than Arrow would take for files of this machine, which are decoded more than waited for.

    That is the number of processors, or `OMP_NUM_THREADS`, which Ray sets to those of a task: analyses beside each
    other do not get into each other's way.
    """
    return min(storage.num_threads, pa.cpu_count()) if storage.is_local else storage.num_threads


_IDENTITY = (schema.EXAMPLE_ID, schema.LABEL)
_NO_IDENTITY: dict[str, np.ndarray] = {schema.EXAMPLE_ID: np.empty(0, np.int64), schema.LABEL: np.empty(0, np.uint16)}


@dataclass(frozen=True)
class _MemberReader:
    """Reads evaluation sets of one member after the other; called from several threads."""

    storage: Storage
    suite: str
    variant_id: str
    member_ids: Mapping[int, str]

    def __call__(self, seed: int, sets: Sequence[str], columns: Sequence[str]) -> _Part | None:
        """The member's columns; None where it is not on the storage."""
        path = paths.predictions(self.suite, self.variant_id, seed)
        try:
            return self._read(path, sets, columns, self.member_ids.get(seed))
        except FileNotFoundError:
            return None

    def identity(self, path: str, sets: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        """The example ids and labels of a file, by evaluation set."""
        return self._read(path, sets, _IDENTITY, None).columns

    def _read(self, path: str, sets: Sequence[str], columns: Sequence[str], member_id: str | None) -> _Part:
        return read_parquet(self.storage, path, lambda file: self._select(file, path, sets, columns, member_id))

    def _select(
        self, file: pq.ParquetFile, path: str, sets: Sequence[str], columns: Sequence[str], member_id: str | None
    ) -> _Part:
        info = FileInfo.from_metadata(file.metadata.metadata)
        if member_id not in (None, info.member_id):
            raise StoreError(
                f"{path} in {self.storage} is of member {info.member_id}, the recipe's is {member_id}: "
                "use another name or storage"
            )
        index = {part.name: place for place, part in enumerate(info.evaluation_sets)}
        unknown = [name for name in sets if name not in index]
        if unknown:
            raise StoreError(f"{path} in {self.storage} holds no evaluation set {unknown[0]}, only {', '.join(index)}")
        absent = [name for name in columns if name not in file.schema_arrow.names]
        if absent:
            raise StoreError(f"{path} in {self.storage} holds no {', '.join(absent)}: {_why_absent(absent)}")
        read = read_sets(file, [index[name] for name in sets], columns)
        digests = {name: info.evaluation_sets[index[name]].examples for name in sets}
        return _Part(path, digests, dict(zip(sets, read, strict=True)))


def _identities(read: _MemberReader, parts: Sequence[_Part], sets: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Example ids and labels by evaluation set. Raises StoreError where the members disagree."""
    if not parts:
        return dict.fromkeys(sets, _NO_IDENTITY)
    first = parts[0]
    for name in sets:
        for part in parts[1:]:
            if part.digests[name] != first.digests[name]:
                identity, other = (read.identity(each.path, [name])[name] for each in (first, part))
                _refuse_mixture(read.storage, first.path, identity, part.path, other)
    of_digest = {first.digests[name]: name for name in sets}
    known = read.identity(first.path, tuple(of_digest.values()))
    return {name: known[of_digest[first.digests[name]]] for name in sets}


def _why_absent(columns: list[str]) -> str:
    if schema.LOGITS in columns:
        return "they are stored where evaluation.store_logits is true"
    return "of attributes that are learned jointly the logits are stored"


def _stack(columns: Sequence[str], rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Each column of the members, one after the other."""
    if not rows:
        return {name: np.empty((0, 0), schema.numpy_type(name)) for name in columns}
    return {name: np.stack([row[name] for row in rows]) for name in columns}


def _refuse_mixture(
    storage: Storage, path: str, identity: dict[str, np.ndarray], other_path: str, other: dict[str, np.ndarray]
) -> None:
    """Raise a StoreError that names the first example in which two files differ."""
    labels = dict(zip(*(identity[name].tolist() for name in _IDENTITY), strict=True))
    other_labels = dict(zip(*(other[name].tolist() for name in _IDENTITY), strict=True))
    differing = [key for key in labels | other_labels if labels.get(key) != other_labels.get(key)]
    if not differing:
        raise StoreError(f"the metadata of {path} or {other_path} in {storage} are damaged: delete both")
    example = min(differing)
    told, other_told = (
        f"has {_label_text(known[example])}" if example in known else "is absent" for known in (labels, other_labels)
    )
    raise StoreError(
        f"{path} and {other_path} in {storage} were made on different examples: "
        f"example {example} {told} in the first, {other_told} in the second"
    )


def _label_text(label: int | list[bool]) -> str:
    if isinstance(label, int):
        return f"label {label}"
    return f"the attributes {', '.join(str(index) for index, flag in enumerate(label) if flag) or 'none'}"
