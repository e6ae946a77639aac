"""Routes: the function that the network is, the network left as it was, and no folding where it would be another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pie_ray import config
from pie_ray.compress.quantization import quantize
from pie_ray.compress.quantization.int8_layer import Int8Layer
from pie_ray.models import build_network
from pie_ray.training import make_route
from pie_ray.training.folding import fold_batch_norms

SHAPE = (3, 16, 16)
FAMILIES = [
    # With the batch norms that remain: those before an activation and a convolution, and those after a sum.
    (config.SmallResNetModel(kind="small_resnet", width=8), 0),
    (config.WideResNetModel(kind="wide_resnet", depth=16, width=1), 7),
    (config.ResNetModel(kind="resnet18", stem="small"), 0),
    (config.ResNetModel(kind="resnet50"), 0),
]


def trained(network):
    """Weights, statistics, gammas and betas as training might leave them; none of them trivial."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.running_var):
                    if values is not None:
                        values.uniform_(0.5, 1.5, generator=generator)
                for values in (module.bias, module.running_mean):
                    if values is not None:
                        values.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def built(model=FAMILIES[0][0], num_outputs=10):
    channels, size, _ = SHAPE
    return trained(build_network(model, num_classes=num_outputs, num_channels=channels, image_size=size, seed=0))


def some_images(num_images=16):
    images = torch.randn(num_images, *SHAPE, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last)


def route(network, precision="float32", arithmetic="native"):
    return make_route(network, arithmetic=arithmetic, precision=precision, image_shape=SHAPE)


def logits_of(forward):
    with torch.inference_mode():
        return forward(some_images()).float()


def batch_norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def move(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


# --------------------------------------------------------------------------------------------------- what is folded


@pytest.mark.parametrize(("model", "num_left"), FAMILIES, ids=lambda value: getattr(value, "kind", None))
def test_families_fold_what_can_be_folded_and_stay_the_same_function(model, num_left):
    network = built(model)
    folded = route(network)
    assert len(batch_norms(folded)) == num_left < len(batch_norms(network))
    assert 0 < move(logits_of(folded), logits_of(network)) < 1e-5


def test_attributes_learned_jointly_are_as_good_as_classes():
    network = built(num_outputs=40)
    logits = logits_of(route(network))
    assert logits.shape == (16, 40)
    assert move(logits, logits_of(network)) < 1e-5


def test_a_batch_norm_without_weights_is_folded_too():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten()))
    folded = fold_batch_norms(network, SHAPE)
    assert not batch_norms(folded)
    assert move(logits_of(folded), logits_of(network)) < 1e-5


def test_a_route_keeps_the_layout_of_the_weights():
    for layer in route(built()).modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_restored_member_predicts_the_same_bits_as_the_one_just_trained():
    network = built()
    restored = build_network(FAMILIES[0][0], num_classes=10, num_channels=3, image_size=16, seed=1).eval()
    restored.load_state_dict({name: values.contiguous().clone() for name, values in network.state_dict().items()})
    for precision in ("float32", "bfloat16"):
        assert torch.equal(logits_of(route(network, precision)), logits_of(route(restored, precision)))


