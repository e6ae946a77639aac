"""Batch norms folded into the convolutions before them: the same function, with a pass over memory less at each."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import suppress

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NUM_PROBES = 2
_TOLERANCE = 1e-4
"""How far a logit may move, as a share of the largest; folding moves it by about 1e-6."""


def fold_batch_norms(network: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module:
    """A copy whose convolutions do what the batch norms after them did, or `network` itself; it stays as it is.

    torch.fx tells which batch norm is given a convolution's outputs that nobody else is given; the copy then runs the
    network's own code. A network that torch.fx cannot follow is not folded, and neither is one that answers otherwise
    when it is: both are held against each other on two images of noise of `image_shape`, channels, height and width, on
    the CPU in float32. All of this depends on the network alone, so that a member is folded always or never.

    Args:
        network: in eval mode, on any device.
    """
    assert not network.training
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    # Whatever a network's own code raises on symbols instead of tensors, when copied, or without its batch norms.
    with suppress(Exception):
        plain = copy.deepcopy(network).cpu()
        folded = _fold(copy.deepcopy(plain))
        if _largest_move(plain, folded, image_shape) <= _TOLERANCE:
            return folded.to(device)
    return network


def _fold(network: nn.Module) -> nn.Module:
    """Fold in place."""
    replacements: dict[nn.Module, nn.Module] = {}
    for convolution, norm in _pairs(network):
        replacements[convolution] = fuse_conv_bn_eval(convolution, norm)
        replacements[norm] = nn.Identity()
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacements:
                setattr(parent, name, replacements[child])
    return network


def _pairs(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution and batch norm that are called once, one after the other and on nothing else."""
    modules = dict(network.named_modules())
    calls = [node for node in fx.Tracer().trace(network).nodes if node.op == "call_module"]
    num_calls = Counter(modules[str(node.target)] for node in calls)
    pairs = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        convolution, norm = modules[str(source.target)], modules[str(node.target)]
        is_pair = type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d
        if is_pair and num_calls[convolution] == num_calls[norm] == 1 and norm.running_mean is not None:
            pairs.append((convolution, norm))
    return pairs


def _largest_move(plain: nn.Module, folded: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Of a logit of noise, as a share of the largest logit."""
    noise = torch.randn(_NUM_PROBES, *image_shape, generator=torch.Generator().manual_seed(0))
    images = noise.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected: Tensor = plain(images)
        found: Tensor = folded(images)
    return float((found - expected).abs().max() / expected.abs().max())
