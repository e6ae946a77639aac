"""Quantized networks: what is covered, what is stored, and that they predict like their parent and like themselves."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from safetensors.torch import load, save
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from pie_ray.compress.quantization import QUANTIZERS, int8, quantize, restore
from pie_ray.compress.quantization.int8_kernels import kernels_are_exact
from pie_ray.compress.quantization.network import quantizable_layers
from pie_ray.compress.quantization.weight_only import pack_pairs, unpack_pairs
from pie_ray.config import QuantizationScheme
from pie_ray.errors import CompressionError, InputError, StoreError

SCHEMES: tuple[QuantizationScheme, ...] = get_args(QuantizationScheme)
INT8_SCHEMES: tuple[QuantizationScheme, ...] = ("dynamic_int8", "static_int8")
NATIVE_SCHEMES = tuple(scheme for scheme in SCHEMES if scheme not in INT8_SCHEMES)
STORED_AS: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "dynamic_int8": torch.int8,
    "static_int8": torch.int8,
    "weight_int8": torch.int8,
    "weight_int4": torch.uint8,  # two a byte
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


class PreActivationBlock(nn.Module):
    """Batch norm before the convolution, and a sum: nothing that could be folded into the layer before."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(num_in), nn.Conv2d(num_in, num_out, 3, 2, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(num_out), nn.Conv2d(num_out, num_out, 3, 1, 1)
        self.shortcut = nn.Conv2d(num_in, num_out, 1, 2, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        inner = self.conv1(F.relu(self.norm1(inputs)))
        return self.conv2(F.relu(self.norm2(inner))) + self.shortcut(inputs)


def build(num_channels: int = 1, width: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_channels, width, 3, 1, 1, bias=False),
        PreActivationBlock(width, 2 * width),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


@pytest.fixture(scope="module")
def parent(digits: tuple[Tensor, Tensor]) -> nn.Sequential:
    images, labels = digits
    torch.manual_seed(0)
    network = build()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(6):
        for rows in torch.randperm(1000).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def pruned(parent: nn.Sequential) -> nn.Sequential:
    network = copy.deepcopy(parent)
    with torch.no_grad():
        for _, layer in quantizable_layers(network):
            layer.weight[layer.weight.abs() < layer.weight.abs().quantile(0.7)] = 0
    return network


@pytest.fixture(scope="module")
def calibration(digits: tuple[Tensor, Tensor]) -> Tensor:
    return digits[0][:100]


@pytest.fixture(scope="module")
def unseen(digits: tuple[Tensor, Tensor]) -> Tensor:
    return digits[0][1000:]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()


def test_every_scheme_of_a_recipe_has_a_quantizer() -> None:
    assert set(QUANTIZERS) == set(SCHEMES)


def test_an_unknown_scheme_is_refused(parent: nn.Sequential, calibration: Tensor) -> None:
    with pytest.raises(InputError, match="unknown quantization scheme 'int4': accepted are float16, bfloat16"):
        quantize(parent, "int4", calibration_images=calibration)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
class TestEveryScheme:
    def test_keeps_the_accuracy_of_its_parent(
        self, scheme: QuantizationScheme, parent: nn.Sequential, digits: tuple[Tensor, Tensor], calibration: Tensor
    ) -> None:
        images, labels = digits[0][1000:], digits[1][1000:]
        with torch.no_grad():
            expected = accuracy(parent(images), labels)
        quantized = quantize(parent, scheme, calibration_images=calibration)
        assert expected > 0.9
        # Roundings differ between kinds of processors; four bits are coarse.
        tolerance = 0.02 if scheme == "weight_int4" else 0.01
        assert accuracy(quantized.forward(images), labels) == pytest.approx(expected, abs=tolerance)

    def test_restores_bit_for_bit_from_its_bytes_alone(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
    ) -> None:
        quantized = quantize(parent, scheme, calibration_images=calibration)
        restored = restore(build(), scheme, load(save(quantized.state)))
        assert torch.equal(restored.forward(unseen), quantized.forward(unseen))
        assert restored.arithmetic == quantized.arithmetic

    def test_gives_the_same_bits_twice(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
    ) -> None:
        first, second = (quantize(parent, scheme, calibration_images=calibration) for _ in range(2))
        assert save(first.state) == save(second.state)
        assert torch.equal(first.forward(unseen), second.forward(unseen))

    def test_covers_every_convolution_and_linear_layer_and_nothing_else(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor
    ) -> None:
        before = parent.state_dict()
        state = quantize(parent, scheme, calibration_images=calibration).state
        covered = ["0", "1.conv1", "1.conv2", "1.shortcut", "6"]
        assert [name for name in before if state[name].dtype == STORED_AS[scheme] and name.endswith(".weight")] == [
            f"{name}.weight" for name in covered
        ]
        others = [name for name in before if name.rpartition(".")[0] not in covered]
        assert others and all(torch.equal(state[name], before[name]) for name in others)

    def test_leaves_its_parent_alone(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
    ) -> None:
        before, logits = copy.deepcopy(parent.state_dict()), parent(unseen)
        quantize(parent, scheme, calibration_images=calibration)
        assert all(torch.equal(before[name], tensor) for name, tensor in parent.state_dict().items())
        assert torch.equal(parent(unseen), logits)

    def test_keeps_pruned_weights_at_exactly_zero(
        self, scheme: QuantizationScheme, pruned: nn.Sequential, calibration: Tensor
    ) -> None:
        state = quantize(pruned, scheme, calibration_images=calibration).state
        for name, layer in quantizable_layers(pruned):
            stored = state[f"{name}.weight"]
            weight = unpack_pairs(stored, layer.weight.shape) if scheme == "weight_int4" else stored
            assert (weight[layer.weight == 0] == 0).all()
            # Of the others 4 bits round a good many to zero.
            assert (weight == 0).float().mean() < (0.9 if scheme == "weight_int4" else 0.8)

    def test_predicts_an_image_alike_in_any_batch(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
    ) -> None:
        forward = quantize(parent, scheme, calibration_images=calibration).forward
        together = forward(unseen[:65])
        alone = torch.cat([forward(image) for image in unseen[:65].split(1)])
        ragged = torch.cat([forward(batch) for batch in unseen[:65].split(32)])
        # Sums of integers are exact in any order; the other schemes compute in float32, whose sums are not.
        tolerance = 1e-5 if scheme in NATIVE_SCHEMES else 0
        torch.testing.assert_close(alone, together, rtol=0, atol=tolerance)
        torch.testing.assert_close(ragged, together, rtol=0, atol=tolerance)

    def test_takes_images_in_any_memory_layout(
        self, scheme: QuantizationScheme, calibration: Tensor, unseen: Tensor
    ) -> None:
        torch.manual_seed(0)
        forward = quantize(build(3), scheme, calibration_images=calibration.expand(-1, 3, -1, -1)).forward
        images = torch.randn(9, 3, 12, 12)
        last = forward(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, forward(images), rtol=0, atol=1e-5)

    def test_gives_float32_logits_without_gradients_even_under_autocast(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
    ) -> None:
        forward = quantize(parent, scheme, calibration_images=calibration).forward
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = forward(unseen[:8])
        assert logits.dtype == torch.float32 and not logits.requires_grad
        assert torch.equal(logits, forward(unseen[:8]))

    def test_quantizes_a_layer_that_stands_in_two_places_once(
        self, scheme: QuantizationScheme, calibration: Tensor
    ) -> None:
        torch.manual_seed(0)
        shared = nn.Conv2d(1, 1, 3, padding=1)
        network = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared), nn.Flatten(), nn.Linear(64, 10)).eval()
        quantized = quantize(network, scheme, calibration_images=calibration)
        assert torch.equal(quantized.state["0.weight"], quantized.state["2.0.weight"])
        restored = restore(network, scheme, load(save(quantized.state)))
        torch.testing.assert_close(restored.forward(calibration), network(calibration), rtol=0, atol=0.05)

    def test_leaves_subclasses_of_its_layers_alone(self, scheme: QuantizationScheme, calibration: Tensor) -> None:
        network = nn.Sequential(OwnConvolution(1, 2, 3), nn.ConvTranspose2d(2, 2, 3), nn.Flatten(), nn.Linear(128, 10))
        state = quantize(network, scheme, calibration_images=calibration).state
        assert state["0.weight"].dtype == state["1.weight"].dtype == torch.float32
        assert state["3.weight"].dtype != torch.float32

    def test_refuses_a_network_with_nothing_to_quantize(self, scheme: QuantizationScheme, calibration: Tensor) -> None:
        with pytest.raises(CompressionError, match=r"contains no plain nn\.Conv2d or nn\.Linear"):
            quantize(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)), scheme, calibration_images=calibration)

    def test_refuses_weights_that_are_not_finite(
        self, scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor
    ) -> None:
        broken = copy.deepcopy(parent)
        broken[6].weight.data[3, 5] = torch.nan
        with pytest.raises(CompressionError, match=r"6.* not finite"):
            quantize(broken, scheme, calibration_images=calibration)


