"""How a member's network comes to be: trained, pruned or converted by its variant; or restored from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, Facts
from .compress.fit import AfterStep, nothing_after
from .compress.multiply_adds import multiply_adds
from .compress.pruning import prune
from .compress.pruning.masks import FixedMasks, measure_sparsity, prunable_weights
from .compress.quantization import describe, quantize, quantize_aware, restore
from .compress.structure import reshape, structure_of
from .config import FineTuning, QuantizationScheme, Scope, Training
from .errors import NonFiniteLossError
from .identity import MemberSpec
from .records import Arithmetic, QuantizationFacts
from .saved_states import MemberStates
from .store import Storage, paths, read_checkpoint
from .training import (
    ALONE,
    BatchSource,
    Normalise,
    Objective,
    PlainLoss,
    PreservingLoss,
    Resumable,
    Team,
    TrainingResult,
    make_batches,
    make_route,
    random_numbers,
    train,
)
from .training.whitening import NUM_IMAGES_TO_WHITEN, whiten_first_convolution
from .variants import REFERENCE_ID, Pruning
from .workplace import Workplace

NUM_CALIBRATION_IMAGES = 100
"""Static int8 is calibrated on the first 100 training images (Hooker et al., arXiv 2010.03058)."""

OnEpoch = Callable[[int, float], None]


def make_network(
    spec: MemberSpec,
    workplace: Workplace,
    device: torch.device,
    on_epoch: OnEpoch,
    states: MemberStates | None = None,
    team: Team = ALONE,
) -> tuple[nn.Module, Checkpoint]:
    """The member's network, made now; its parent's checkpoint is there.

    `states` keeps training's state meanwhile, and may have one to go on from. Each process of a `team` makes the
    network, of its own share of the batches, and has the same weights in the end.

    Raises NonFiniteLossError, CompressionError, StoreError.
    """
    make = _train if spec.variant.quantization is None else _convert
    return make(spec, workplace, device, on_epoch, states, team)


def read_own_checkpoint(spec: MemberSpec, storage: Storage) -> tuple[Checkpoint, bytes]:
    """A member's checkpoint and its bytes. Raises StoreError where it is absent, damaged or another's."""
    return _read(spec.variant_id, spec.seed, spec.member_id, storage)


def restore_network(
    skeleton: nn.Module, scheme: QuantizationScheme | None, checkpoint: Checkpoint, device: torch.device
) -> nn.Module:
    """A recipe's network as a checkpoint has it, quantized where there is a `scheme`; on the device, in eval mode."""
    return restore_computing(skeleton, scheme, checkpoint, device)[0]


def restore_computing(
    skeleton: nn.Module, scheme: QuantizationScheme | None, checkpoint: Checkpoint, device: torch.device
) -> tuple[nn.Module, Arithmetic]:
    """`restore_network`, and how the network computes on this device, which may not be the one it was made on."""
    skeleton = reshape(skeleton, checkpoint.facts.structure)
    if scheme is None:
        skeleton.load_state_dict(checkpoint.state)
        return skeleton.eval().to(device), "native"
    quantized = restore(skeleton.to(device).eval(), scheme, checkpoint.state)
    return quantized.network, quantized.arithmetic


# ------------------------------------------------------------------------------------------------- train, convert


def _train(
    spec: MemberSpec,
    workplace: Workplace,
    device: torch.device,
    on_epoch: OnEpoch,
    states: MemberStates | None,
    team: Team,
) -> tuple[nn.Module, Checkpoint]:
    pruning = spec.variant.pruning
    fit = MemberFit(spec, workplace, device, getattr(pruning, "fine_tuning", None), on_epoch, states, team)
    if pruning is not None and pruning.starts_dense:
        network = _reference(spec, workplace, device)
    else:
        network = initial_network(spec, workplace, device)
    if pruning is None:
        fit(network, after_step=nothing_after)
    else:
        generator = torch.Generator().manual_seed(spec.mask_seed)
        network = prune(network, pruning, fit, calibration_images(workplace, device), generator)
    return network, trained_checkpoint(spec, network, workplace, fit.result, device)


