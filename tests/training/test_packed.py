"""Networks side by side compute what they compute alone, and stay apart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pie_ray.config import Augmentation, DigitsData, ResNetModel, SmallResNetModel, Training, WideResNetModel
from pie_ray.data import load_splits
from pie_ray.errors import NonFiniteLossError
from pie_ray.models import build_network
from pie_ray.training import (
    Batches,
    PackedBatches,
    PackedLoss,
    PackedNetwork,
    can_pack,
    train,
)
from pie_ray.training.losses import training_loss

CPU = torch.device("cpu")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def digits():
    return load_splits(DigitsData(kind="digits", num_train=200, num_test=100))


def small(seed=0, width=4):
    config = SmallResNetModel(kind="small_resnet", width=width)
    return build_network(config, num_classes=10, num_channels=1, image_size=8, seed=seed)


def batches_of(digits, seed):
    return Batches(
        digits.train.images,
        digits.train.labels,
        statistics=digits.train.channel_statistics,
        batch_size=50,
        augmentation=Augmentation(crop_padding=1, flip=True),
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
    )


def as_double(source):
    return [(images.double(), labels) for _ in range(2) for images, labels in source.epoch()]


def steps(network, batches, loss):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for images, labels in batches:
        optimizer.zero_grad()
        loss(network(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("model", "num_channels", "image_size"),
    [
        (SmallResNetModel(kind="small_resnet", width=4), 1, 8),
        (WideResNetModel(kind="wide_resnet", depth=10, width=1), 3, 16),
        (ResNetModel(kind="resnet18", stem="small"), 3, 8),
        (ResNetModel(kind="resnet50"), 3, 32),
    ],
)
def test_the_whole_zoo_can_be_packed(model, num_channels, image_size):
    network = build_network(model, num_classes=7, num_channels=num_channels, image_size=image_size, seed=0)
    before = copy.deepcopy(network.state_dict())
    assert can_pack(network, (num_channels, image_size, image_size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_packed_training_is_each_members_own_training(digits):
    """In float64, where rounding cannot hide a mistake: ten thousand times closer than two seeds ever are."""
    alone = [small(seed).double().train() for seed in SEEDS]
    for seed, network in zip(SEEDS, alone, strict=True):
        steps(network, as_double(batches_of(digits, seed)), F.cross_entropy)
    members = [small(seed).double() for seed in SEEDS]
    packed = PackedNetwork(members).train()
    loss = PackedLoss(0.0)
    loss_in_double = lambda logits, labels: loss._losses(logits, labels).sum()  # noqa: E731
    steps(packed, as_double(PackedBatches([batches_of(digits, seed) for seed in SEEDS])), loss_in_double)
    for lone, member in zip(alone, packed.release(), strict=True):
        for name, tensor in lone.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], tensor, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(alone[0].classifier.weight, alone[1].classifier.weight, atol=1e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_one_step_in_float32_is_a_lone_members_to_the_last_digits(digits, optimizer):
    config = Training(epochs=1, precision="float32", optimizer=optimizer, learning_rate=0.01)
    one_step = [FirstBatch(batches_of(digits, seed)) for seed in SEEDS]
    alone = [small(seed) for seed in SEEDS]
    results = [train(network, source, config) for network, source in zip(alone, one_step, strict=True)]
    packed = PackedNetwork([small(seed) for seed in SEEDS])
    one_step = [FirstBatch(batches_of(digits, seed)) for seed in SEEDS]
    together = train(packed, PackedBatches(one_step), config, objective=PackedLoss(0.0))
    assert together.loss == pytest.approx([result.loss for result in results], rel=1e-6)
    for lone, member in zip(alone, packed.release(), strict=True):
        for name, tensor in lone.named_buffers():
            torch.testing.assert_close(member.get_buffer(name), tensor)
        # Adam's first step is the gradient's sign, and a gradient of zero has any.
        moved = [(lone.get_parameter(name) - tensor).abs() for name, tensor in member.named_parameters()]
        share = torch.cat([difference.flatten() for difference in moved]).gt(1e-4).double().mean()
        assert share < 0.02


class FirstBatch:
    """One step of an epoch."""

    def __init__(self, batches):
        self.batches, self.device = batches, batches.device

    def __len__(self):
        return 1

    def epoch(self, first_step=0):
        yield next(iter(self.batches.epoch()))


def test_members_see_their_own_batches_bit_for_bit(digits):
    packed = PackedBatches([batches_of(digits, seed) for seed in SEEDS])
    lone = [batches_of(digits, seed) for seed in SEEDS]
    for _ in range(2):
        for (images, labels), *own in zip(packed.epoch(), *(source.epoch() for source in lone), strict=True):
            assert images.is_contiguous(memory_format=torch.channels_last)
            for member, (own_images, own_labels) in enumerate(own):
                assert torch.equal(images[:, member : member + 1], own_images)
                assert torch.equal(labels[member], own_labels)


def test_batches_go_on_from_a_state(digits):
    packed = PackedBatches([batches_of(digits, seed) for seed in SEEDS])
    epoch = packed.epoch()
    next(epoch)
    state = {name: tensor.clone() for name, tensor in packed.state().items()}
    expected = [images for images, _ in epoch]
    other = PackedBatches([batches_of(digits, 9) for _ in SEEDS])
    other.restore(state)
    found = [images for images, _ in other.epoch(1)]
    assert len(found) == len(packed) - 1
    assert all(torch.equal(one, another) for one, another in zip(found, expected, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_multilabel", [False, True])
def test_the_loss_is_each_members_own(smoothing, is_multilabel):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=generator, requires_grad=True)
    shape = (3, 5, 4) if is_multilabel else (3, 5)
    labels = torch.randint(2, shape, generator=generator).bool() if is_multilabel else torch.randint(4, shape)
    losses = PackedLoss(smoothing)(logits, torch.zeros(0), labels)
    expected = torch.stack([training_loss(*own, smoothing) for own in zip(logits, labels, strict=True)])
    torch.testing.assert_close(losses, expected)
    found, wanted = (torch.autograd.grad(value.sum(), logits, retain_graph=True)[0] for value in (losses, expected))
    torch.testing.assert_close(found, wanted)


def test_members_and_pack_share_their_tensors_until_released():
    members = [small(seed) for seed in SEEDS]
    packed = PackedNetwork(members)
    with torch.no_grad():
        members[1].classifier.weight.zero_()
    weight = packed.together.classifier.weight
    assert [bool(part.any()) for part in weight.chunk(3)] == [True, False, True]
    released = packed.release()
    with torch.no_grad():
        released[0].classifier.weight.zero_()
    assert weight.chunk(3)[0].any()
    assert all(network.stem[0].weight.is_contiguous(memory_format=torch.channels_last) for network in released)


def test_a_member_that_diverges_is_told_from_the_others(digits):
    members = [small(seed) for seed in SEEDS]
    with torch.no_grad():
        members[1].classifier.bias.fill_(float("inf"))
    loss = PackedLoss(0.0)
    packed = PackedNetwork(members)
    with pytest.raises(NonFiniteLossError):
        train(packed, PackedBatches([batches_of(digits, seed) for seed in SEEDS]), Training(epochs=1), objective=loss)
    assert loss.last.isfinite().tolist() == [True, False, True]


# ------------------------------------------------------------------------------------ networks that cannot be packed


class Mixing(nn.Module):
    """Has only known layers, and looks at all channels at once between them."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.out((y / y.abs().amax(1, keepdim=True)).mean((2, 3)))


class OwnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.scale = nn.Linear(36, 3), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.out(x.flatten(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(36, 36), nn.Linear(36, 36)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x.flatten(1)))


class ScaledConvolution(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * self.weight.abs().mean()


NOT_PACKED = {
    "mixes channels": Mixing,
    "a parameter of its own": OwnParameter,
    "tied weights": Tied,
    "another normalisation": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(36), nn.Linear(36, 3)),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3)),
    "a layer of its own kind": lambda: nn.Sequential(ScaledConvolution(1, 3, 6), nn.Flatten()),
    "softmax over channels": lambda: nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten(), nn.Softmax(1)),
}


@pytest.mark.parametrize("make", NOT_PACKED.values(), ids=NOT_PACKED)
def test_what_would_compute_otherwise_is_not_packed(make):
    assert not can_pack(make(), (1, 6, 6))


def test_a_layer_that_is_used_twice_and_biases_can_be_packed():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.again = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4))
            self.same = self.again
            self.out = nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.again(F.relu(self.same(self.first(x)))))
            return self.out(F.adaptive_avg_pool2d(y, 1).flatten(1))

    assert can_pack(Twice(), (1, 6, 6))
