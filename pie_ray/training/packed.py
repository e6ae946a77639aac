"""Members side by side in one network, so that an operation is started once for all of them.

Small networks are bound by what it costs to start an operation. A pack has convolutions with a group a member, batch
norms and linear layers over all members' channels, and everything else as it is, since it keeps channels apart.

Axes: m members, b images of a batch, c channels, h height, w width, o outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batches import BatchSource

_TOLERANCE = 1e-4
"""How far a logit or a running statistic may be from a lone network's, as a share of the largest one."""


class PackedNetwork(nn.Module):
    """Networks of one architecture as one: images [b, m * c, h, w] to logits [m, b, o].

    Every tensor of it is the members' tensors one after the other along the first axis, and theirs become views of it:
    what a step changes here, changes in `members`, and the other way round. `release` ends that.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """`members` have the same layers, all of kinds that `_LAYERS` has or without tensors: see `can_pack`."""
        super().__init__()
        self.num_members = len(members)
        self.together = _together(members)
        # Not a list of modules: their parameters are in `together` already.
        self.members = tuple(members)
        for name, tensor in _tensors(self.together):
            for number, member in enumerate(members):
                own = _tensor(member, name)
                own.data = tensor.detach().chunk(self.num_members)[number] if own.ndim else tensor.detach()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.together(images)
        return logits.unflatten(1, (self.num_members, -1)).transpose(0, 1)

    def release(self) -> tuple[nn.Module, ...]:
        """The members with tensors of their own again, in eval mode; this pack is used up."""
        for member in self.members:
            member.eval()
            for _, tensor in _tensors(member):
                tensor.data = tensor.detach().clone()
        return self.members


def can_pack(network: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether two such networks side by side compute what they compute alone, tried on noise and with other weights.

    Logits in training and in evaluation and the statistics that training leaves are held against each other, on the CPU
    in float32. `network` stays as it is.

    Args:
        image_shape: channels, height, width.
    """
    # Whatever a network's own code raises on twice its channels, or when it is copied.
    with suppress(Exception), torch.random.fork_rng(devices=[]):
        members = [_other_weights(network, seed) for seed in range(2)]
        if not all(map(_has_known_layers, members)):
            return False
        alone = [copy.deepcopy(member) for member in members]
        pack = PackedNetwork(members)
        images = torch.randn(2, 4, *image_shape, generator=torch.Generator().manual_seed(0))
        return all(_computes_alike(pack, alone, images, is_training) for is_training in (True, False))
    return False


class PackedBatches:
    """Every member's own batches side by side: images [b, m * c, h, w] and labels [m, b] or [m, b, attributes].

    A member sees bit for bit what it would see alone.
    """

    def __init__(self, members: Sequence[BatchSource]) -> None:
        self.members = tuple(members)
        self.device = members[0].device

    def __len__(self) -> int:
        return len(self.members[0])

    def epoch(self, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        for batches in zip(*(member.epoch(first_step) for member in self.members), strict=True):
            images, labels = zip(*batches, strict=True)
            # Images of one channel are in both layouts, and several of them would be joined in the other one.
            yield torch.cat(images, dim=1).contiguous(memory_format=torch.channels_last), torch.stack(labels)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": tensor for number, member in self._numbered for name, tensor in member.state().items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        for number, member in self._numbered:
            prefix = f"{number}."
            member.restore({name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)})

    @property
    def _numbered(self) -> Iterator[tuple[int, BatchSource]]:
        return enumerate(self.members)


class PackedLoss:
    """Each member's plain loss: [m]."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing
        self.parameters: list[nn.Parameter] = []
        self.last = torch.zeros(0)
        """The losses [m] of the last step."""

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        del images
        losses = self._losses(logits.float(), labels)
        self.last = losses.detach()
        return losses

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels.ndim == 2:
            by_image = F.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), label_smoothing=self.label_smoothing, reduction="none"
            )
            return by_image.view(labels.shape).mean(1)
        targets = labels.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((1, 2))


# --------------------------------------------------------------------------------------------------------- layers


class _Linear(nn.Module):
    """Linear layers side by side: [b, m * inputs] to [b, m * outputs]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.num_members = len(layers)
        self.weight = _side_by_side([layer.weight for layer in layers])
        self.bias = None if layers[0].bias is None else _side_by_side([layer.bias for layer in layers])

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim != 2:
            raise ValueError("a linear layer in a pack takes [b, channels]")
        apart = inputs.unflatten(1, (self.num_members, -1)).transpose(0, 1)
        weight = self.weight.unflatten(0, (self.num_members, -1)).transpose(1, 2)
        if self.bias is None:
            outputs = torch.bmm(apart, weight)
        else:
            outputs = torch.baddbmm(self.bias.view(self.num_members, 1, -1), apart, weight)
        return outputs.transpose(0, 1).flatten(1)


