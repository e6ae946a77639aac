"""Attribution maps of a network for given classes, by captum: where in an image its answer comes from.

Axes: n images, c channels, h height, w width. Maps are flat, [n, positions], since they are only compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Attribution
from ..errors import ModelError
from ..training import images_per_pass

Maps = dict[str, Tensor]
"""Float32 [n, positions] on the CPU, by method."""


def predicted_classes(network: nn.Module, images: Tensor) -> Tensor:
    """Integers [n], on the images' device."""
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in _parts(images, _num_at_once(images))])


def last_feature_map(network: nn.Module, image: Tensor) -> str:
    """Name of the module whose output Grad-CAM explains: the last one to put out a map of more than one position.

    Of a residual network that is its last block, shortcut added, as is usual, and not the convolution that happens to
    run last. `image` is [1, c, h, w]. Raises ModelError where there is none.
    """
    found: list[str] = []

    def remember(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(remember(name)) for name, module in network.named_modules() if name]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    if not found:
        raise ModelError(
            "evaluation.attribution.methods: grad_cam: found a network no module of which puts out a map "
            "[n, channels, height, width] of more than one position; accepted for it is [integrated_gradients]"
        )
    return found[-1]


def explain(network: nn.Module, images: Tensor, classes: Tensor, config: Attribution) -> Maps:
    """Maps of what speaks for `classes` [n] in normalised `images` [n, c, h, w]; the network is left as it is.

    `grad_cam` (Selvaraju et al., arXiv 1610.02391) is of the last feature map's positions, at least 0.
    `integrated_gradients` (Sundararajan et al., arXiv 1703.01365) is of the pixels, channels added up, against an image
    of the mean colour: a map's sum is the logit's difference between the two, but for the error of `num_steps`.

    Raises ModelError where a network has no feature map.
    """
    methods = {"grad_cam": _grad_cam, "integrated_gradients": _integrated_gradients}
    frozen = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        # An autocast of the caller's does not reach the maps.
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU", category=UserWarning)
            return {method: methods[method](network, images, classes, config) for method in config.methods}
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _grad_cam(network: nn.Module, images: Tensor, classes: Tensor, config: Attribution) -> Tensor:
    from captum.attr import LayerGradCam

    layer = network.get_submodule(last_feature_map(network, images[:1]))
    method = LayerGradCam(network, layer)
    maps = []
    for part, targets in _with_classes(images, classes, _num_at_once(images)):
        # The layer's output has a gradient only where something before it has.
        found = method.attribute(part.requires_grad_(), target=targets, relu_attributions=True)
        maps.append(found.detach().flatten(1).cpu())
    return torch.cat(maps)


def _integrated_gradients(network: nn.Module, images: Tensor, classes: Tensor, config: Attribution) -> Tensor:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(network)
    maps = []
    for part, targets in _with_classes(images, classes, max(1, _num_at_once(images) // config.num_steps)):
        # After normalisation the mean colour is zero.
        found = method.attribute(part, baselines=0.0, target=targets, n_steps=config.num_steps)
        maps.append(found.detach().sum(1).flatten(1).cpu().float())
    return torch.cat(maps)


def _num_at_once(images: Tensor) -> int:
    return images_per_pass(images.shape[2], images.shape[3], images.device)


def _parts(images: Tensor, size: int) -> Iterator[Tensor]:
    yield from torch.split(images, size)


def _with_classes(images: Tensor, classes: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Copies, whose gradients are nobody else's."""
    for part, targets in zip(torch.split(images, size), torch.split(classes, size), strict=True):
        yield part.detach().clone(), targets
