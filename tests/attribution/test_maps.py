"""Attribution maps against gradients worked out by hand, and what makes them trustworthy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pie_ray.attribution import explain, last_feature_map, predicted_classes
from pie_ray.config import Attribution, ResNetModel, SmallResNetModel, WideResNetModel
from pie_ray.errors import ModelError
from pie_ray.models import build_network
from pie_ray.stats import rank_correlation

GRAD_CAM = Attribution(methods=("grad_cam",))
INTEGRATED = Attribution(methods=("integrated_gradients",))


def images(num=6, channels=3, size=8):
    return torch.randn(num, channels, size, size, generator=torch.Generator().manual_seed(0))


def small_network(seed=0):
    config = SmallResNetModel(kind="small_resnet", width=4)
    return build_network(config, num_classes=10, num_channels=3, image_size=8, seed=seed).eval()


class Pooled(nn.Module):
    """A convolution, mean over positions, a linear layer: its gradients fit on a line."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.relu = nn.ReLU()
        self.linear = nn.Linear(5, 4)

    def forward(self, x):
        return self.linear(self.relu(self.conv(x)).mean((2, 3)))


def test_grad_cam_is_the_feature_maps_weighed_by_their_mean_gradient():
    network, x = Pooled().eval(), images()
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    features = torch.relu(network.conv(x)).detach()
    # The logit's gradient by every position of map k is weight[class, k] / positions.
    weights = network.linear.weight.detach()[classes] / features[0, 0].numel()
    expected = torch.relu((weights[:, :, None, None] * features).sum(1)).flatten(1)
    assert expected.count_nonzero() > 20
    torch.testing.assert_close(explain(network, x, classes, GRAD_CAM)["grad_cam"], expected)


def test_integrated_gradients_of_a_linear_network_are_its_weights_times_the_image():
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval(), images()
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = (network[1].weight.detach()[classes].view(6, 3, 8, 8) * x).sum(1).flatten(1)
    found = explain(network, x, classes, INTEGRATED)["integrated_gradients"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_what_the_image_changes():
    """Completeness (Sundararajan et al.): the logit's difference between the image and the baseline."""
    network, x = small_network(), images()
    with torch.no_grad():
        difference = network(x) - network(torch.zeros_like(x))
    classes = difference.abs().argmax(1)
    expected = difference.gather(1, classes[:, None])[:, 0]
    errors = [
        float((found["integrated_gradients"].sum(1) - expected).abs().max() / expected.abs().max())
        for steps in (20, 200)
        for found in [explain(network, x, classes, Attribution(methods=INTEGRATED.methods, num_steps=steps))]
    ]
    assert errors[0] < 0.1 and errors[1] < 0.01


def test_an_image_has_its_map_in_whatever_company():
    network, x = small_network(), images(num=40)
    classes = predicted_classes(network, x)
    together, alone = (explain(network, x[:num], classes[:num], Attribution()) for num in (40, 3))
    assert list(together) == ["grad_cam", "integrated_gradients"]
    for method in together:
        torch.testing.assert_close(together[method][:3], alone[method], rtol=1e-4, atol=1e-6)


def test_maps_are_the_same_every_time_and_the_network_stays_as_it_is():
    network, x = small_network(), images()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classes = predicted_classes(network, x)
    first, second = (explain(network, x, classes, Attribution()) for _ in range(2))
    assert all(torch.equal(first[method], second[method]) for method in first)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert x.grad is None and not x.requires_grad


def test_a_network_of_other_weights_has_other_reasons_but_only_where_signs_are_kept():
    network, other, x = small_network(), small_network(seed=1), images(num=50) * torch.linspace(0.05, 2, 8)
    classes = predicted_classes(network, x)
    ours, theirs = (explain(one, x, classes, INTEGRATED)["integrated_gradients"].numpy() for one in (network, other))
    assert rank_correlation(ours, ours).min() == pytest.approx(1)
    assert abs(rank_correlation(ours, theirs).mean()) < 0.1
    # Without signs both show where the image is strong.
    assert rank_correlation(np.abs(ours), np.abs(theirs)).mean() > 0.4


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (SmallResNetModel(kind="small_resnet", width=4), "blocks"),
        (ResNetModel(kind="resnet18", stem="small"), "layer4"),
        (WideResNetModel(kind="wide_resnet", depth=10, width=1), "norm"),
    ],
)
def test_grad_cam_explains_the_last_feature_map_with_its_shortcut(config, name):
    network = build_network(config, num_classes=10, num_channels=3, image_size=16, seed=0).eval()
    assert last_feature_map(network, torch.zeros(1, 3, 16, 16)) == name


def test_a_network_without_feature_maps_is_refused_by_name():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(ModelError, match=r"grad_cam: found a network no module .* accepted for it is \[integrated_"):
        explain(network, images(), torch.zeros(6, dtype=torch.long), GRAD_CAM)
