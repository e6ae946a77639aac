"""A convolution or linear layer on integers.

With inputs q = round(x / s) + z in 0..255 and, for each output channel, weights w = round(weight / r) in -127..127:

    y = s * r * sum((q - z) * w) + bias

Weights are symmetric, so a pruned weight stays exactly zero, and so does a zero input, whatever z. The sum is exact in
int8 kernels and, below 2**24, in the float32 that simulates them: both ways give the same bits. Batch norm stays in
float: folding it into the weights would multiply whole channels, which leaves their integers as they are.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from .int8_kernels import AbstractOperation, Kernel, operation_of
from .network import QuantizableLayer, require_finite

MAX_LEVEL = 255
MAX_WEIGHT = 127


@final
class Int8Layer(nn.Module):
    """Stands in for a Conv2d or Linear: float32 in, float32 out, integers in between.

    A static layer has one input range, from calibration. A dynamic layer takes the range of each image by itself, never
    of the batch: a prediction must not depend on which images share a batch (TFLite's hybrid kernels do the same).
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None
    input_scale: Tensor
    input_zero_point: Tensor

    def __init__(self, source: QuantizableLayer, *, static: bool) -> None:
        """Shape the buffers after `source`; their values come from `from_trained` or a state."""
        super().__init__()
        device = source.weight.device
        self.register_buffer("weight", torch.zeros(source.weight.shape, dtype=torch.int8, device=device))
        self.register_buffer("weight_scale", torch.ones(len(source.weight), device=device))
        self.register_buffer("bias", None if source.bias is None else source.bias.detach().clone())
        if static:
            self.register_buffer("input_scale", torch.ones((), device=device))
            self.register_buffer("input_zero_point", torch.zeros((), dtype=torch.int32, device=device))
        self.static = static
        self._operation: AbstractOperation = operation_of(source)
        self._kernel: Kernel | None = None

    @classmethod
    def from_trained(cls, name: str, source: QuantizableLayer, extremes: tuple[Tensor, Tensor] | None) -> Int8Layer:
        """Quantize a trained layer; `extremes` of its inputs make it static."""
        layer = cls(source, static=extremes is not None)
        layer.weight, layer.weight_scale = quantize_weight(source.weight.detach())
        require_finite(layer.weight_scale, f"the weights of {name} are")
        if extremes is not None:
            scale, zero_point = input_range(*extremes)
            require_finite(scale, f"the inputs of {name} on the calibration images are")
            layer.input_scale, layer.input_zero_point = scale, zero_point.to(torch.int32)
        return layer

    def prepare(self, *, in_int8: bool) -> None:
        """Pack the loaded weights for the int8 kernels, or settle for simulating them."""
        zero_point = int(self.input_zero_point) if self.static else 0
        self._kernel = self._operation.pack(self.weight, zero_point) if in_int8 else None

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = self._operation.pad(inputs)
        if self.static:
            scale, zero_point = self.input_scale, self.input_zero_point
        else:
            scale, zero_point = image_ranges(inputs)
        levels = (inputs / scale).round_().add_(zero_point).clamp_(0, MAX_LEVEL)
        outputs = self._sums(levels, zero_point).mul_(scale * self._by_channel(self.weight_scale))
        return outputs if self.bias is None else outputs.add_(self._by_channel(self.bias))

    def _sums(self, levels: Tensor, zero_point: Tensor) -> Tensor:
        """Sum of (levels - zero_point) * weight over every window."""
        if self._kernel is None:
            return self._operation.simulate(levels.sub_(zero_point), self.weight)
        if self.static:
            return self._kernel(levels)
        # The kernels take one zero point a batch: each image's own is taken off afterwards, times the weights that it
        # met: all of a window's, fewer at the borders, where padding is zero. An image of ones tells how many.
        weight_met = self._kernel(torch.ones_like(levels[:1]))
        return self._kernel(levels).addcmul_(weight_met, zero_point, value=-1)

    def _by_channel(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.weight.dim() - 2))


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integers in -127..127 and the scale of each output channel; a channel of zeros has scale 1."""
    scale = _positive(weight.flatten(1).abs().amax(1) / MAX_WEIGHT)
    per_channel = scale.view(-1, *[1] * (weight.dim() - 1))
    return (weight / per_channel).round_().clamp_(-MAX_WEIGHT, MAX_WEIGHT).to(torch.int8), scale


def input_range(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of 256 levels from `low` to `high`, widened to hold zero; of a constant zero, 1 and 0."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _positive((high - low) / MAX_LEVEL)
    return scale, (-low / scale).round_().clamp_(0, MAX_LEVEL)


def image_ranges(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of each image, [n, 1, ...]."""
    all_but_images = list(range(1, inputs.dim()))
    return input_range(inputs.amin(all_but_images, keepdim=True), inputs.amax(all_but_images, keepdim=True))


def _positive(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 1.0, scale)