def trained_checkpoint(
    spec: MemberSpec, network: nn.Module, workplace: Workplace, result: TrainingResult | None, device: torch.device
) -> Checkpoint:
    """What is kept of a member that is not quantized; `result` is None where it was not trained."""
    facts = _measure(spec, network, workplace, result, device)
    return Checkpoint(facts=facts, state=dict(network.state_dict()))


def initial_network(spec: MemberSpec, workplace: Workplace, device: torch.device) -> nn.Module:
    """The member's network with its first weights, on the device. Raises ModelError where they cannot be whitened."""
    network = workplace.skeleton(spec.generator_seed)
    if workplace.recipe.training.initialisation == "whitening":
        whiten_first_convolution(network, _first_images(workplace, NUM_IMAGES_TO_WHITEN, torch.device("cpu")))
    return network.to(device)


def _convert(
    spec: MemberSpec,
    workplace: Workplace,
    device: torch.device,
    on_epoch: OnEpoch,
    states: MemberStates | None,
    team: Team,
) -> tuple[nn.Module, Checkpoint]:
    variant = spec.variant
    assert variant.parent is not None and variant.quantization is not None and spec.parent_id is not None
    parent, _ = _read(variant.parent.variant_id, spec.seed, spec.parent_id, workplace.storage)
    network = restore_network(workplace.skeleton(spec.generator_seed), None, parent, device)
    images = calibration_images(workplace, device)
    fit = MemberFit(spec, workplace, device, variant.quantization_aware, on_epoch, states, team)
    if variant.quantization_aware is None:
        quantized = quantize(network, variant.quantization, calibration_images=images)
    else:
        quantized = quantize_aware(
            network,
            variant.quantization,
            fit,
            calibration_images=images,
            after_step=_pruned_stay_zero(spec, network),
        )
    facts = _measure(
        spec,
        network,
        workplace,
        fit.result,
        device,
        parent.facts.precision,
        quantized.arithmetic,
        describe(network, variant.quantization, num_calibration_images=len(images)),
    )
    return quantized.network, Checkpoint(facts=facts, state=quantized.state)


def _pruned_stay_zero(spec: MemberSpec, network: nn.Module) -> AfterStep:
    pruning = spec.variant.pruning
    if pruning is None:
        return nothing_after
    return FixedMasks.of_zeros(prunable_weights(network, pruning.scope)).after_step


def calibration_images(workplace: Workplace, device: torch.device) -> Tensor:
    """The first training images, normalised: [100, channels, height, width]."""
    return _first_images(workplace, NUM_CALIBRATION_IMAGES, device)


def _first_images(workplace: Workplace, num_images: int, device: torch.device) -> Tensor:
    train_set = workplace.splits.train
    return Normalise(train_set.channel_statistics, device)(train_set.first(num_images).to(device))


def _reference(spec: MemberSpec, workplace: Workplace, device: torch.device) -> nn.Module:
    """The dense member of equal seed."""
    checkpoint, _ = _read(REFERENCE_ID, spec.seed, spec.reference_id, workplace.storage)
    return restore_network(workplace.skeleton(spec.generator_seed), None, checkpoint, device)


def _read(variant_id: str, seed: int, member_id: str, storage: Storage) -> tuple[Checkpoint, bytes]:
    data = read_checkpoint(storage, variant_id, seed, member_id=member_id)
    return Checkpoint.from_bytes(data, source=f"{paths.checkpoint(variant_id, seed)} in {storage}"), data


# ------------------------------------------------------------------------------------------------------- training


