"""Which weights a scope may prune, and masks that keep the largest of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from ...config import Scope
from ...errors import CompressionError


def prunable_weights(network: nn.Module, scope: Scope) -> dict[str, nn.Parameter]:
    """Weights by name: every convolution, stem and projections included; with scope `global` the dense layers too.

    Scope `layer` spares the classifier, as Hooker et al. do; biases and batch norm are never pruned.
    """
    kinds: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    if scope == "global":
        kinds += (nn.Linear,)
    return {
        f"{name}.weight" if name else "weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, kinds) and isinstance(module.weight, nn.Parameter)
    }


def weights_to_prune(network: nn.Module, scope: Scope) -> dict[str, nn.Parameter]:
    """The same. Raises CompressionError where there are none."""
    weights = prunable_weights(network, scope)
    if not weights:
        raise CompressionError(f"the network has no layer that pruning with scope {scope!r} may prune")
    return weights


def random_scores(weights: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """A number in [0, 1) for every weight, whose largest a random mask keeps; `generator` is on the CPU."""
    return {name: torch.rand(weight.shape, generator=generator).to(weight.device) for name, weight in weights.items()}


def largest(magnitudes: Tensor, num_kept: int) -> Tensor:
    """Boolean mask, shaped like `magnitudes`, of exactly `num_kept` largest entries; ties keep the earliest."""
    flat = magnitudes.detach().reshape(-1)
    num_cut = flat.numel() - num_kept
    if num_cut <= 0:
        return torch.ones_like(magnitudes, dtype=torch.bool)
    if num_kept == 0:
        return torch.zeros_like(magnitudes, dtype=torch.bool)
    threshold = _kth_smallest(flat, num_cut)
    kept = flat > threshold
    tied = (flat == threshold).nonzero().squeeze(1)
    kept[tied[: num_kept - int(kept.sum())]] = True
    return kept.view_as(magnitudes)


def _kth_smallest(flat: Tensor, k: int) -> Tensor:
    if flat.device.type == "cpu":
        # Several times faster than torch's kthvalue, topk or sort on millions of weights.
        return torch.tensor(np.partition(flat.numpy(), k - 1)[k - 1])
    return torch.kthvalue(flat, k).values


def layer_masks(weights: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Each tensor keeps its own round(N (1 - sparsity)) largest magnitudes (Hooker et al.)."""
    return {
        name: largest(weight.detach().abs(), round(weight.numel() * (1 - sparsity))) for name, weight in weights.items()
    }


def global_masks(weights: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """All tensors together keep their round(N (1 - sparsity)) largest magnitudes (Iofinova et al.)."""
    flat = torch.cat([weight.detach().abs().reshape(-1) for weight in weights.values()])
    kept = largest(flat, round(flat.numel() * (1 - sparsity)))
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)}


MASKS = {"layer": layer_masks, "global": global_masks}


def measure_sparsity(weights: Mapping[str, Tensor], num_removed: int = 0) -> float:
    """Share of exact zeros among the weights, with `num_removed` that are not even there."""
    num_weights = num_removed + sum(weight.numel() for weight in weights.values())
    num_zero = num_removed + sum(int((weight == 0).sum()) for weight in weights.values())
    return num_zero / num_weights if num_weights else 0.0


def require_sparsity(weights: Mapping[str, Tensor], sparsity: float, scope: Scope) -> float:
    """The sparsity measured from the weights.

    Raises CompressionError where more than round(N (1 - sparsity)) are left, of each tensor or of all by `scope`. Fewer
    are no error: a weight that is kept may be zero by itself.
    """
    achieved = measure_sparsity(weights)
    together = [[weight] for weight in weights.values()] if scope == "layer" else [list(weights.values())]
    for tensors in together:
        num_kept = round(sum(tensor.numel() for tensor in tensors) * (1 - sparsity))
        if sum(int(tensor.count_nonzero()) for tensor in tensors) > num_kept:
            raise CompressionError(f"pruned to sparsity {achieved:.6f}, the variant asks for {sparsity}")
    return achieved


@final
class FixedMasks:
    """Holds pruned weights at zero after every step of the optimizer."""

    def __init__(self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
        """`masks`: booleans, true where a weight is kept, of some of the weights."""
        self.weights, self.masks = weights, masks

    @classmethod
    def of_zeros(cls, weights: Mapping[str, nn.Parameter]) -> FixedMasks:
        """What is zero now stays so."""
        return cls(weights, {name: weight.detach() != 0 for name, weight in weights.items()})

    @classmethod
    def put_on(cls, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> FixedMasks:
        """Set what the masks leave out to zero, now and from now on."""
        fixed = cls(weights, masks)
        fixed.after_step()
        return fixed

    @torch.no_grad()
    def after_step(self, step: int = 0) -> None:
        for name, mask in self.masks.items():
            self.weights[name].mul_(mask)

    def state(self) -> dict[str, Any]:
        """The masks, to go on with after an interruption."""
        return {"masks": dict(self.masks)}

    def restore(self, state: dict[str, Any]) -> None:
        """Hold what a `state` held, from the next step on."""
        self.masks = {name: mask.to(self.weights[name].device) for name, mask in state["masks"].items()}
