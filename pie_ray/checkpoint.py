"""A member's checkpoint as bytes: its tensors, and what is known of it that depends on nothing but its recipe.

Timings and machines stand in the member's record, so that the same member gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from .errors import StoreError
from .records import Arithmetic


@dataclass(frozen=True)
class Facts:
    """Measured from the finished network."""

    member_id: str
    num_parameters: int
    num_prunable: int
    num_nonzero: int
    achieved_sparsity: float
    arithmetic: Arithmetic
    precision: str
    device: str
    train_loss: float | None
    structure: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the weights by layer, where channels were removed."""


@dataclass(frozen=True)
class Checkpoint:
    facts: Facts
    state: dict[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state.items()}
        metadata = {"member_id": self.facts.member_id, "facts": json.dumps(asdict(self.facts))}
        return _with_sorted_header(save(state, metadata=metadata))

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Checkpoint:
        """Raises StoreError, naming `source`, where the bytes are no checkpoint of ours."""
        try:
            facts: dict[str, Any] = json.loads(_header(data)[0]["__metadata__"]["facts"])
            return cls(facts=Facts(**facts), state=load(data))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{source}: not a checkpoint of pie_ray ({error}); delete it to have it made again"
            ) from error


def _header(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's JSON header and the tensors' bytes behind it."""
    end = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:end])
    return header, data[end:]


def _with_sorted_header(data: bytes) -> bytes:
    """The library writes its metadata in an order that differs from process to process."""
    header, tensors = _header(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors
