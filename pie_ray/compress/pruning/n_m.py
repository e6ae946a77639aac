"""N:M sparsity: of every M consecutive input channels' weights at most N are left, which sparse tensor cores skip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import CompressionError
from ...variants import NMPruning
from ..fit import Fit
from .masks import weights_to_prune
from .one_shot import remove


def prune_n_of_m(
    network: nn.Module, pruning: NMPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """The N largest weights of each group, at once from the dense member.

    Groups lie along the input channels, for each output channel and kernel position by itself, as in NVIDIA's ASP
    (Mishra et al., arXiv 2104.08378). Convolutions whose input channels (of one group, where they are grouped) are no
    multiple of M are spared, the stem of most networks among them. The classifier is spared as with every scope
    `layer`. ASP would prune it where it has a multiple of 8 outputs and of 16 inputs, and asks the same of
    convolutions, so that more kernels are pruned here than hardware could use in narrow networks.

    Raises CompressionError where every convolution would be spared.
    """
    del images, generator
    num_kept, size = pruning.group
    weights = {
        name: weight for name, weight in weights_to_prune(network, pruning.scope).items() if weight.shape[1] % size == 0
    }
    if not weights:
        raise CompressionError(
            f"{pruning.pattern}: no convolution's input channels are a multiple of {size}; accepted is "
            "a wider network, or a pattern of smaller groups"
        )
    masks = {name: n_of_m_mask(weight, num_kept, size) for name, weight in weights.items()}
    remove(network, weights, masks, pruning, fit)
    for name, weight in weights.items():
        most = int((_grouped(weight.detach(), size) != 0).sum(-1).max())
        if most > num_kept:
            raise CompressionError(
                f"{name} has {most} weights in a group of {size}, {pruning.pattern} allows {num_kept}"
            )
    return network


def n_of_m_mask(weight: Tensor, num_kept: int, size: int) -> Tensor:
    """True for the `num_kept` largest magnitudes of every `size` along axis 1, a multiple; ties keep the earliest."""
    groups = _grouped(weight.detach().abs(), size)
    order = groups.argsort(dim=-1, descending=True, stable=True)
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :num_kept], True)
    return kept.reshape(weight.movedim(1, -1).shape).movedim(-1, 1)


def _grouped(weight: Tensor, size: int) -> Tensor:
    """[out, in, ...] to [out, ..., in / size, size]."""
    return weight.movedim(1, -1).unflatten(-1, (-1, size))
