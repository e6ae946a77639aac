"""Networks that are trained with the quantization's rounding in them.

In training every covered layer rounds its weights, and in the int8 schemes its inputs, to the very levels that the
converted network has (`levels.py`), and adds up the same integers: in float32 both give the same logits, bit for bit.
Gradients pass the rounding as if it were not there, and stop at inputs beyond the range (Jacob et al., arXiv
1712.05877). bfloat16 holds these integers exactly, so autocast costs the sums no more than it costs any layer's. Batch
norm trains as always; neither scheme folds it into the weights.

The range of a static layer's inputs begins at the extremes on the calibration images, follows the batches' with a
moving average, and ends as the converted layer's: that of the last steps, which the weights were trained with, and not
one calibrated anew, which they were not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, final

from torch import Tensor, nn
from torch.func import functional_call

from . import int8, weight_only
from .int8 import Extremes, observe_inputs
from .int8_kernels import operation_of
from .levels import MAX_LEVEL, by_channel, image_ranges, input_range, round_weight, round_within
from .network import Encode, QuantizableLayer, quantizable_layers, replace_layers

AVERAGING = 0.01
"""Share of a batch in the moving averages of extremes; torch.ao's default."""


def prepare_static_int8(network: nn.Module, calibration_images: Tensor) -> Encode:
    extremes = observe_inputs(network.eval(), calibration_images)
    return _prepare(
        network,
        lambda name, layer: Int8Rounding(layer, extremes[name]),
        lambda layers: int8.encode(network, {name: layer.extremes for name, layer in layers.items()}),
    )


def prepare_dynamic_int8(network: nn.Module, calibration_images: Tensor) -> Encode:
    del calibration_images
    return _prepare(network, lambda _, layer: Int8Rounding(layer, None), lambda _: int8.encode(network, {}))


def prepare_weight_only(num_bits: int, network: nn.Module, calibration_images: Tensor) -> Encode:
    return _prepare(
        network,
        lambda _, layer: WeightRounding(layer, num_bits),
        lambda _: weight_only.encode(num_bits, network, calibration_images),
    )


Rounding = TypeVar("Rounding", bound=nn.Module)


def _prepare(
    network: nn.Module,
    rounding: Callable[[str, QuantizableLayer], Rounding],
    encode: Callable[[dict[str, Rounding]], dict[str, Tensor]],
) -> Encode:
    """Put `rounding` around every covered layer; what is returned takes it away and encodes.

    The layers' own parameters are trained, so that masks that hold some of them at zero go on doing so.
    """
    plain = dict(quantizable_layers(network))
    rounded = {name: rounding(name, layer) for name, layer in plain.items()}
    replace_layers(network, {plain[name]: rounded[name] for name in plain})

    def finish() -> dict[str, Tensor]:
        replace_layers(network, {rounded[name]: plain[name] for name in plain})
        return encode(rounded)

    return finish


@final
class Int8Rounding(nn.Module):
    """What `Int8Layer` will do with the layer within, in floats and with gradients."""

    low: Tensor
    high: Tensor

    def __init__(self, source: QuantizableLayer, extremes: Extremes | None) -> None:
        """`extremes` of the layer's inputs make it static."""
        super().__init__()
        self.source = source
        self.static = extremes is not None
        if extremes is not None:
            self.register_buffer("low", extremes[0].clone())
            self.register_buffer("high", extremes[1].clone())
        self._operation = operation_of(source)

    @property
    def extremes(self) -> Extremes:
        """Of a static layer's inputs, two scalars."""
        return self.low, self.high

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = self._operation.pad(inputs).float()
        scale, zero_point = self._range(inputs.detach())
        centred = round_within(inputs / scale, -zero_point, MAX_LEVEL - zero_point)
        weight, weight_scale = round_weight(self.source.weight)
        num_dims = weight.dim() - 1
        outputs = self._operation.simulate(centred, weight) * (scale * by_channel(weight_scale, num_dims))
        return outputs if self.source.bias is None else outputs + by_channel(self.source.bias, num_dims)

    def _range(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if not self.static:
            return image_ranges(inputs)
        if self.training:
            low, high = inputs.aminmax()
            self.low.lerp_(low, AVERAGING)
            self.high.lerp_(high, AVERAGING)
        return input_range(self.low, self.high)


@final
class WeightRounding(nn.Module):
    """The layer within, with its weights rounded."""

    def __init__(self, source: QuantizableLayer, num_bits: int) -> None:
        super().__init__()
        self.source, self.num_bits = source, num_bits

    def forward(self, inputs: Tensor) -> Tensor:
        integers, scale = round_weight(self.source.weight, self.num_bits)
        weight = integers * by_channel(scale, integers.dim())
        outputs: Tensor = functional_call(self.source, {"weight": weight}, (inputs,))
        return outputs
