"""Training with the quantization's rounding: the same grid as the converted network's, trained straight through."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pie_ray.compress.fit import AfterStep, nothing_after
from pie_ray.compress.pruning.masks import FixedMasks, prunable_weights
from pie_ray.compress.quantization import QUANTIZERS, int8, quantize, quantize_aware
from pie_ray.compress.quantization.levels import round_within
from pie_ray.compress.quantization.network import in_float32, quantizable_layers
from pie_ray.errors import InputError

SCHEMES = ["dynamic_int8", "static_int8", "weight_int8", "weight_int4"]


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1, padding_mode="reflect"),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 4),
    )


def blobs(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images whose label is the quadrant that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (num_images,), generator=generator)
    images = torch.randn(num_images, 3, 8, 8, generator=generator)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (int(label) // 2), 4 * (int(label) % 2)
        image[:, row : row + 4, column : column + 4] += 1.5
    return images, labels


class SomeSteps:
    """A `Fit` of a few steps of SGD."""

    num_epochs, steps_per_epoch = 1, 12

    def __init__(self, *, autocast: bool = False, rate: float = 0.05) -> None:
        self.autocast, self.rate = autocast, rate
        self.losses: list[float] = []

    def __call__(
        self, network: nn.Module, *, after_step: AfterStep, first_epoch: int = 0, keeps: object = None
    ) -> None:
        network.train()
        images, labels = blobs(384, seed=1)
        optimizer = torch.optim.SGD(network.parameters(), lr=self.rate, momentum=0.9, weight_decay=1e-3)
        batches = zip(images.split(32), labels.split(32), strict=True)
        for step, (batch, wanted) in enumerate(batches):
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                loss = F.cross_entropy(network(batch).float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after_step(step + 1)
            self.losses.append(loss.item())
        network.eval()


@pytest.fixture(scope="module")
def parent() -> nn.Sequential:
    network = build()
    SomeSteps()(network, after_step=nothing_after)
    return network


CALIBRATION = blobs(100, seed=2)[0]
UNSEEN = blobs(200, seed=3)[0]


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_network_in_training_gives_the_converted_networks_logits_bit_for_bit(
    scheme, autocast, parent, monkeypatch
) -> None:
    """Of its last step's weights, in eval mode and float32; int8 kernels and their simulation agree elsewhere."""
    monkeypatch.setattr(int8, "kernels_are_exact", lambda: False)
    network, logits, fit = copy.deepcopy(parent), [], SomeSteps(autocast=autocast)

    def fit_and_ask(trained: nn.Module, *, after_step: AfterStep, first_epoch: int = 0, keeps: object = None) -> None:
        fit(trained, after_step=after_step)
        logits.append(in_float32(trained)(UNSEEN))

    fit_and_ask.num_epochs, fit_and_ask.steps_per_epoch = 1, 12
    quantized = quantize_aware(network, scheme, fit_and_ask, calibration_images=CALIBRATION, after_step=nothing_after)
    assert torch.equal(quantized.forward(UNSEEN), logits[0])
    assert fit.losses[-1] < fit.losses[0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_leaves_the_plain_network_with_the_trained_weights(scheme, parent) -> None:
    network = copy.deepcopy(parent)
    quantized = quantize_aware(network, scheme, SomeSteps(), calibration_images=CALIBRATION, after_step=nothing_after)
    assert [type(module) for module in network.modules()] == [type(module) for module in parent.modules()]
    assert network.state_dict().keys() == parent.state_dict().keys()
    assert not any(torch.equal(a, b) for a, b in zip(network.parameters(), parent.parameters(), strict=True))
    if scheme != "static_int8":  # whose ranges are its own
        converted = quantize(network, scheme, calibration_images=CALIBRATION)
        assert torch.equal(converted.forward(UNSEEN), quantized.forward(UNSEEN))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pruned_weights_stay_at_zero_through_training_and_conversion(scheme, parent) -> None:
    network = copy.deepcopy(parent)
    with torch.no_grad():
        for weight in prunable_weights(network, "global").values():
            weight[weight.abs() < weight.abs().quantile(0.7)] = 0
    masks = FixedMasks.of_zeros(prunable_weights(network, "global"))
    quantized = quantize_aware(
        network, scheme, SomeSteps(), calibration_images=CALIBRATION, after_step=masks.after_step
    )
    for name, layer in quantizable_layers(network):
        assert torch.equal(layer.weight != 0, masks.masks[f"{name}.weight"])
    plain = quantize(network, scheme, calibration_images=CALIBRATION).state
    assert all(torch.equal(plain[name], tensor) for name, tensor in quantized.state.items() if name.endswith("weight"))


def test_static_ranges_begin_at_the_calibration_images_and_follow_the_batches(parent) -> None:
    untrained, trained = (
        quantize_aware(
            copy.deepcopy(parent),
            "static_int8",
            fit,
            calibration_images=CALIBRATION,
            after_step=nothing_after,
        ).state
        for fit in (nothing_at_all, SomeSteps())
    )
    calibrated = quantize(parent, "static_int8", calibration_images=CALIBRATION).state
    assert all(torch.equal(untrained[name], calibrated[name]) for name in calibrated)
    low, high = CALIBRATION.aminmax()
    for batch in blobs(384, seed=1)[0].split(32):
        low, high = (0.99 * old + 0.01 * new for old, new in zip((low, high), batch.aminmax(), strict=True))
    assert trained["0.input_scale"].item() == pytest.approx(((high - low) / 255).item())


def nothing_at_all(network: nn.Module, *, after_step: AfterStep, first_epoch: int = 0, keeps: object = None) -> None:
    network.eval()


def test_four_bits_lose_less_where_they_were_trained_with(parent) -> None:
    images, labels = blobs(400, seed=4)
    network = copy.deepcopy(parent)
    fit = SomeSteps(rate=0.01)
    aware = quantize_aware(network, "weight_int4", fit, calibration_images=CALIBRATION, after_step=nothing_after)
    trained_on = copy.deepcopy(parent)
    SomeSteps(rate=0.01)(trained_on, after_step=nothing_after)
    afterwards = quantize(trained_on, "weight_int4", calibration_images=CALIBRATION)
    losses = [F.cross_entropy(quantized.forward(images), labels).item() for quantized in (aware, afterwards)]
    assert losses[0] < losses[1]


def test_rounding_lets_gradients_through_and_stops_them_where_it_cuts_off() -> None:
    values = torch.tensor([-9.4, -3.4, -0.5, 0.0, 1.5, 2.5, 7.4, 7.6], requires_grad=True)
    rounded = round_within(values, -3, torch.tensor(7.0))
    assert rounded.tolist() == [-3, -3, 0, 0, 2, 2, 7, 7]
    rounded.backward(torch.arange(1.0, 9.0))
    assert values.grad is not None and values.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize("scheme", sorted(set(QUANTIZERS) - set(SCHEMES)))
def test_schemes_of_16_bits_have_no_rounding_to_train_with(scheme, parent) -> None:
    with pytest.raises(InputError, match=f"'{scheme}' has no rounding to train with"):
        quantize_aware(
            copy.deepcopy(parent), scheme, SomeSteps(), calibration_images=CALIBRATION, after_step=nothing_after
        )
