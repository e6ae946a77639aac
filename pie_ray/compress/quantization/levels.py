"""The grids that weights and inputs are rounded to: one home, so that training with the rounding rounds alike."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

MAX_LEVEL = 255
"""Inputs take the levels 0..255."""
_FLOATS_AT_ONCE = 2**17
"""Half a megabyte, which lies in a processor's second cache."""
MAX_WEIGHT = {8: 127, 4: 7}
"""Weights of so many bits are integers from minus this to this: symmetric, so that zero stays zero."""


def quantize_weight(weight: Tensor, num_bits: int = 8) -> tuple[Tensor, Tensor]:
    """Integers (int8) and the scale of each output channel; a channel of zeros has scale 1."""
    scale = weight_scale(weight, num_bits)
    bound = MAX_WEIGHT[num_bits]
    return (weight / by_channel(scale, weight.dim())).round_().clamp_(-bound, bound).to(torch.int8), scale


def round_weight(weight: Tensor, num_bits: int = 8) -> tuple[Tensor, Tensor]:
    """`quantize_weight` with gradients: the integers as floats, and the scales, which count as constant."""
    scale = weight_scale(weight.detach(), num_bits)
    bound = MAX_WEIGHT[num_bits]
    return round_within(weight / by_channel(scale, weight.dim()), -bound, bound), scale


def weight_scale(weight: Tensor, num_bits: int) -> Tensor:
    """[output channels]: each channel's largest weight takes the largest integer."""
    return _positive(weight.flatten(1).abs().amax(1) / MAX_WEIGHT[num_bits])


def input_range(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of 256 levels from `low` to `high`, widened to hold zero; of a constant zero, 1 and 0."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _positive((high - low) / MAX_LEVEL)
    return scale, (-low / scale).round_().clamp_(0, MAX_LEVEL)


def image_ranges(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of each image, [n, 1, ...]."""
    all_but_images = list(range(1, inputs.dim()))
    return input_range(inputs.amin(all_but_images, keepdim=True), inputs.amax(all_but_images, keepdim=True))


def levels_of(inputs: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Float32 integers in 0..255; scale and zero point are scalars or [n, 1, ...]."""
    return (inputs / scale).round_().add_(zero_point).clamp_(0, MAX_LEVEL)


def levels_as_bytes(inputs: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """`levels_of` as uint8, in channels last where the inputs are images.

    A few images at a time: floats in between that leave the processor's cache, in memory that is asked for and given
    back at every layer, would take more time than the sums. By way of int16, which takes a third of the time that the
    direct way from float to uint8 does.
    """
    step = max(1, _FLOATS_AT_ONCE // max(1, inputs[:1].numel()))
    ranges: Iterable[tuple[Tensor, Tensor]] = repeat((scale, zero_point))
    if scale.dim():
        ranges = zip(scale.split(step), zero_point.split(step), strict=True)
    parts = [
        levels_of(images, *of_images).to(torch.int16).to(torch.uint8)
        for images, of_images in zip(inputs.split(step), ranges, strict=False)
    ]
    levels = parts[0] if len(parts) == 1 else torch.cat(parts)
    return levels.contiguous(memory_format=memory_format(levels))


def memory_format(values: Tensor) -> torch.memory_format:
    """That of the int8 kernels."""
    return torch.channels_last if values.dim() == 4 else torch.contiguous_format


def by_channel(values: Tensor, num_dims: int) -> Tensor:
    """Values [channels] as [channels, 1, ...] of so many dimensions."""
    return values.view(-1, *[1] * (num_dims - 1))


def round_within(values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Rounded and cut off at integers; the gradient passes straight through where nothing was cut off."""
    rounded: Tensor = _StraightThrough.apply(values, low, high)
    return rounded


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
        rounded = values.round()
        within = rounded.clamp(low, high)  # type: ignore[arg-type]
        ctx.save_for_backward(within == rounded)
        return within

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (is_within,) = ctx.saved_tensors
        return gradient * is_within, None, None


def _positive(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 1.0, scale)
