"""How alike two members' attribution maps are, an example and method: one pair of members is one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..identity import MemberSpec, Plan
from ..variants import REFERENCE_ID
from . import paths, schema
from .parquet import read_parquet, write_parquet
from .storage import Storage

Similarities = Mapping[str, Mapping[str, np.ndarray]]
"""Float64 [examples] by method and similarity."""


@dataclass(frozen=True)
class MapPair:
    """A member whose maps are held against those of a reference member."""

    reference: MemberSpec
    member: MemberSpec

    @property
    def path(self) -> str:
        """Of a compressed member the reference has its seed; of two reference members, the file is the first one's."""
        return paths.map_similarities(self.member.variant_id, self.reference.seed)


@dataclass(frozen=True, eq=False)
class MapSimilarities:
    evaluation_set: str
    settings: str
    """The recipe's `evaluation.attribution`, as JSON."""
    is_float_of_rounded: bool
    """Whether the maps are of the rounded weights with activations in float, since rounding has no gradient."""
    example_ids: np.ndarray
    """int64 [examples], ascending"""
    similarities: Similarities
    num_positions: Mapping[str, int]
    """Of a map, by method."""


def map_pairs(plan: Plan) -> tuple[MapPair, ...]:
    """Each compressed member with the reference member of its seed; each reference member with that of the next seed.

    The latter say how much of the difference another training makes by itself.
    """
    dense = {spec.seed: spec for spec in plan.population(REFERENCE_ID)}
    pairs = [MapPair(dense[spec.seed], spec) for spec in plan.members if spec.variant_id != REFERENCE_ID]
    seeds = sorted(dense)
    return (*(MapPair(dense[a], dense[b]) for a, b in pairwise(seeds)), *pairs)


def write_map_similarities(storage: Storage, pair: MapPair, found: MapSimilarities) -> None:
    """Write a pair's file, whole."""
    num_examples = len(found.example_ids)
    tables = []
    for method, by_name in found.similarities.items():
        columns = {
            schema.EVALUATION_SET: schema.constant(found.evaluation_set, num_examples),
            schema.EXAMPLE_ID: found.example_ids,
            "method": schema.constant(method, num_examples),
            **by_name,
        }
        tables.append(pa.table(columns))
    metadata = {
        "schema_version": str(schema.VERSION),
        "member_id": pair.member.member_id,
        "reference_id": pair.reference.member_id,
        "evaluation_set": found.evaluation_set,
        "settings": found.settings,
        "is_float_of_rounded": json.dumps(found.is_float_of_rounded),
        "num_positions": json.dumps({method: found.num_positions[method] for method in found.similarities}),
    }
    tables = [table.replace_schema_metadata(metadata) for table in tables]
    write_parquet(storage, pair.path, tables, schema.TABLE_WRITER)


def has_map_similarities(storage: Storage, pair: MapPair, settings: str) -> bool:
    """Whether the pair's file is there, of these members and settings; a damaged one is to be made again."""

    def read(file: pq.ParquetFile) -> bool:
        texts = _texts(file)
        return (texts["member_id"], texts["reference_id"], texts["settings"]) == (*_ids(pair), settings)

    try:
        return read_parquet(storage, pair.path, read)
    except FileNotFoundError:
        return False
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        return False


def read_map_similarities(storage: Storage, pair: MapPair) -> MapSimilarities | None:
    """None where there is no file. Raises StoreError where it is damaged, or of other members than the recipe's."""

    def read(file: pq.ParquetFile) -> MapSimilarities:
        texts = _texts(file)
        if (texts["member_id"], texts["reference_id"]) != _ids(pair):
            raise StoreError(
                f"{pair.path} in {storage} is of the members {texts['member_id']} and {texts['reference_id']}, the "
                f"recipe's are {' and '.join(_ids(pair))}: delete it, and `pie-ray attribute` makes it again"
            )
        parts = [file.read_row_group(index, use_threads=False) for index in range(file.metadata.num_row_groups)]
        num_positions = json.loads(texts["num_positions"])
        names = [name for name in parts[0].column_names if name not in _KEYS]
        return MapSimilarities(
            evaluation_set=texts["evaluation_set"],
            settings=texts["settings"],
            is_float_of_rounded=json.loads(texts["is_float_of_rounded"]),
            example_ids=parts[0][schema.EXAMPLE_ID].to_numpy(),
            similarities={
                method: {name: part[name].to_numpy() for name in names}
                for method, part in zip(num_positions, parts, strict=True)
            },
            num_positions=num_positions,
        )

    try:
        return read_parquet(storage, pair.path, read)
    except FileNotFoundError:
        return None


_KEYS = (schema.EVALUATION_SET, schema.EXAMPLE_ID, "method")


def _ids(pair: MapPair) -> tuple[str, str]:
    return pair.member.member_id, pair.reference.member_id


def _texts(file: pq.ParquetFile) -> dict[str, str]:
    """Raises KeyError or ValueError where the metadata are not ours."""
    texts = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    if texts["schema_version"] != str(schema.VERSION):
        raise ValueError(f"its schema version is {texts['schema_version']}, this pie_ray reads {schema.VERSION}")
    return texts