# ------------------------------------------------------------------------------------------------ what stays as it is


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_stays_as_it_is(precision):
    network = built()
    modules, state = dict(network.named_modules()), copy.deepcopy(network.state_dict())
    before, generator = logits_of(network), torch.get_rng_state()
    forward = route(network, precision)
    forward(some_images())
    assert dict(network.named_modules()) == modules
    assert not any(module.training for module in modules.values())
    assert all(torch.equal(values, state[name]) for name, values in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert torch.equal(logits_of(network), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert not torch.is_autocast_enabled("cpu")


def test_a_route_does_not_change_with_the_network():
    network = built()
    forward = route(network)
    before = logits_of(forward)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(logits_of(forward), before)


# ---------------------------------------------------------------------------------------- what must not be folded


class Small(nn.Module):
    """A convolution, its batch norm and a classifier; what they make of them differs."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.other = nn.Conv2d(6, 6, 3, padding=1)
        self.classifier = nn.Linear(6, 10)

    def classify(self, features):
        return self.classifier(self.other(F.relu(features)).mean((2, 3)))

    def forward(self, images):
        return self.classify(self.norm(self.conv(images)))


class LooksAtValues(Small):
    def forward(self, images):
        outputs = self.norm(self.conv(images))
        return self.classify(outputs if images.sum() > -1e9 else -outputs)


class LooksAtItsBatchNorm(Small):
    def forward(self, images):
        return super().forward(images) * self.norm.weight.mean()


class UsesItsWeightsTwice(Small):
    def forward(self, images):
        return self.classify(self.norm(self.conv(images)) + F.conv2d(images, self.conv.weight, padding=1))


class CannotBeCopied(Small):
    def forward(self, images):
        self.seen = self.conv(images)
        return self.classify(self.norm(self.seen))


class AnswersOtherwiseWhenTraced(Small):
    """Its symbols take the way on which the batch norm follows the convolution; tensors do not."""

    def forward(self, images):
        if isinstance(images, torch.Tensor):
            return self.classify(self.norm(F.relu(self.conv(images))))
        return super().forward(images)


@pytest.mark.parametrize(
    "kind", [LooksAtValues, LooksAtItsBatchNorm, UsesItsWeightsTwice, CannotBeCopied, AnswersOtherwiseWhenTraced]
)
def test_a_network_that_cannot_be_folded_is_taken_as_it_is(kind):
    network = trained(kind())
    network(some_images())
    assert route(network) is network
    assert move(logits_of(route(network, "bfloat16")), logits_of(network)) < 0.05


class CallsItsConvolutionTwice(Small):
    def forward(self, images):
        return self.classify(self.conv(images) + self.norm(self.conv(images.flip(-1))))


class CallsItsBatchNormTwice(Small):
    def forward(self, images):
        return self.classify(self.norm(self.other(self.norm(self.conv(images)))))


class KeepsTheConvolutionsOutputs(Small):
    def forward(self, images):
        outputs = self.conv(images)
        return self.classify(outputs + self.norm(outputs))


class NormalisesByTheBatch(Small):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class Standardised(nn.Conv2d):
    def forward(self, images):
        return F.conv2d(images, self.weight - self.weight.mean((1, 2, 3), keepdim=True), None, 1, 1)


class HasAConvolutionOfItsOwn(Small):
    def __init__(self):
        super().__init__()
        self.conv = Standardised(3, 6, 3)


@pytest.mark.parametrize(
    "kind",
    [
        CallsItsConvolutionTwice,
        CallsItsBatchNormTwice,
        KeepsTheConvolutionsOutputs,
        NormalisesByTheBatch,
        HasAConvolutionOfItsOwn,
    ],
)
def test_only_a_batch_norm_that_alone_follows_a_convolution_is_folded(kind):
    class Two(nn.Module):
        """One batch norm that may be folded, and one that may not."""

        def __init__(self):
            super().__init__()
            self.stem, self.rest = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()), kind()

        def forward(self, images):
            return self.rest(self.stem(images))

    network = trained(Two())
    folded = route(network)
    assert isinstance(folded.stem[1], nn.Identity)
    assert [type(norm) for norm in batch_norms(folded)] == [nn.BatchNorm2d]
    assert move(logits_of(folded), logits_of(network)) < 1e-5


def test_a_shared_layer_is_replaced_wherever_it_stands():
    class Shared(Small):
        def __init__(self):
            super().__init__()
            self.alias = self.conv

        def forward(self, images):
            return self.classify(self.norm(self.alias(images)))

    network = trained(Shared())
    folded = route(network)
    assert folded.alias is folded.conv is not network.conv
    assert move(logits_of(folded), logits_of(network)) < 1e-5


def test_a_network_of_nothing_but_zeros_is_taken_as_it_is():
    network = trained(Small())
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.zero_()
    assert torch.equal(logits_of(route(network)), torch.zeros(16, 10))


# ------------------------------------------------------------------------------------------- precision, quantization


def test_bfloat16_rounds_and_no_more():
    network = built()
    assert 1e-4 < move(logits_of(route(network, "bfloat16")), logits_of(network)) < 0.05


@pytest.mark.parametrize("scheme", ["static_int8", "dynamic_int8"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_integers_are_left_alone(scheme, precision):
    quantized = quantize(built(), scheme, calibration_images=some_images())
    forward = route(quantized.network, precision, quantized.arithmetic)
    assert torch.equal(logits_of(forward), logits_of(quantized.forward))
    expected = logits_of(quantized.forward)
    for layer in quantized.network.modules():
        if isinstance(layer, Int8Layer):
            layer.prepare(in_int8=False)
    assert torch.equal(logits_of(route(quantized.network, precision, "simulated")), expected)


def test_float16_weights_take_the_way_of_their_parent():
    quantized = quantize(built(), "float16", calibration_images=some_images())
    folded = route(quantized.network, arithmetic=quantized.arithmetic)
    assert not batch_norms(folded)
    assert move(logits_of(folded), logits_of(quantized.forward)) < 1e-5
