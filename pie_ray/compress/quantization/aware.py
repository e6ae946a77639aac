"""Quantization-aware fine-tuning: the rounding in the network while it trains on, then the conversion."""

from __future__ import annotations

from torch import Tensor, nn

from ...config import QuantizationScheme
from ..fit import AfterStep, Fit
from .network import QuantizedNetwork


def quantize_aware(
    network: nn.Module,
    scheme: QuantizationScheme,
    fit: Fit,
    *,
    calibration_images: Tensor,
    after_step: AfterStep,
) -> QuantizedNetwork:
    raise NotImplementedError