@dataclass
class MemberFit:
    """Trains a member's network by its recipe: the `Fit` that pruning and quantization are given."""

    spec: MemberSpec
    workplace: Workplace
    device: torch.device
    fine_tuning: FineTuning | None
    on_epoch: OnEpoch
    states: MemberStates | None = None
    team: Team = ALONE
    result: TrainingResult | None = None
    """Of the last training; None where there was none."""
    num_trainings: int = 0

    @cached_property
    def config(self) -> Training:
        training = self.workplace.recipe.training
        return training if self.fine_tuning is None else self.fine_tuning.of(training)

    @cached_property
    def batches(self) -> BatchSource:
        train_set = self.workplace.splits.train
        return make_batches(
            train_set.pixels,
            train_set.labels,
            statistics=train_set.channel_statistics,
            batch_size=self.config.batch_size,
            augmentation=self.config.augmentation,
            generator=torch.Generator().manual_seed(self.spec.generator_seed),
            device=self.device,
            share=self.team.share,
            num_cpus=self.workplace.recipe.execution.cpus_per_member,
        )

    @property
    def num_epochs(self) -> int:
        return self.config.epochs

    @property
    def steps_per_epoch(self) -> int:
        return len(self.batches)

    def __call__(
        self, network: nn.Module, *, after_step: AfterStep, first_epoch: int = 0, keeps: Resumable | None = None
    ) -> None:
        """As `Fit` has it."""
        self.num_trainings += 1
        if self.states is not None and not self.states.next_training():
            return
        seed = self.spec.network_seed(self.num_trainings, self.team.share[0])
        objective = self._objective()
        try:
            with random_numbers(seed, self.device):
                self.result = train(
                    network,
                    self.batches,
                    self.config,
                    objective=objective,
                    first_epoch=first_epoch,
                    after_step=after_step,
                    on_epoch=self.on_epoch,
                    keeps=keeps,
                    states=self.states,
                    team=self.team,
                )
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{self.spec.variant_id}, seed {self.spec.seed}: {error}") from error

    def _objective(self) -> Objective:
        loss, smoothing = self.spec.variant.loss, self.config.label_smoothing
        if loss is None:
            return PlainLoss(smoothing)
        reference = make_route(
            _reference(self.spec, self.workplace, self.device),
            arithmetic="native",
            precision="float32",
            image_shape=self.workplace.image_shape,
        )
        return PreservingLoss(loss, reference, smoothing, self.device, self.team)


# -------------------------------------------------------------------------------------------------------- measuring


def _measure(
    spec: MemberSpec,
    network: nn.Module,
    workplace: Workplace,
    result: TrainingResult | None,
    device: torch.device,
    precision: str = "float32",
    arithmetic: Arithmetic = "native",
    quantization: QuantizationFacts | None = None,
) -> Facts:
    """`network`: with weights in floating point, before a conversion. `precision`: of a training before this one."""
    scope = _scope_of(spec.variant.pruning)
    prunable = prunable_weights(network, scope)
    # Channels that are gone count as the zeros they would be.
    dense = workplace.skeleton(spec.generator_seed)
    num_prunable = sum(p.numel() for p in prunable_weights(dense, scope).values())
    num_removed = num_prunable - sum(p.numel() for p in prunable.values())
    num_multiplied, num_multiplied_nonzero = multiply_adds(network, workplace.image_shape)
    return Facts(
        member_id=spec.member_id,
        num_parameters=sum(p.numel() for p in network.parameters()),
        num_prunable=num_prunable,
        num_nonzero=sum(int(p.count_nonzero()) for p in network.parameters()),
        achieved_sparsity=measure_sparsity(prunable, num_removed),
        arithmetic=arithmetic,
        precision=precision if result is None else result.precision,
        device=device.type,
        train_loss=None if result is None else _of_one(result.loss),
        structure=structure_of(network, dense),
        multiply_adds=num_multiplied,
        multiply_adds_nonzero=num_multiplied_nonzero,
        quantization=quantization,
    )


def _of_one(loss: float | list[float]) -> float:
    assert isinstance(loss, float)
    return loss


def _scope_of(pruning: Pruning | None) -> Scope:
    """Which weights sparsity is a share of; channels that go take some of every layer, whatever they are chosen by."""
    if pruning is None:
        return "layer"
    return "global" if pruning.kind == "structured" else pruning.scope
