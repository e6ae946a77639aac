"""A member as safetensors: the checkpoint's tensors as they are stored, and its header.

    network = load_safetensors("member.safetensors")
    logits = network.predict(images)

Beside the facts that all formats have, the header has whatever restores the network.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoint import Checkpoint, header_texts
from ..errors import StoreError
from ..packaged import Network, NetworkFacts
from ..recipe import parse_recipe
from ..records import MemberRecord
from .member import PortableMember
from .predicting import Predict

_FACTS, _RECORD, _RECIPE = "pie_ray.network", "pie_ray.record", "pie_ray.recipe"


def safetensors_bytes(member: PortableMember) -> bytes:
    """The file's bytes: a checkpoint's, with more in its header."""
    more = {
        **member.metadata,
        _FACTS: member.facts.model_dump_json(),
        _RECORD: member.record.model_dump_json(),
    }
    return member.checkpoint.to_bytes(more)


def load_safetensors(path: str | os.PathLike[str]) -> Network:
    """The network of an exported file, as its member predicts. Raises StoreError where the file is none."""
    return _restored(Path(path).read_bytes(), str(path))


def open_safetensors(data: bytes, *, source: str) -> Predict:
    """Raises StoreError where the bytes are no exported member."""
    return _restored(data, source).predict


def _restored(data: bytes, source: str) -> Network:
    checkpoint = Checkpoint.from_bytes(data, source=source)
    header = header_texts(data)
    try:
        facts = NetworkFacts.model_validate_json(header[_FACTS])
        record = MemberRecord.model_validate_json(header[_RECORD])
        recipe = parse_recipe(header[_RECIPE], source=f"{_RECIPE} in {source}")
    except (KeyError, ValueError) as error:
        raise StoreError(f"{source}: no member that `pie-ray export --format safetensors` wrote ({error})") from error
    return Network(facts, recipe, record, checkpoint)
