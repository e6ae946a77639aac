"""Packs, members trained together in one process as one network: which ones, how many, and how. No Ray in here.

What a pack leaves is what lone members leave: the checkpoint of each, and nothing of the pack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

import torch
from torch import nn

from .checkpoint import Checkpoint
from .compress.fit import num_steps
from .compress.pruning.gradual import GradualMasks, MasksSideBySide, gradual_masks
from .config import Training
from .errors import CompressionError, NonFiniteLossError
from .identity import MemberSpec, Pack
from .making import MemberFit, initial_network, trained_checkpoint
from .training import PackedBatches, PackedLoss, PackedNetwork, TrainingResult, can_pack, train
from .variants import GradualPruning
from .workplace import Workplace

Made = dict[str, tuple[nn.Module, Checkpoint]]
"""Networks and their checkpoints by member id."""

SIZES_BY_WORK = ((1e8, 16), (4e8, 8))
"""Of `auto` on the CPU: up to so many multiply-adds a step, so many members; measured in docs/packing.md."""
SIZES_BY_WORK_ON_CUDA = ((1e9, 16), (1e10, 4))
"""An estimate, not measured: where computing a step takes about as long as starting its operations."""


def pack_size(training: Training, multiply_adds: int, *, is_cuda: bool) -> int:
    """Members a pack: the recipe's number, or chosen by the work that a step of one member is.

    Args:
        multiply_adds: of one image, forward.
        is_cuda: whether members train on GPUs, on which starting an operation costs more beside computing it.
    """
    if training.num_processes > 1:
        return 1
    if training.pack != "auto":
        return training.pack
    work = multiply_adds * training.batch_size
    sizes = SIZES_BY_WORK_ON_CUDA if is_cuda else SIZES_BY_WORK
    return next((size for most, size in sizes if work <= most), 1)


def packs_of(specs: Sequence[MemberSpec], size: int, *, least: int = 1) -> list[Pack]:
    """Split members into packs of up to `size`, as even as can be; those that train otherwise are packs of one.

    Packs come in the order of their first members, and members in the order of `specs`.

    Args:
        least: packs to make where there are members for them, so that as many processes have work.
    """
    joining = [spec for spec in specs if _joins(spec)] if size > 1 else []
    packs = {pack[0].member_id: pack for pack in _evenly(joining, size, least)}
    packed = {spec.member_id for spec in joining}
    packs |= {spec.member_id: (spec,) for spec in specs if spec.member_id not in packed}
    return [packs[spec.member_id] for spec in specs if spec.member_id in packs]


def _joins(spec: MemberSpec) -> bool:
    """Whether it is trained from random weights in one go, on the plain loss."""
    variant, pruning = spec.variant, spec.variant.pruning
    is_plain = variant.quantization is None and variant.loss is None
    return is_plain and (pruning is None or (isinstance(pruning, GradualPruning) and not pruning.starts_dense))


def _evenly(specs: Sequence[MemberSpec], size: int, least: int) -> Iterable[Pack]:
    num_packs = min(len(specs), max(least, -(-len(specs) // size)))
    bounds = [len(specs) * number // num_packs for number in range(num_packs + 1)] if num_packs else [0]
    return (tuple(specs[start:end]) for start, end in pairwise(bounds))


# ------------------------------------------------------------------------------------------------------- training


def make_together(specs: Sequence[MemberSpec], workplace: Workplace, device: torch.device) -> Made:
    """Train members as one network, each with its own weights, batches and masks.

    Who is not in the answer has to be made alone: all, where their networks cannot be put side by side, and a member
    that diverged or misses its sparsity, which will say so itself. Where one diverged the others begin again without
    it, once; where then another does, all are left out.

    Args:
        specs: of `packs_of`, without checkpoints.
    """
    for _ in range(2):
        networks = [initial_network(spec, workplace, device) for spec in specs]
        if len(specs) < 2 or not can_pack(networks[0], workplace.image_shape):
            return {}
        try:
            made, diverged = _train_together(specs, networks, workplace, device)
        except CompressionError:  # masks that cannot be, before anything is trained
            return {}
        if not diverged:
            return made
        specs = [spec for spec in specs if spec.member_id not in diverged]
    return {}


def _train_together(
    specs: Sequence[MemberSpec], networks: Sequence[nn.Module], workplace: Workplace, device: torch.device
) -> tuple[Made, set[str]]:
    """What was made, or the ids of those that diverged. Raises CompressionError before anything is trained."""
    fits = [MemberFit(spec, workplace, device, None, lambda epoch, loss: None) for spec in specs]
    masks = [_masks(*of_it) for of_it in zip(specs, networks, fits, strict=True)]
    packed, loss = PackedNetwork(networks), PackedLoss(workplace.recipe.training.label_smoothing)
    together = MasksSideBySide(dict(packed.together.named_parameters()), masks)
    try:
        result = train(
            packed,
            PackedBatches([fit.batches for fit in fits]),
            workplace.recipe.training,
            objective=loss,
            after_step=together.after_step,
        )
    except NonFiniteLossError:
        finite = [
            bool(torch.isfinite(last)) and all(torch.isfinite(weights).all() for weights in network.parameters())
            for last, network in zip(loss.last, networks, strict=True)
        ]
        return {}, {spec.member_id for spec, is_finite in zip(specs, finite, strict=True) if not is_finite}
    assert isinstance(result.loss, list)
    packed.release()
    made: Made = {}
    for spec, network, own_masks, own_loss in zip(specs, networks, masks, result.loss, strict=True):
        with suppress(CompressionError):
            if own_masks is not None:
                own_masks.check()
            own = TrainingResult(result.num_steps, own_loss, result.precision)
            made[spec.member_id] = network, trained_checkpoint(spec, network, workplace, own, device)
    return made, set()


def _masks(spec: MemberSpec, network: nn.Module, fit: MemberFit) -> GradualMasks | None:
    pruning = spec.variant.pruning
    if pruning is None:
        return None
    assert isinstance(pruning, GradualPruning)
    return gradual_masks(network, pruning, num_steps(fit), torch.Generator().manual_seed(spec.mask_seed))
