"""A quantized network in floats: the rounded weights, and gradients."""

from __future__ import annotations

import pytest
import torch

from pie_ray.compress.quantization import QUANTIZERS, as_floats, quantize
from pie_ray.config import SmallResNetModel
from pie_ray.models import build_network

INT8 = ("dynamic_int8", "static_int8")


def network(seed):
    config = SmallResNetModel(kind="small_resnet", width=4)
    return build_network(config, num_classes=10, num_channels=3, image_size=8, seed=seed).eval()


@pytest.mark.parametrize("scheme", QUANTIZERS)
def test_every_scheme_has_its_rounded_weights_and_says_whether_its_inputs_were_rounded_too(scheme):
    trained, images = network(0), torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    quantized = quantize(trained, scheme, calibration_images=images)
    floats, inputs_were_rounded = as_floats(quantized.network, network(1))
    assert inputs_were_rounded == (scheme in INT8)
    weight = floats.classifier.weight.detach()
    assert weight.dtype == torch.float32 and not torch.equal(weight, trained.classifier.weight)
    torch.testing.assert_close(weight, trained.classifier.weight, rtol=0, atol=float(weight.abs().max() / 14) + 1e-6)
    with torch.no_grad():
        ours, theirs = floats(images), quantized.forward(images)
    if scheme in INT8:
        assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()
    else:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    floats(images).sum().backward()
    assert all(parameter.grad is not None for parameter in floats.parameters())


def test_int8_weights_are_the_integers_times_their_scales():
    quantized = quantize(network(0), "dynamic_int8", calibration_images=torch.empty(0))
    layer = quantized.network.classifier
    floats, _ = as_floats(quantized.network, network(1))
    assert torch.equal(floats.classifier.weight, layer.weight.float() * layer.weight_scale[:, None])
    assert torch.equal(floats.classifier.bias, layer.bias)
