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
from .levels import (
    by_channel,
    image_ranges,
    input_range,
    levels_as_bytes,
    levels_of,
    memory_format,
    quantize_weight,
)
from .network import QuantizableLayer, require_finite


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
        self.operation: AbstractOperation = operation_of(source)
        self._kernel: Kernel | None = None
        self._met: tuple[torch.Size, Tensor] | None = None

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
        self._kernel = self.operation.pack(self.weight, zero_point) if in_int8 else None
        self._met = None

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = self.operation.pad(inputs)
        if self.static:
            scale, zero_point = self.input_scale, self.input_zero_point
        else:
            scale, zero_point = image_ranges(inputs)
        outputs = self._sums(inputs, scale, zero_point).mul_(scale * self._by_channel(self.weight_scale))
        return outputs if self.bias is None else outputs.add_(self._by_channel(self.bias))

    def _sums(self, inputs: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        """Sum of (levels - zero_point) * weight over every window."""
        if self._kernel is None:
            return self.operation.simulate(levels_of(inputs, scale, zero_point).sub_(zero_point), self.weight)
        sums = self._kernel(levels_as_bytes(inputs, scale, zero_point))
        if self.static:
            return sums
        # The kernels take one zero point a batch: each image's own is taken off afterwards, times the weights it met.
        return sums.addcmul_(self._weight_met(self._kernel, inputs.shape[1:]), zero_point, value=-1)

    def _weight_met(self, kernel: Kernel, shape: torch.Size) -> Tensor:
        """Sum of the weights over every window: all of them, fewer at the borders, where padding is zero.

        An image of ones tells; it is asked once for images of one shape.
        """
        if self._met is None or self._met[0] != shape:
            ones = torch.ones(1, *shape, dtype=torch.uint8)
            self._met = shape, kernel(ones.contiguous(memory_format=memory_format(ones)))
        return self._met[1]

    def _by_channel(self, values: Tensor) -> Tensor:
        return by_channel(values, self.weight.dim() - 1)
