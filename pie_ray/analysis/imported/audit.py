"""An audit's folder: predictions of networks that were made elsewhere, and what is known of those networks.

All of it is one file, so that predictions and what they are of cannot come apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from ...config import Config, Data, Evaluation
from ...errors import StoreError
from ...store import Storage, paths, read_file_metadata, write_table_file
from ...variants import REFERENCE_ID
from .opening import open_predictions
from .predictions import ImportedPredictions

_METADATA = "pie_ray.audit"
_NUM_DIGITS = 12
"""Of a digest, where people read it."""


class AuditedMember(Config):
    """One network."""

    variant_id: str
    member: int
    what: str
    """As it was named to the command."""
    kind: str
    sha256: str | None
    """Of its file; None of code."""
    num_bytes: int | None


class Audit(Config):
    """What was audited, and how."""

    title: str
    members: tuple[AuditedMember, ...]
    paired: tuple[str, ...]
    data: Data
    fingerprint: str
    """Of the test images."""
    class_names: tuple[str, ...]
    evaluation: Evaluation
    options: dict[str, str]
    """What was said of preprocessing."""
    versions: dict[str, str]

    @property
    def variant_ids(self) -> tuple[str, ...]:
        """The reference first, the others as they were given."""
        return tuple(dict.fromkeys(member.variant_id for member in self.members))

    def of(self, variant_id: str) -> tuple[AuditedMember, ...]:
        return tuple(member for member in self.members if member.variant_id == variant_id)


def write_audit(storage: Storage, audit: Audit, tables: Sequence[pa.Table]) -> None:
    """Write the predictions, whole or not at all, with what they are of."""
    write_table_file(storage, paths.PREDICTIONS, pa.concat_tables(tables), {_METADATA: audit.model_dump_json()})


def is_audit(storage: Storage) -> bool:
    """Whether the folder holds an audit."""
    return storage.is_local and storage.exists(paths.PREDICTIONS)


def read_audit(storage: Storage) -> Audit:
    """Raises StoreError where the predictions are damaged, or no audit's."""
    metadata = read_file_metadata(storage, paths.PREDICTIONS)
    try:
        return Audit.model_validate_json(metadata[_METADATA])
    except (KeyError, ValidationError) as error:
        raise StoreError(
            f"{paths.PREDICTIONS} in {storage} is not what `pie-ray evaluate --model` wrote; the same command makes it "
            "again, and `pie-ray analyze --predictions` reads predictions of your own"
        ) from error


def open_audit(storage: Storage) -> ImportedPredictions:
    """Open an audit's folder as a source of populations. Raises StoreError as `read_audit` does."""
    audit = read_audit(storage)
    source = open_predictions(
        f"{storage.uri.removeprefix('file://')}/{paths.PREDICTIONS}",
        storage=storage,
        paired=audit.paired,
        evaluation=audit.evaluation,
        title=audit.title,
    )
    by_id = {variant.variant_id: variant for variant in source.variants}
    return replace(
        source,
        class_names=audit.class_names,
        variants=tuple(by_id[variant_id] for variant_id in audit.variant_ids),
        provenance=_provenance(audit, source.provenance),
        _facts={variant_id: _facts(audit.of(variant_id)) for variant_id in audit.variant_ids},
    )


def _facts(members: Sequence[AuditedMember]) -> dict[str, Any]:
    sizes = [np.nan if member.num_bytes is None else member.num_bytes for member in members]
    return {"checkpoint_bytes_mean": float(np.mean(sizes))}


def _provenance(audit: Audit, of_file: Mapping[str, str]) -> dict[str, str]:
    networks = {
        _told(member, alone=len(audit.of(member.variant_id)) == 1): f"{member.what} ({_described(member)})"
        for member in audit.members
    }
    data = ", ".join(f"{name} {value}" for name, value in audit.data.model_dump(exclude_none=True).items() if value)
    return {
        **networks,
        "data": data,
        "data fingerprint": audit.fingerprint,
        **audit.options,
        **of_file,
        **audit.versions,
    }


def _told(member: AuditedMember, *, alone: bool) -> str:
    name = f"{REFERENCE_ID} (the reference)" if member.variant_id == REFERENCE_ID else member.variant_id
    return name if alone else f"{name}, member {member.member}"


def _described(member: AuditedMember) -> str:
    if member.sha256 is None:
        return member.kind
    return f"{member.kind}, {member.num_bytes:,} bytes, sha256 {member.sha256[:_NUM_DIGITS]}"
