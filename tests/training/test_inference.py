"""Predicting: in order, in passes of one size, and each image's logits the same to the bit in any company."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pie_ray.compress.quantization import quantize
from pie_ray.config import SmallResNetModel
from pie_ray.models import build_network
from pie_ray.training import Normalise, make_route, predict
from pie_ray.training.inference import images_per_pass

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)
STATISTICS = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
NUM_OUTPUTS = 7
WAYS = ["plain", "float32", "bfloat16", "static_int8", "dynamic_int8"]


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (300, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network(images):
    network = build_network(
        SmallResNetModel(kind="small_resnet", width=8),
        num_classes=NUM_OUTPUTS,
        num_channels=SHAPE[0],
        image_size=SHAPE[1],
        seed=0,
    )
    with torch.no_grad():
        for _ in range(10):
            network(Normalise(STATISTICS, CPU)(images[:100]))
    return network.eval()


@pytest.fixture(scope="module")
def ways(network, images):
    """Every way that a member may take from images to logits."""
    calibration = Normalise(STATISTICS, CPU)(images[:100])
    ways = {"plain": network}
    for precision in ("float32", "bfloat16"):
        ways[precision] = make_route(network, arithmetic="native", precision=precision, image_shape=SHAPE)
    for scheme in ("static_int8", "dynamic_int8"):
        quantized = quantize(network, scheme, calibration_images=calibration)
        ways[scheme] = make_route(
            quantized.network, arithmetic=quantized.arithmetic, precision="float32", image_shape=SHAPE
        )
    return ways


def logits_of(forward, images, batch_size=500):
    return torch.cat([logits for _, logits in parts_of(forward, images, batch_size)])


def parts_of(forward, images, batch_size):
    return list(predict(forward, images, statistics=STATISTICS, batch_size=batch_size, device=CPU))


@pytest.mark.parametrize("way", WAYS)
def test_an_image_has_the_same_logits_in_any_company(ways, images, way):
    expected = logits_of(ways[way], images)
    for batch_size in (1, 7, 128, 299):
        assert torch.equal(logits_of(ways[way], images, batch_size), expected)
    for rows in (slice(0, 1), slice(17, 18), slice(100, 229), slice(5, 300)):
        assert torch.equal(logits_of(ways[way], images[rows]), expected[rows])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    assert torch.equal(logits_of(ways[way], images[order]), expected[order])


def test_not_even_a_network_that_counts_its_images_can_tell(images):
    """As matrix products do, in their last bits: one row is added up otherwise than several."""

    def forward(inputs):
        return inputs.mean((2, 3)) * len(inputs)

    expected = logits_of(forward, images)
    for batch_size in (1, 7, 100):
        assert torch.equal(logits_of(forward, images, batch_size), expected)
    assert torch.equal(logits_of(forward, images[:1]), expected[:1])


def test_the_plain_network_is_as_in_a_plain_loop(network, images):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS)
    with torch.no_grad():
        expected = network((images / 255 - mean) / std)
    torch.testing.assert_close(logits_of(network, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 100, 128, 300, 1000])
def test_rows_come_in_order_and_as_many_as_asked_for(network, images, batch_size):
    parts = parts_of(network, images, batch_size)
    starts = range(0, len(images), batch_size)
    assert [rows for rows, _ in parts] == [slice(start, min(start + batch_size, len(images))) for start in starts]
    assert [tuple(logits.shape) for _, logits in parts] == [(rows.stop - rows.start, NUM_OUTPUTS) for rows, _ in parts]


def test_every_pass_has_the_same_number_of_images(images):
    sizes = []

    def forward(inputs):
        sizes.append(len(inputs))
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        return inputs.mean((2, 3))

    size = images_per_pass(*SHAPE[1:], CPU)
    assert len(parts_of(forward, images, 70)) == 5
    assert sizes == [size] * -(-len(images) // size)


@pytest.mark.parametrize(("size", "expected"), [(8, 128), (16, 128), (28, 32), (32, 32), (64, 16), (224, 16)])
def test_a_pass_fits_the_cache_but_is_never_tiny(size, expected):
    assert images_per_pass(size, size, CPU) == expected * torch.get_num_threads()
    assert images_per_pass(size, size, torch.device("cuda")) >= expected


def test_whoever_takes_the_logits_is_not_left_in_inference_mode(network, images):
    for _, logits in predict(network, images, statistics=STATISTICS, batch_size=100, device=CPU):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not logits.requires_grad
        logits += 1


def test_no_images_have_no_logits(network, images):
    assert parts_of(network, images[:0], 10) == []


def test_logits_are_float32_whatever_the_network_gives(images):
    class Half(nn.Module):
        def forward(self, inputs):
            return inputs.mean((2, 3)).bfloat16()

    assert logits_of(Half(), images).dtype == torch.float32