class OwnConvolution(nn.Conv2d):
    pass


def test_sixteen_bits_are_half_the_bytes_int8_about_a_quarter_and_int4_an_eighth() -> None:
    network = build(width=64)
    images = torch.zeros(1, 1, 8, 8)
    full = len(save(network.state_dict()))
    sizes = {scheme: len(save(quantize(network, scheme, calibration_images=images).state)) for scheme in SCHEMES}
    num_bits = {scheme: 16 if "float16" in scheme else int(scheme[-1]) for scheme in SCHEMES}
    for scheme, size in sizes.items():
        assert size / full == pytest.approx(num_bits[scheme] / 32, abs=0.03), scheme


@pytest.mark.parametrize("scheme", ["float16", "bfloat16"])
def test_sixteen_bit_schemes_compute_the_rounded_weights_in_float32(
    scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor, unseen: Tensor
) -> None:
    rounded = copy.deepcopy(parent)
    for _, layer in quantizable_layers(rounded):
        layer.to(STORED_AS[scheme]).float()
    quantized = quantize(parent, scheme, calibration_images=calibration)
    assert quantized.arithmetic == "native"
    assert torch.equal(quantized.forward(unseen), rounded(unseen))


def test_float16_refuses_weights_beyond_its_range(calibration: Tensor) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    network[1].weight.data[0, 0] = 70_000
    with pytest.raises(CompressionError, match="the weights of 1, rounded to float16, are not finite"):
        quantize(network, "float16", calibration_images=calibration)


