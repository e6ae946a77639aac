"""Checkpoints: safetensors files, handled as bytes, whose header names the member."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from ..errors import StoreError
from . import paths
from .storage import Storage

_LENGTH_BYTES = 8
_ZSTD_LEVEL = 3
_MAX_HEADER_BYTES = 100_000_000
"""safetensors' own limit; a longer header is damage."""


def write_checkpoint(storage: Storage, variant_id: str, seed: int, data: bytes) -> None:
    """Write `safetensors.torch.save(tensors, metadata={"member_id": ...})`, whole."""
    storage.write_bytes(paths.checkpoint(variant_id, seed), data)


def compressed_size(data: bytes) -> int:
    """Bytes that are left of a checkpoint after zstd, at its own default level: what a download or a disk holds."""
    return len(pa.Codec("zstd", _ZSTD_LEVEL).compress(data))


def read_checkpoint(storage: Storage, variant_id: str, seed: int, *, member_id: str | None = None) -> bytes:
    """The file's bytes for `safetensors.torch.load`.

    Raises StoreError where it is absent or damaged, or where `member_id` is given and the header names another.
    """
    path = paths.checkpoint(variant_id, seed)
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise _absent(error) from error
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    found = _metadata(storage, path, data[_LENGTH_BYTES : _LENGTH_BYTES + length]).get("member_id")
    if member_id not in (None, found):
        raise StoreError(
            f"{path} in {storage} is of member {found}, the recipe's is {member_id}: use another name or storage"
        )
    return data


def read_checkpoint_metadata(storage: Storage, variant_id: str, seed: int) -> dict[str, str]:
    """The header's texts, without reading the tensors. Raises StoreError where it is absent or damaged."""
    path = paths.checkpoint(variant_id, seed)

    def read(file: pa.NativeFile) -> dict[str, str]:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        return _metadata(storage, path, file.read(min(length, _MAX_HEADER_BYTES)))

    try:
        return storage.read_file(path, read)
    except FileNotFoundError as error:
        raise _absent(error) from error


def _metadata(storage: Storage, path: str, header: bytes) -> dict[str, str]:
    try:
        fields: dict[str, Any] = json.loads(header)
        return {str(key): str(value) for key, value in fields.get("__metadata__", {}).items()}
    except (ValueError, AttributeError) as error:
        raise StoreError(
            f"{path} in {storage} is no safetensors file; delete it, and the sweep makes the member again"
        ) from error


def _absent(error: FileNotFoundError) -> StoreError:
    return StoreError(f"{error}: its member is not trained yet")
