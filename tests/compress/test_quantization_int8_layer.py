"""The integer layer by itself: its formula, its ranges, and that kernels and simulation agree to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pie_ray.compress.quantization import int8_kernels
from pie_ray.compress.quantization.int8_kernels import kernels_are_exact
from pie_ray.compress.quantization.int8_layer import Int8Layer
from pie_ray.compress.quantization.levels import image_ranges, input_range, quantize_weight

needs_kernels = pytest.mark.skipif(not kernels_are_exact(), reason="this processor has no exact int8 kernels")

# Torch says so of its own convolution, which ours is compared with.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "gray stem": (nn.Conv2d(1, 16, 3, 1, 1, bias=False), (5, 1, 28, 28)),
    "imagenet stem": (nn.Conv2d(3, 64, 7, 2, 3, bias=False), (2, 3, 32, 32)),
    "strided projection": (nn.Conv2d(16, 32, 1, 2, bias=False), (3, 16, 8, 8)),
    "one image": (nn.Conv2d(32, 32, 3, 1, 1), (1, 32, 8, 8)),
    "deep": (nn.Conv2d(512, 64, 3, 1, 1), (2, 512, 4, 4)),
    "odd shapes": (nn.Conv2d(5, 7, (3, 5), (1, 2), (0, 2)), (3, 5, 9, 11)),
    "grouped": (nn.Conv2d(32, 64, 3, 1, 1, groups=4), (3, 32, 14, 14)),
    "depthwise": (nn.Conv2d(32, 32, 3, 1, 1, groups=32), (3, 32, 14, 14)),
    "dilated": (nn.Conv2d(8, 8, 3, 1, 2, dilation=2), (3, 8, 14, 14)),
    "same padding": (nn.Conv2d(8, 8, 4, padding="same"), (3, 8, 9, 9)),
    "reflecting": (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), (3, 8, 9, 9)),
    "classifier": (nn.Linear(512, 10), (7, 512)),
    "tokens": (nn.Linear(64, 10), (7, 5, 64)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def layer_and_inputs(request: pytest.FixtureRequest) -> tuple[nn.Conv2d | nn.Linear, Tensor]:
    layer, shape = request.param
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    inputs = torch.randn(shape, generator=generator)
    # Images of different ranges, every other one without a negative value.
    inputs *= torch.arange(1, shape[0] + 1).view(-1, *[1] * (len(shape) - 1)) / 4
    inputs[::2].clamp_(min=0)
    return layer, inputs


def int8_layer(layer: nn.Conv2d | nn.Linear, inputs: Tensor, *, static: bool, in_int8: bool) -> Int8Layer:
    quantized = Int8Layer.from_trained("layer", layer, (inputs.amin(), inputs.amax()) if static else None)
    quantized.prepare(in_int8=in_int8)
    return quantized


@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_simulation_is_the_float_layer_on_rounded_weights_and_inputs(
    layer_and_inputs: tuple[nn.Conv2d | nn.Linear, Tensor], static: bool
) -> None:
    layer, inputs = layer_and_inputs
    quantized = int8_layer(layer, inputs, static=static, in_int8=False)

    scale, zero_point = input_range(inputs.amin(), inputs.amax()) if static else image_ranges(inputs)
    levels = (inputs / scale).round().double() + zero_point
    rounded = copy.deepcopy(layer).double()
    per_channel = quantized.weight_scale.double().view(-1, *[1] * (layer.weight.dim() - 1))
    rounded.weight.data = quantized.weight.double() * per_channel
    expected = rounded((levels.clamp(0, 255) - zero_point) * scale).float()

    torch.testing.assert_close(quantized(inputs), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@needs_kernels
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_kernels_and_simulation_agree_to_the_bit(
    layer_and_inputs: tuple[nn.Conv2d | nn.Linear, Tensor], static: bool
) -> None:
    layer, inputs = layer_and_inputs
    in_kernels, simulated = (int8_layer(layer, inputs, static=static, in_int8=in_int8) for in_int8 in (True, False))
    assert torch.equal(in_kernels(inputs), simulated(inputs))


@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_stays_close_to_the_float_layer(layer_and_inputs: tuple[nn.Conv2d | nn.Linear, Tensor], static: bool) -> None:
    layer, inputs = layer_and_inputs
    with torch.no_grad():
        expected = layer(inputs)
    outputs = int8_layer(layer, inputs, static=static, in_int8=kernels_are_exact())(inputs)
    assert (outputs - expected).norm() < 0.03 * expected.norm()


def test_weights_take_at_most_255_symmetric_levels_a_channel() -> None:
    weight = torch.randn(4, 500, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1e-3, 1, 5, 1e3]
    ).view(4, 1, 1, 1)
    integers, scale = quantize_weight(weight)
    assert integers.dtype == torch.int8 and scale.shape == (4,)
    for channel in range(4):
        assert integers[channel].abs().max() == 127
        assert 150 < len(integers[channel].unique()) <= 255
        assert torch.equal(quantize_weight(-weight)[0][channel], -integers[channel])
    error = (integers * scale.view(4, 1, 1, 1) - weight).abs().amax((1, 2, 3))
    assert (error <= scale * 0.5001).all()


def test_zero_weights_and_channels_stay_exactly_zero() -> None:
    weight = torch.tensor([[0.0, 0.3, -2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    integers, scale = quantize_weight(weight)
    assert integers.tolist() == [[0, 19, -127, 0], [0, 0, 0, 0]]
    assert scale[1] == 1


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (-1.0, 1.55, 0.01, 100),
        (0.0, 2.55, 0.01, 0),
        (-2.55, 0.0, 0.01, 255),
        (1.0, 2.55, 0.01, 0),  # widened to hold zero
        (-2.55, -1.0, 0.01, 255),
        (0.51, 0.51, 0.002, 0),  # constant
        (0.0, 0.0, 1.0, 0),  # nothing seen
    ],
)
def test_input_ranges_hold_zero_exactly(low: float, high: float, scale: float, zero_point: int) -> None:
    found_scale, found_zero_point = input_range(torch.tensor(low), torch.tensor(high))
    assert found_scale.item() == pytest.approx(scale)
    assert found_zero_point == zero_point


def test_dynamic_ranges_are_of_each_image_by_itself() -> None:
    images = torch.stack([torch.full((1, 2, 2), 5.1), torch.full((1, 2, 2), -0.51), torch.zeros(1, 2, 2)])
    scale, zero_point = image_ranges(images)
    assert scale.flatten().tolist() == pytest.approx([0.02, 0.002, 1])
    assert zero_point.flatten().tolist() == [0, 255, 0]


def test_static_inputs_beyond_the_calibrated_range_are_cut_off() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    quantized = int8_layer(layer, torch.tensor([[-1.0], [1.0]]), static=True, in_int8=False)
    outputs = quantized(torch.tensor([[-9.0], [-0.5], [0.0], [0.5], [9.0]]))
    assert outputs.flatten().tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1], abs=0.005)
    assert outputs[2] == 0


@pytest.mark.parametrize("fault", ["saturating", "missing"])
def test_kernels_that_saturate_or_are_missing_are_found_out(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    working = int8_kernels._as_float32

    def broken(kernel: object, arguments: tuple[object, ...]) -> Tensor:
        if fault == "missing":
            raise NotImplementedError("Could not run 'onednn::qconv_pointwise'")
        return working(kernel, arguments).clamp(-(2**15), 2**15 - 1)

    monkeypatch.setattr(int8_kernels, "_as_float32", broken)
    assert not kernels_are_exact.__wrapped__()
