"""A member's checkpoint as bytes: its tensors, and what is known of it that depends on nothing but its recipe.

Timings and machines stand in the member's record, so that the same member gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Checkpoint:
    facts: Facts
    state: dict[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state.items()}
        return save(state, metadata={"member_id": self.facts.member_id, "facts": json.dumps(asdict(self.facts))})

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Checkpoint:
        """Raises StoreError, naming `source`, where the bytes are no checkpoint of ours."""
        try:
            facts: dict[str, Any] = json.loads(_metadata(data)["facts"])
            return cls(facts=Facts(**facts), state=load(data))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{source}: not a checkpoint of pie_ray ({error}); delete it to have it made again"
            ) from error


def _metadata(data: bytes) -> dict[str, str]:
    header_length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + header_length])["__metadata__"]
    return metadata
