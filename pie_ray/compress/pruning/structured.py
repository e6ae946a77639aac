"""Structured pruning: whole channels leave the network, which gets smaller and cheaper on any hardware.

torch-pruning's dependency graph (Fang et al., arXiv 2301.12900) tells which layers' channels have to go together, such
as those that a residual connection adds up, and scores such a group's channels by the squared L2 norms of their
weights, in the layers that make, normalise and read them, relative to the group's mean. Which ones go is decided here,
so that their number is exact: the library's own pruner keeps floor(C (1 - s)), which leaves 1 of 16 channels at
s = 0.9, and none of 10, whereupon it passes a layer over in silence.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch_pruning
from torch import Tensor, nn

from ...errors import CompressionError
from ...variants import StructuredPruning
from ..fit import Fit, nothing_after
from ..structure import reshape, structure_of
from .masks import largest, prunable_weights

_TOLERANCE = 1e-4
"""How far a logit may be from that of the network with zeros in place of channels, as a share of the largest."""

_WITH_BIAS = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase)

Removed = tuple[nn.Module, list[int]]
"""A group's first layer, and which of its outputs go."""


def prune_structured(
    network: nn.Module, pruning: StructuredPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """The dense network without its weakest channels, fine-tuned where the variant says so.

    With scope `layer` every group of C channels keeps round(C (1 - s)), at least one; with scope `global` all groups
    together keep that share of theirs, each at least one. Where convolutions or normalisations are grouped, the blocks
    lose channels at the same places, and C is what a block has. The images' channels and the classifier's outputs stay.

    Raises CompressionError where torch-pruning cannot follow the network, or no channel could go.
    """
    del generator
    pruned = remove_channels(network, pruning, images)
    if pruning.trains:
        fit(pruned, after_step=nothing_after)
    return pruned


def remove_channels(network: nn.Module, pruning: StructuredPruning, images: Tensor) -> nn.Module:
    """A smaller network with the remaining weights, in eval mode; `network` is used up."""
    device, images = images.device, images[:2].cpu()
    network = network.cpu().eval()
    dense = copy.deepcopy(network)
    with _followed():
        graph = _trace(network, images[:1])
        groups = _groups(graph, network)
        masks = _MASKS[pruning.scope]([group.scores for group in groups], pruning.sparsity)
        if all(bool(mask.all()) for mask in masks):
            sizes = ", ".join(str(len(group.scores)) for group in groups)
            raise CompressionError(
                f"structured pruning to sparsity {pruning.sparsity:g} removes nothing: channels to choose from are "
                f"{sizes}, and each layer keeps at least one"
            )
        removed = [group.without(kept) for group, kept in zip(groups, masks, strict=True)]
        wanted = _logits_with_zeros(network, graph, removed, images)
        network.load_state_dict(dense.state_dict())
        for root, channels in removed:
            _library_group(graph, root, channels).prune(record_history=False)
        rebuilt = _rebuilt(network, dense)
        _check(rebuilt, wanted, images)
    return rebuilt.to(device)


@dataclass(frozen=True)
class _Group:
    """Channels of several layers that go together."""

    root: nn.Module
    num_blocks: int
    scores: Tensor
    """By channel of a block."""

    def without(self, kept: Tensor) -> Removed:
        """The root's channels to be removed, where `kept` tells those of a block that are not."""
        size = len(self.scores)
        gone = (~kept).nonzero().flatten().tolist()
        return self.root, [channel + block * size for block in range(self.num_blocks) for channel in gone]


def _share_of_each(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Booleans, true where a channel is kept."""
    return [largest(group, max(1, round(len(group) * (1 - sparsity)))) for group in scores]


def _share_of_all(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """As above; the best channel of each group is out of the question."""
    ranked = torch.cat([group.scatter(0, group.argmax(0, keepdim=True), math.inf) for group in scores])
    kept = largest(ranked, max(len(scores), round(len(ranked) * (1 - sparsity))))
    return list(kept.split([len(group) for group in scores]))


_MASKS = {"layer": _share_of_each, "global": _share_of_all}

# --------------------------------------------------------------------------------------- what the library is asked


@contextmanager
def _followed() -> Iterator[None]:
    """Whatever the library or the network raises on the way is a CompressionError; the console stays clean."""
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            yield
        except CompressionError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise CompressionError(
                f"structured pruning cannot follow this network's channels, torch-pruning stopped at {reason}"
            ) from error


def _trace(network: nn.Module, images: Tensor) -> torch_pruning.DependencyGraph:
    def forward(network: nn.Module, images: Tensor) -> Tensor:
        # Neither the images nor the logits are a layer's own then, so that the graph has a node for the output, and
        # layers whose weights are frozen are in it.
        logits: Tensor = network(images.clone().requires_grad_() * 1) * 1
        if logits.grad_fn is None:
            raise CompressionError(
                "structured pruning follows gradients from the logits back to the images, and this network cuts them "
                "off (torch.no_grad, detach, or a way through numpy)"
            )
        return logits

    return torch_pruning.DependencyGraph().build_dependency(network.eval(), images, forward_fn=forward, verbose=False)


def _groups(graph: torch_pruning.DependencyGraph, network: nn.Module) -> list[_Group]:
    """Every group but those that reach the logits. Raises CompressionError where a layer is in no group, or all do."""
    score = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    groups, reached = [], set()
    for group in graph.get_all_groups():
        reached |= {item.dep.layer for item in group if isinstance(item.dep.layer, nn.Module)}
        if any(item.dep.target.type == torch_pruning.ops.OPTYPE.OUTPUT for item in group):
            continue
        num_blocks = _num_blocks(graph, group)
        # A group of zeros has no mean to be relative to.
        scores = score(group).nan_to_num(0.0).cpu().view(num_blocks, -1).mean(0)
        groups.append(_Group(group[0].dep.layer, num_blocks, scores))
    names = [name.removesuffix("weight").removesuffix(".") for name in prunable_weights(network, "global")]
    if missed := [name for name in names if network.get_submodule(name) not in reached]:
        raise CompressionError(f"structured pruning finds no way from the images to the logits through {_list(missed)}")
    if not groups:
        raise CompressionError("structured pruning finds no layer but the classifier, whose outputs stay")
    return groups


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _num_blocks(graph: torch_pruning.DependencyGraph, group: torch_pruning.Group) -> int:
    """Into how many equal blocks grouped convolutions and normalisations divide a group's channels."""
    blocks = 1
    for item in group:
        layer, pruner = item.dep.layer, graph.get_pruner_of_module(item.dep.layer)
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == layer.out_channels:
            continue  # Depthwise: each channel is a group, and goes with it.
        is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
        of_layer = pruner.get_out_channel_groups(layer) if is_output else pruner.get_in_channel_groups(layer)
        blocks = math.lcm(blocks, of_layer)
    return blocks


def _library_group(graph: torch_pruning.DependencyGraph, root: nn.Module, channels: list[int]) -> torch_pruning.Group:
    """Everything that has to go with these outputs of `root`, layer by layer."""
    return graph.get_pruning_group(root, graph.get_pruner_of_module(root).prune_out_channels, channels)


def _rebuilt(network: nn.Module, dense: nn.Module) -> nn.Module:
    """The pruned network as a checkpoint gives it back: the member that is measured is the one that is stored."""
    rebuilt = reshape(dense, structure_of(network, dense))
    rebuilt.load_state_dict(network.state_dict())
    return rebuilt


# ------------------------------------------------------------------------------------------- what it is checked with


@torch.no_grad()
def _logits_with_zeros(
    network: nn.Module, graph: torch_pruning.DependencyGraph, removed: Sequence[Removed], images: Tensor
) -> Tensor | None:
    """What the network answers with zeros where channels are to go; its weights are used up.

    None where a normalisation over channels is among the layers: it answers otherwise to zeros than to less.
    """
    items = [item for root, channels in removed if channels for item in _library_group(graph, root, channels)]
    if any(isinstance(item.dep.layer, nn.GroupNorm | nn.LayerNorm) for item in items):
        return None
    for item in items:
        _silence(item.dep.layer, item.idxs, graph.is_out_channel_pruning_fn(item.dep.handler))
    logits: Tensor = network(images.clone())
    return logits


def _silence(layer: nn.Module | nn.Parameter, channels: Sequence[int], are_outputs: bool) -> None:
    """Zeros in place of a layer's weights for these outputs, or these inputs."""
    if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
        weight = layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight
        if are_outputs:
            weight[channels] = 0
        else:
            # Of a grouped convolution, whose weights know a block's channels alone, the same in each block.
            weight[:, [channel % weight.shape[1] for channel in channels]] = 0
    if are_outputs and isinstance(layer, _WITH_BIAS) and layer.bias is not None:
        layer.bias[channels] = 0
    if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.affine:
        layer.weight[channels] = 0


def _check(network: nn.Module, wanted: Tensor | None, images: Tensor) -> None:
    """Raises CompressionError where the library took channels for one that are two: after a shuffle, for example."""
    with torch.no_grad():
        found: Tensor = network(images.clone())
    if wanted is not None and not bool((found - wanted).abs().max() <= _TOLERANCE * wanted.abs().max()):
        raise CompressionError(
            "structured pruning takes the wrong channels of this network: without them it answers otherwise than with "
            "zeros in their place; its forward mixes channels in a way that torch-pruning does not see"
        )