@pytest.mark.parametrize("scheme", INT8_SCHEMES)
def test_int8_says_how_it_computes(scheme: QuantizationScheme, parent: nn.Sequential, calibration: Tensor) -> None:
    arithmetic = quantize(parent, scheme, calibration_images=calibration).arithmetic
    assert arithmetic == ("int8" if kernels_are_exact() else "simulated")


@pytest.mark.skipif(not kernels_are_exact(), reason="this processor has no exact int8 kernels")
@pytest.mark.parametrize("scheme", INT8_SCHEMES)
def test_simulated_int8_gives_the_same_logits_bit_for_bit(
    scheme: QuantizationScheme,
    parent: nn.Sequential,
    calibration: Tensor,
    unseen: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_kernels = quantize(parent, scheme, calibration_images=calibration)
    monkeypatch.setattr(int8, "kernels_are_exact", lambda: False)
    simulated = restore(parent, scheme, in_kernels.state)
    assert (in_kernels.arithmetic, simulated.arithmetic) == ("int8", "simulated")
    assert torch.equal(simulated.forward(unseen), in_kernels.forward(unseen))


def test_only_static_int8_looks_at_the_calibration_images(parent: nn.Sequential, calibration: Tensor) -> None:
    bytes_of = {
        (scheme, gain): save(quantize(parent, scheme, calibration_images=gain * calibration).state)
        for scheme in SCHEMES
        for gain in (1, 2)
    }
    assert [scheme for scheme in SCHEMES if bytes_of[scheme, 1] != bytes_of[scheme, 2]] == ["static_int8"]


def test_static_int8_stores_the_range_of_each_layers_inputs(parent: nn.Sequential, calibration: Tensor) -> None:
    state = quantize(parent, "static_int8", calibration_images=calibration).state
    low, high = calibration.min(), calibration.max()
    assert state["0.input_scale"] == (high - low) / 255
    assert state["0.input_zero_point"] == (-low / state["0.input_scale"]).round()
    assert state["1.conv1.input_zero_point"] == 0  # behind a ReLU nothing is negative


def test_static_int8_refuses_activations_that_are_not_finite(parent: nn.Sequential, calibration: Tensor) -> None:
    images = calibration.clone()
    images[7, 0, 0, 0] = torch.inf
    with pytest.raises(CompressionError, match="the inputs of 0 on the calibration images are not finite"):
        quantize(parent, "static_int8", calibration_images=images)


def test_static_int8_takes_constant_images(parent: nn.Sequential, calibration: Tensor, unseen: Tensor) -> None:
    quantized = quantize(parent, "static_int8", calibration_images=torch.zeros_like(calibration))
    assert quantized.forward(unseen).isfinite().all()


@pytest.mark.parametrize(("made", "read"), [INT8_SCHEMES, INT8_SCHEMES[::-1], ("static_int8", "float16")])
def test_a_state_of_another_scheme_is_refused(
    made: QuantizationScheme, read: QuantizationScheme, parent: nn.Sequential, calibration: Tensor
) -> None:
    state = quantize(parent, made, calibration_images=calibration).state
    with pytest.raises(StoreError, match="does not fit this network and scheme"):
        restore(parent, read, state)


@pytest.mark.parametrize(("scheme", "num_values"), [("weight_int8", 255), ("weight_int4", 15)])
def test_a_channels_weights_take_few_values_zero_among_them_and_each_with_its_counterpart(
    scheme: QuantizationScheme, num_values: int, parent: nn.Sequential, calibration: Tensor
) -> None:
    network = quantize(parent, scheme, calibration_images=calibration).network
    for (_, rounded), (_, trained) in zip(quantizable_layers(network), quantizable_layers(parent), strict=True):
        for channel, source in zip(rounded.weight.detach(), trained.weight.detach(), strict=True):
            step = source.abs().max() / (num_values // 2)
            levels = channel / step
            assert len(channel.unique()) <= num_values and channel.abs().max() == pytest.approx(
                source.abs().max().item()
            )
            torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
            assert ((channel - source).abs() <= 0.501 * step).all()


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 3, 3)])
def test_pairs_of_four_bits_come_back_from_their_bytes(shape: tuple[int, ...]) -> None:
    integers = torch.randint(-8, 8, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    packed = pack_pairs(integers)
    assert packed.dtype == torch.uint8 and len(packed) == (integers.numel() + 1) // 2
    assert torch.equal(unpack_pairs(packed, integers.shape), integers)