def _convolution(layers: Sequence[nn.Conv2d]) -> nn.Conv2d:
    first, num_members = layers[0], len(layers)
    together = copy.deepcopy(first)
    together.in_channels, together.out_channels = first.in_channels * num_members, first.out_channels * num_members
    together.groups = first.groups * num_members
    together.weight = _side_by_side([layer.weight for layer in layers])
    if first.bias is not None:
        together.bias = _side_by_side([cast(Tensor, layer.bias) for layer in layers])
    return together


def _batch_norm(layers: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    together = copy.deepcopy(layers[0])
    together.num_features *= len(layers)
    for name, tensor in _tensors(layers[0]):
        if tensor.ndim:
            parts = [_tensor(layer, name) for layer in layers]
            is_parameter = isinstance(tensor, nn.Parameter)
            setattr(together, name, _side_by_side(parts) if is_parameter else torch.cat(parts))
    return together


_LAYERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _Linear,
}
"""How layers are put side by side. Exact kinds: a subclass may compute something else."""


def _side_by_side(parts: Sequence[Tensor]) -> nn.Parameter:
    layout = torch.channels_last if parts[0].ndim == 4 else torch.contiguous_format
    joined = torch.cat([part.detach() for part in parts]).contiguous(memory_format=layout)
    return nn.Parameter(joined, parts[0].requires_grad)


def _together(members: Sequence[nn.Module]) -> nn.Module:
    """A copy of the first member with all members' layers in place of its own."""
    together = copy.deepcopy(members[0])
    if type(together) in _LAYERS:
        return _LAYERS[type(together)](members)
    made: dict[nn.Module, nn.Module] = {}
    for name, layer in list(together.named_modules(remove_duplicate=False)):
        if type(layer) in _LAYERS:
            if layer not in made:
                made[layer] = _LAYERS[type(layer)]([member.get_submodule(name) for member in members])
            together.set_submodule(name, made[layer])
    return together


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _tensor(network: nn.Module, name: str) -> Tensor:
    layer, _, own_name = name.rpartition(".")
    return cast(Tensor, getattr(network.get_submodule(layer), own_name))


# ----------------------------------------------------------------------------------------------------------- trying


def _has_known_layers(network: nn.Module) -> bool:
    """Whether every tensor is a known layer's own; one that two layers share would come apart."""
    own = [
        tensor
        for layer in network.modules()
        if type(layer) in _LAYERS
        for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
    ]
    return len(own) == len(set(own)) and set(own) == {tensor for _, tensor in _tensors(network)}


def _other_weights(network: nn.Module, seed: int) -> nn.Module:
    """A copy with noise on every tensor of floats, since some layers begin with zeros."""
    other = copy.deepcopy(network).cpu().float()
    generator = torch.Generator().manual_seed(seed)
    for _, tensor in _tensors(other):
        if tensor.is_floating_point():
            tensor.data += 0.1 * torch.rand(tensor.shape, generator=generator)
    return other


def _computes_alike(pack: PackedNetwork, alone: Sequence[nn.Module], images: Tensor, is_training: bool) -> bool:
    """`images`: [m, b, c, h, w]."""
    pack.train(is_training)
    with torch.no_grad():
        expected = [member.train(is_training)(part) for member, part in zip(alone, images, strict=True)]
        found = pack(torch.cat(list(images), dim=1))
    pairs = list(zip(found, expected, strict=True))
    for member, lone in zip(pack.members, alone, strict=True):
        pairs += [(_tensor(member, name).float(), tensor.float()) for name, tensor in lone.named_buffers()]
    return all(_is_close(one, other) for one, other in pairs)


def _is_close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())
