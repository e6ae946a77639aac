"""A member's checkpoint as bytes: its tensors, and what is known of it that depends on nothing but its recipe.

Timings and machines stand in the member's record, so that the same member gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from .errors import StoreError
from .records import Arithmetic, QuantizationFacts


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
    """Shapes by tensor, where channels were removed."""
    multiply_adds: int | None = None
    """Of one image; None in checkpoints that are older than this figure and the next."""
    multiply_adds_nonzero: int | None = None
    """Of these the ones whose weight is not zero."""
    quantization: QuantizationFacts | None = None


@dataclass(frozen=True)
class Checkpoint:
    facts: Facts
    state: dict[str, torch.Tensor]

    def to_bytes(self, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """`more` texts, by name, go into the header."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state.items()}
        metadata = {**more, "member_id": self.facts.member_id, "facts": _dumped(self.facts)}
        return _with_sorted_header(save(state, metadata=metadata))

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Checkpoint:
        """Raises StoreError, naming `source`, where the bytes are no checkpoint of ours."""
        try:
            facts: dict[str, Any] = json.loads(_header(data)[0]["__metadata__"]["facts"])
            facts["structure"] = {name: tuple(shape) for name, shape in facts.get("structure", {}).items()}
            if facts.get("quantization") is not None:
                facts["quantization"] = QuantizationFacts.model_validate(facts["quantization"], strict=False)
            return cls(facts=Facts(**facts), state=load(data))
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{source}: not a checkpoint of pie_ray ({error}); delete it to have it made again"
            ) from error


def _dumped(facts: Facts) -> str:
    return json.dumps(asdict(facts), default=lambda model: model.model_dump(mode="json"))


def header_texts(data: bytes) -> dict[str, str]:
    """The texts in the header of a checkpoint's bytes, by name."""
    texts: dict[str, str] = _header(data)[0]["__metadata__"]
    return texts


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
