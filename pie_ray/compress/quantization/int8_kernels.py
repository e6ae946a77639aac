"""Sums of integer products: oneDNN's int8 kernels where they are exact, the same sums in float32 elsewhere.

The only home of torch's `onednn` operators, which torch's own compiler lowers quantized layers to. They exist on x86
processors; on those without VNNI instructions they saturate, which is measured rather than looked up. There are none
for CUDA: torch has no int8 convolution there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kernel = Callable[[Tensor], Tensor]
"""Levels (bytes, in channels last where they are images) to sums in float32."""


class AbstractOperation(ABC):
    """What a layer does with its inputs and weights, apart from all scales."""

    @abstractmethod
    def pad(self, inputs: Tensor) -> Tensor:
        """Do the padding that the kernels cannot."""

    @abstractmethod
    def simulate(self, centred: Tensor, weight: Tensor) -> Tensor:
        """Sums in float32: integers of 9 bits and less, which even TF32 holds exactly."""

    @abstractmethod
    def pack(self, weight: Tensor, zero_point: int) -> Kernel:
        """Sums of (levels - zero_point) * weight in int8, on the CPU."""


@final
@dataclass(frozen=True)
class Convolution(AbstractOperation):
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    explicit_padding: Sequence[int] | None = None
    padding_mode: str = "constant"

    def pad(self, inputs: Tensor) -> Tensor:
        if self.explicit_padding is None:
            return inputs
        return F.pad(inputs, list(self.explicit_padding), mode=self.padding_mode)

    def simulate(self, centred: Tensor, weight: Tensor) -> Tensor:
        # Channels last like the kernels' outputs, so that float layers further on sum in the same order.
        centred = centred.contiguous(memory_format=torch.channels_last)
        weights = weight.to(torch.float32, memory_format=torch.channels_last)
        return F.conv2d(centred, weights, None, self.stride, self.padding, self.dilation, self.groups)

    def pack(self, weight: Tensor, zero_point: int) -> Kernel:
        geometry = (list(self.stride), list(self.padding), list(self.dilation), self.groups)
        unit_scale, no_zero_points = _unit_scale(weight)
        packed = torch.ops.onednn.qconv_prepack(weight, unit_scale, 1.0, zero_point, *geometry)

        def sums(levels: Tensor) -> Tensor:
            return _as_float32(
                torch.ops.onednn.qconv_pointwise,
                (levels, 1.0, zero_point, packed, unit_scale, no_zero_points, None, *geometry),
            )

        return sums


@final
class MatrixProduct(AbstractOperation):
    def pad(self, inputs: Tensor) -> Tensor:
        return inputs

    def simulate(self, centred: Tensor, weight: Tensor) -> Tensor:
        return F.linear(centred, weight.to(torch.float32))

    def pack(self, weight: Tensor, zero_point: int) -> Kernel:
        unit_scale, no_zero_points = _unit_scale(weight)
        packed = torch.ops.onednn.qlinear_prepack(weight, None)

        def sums(levels: Tensor) -> Tensor:
            return _as_float32(
                torch.ops.onednn.qlinear_pointwise,
                (levels, 1.0, zero_point, packed, unit_scale, no_zero_points, None),
            )

        return sums


def operation_of(layer: nn.Conv2d | nn.Linear) -> AbstractOperation:
    if isinstance(layer, nn.Linear):
        return MatrixProduct()
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return Convolution(
            layer.stride,
            (0, 0),
            layer.dilation,
            layer.groups,
            layer._reversed_padding_repeated_twice,
            "constant" if layer.padding_mode == "zeros" else layer.padding_mode,
        )
    return Convolution(layer.stride, layer.padding, layer.dilation, layer.groups)


def _unit_scale(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Scale 1 and zero point 0 for every output channel: the kernels give bare sums, scaled afterwards."""
    return torch.ones(len(weight)), torch.zeros(len(weight), dtype=torch.int64)


def _as_float32(kernel: Any, arguments: tuple[Any, ...]) -> Tensor:
    """Call with float32 outputs, no output scale and nothing fused behind."""
    outputs: Tensor = kernel(*arguments, 1.0, 0, torch.float32, "none", [], "")
    return outputs


@lru_cache(maxsize=1)
def kernels_are_exact() -> bool:
    """Whether this processor has the int8 kernels, and they add extreme products without saturating."""
    generator = torch.Generator().manual_seed(0)
    operations: list[tuple[AbstractOperation, tuple[int, ...], tuple[int, ...]]] = [
        (Convolution((1, 1), (1, 1), (1, 1), 1), (2, 32, 9, 9), (16, 32, 3, 3)),
        (Convolution((1, 1), (1, 1), (1, 1), 1), (2, 1, 9, 9), (16, 1, 3, 3)),
        (Convolution((2, 2), (0, 0), (1, 1), 1), (2, 32, 9, 9), (16, 32, 1, 1)),
        (Convolution((1, 1), (1, 1), (1, 1), 32), (2, 32, 9, 9), (32, 1, 3, 3)),
        (MatrixProduct(), (2, 128), (10, 128)),
    ]
    try:
        return all(_is_exact(*operation, generator) for operation in operations)
    except (AttributeError, RuntimeError):
        return False


def _is_exact(
    operation: AbstractOperation,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    generator: torch.Generator,
) -> bool:
    zero_point = 3
    levels = torch.full(input_shape, 255, dtype=torch.uint8)
    weight = (torch.randint(2, weight_shape, generator=generator) * 254 - 127).to(torch.int8)
    sums = operation.pack(weight, zero_point)(levels)
    return torch.equal(sums, operation.simulate(levels.float() - zero_point, weight))
