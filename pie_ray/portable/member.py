"""What goes into a file: a member's network, and what is to be known of it without its sweep."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass

import torch
from torch import nn

from .. import __version__
from ..checkpoint import Checkpoint
from ..config import Execution, QuantizationScheme, Recipe
from ..packaged import NetworkFacts
from ..recipe import dump_recipe
from ..records import MemberRecord
from ..training import make_route
from .layers import FromPixels, keep_stored_weights

INPUT, OUTPUT = "images", "logits"


@dataclass(frozen=True, eq=False)
class PortableMember:
    """A complete member, restored on the CPU."""

    network: nn.Module
    """In eval mode, from normalised images to logits; nobody may change it."""
    scheme: QuantizationScheme | None
    checkpoint: Checkpoint
    record: MemberRecord
    facts: NetworkFacts
    recipe: Recipe

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.facts.num_channels, self.facts.image_size, self.facts.image_size

    @property
    def metadata(self) -> dict[str, str]:
        """By name, as every format has it."""
        return {
            "pie_ray.member_id": self.record.member_id,
            "pie_ray.variant_id": self.record.variant_id,
            "pie_ray.seed": str(self.record.seed),
            "pie_ray.sparsity": f"{self.record.achieved_sparsity:.6g}",
            "pie_ray.quantization": self.record.quantization or "none",
            "pie_ray.class_names": json.dumps(self.facts.class_names),
            "pie_ray.image_shape": json.dumps(self.image_shape),
            "pie_ray.recipe": dump_recipe(self.recipe.model_copy(update={"execution": Execution()})),
            "pie_ray.versions": json.dumps({"pie_ray": __version__, "torch": torch.__version__}),
        }

    def example(self) -> torch.Tensor:
        """Images to trace with: more than one, since exporters take a one for a constant."""
        return torch.zeros(2, *self.image_shape, dtype=torch.uint8)

    def stored_network(self) -> nn.Module:
        """A copy whose weights are of the types that the checkpoint has.

        Where those are floats of 32 bits, the batch norms are folded into them as for the member's predictions.
        """
        if self.scheme is None:
            route = make_route(self.network, arithmetic="native", precision="float32", image_shape=self.image_shape)
            assert isinstance(route, nn.Module)
            return copy.deepcopy(route)
        network = copy.deepcopy(self.network)
        keep_stored_weights(network, self.scheme, self.checkpoint.state)
        return network

    def from_pixels(self, network: nn.Module) -> nn.Module:
        """A network from uint8 images to logits, without gradients."""
        statistics = (self.facts.channel_mean, self.facts.channel_std)
        return FromPixels(network, statistics).eval().requires_grad_(False)
