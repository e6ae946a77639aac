"""The shape of a network whose channels were removed: what a checkpoint has to say beside its tensors.

A quantized checkpoint may hold its weights packed, so the shapes cannot be told from the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import StoreError

Structure = Mapping[str, tuple[int, ...]]
"""Shapes of parameters and buffers by name, as in the state dict."""


def structure_of(network: nn.Module, dense: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of those parameters and buffers that differ from the dense network's; empty where none does."""
    before = dense.state_dict()
    return {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, Tensor) and name in before and tensor.shape != before[name].shape
    }


def reshape(network: nn.Module, structure: Structure) -> nn.Module:
    """`network` with tensors of these shapes, in place; their values are zeros, to be loaded.

    They keep device, type and memory layout, and the layers are told their new numbers of channels. Raises StoreError
    where the network has no such tensor, or a smaller one.
    """
    for name, shape in structure.items():
        layer_name, _, tensor_name = name.rpartition(".")
        try:
            layer = network.get_submodule(layer_name)
            tensor = getattr(layer, tensor_name)
        except AttributeError:
            raise StoreError(f"the checkpoint has {name} of shape {shape}, which the network has not") from None
        setattr(layer, tensor_name, _resized(name, tensor, tuple(shape)))
        _tell_channels(layer)
    return network


def _resized(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    fits = tensor.dim() == len(shape) and all(new <= old for new, old in zip(shape, tensor.shape, strict=True))
    if not fits:
        raise StoreError(
            f"the checkpoint has {name} of shape {shape}, the network's is {tuple(tensor.shape)}: channels can only be "
            "missing from it"
        )
    in_channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if in_channels_last else torch.contiguous_format
    zeros = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device).to(memory_format=layout)
    return nn.Parameter(zeros, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else zeros


def _tell_channels(layer: nn.Module) -> None:
    """Bring a layer's own description in line with its tensors."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        _tell_convolution(layer)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        known = layer.weight if layer.running_mean is None else layer.running_mean
        layer.num_features = len(known)
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(layer.weight.shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = len(layer.weight)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


def _tell_convolution(layer: nn.modules.conv._ConvNd) -> None:
    """A depthwise convolution loses groups with its channels; any other keeps its number of groups."""
    first, second = layer.weight.shape[:2]
    if 1 < layer.groups == layer.in_channels == layer.out_channels:
        layer.groups = first
    outputs, inputs = (second, first) if layer.transposed else (first, second)
    layer.out_channels = outputs * (layer.groups if layer.transposed else 1)
    layer.in_channels = inputs * (1 if layer.transposed else layer.groups)
