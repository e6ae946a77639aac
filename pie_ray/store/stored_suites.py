"""Suites that a member was evaluated on already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow.parquet as pq

from ..errors import StorageError, StoreError
from ..identity import MemberSpec
from . import paths, schema
from .parquet import read_parquet
from .prediction_file import FileInfo, examples_digest, read_columns
from .storage import Storage

Examples = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Example ids, int64 [examples], and labels, integers [examples] or bool [examples, attributes], by evaluation set."""


def stored_top1(storage: Storage, spec: MemberSpec, suite: str, examples: Examples) -> dict[str, float] | None:
    """Share of correct predictions by evaluation set, from the member's file on a suite.

    None where the file is absent or damaged, or is of another member or of other examples: then it is to be made.
    """
    wanted = {name: _digest(*known) for name, known in examples.items()}

    def read(file: pq.ParquetFile) -> dict[str, float] | None:
        info = FileInfo.from_metadata(file.metadata.metadata)
        found = {part.name: part.examples for part in info.evaluation_sets}
        if (info.member_id, found) != (spec.member_id, wanted):
            return None
        return {part.name: _top1(file, index) for index, part in enumerate(info.evaluation_sets)}

    try:
        return read_parquet(storage, paths.predictions(suite, spec.variant_id, spec.seed), read)
    except StorageError:
        raise
    except (FileNotFoundError, StoreError):
        return None


def _digest(example_ids: np.ndarray, labels: np.ndarray) -> str:
    order = np.argsort(example_ids, kind="stable")
    return examples_digest(example_ids[order], labels[order] if labels.ndim == 2 else labels[order].astype(np.uint16))


def _top1(file: pq.ParquetFile, set_index: int) -> float:
    if schema.LABEL_RANK in file.schema_arrow.names:
        return float((read_columns(file, set_index, [schema.LABEL_RANK])[schema.LABEL_RANK] == 0).mean())
    columns = read_columns(file, set_index, [schema.LABEL, schema.LOGITS])
    return float(((columns[schema.LOGITS] > 0) == columns[schema.LABEL]).mean())
