"""A member's layers as they go into files: weights in the type that its checkpoint has, integers added as integers.

What ONNX has no torch operator for is written as ONNX's own (`torch.onnx.ops.symbolic`); such layers can be exported
and not called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx.ops import symbolic

from ..compress.quantization.int8_kernels import Convolution, operation_of
from ..compress.quantization.int8_layer import Int8Layer
from ..compress.quantization.levels import MAX_LEVEL, by_channel, image_ranges
from ..compress.quantization.network import QuantizableLayer, quantizable_layers, replace_layers
from ..config import QuantizationScheme
from ..training import Normalise
from ..training.batches import ChannelStatistics

UNSIGNED_OFFSET = 128
"""Added to int8 weights, and named as their zero point.

ONNX Runtime 1.32 has fast convolutions for unsigned weights only: those of signed ones took six times as long.
"""

_WEIGHTS_ALONE = ("weight_int8", "weight_int4")
_FLOATS: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@final
class FromPixels(nn.Module):
    """uint8 images [n, channels, height, width] to float32 logits [n, outputs]: the normalisation goes along."""

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, network: nn.Module, statistics: ChannelStatistics) -> None:
        super().__init__()
        normalise = Normalise(statistics, torch.device("cpu"))
        self.network = network
        self.register_buffer("pixel_scale", normalise.scale)
        self.register_buffer("pixel_shift", normalise.shift)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.float() * self.pixel_scale + self.pixel_shift)
        return logits


# ------------------------------------------------------------------------------------------------ stored in few bits


def keep_stored_weights(network: nn.Module, scheme: QuantizationScheme | None, state: Mapping[str, Tensor]) -> None:
    """In place: weights that a scheme rounded are kept in its type, and become float32 where they are used.

    Of other schemes the network stays as it is. `state` is the checkpoint's, which the network was restored from.
    """
    dtype = _FLOATS.get(str(scheme))
    if dtype is None and scheme not in _WEIGHTS_ALONE:
        return
    layers = {
        layer: StoredLayer(layer, dtype, state.get(f"{name}.weight_scale"))
        for name, layer in quantizable_layers(network)
    }
    replace_layers(network, layers)


@final
class StoredLayer(nn.Module):
    """A Conv2d or Linear whose weights are stored in 16 bits, or as integers times a scale an output channel.

    Integers of four bits take a byte: torch has no smaller type.
    """

    weight: Tensor
    weight_scale: Tensor | None
    bias: Tensor | None

    def __init__(self, source: QuantizableLayer, dtype: torch.dtype | None, scale: Tensor | None) -> None:
        """With a `scale` the weights are integers, without one both weights and biases are of the `dtype`."""
        super().__init__()
        self.operation = operation_of(source)
        self.num_dims = source.weight.dim()
        bias = None if source.bias is None else by_channel(source.bias.detach(), self.num_dims - 1)
        if scale is None:
            assert dtype is not None
            weight, bias = source.weight.detach().to(dtype), None if bias is None else bias.to(dtype)
        else:
            scale = by_channel(scale, self.num_dims)
            weight = (source.weight.detach() / scale).round().to(torch.int8)
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("bias", bias)
        assert torch.equal(self._weight(), source.weight), "the weights are not those that the scheme rounds to"

    def _weight(self) -> Tensor:
        weight = self.weight.to(torch.float32)
        return weight if self.weight_scale is None else weight * self.weight_scale

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.operation.simulate(self.operation.pad(inputs), self._weight())
        return outputs if self.bias is None else outputs + self.bias.to(torch.float32)


# ----------------------------------------------------------------------------------------------------- int8 sums


def add_as_onnx_integers(network: nn.Module) -> None:
    """In place: every `Int8Layer` by one of ONNX's integer operators."""
    layers = {layer: OnnxInt8Layer(layer) for layer in network.modules() if isinstance(layer, Int8Layer)}
    replace_layers(network, layers)


