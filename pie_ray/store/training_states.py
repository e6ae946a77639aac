"""States of members in the middle of their training: bytes behind one line of JSON that tells what they are of."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

from ..errors import StoreError
from . import paths
from .storage import Storage


def write_training_state(storage: Storage, variant_id: str, seed: int, about: Mapping[str, str], data: bytes) -> None:
    """Replace a member's state; `about` says what it must be, for whoever goes on from it."""
    header = json.dumps({"about": dict(about), "crc32": zlib.crc32(data)}, sort_keys=True)
    storage.write_bytes(paths.training_state(variant_id, seed), header.encode() + b"\n" + data)


def read_training_state(storage: Storage, variant_id: str, seed: int, about: Mapping[str, str]) -> bytes | None:
    """What was written last, if anything was.

    Raises StoreError where it is damaged, or where what was said about it is not what is asked for.
    """
    path = paths.training_state(variant_id, seed)
    try:
        header, _, data = storage.read_bytes(path).partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        told = json.loads(header)
        found, is_whole = dict(told["about"]), told["crc32"] == zlib.crc32(data)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} in {storage} is no state of a training") from error
    if not is_whole:
        raise StoreError(f"{path} in {storage} is damaged")
    for name, wanted in about.items():
        if found.get(name) != wanted:
            raise StoreError(f"{path} in {storage} has {name} {found.get(name)}, needed is {wanted}")
    return data


def delete_training_state(storage: Storage, variant_id: str, seed: int) -> None:
    storage.delete(paths.training_state(variant_id, seed))