def add_as_floats(network: nn.Module) -> None:
    """In place: every `Int8Layer` adds its integers in float32, which gives the same bits, and stores int8."""
    for layer in network.modules():
        if isinstance(layer, Int8Layer):
            layer.prepare(in_int8=False)


@final
class OnnxInt8Layer(nn.Module):
    """What an `Int8Layer` computes, in the same order, by ConvInteger or MatMulInteger.

    Those take one zero point a batch. A dynamic layer has one an image: its inputs are padded before they are rounded,
    so that every window meets all weights, and an image's zero point times their sum is taken off, in integers.
    """

    weight: Tensor
    weight_zero_point: Tensor
    weight_sum: Tensor
    scale: Tensor
    bias: Tensor | None
    input_scale: Tensor
    input_zero_point: Tensor

    def __init__(self, layer: Int8Layer) -> None:
        super().__init__()
        self.operation = layer.operation
        self.static = layer.static
        num_dims = layer.weight.dim() - 1
        weight = (layer.weight.to(torch.int16) + UNSIGNED_OFFSET).to(torch.uint8)
        self.register_buffer("weight", weight if isinstance(self.operation, Convolution) else weight.t().contiguous())
        self.register_buffer("weight_zero_point", torch.tensor(UNSIGNED_OFFSET, dtype=torch.uint8))
        self.register_buffer("bias", None if layer.bias is None else by_channel(layer.bias, num_dims))
        if layer.static:
            self.register_buffer("input_scale", layer.input_scale)
            self.register_buffer("input_zero_point", layer.input_zero_point.to(torch.uint8))
            self.register_buffer("scale", by_channel(layer.input_scale * layer.weight_scale, num_dims))
        else:
            self.register_buffer("scale", by_channel(layer.weight_scale, num_dims))
            self.register_buffer("weight_sum", by_channel(layer.weight.flatten(1).sum(1, dtype=torch.int32), num_dims))

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = self.operation.pad(inputs)
        outputs = self._with_one_range(inputs) if self.static else self._with_a_range_an_image(inputs)
        return outputs if self.bias is None else outputs + self.bias

    def _with_one_range(self, inputs: Tensor) -> Tensor:
        quantize = (inputs, self.input_scale, self.input_zero_point)
        levels = symbolic("QuantizeLinear", quantize, dtype=torch.uint8, shape=inputs.shape)
        padding = self.operation.padding if isinstance(self.operation, Convolution) else ()
        return self._sums(levels, self.input_zero_point, padding).float() * self.scale

    def _with_a_range_an_image(self, inputs: Tensor) -> Tensor:
        if isinstance(self.operation, Convolution):
            inputs = F.pad(inputs, [width for width in reversed(self.operation.padding) for _ in range(2)])
        scale, zero_point = image_ranges(inputs)
        levels = ((inputs / scale).round() + zero_point).clamp(0, MAX_LEVEL).to(torch.uint8)
        sums = self._sums(levels, None, (0, 0)) - zero_point.to(torch.int32) * self.weight_sum
        return sums.float() * (scale * self.scale)

    def _sums(self, levels: Tensor, zero_point: Tensor | None, padding: Sequence[int]) -> Tensor:
        """Sums of (levels - zero_point) * weight, int32."""
        inputs = (levels, self.weight, zero_point, self.weight_zero_point)
        if not isinstance(self.operation, Convolution):
            shape = [*levels.shape[:-1], self.weight.shape[1]]
            return symbolic("MatMulInteger", inputs, dtype=torch.int32, shape=shape)
        geometry, kernel = self.operation, list(self.weight.shape[2:])
        sizes = zip(levels.shape[2:], padding, geometry.dilation, kernel, geometry.stride, strict=True)
        shape = [(size + 2 * pad - gap * (width - 1) - 1) // step + 1 for size, pad, gap, width, step in sizes]
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": list(geometry.stride),
            "dilations": list(geometry.dilation),
            "pads": [*padding, *padding],
            "group": geometry.groups,
        }
        shape = [levels.shape[0], self.weight.shape[0], *shape]
        return symbolic("ConvInteger", inputs, attributes, dtype=torch.int32, shape=shape)
