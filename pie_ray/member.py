"""One member from description to record: train or derive it, keep its checkpoint, predict, record. No Ray in here.

Every step begins with "already complete? use it", so a killed member goes on from its checkpoint when it is run again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, Facts
from .compress.masks import measure_sparsity, prunable_weights
from .compress.pruning import GradualMagnitudePruning
from .compress.quantization import QuantizedNetwork, quantize, restore
from .config import QuantizationScheme, Recipe
from .data import EvaluationImages, Splits, Suites, open_suites
from .errors import NonFiniteLossError
from .identity import MemberSpec
from .models import build_network
from .prepared import PreparedImages
from .records import MemberRecord
from .store import (
    Sink,
    Storage,
    paths,
    prediction_batch,
    read_checkpoint,
    read_record,
    stored_top1,
    write_checkpoint,
    write_record,
)
from .suites import keeps_logits
from .training import Batches, Normalise, choose_device, make_route, predict, train

NUM_CALIBRATION_IMAGES = 100
"""Static int8 is calibrated on the first 100 training images (Hooker et al., arXiv 2010.03058)."""

OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True)
class Workplace:
    """What every member of a sweep shares in one process: the recipe, its data and where results go."""

    recipe: Recipe
    splits: Splits
    storage: Storage
    sink: Sink

    @cached_property
    def suites(self) -> Suites:
        """The evaluation sets. Raises DataError where a suite's files are not as they should be."""
        return open_suites(self.recipe.evaluation.suites, self.splits)

    @cached_property
    def prepared(self) -> PreparedImages:
        """Where the images of evaluation sets lie that were made once for all members."""
        return PreparedImages(self.recipe.execution)

    def skeleton(self, seed: int) -> nn.Module:
        """The recipe's network with its initial weights for `seed`."""
        train_set = self.splits.train
        return build_network(
            self.recipe.model,
            num_classes=train_set.num_classes,
            num_channels=train_set.num_channels,
            image_size=train_set.image_size,
            seed=seed,
        )


def run_member(spec: MemberSpec, workplace: Workplace, *, on_epoch: OnEpoch = lambda epoch, loss: None) -> MemberRecord:
    """Bring one member to completion and return its record, which is written last.

    Raises NonFiniteLossError, CompressionError, StoreError (a parent's checkpoint is missing or not its own).
    """
    device = choose_device()
    started = time.perf_counter()
    network, facts, num_bytes, was_made = _obtain(spec, workplace, device, on_epoch)
    earlier = read_record(workplace.storage, spec)
    known_seconds = None if earlier is None else earlier.train_seconds
    train_seconds = time.perf_counter() - started if was_made else known_seconds

    started = time.perf_counter()
    train_set = workplace.splits.train
    forward = make_route(
        network.eval(),
        arithmetic=facts.arithmetic,
        precision=workplace.recipe.evaluation.precision,
        image_shape=(train_set.num_channels, train_set.image_size, train_set.image_size),
    )
    top1 = evaluate_member(spec, forward, workplace, device)
    record = MemberRecord(
        member_id=spec.member_id,
        variant_id=spec.variant_id,
        seed=spec.seed,
        parent_id=spec.parent_id,
        sparsity=spec.variant.sparsity,
        quantization=spec.variant.quantization,
        arithmetic=facts.arithmetic,
        num_parameters=facts.num_parameters,
        num_prunable=facts.num_prunable,
        num_nonzero=facts.num_nonzero,
        achieved_sparsity=facts.achieved_sparsity,
        checkpoint_bytes=num_bytes,
        train_loss=facts.train_loss,
        top1=top1,
        train_seconds=train_seconds,
        evaluate_seconds=time.perf_counter() - started,
        device=facts.device,
        precision=facts.precision,
        versions={"torch": torch.__version__, "python": platform.python_version()},
    )
    write_record(workplace.storage, record)
    return record


def evaluate_member(
    spec: MemberSpec, forward: Callable[[Tensor], Tensor], workplace: Workplace, device: torch.device
) -> dict[str, float]:
    """Send the member's predictions to the sink, on those suites that the storage has none of yet.

    Returns the share of correct ones by evaluation set; of attributes learned jointly it is the share over examples and
    attributes, at a threshold of 0.
    """
    top1: dict[str, float] = {}
    for suite, sets in workplace.suites.items():
        examples = {images.name: (images.example_ids, images.labels.numpy()) for images in sets}
        stored = stored_top1(workplace.storage, spec, suite, examples)
        top1 |= _evaluate_suite(spec, suite, forward, workplace, device) if stored is None else stored
    return top1


def _evaluate_suite(
    spec: MemberSpec, suite: str, forward: Callable[[Tensor], Tensor], workplace: Workplace, device: torch.device
) -> dict[str, float]:
    sets = workplace.suites[suite]
    store_logits = keeps_logits(workplace.recipe.evaluation, suite, workplace.splits.train.num_classes)
    top1 = {}
    with workplace.sink.open(spec, suite, sum(map(len, sets))) as predictions:
        for images in sets:
            num_correct = 0
            for rows, logits in _predict(images, forward, workplace, device):
                labels = images.labels[rows]
                predicted = logits > 0 if images.is_multilabel else logits.argmax(1)
                num_correct += int((predicted == labels).sum())
                batch = prediction_batch(
                    images.name, images.example_ids[rows], labels.numpy(), logits.numpy(), store_logits=store_logits
                )
                predictions.write(batch)
            top1[images.name] = num_correct / images.labels.numel()
        predictions.commit()
    return top1


def _predict(
    images: EvaluationImages, forward: Callable[[Tensor], Tensor], workplace: Workplace, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Rows and float32 logits [rows, outputs] of a whole set, in order; of one part's images at a time."""
    for part, pixels in workplace.prepared.read(images):
        batches = predict(
            forward,
            pixels,
            statistics=workplace.splits.train.channel_statistics,
            batch_size=workplace.recipe.evaluation.batch_size,
            device=device,
        )
        for rows, logits in batches:
            yield slice(part.start + rows.start, part.start + rows.stop), _among(logits, images.among)


def _among(logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Logits [rows, classes] that choose among some classes only: the others' probability is zero."""
    if classes is None:
        return logits
    restricted = torch.full_like(logits, torch.finfo(logits.dtype).min)
    restricted[:, list(classes)] = logits[:, list(classes)]
    return restricted


# ------------------------------------------------------------------------------------------- train, derive, restore


def _obtain(
    spec: MemberSpec, workplace: Workplace, device: torch.device, on_epoch: OnEpoch
) -> tuple[nn.Module, Facts, int, bool]:
    """The member's network, from its checkpoint where there is one; says last whether it was made now."""
    if workplace.storage.exists(paths.checkpoint(spec.variant_id, spec.seed)):
        checkpoint, num_bytes = _read_checkpoint(spec.variant_id, spec.seed, spec.member_id, workplace.storage)
        return _restore(spec, checkpoint, workplace, device), checkpoint.facts, num_bytes, False
    if spec.variant.quantization is None:
        network, checkpoint = _train(spec, workplace, device, on_epoch)
    else:
        network, checkpoint = _derive(spec, workplace, device)
    data = checkpoint.to_bytes()
    write_checkpoint(workplace.storage, spec.variant_id, spec.seed, data)
    return network, checkpoint.facts, len(data), True


def _train(
    spec: MemberSpec, workplace: Workplace, device: torch.device, on_epoch: OnEpoch
) -> tuple[nn.Module, Checkpoint]:
    recipe, train_set = workplace.recipe, workplace.splits.train
    network = workplace.skeleton(spec.generator_seed).to(device)
    batches = Batches(
        train_set.images,
        train_set.labels,
        statistics=train_set.channel_statistics,
        batch_size=recipe.training.batch_size,
        augmentation=recipe.training.augmentation,
        generator=torch.Generator().manual_seed(spec.generator_seed),
        device=device,
    )
    pruning = spec.variant.pruning
    pruner = None
    if pruning is not None:
        pruner = GradualMagnitudePruning(network, pruning, recipe.training.epochs * len(batches))
    try:
        result = train(
            network,
            batches,
            recipe.training,
            after_step=pruner.after_step if pruner else lambda step: None,
            on_epoch=on_epoch,
        )
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"{spec.variant_id}, seed {spec.seed}: {error}") from error
    if pruner:
        pruner.check()
    facts = _measure(spec, network, "native", result.precision, device, result.loss)
    return network, Checkpoint(facts=facts, state=dict(network.state_dict()))


def _derive(spec: MemberSpec, workplace: Workplace, device: torch.device) -> tuple[nn.Module, Checkpoint]:
    parent, scheme = spec.variant.parent, spec.variant.quantization
    assert parent is not None and scheme is not None and spec.parent_id is not None
    checkpoint, _ = _read_checkpoint(parent.variant_id, spec.seed, spec.parent_id, workplace.storage)
    network = _load(workplace.skeleton(spec.generator_seed), checkpoint.state).to(device)
    train_set = workplace.splits.train
    images = Normalise(train_set.channel_statistics, device)(train_set.images[:NUM_CALIBRATION_IMAGES].to(device))
    quantized = quantize(network, scheme, calibration_images=images)
    facts = _measure(spec, network, quantized.arithmetic, checkpoint.facts.precision, device, None)
    return quantized.network, Checkpoint(facts=facts, state=quantized.state)


def _restore(spec: MemberSpec, checkpoint: Checkpoint, workplace: Workplace, device: torch.device) -> nn.Module:
    skeleton = workplace.skeleton(spec.generator_seed)
    return restore_network(skeleton, spec.variant.quantization, checkpoint.state, device)


def restore_network(
    skeleton: nn.Module, scheme: QuantizationScheme | None, state: dict[str, Tensor], device: torch.device
) -> nn.Module:
    """A recipe's network with a checkpoint's tensors, quantized where there is a `scheme`; on the device."""
    if scheme is None:
        return _load(skeleton, state).to(device)
    quantized: QuantizedNetwork = restore(skeleton.to(device).eval(), scheme, state)
    return quantized.network


def _load(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    network.load_state_dict(state)
    return network.eval()


def _read_checkpoint(variant_id: str, seed: int, member_id: str, storage: Storage) -> tuple[Checkpoint, int]:
    data = read_checkpoint(storage, variant_id, seed, member_id=member_id)
    return Checkpoint.from_bytes(data, source=f"{paths.checkpoint(variant_id, seed)} in {storage}"), len(data)


def _measure(
    spec: MemberSpec,
    network: nn.Module,
    arithmetic: str,
    precision: str,
    device: torch.device,
    train_loss: float | None,
) -> Facts:
    scope = "layer" if spec.variant.pruning is None else spec.variant.pruning.scope
    prunable = prunable_weights(network, scope)
    return Facts(
        member_id=spec.member_id,
        num_parameters=sum(p.numel() for p in network.parameters()),
        num_prunable=sum(p.numel() for p in prunable.values()),
        num_nonzero=sum(int(p.count_nonzero()) for p in network.parameters()),
        achieved_sparsity=measure_sparsity(prunable),
        arithmetic=arithmetic,  # type: ignore[arg-type]
        precision=precision,
        device=device.type,
        train_loss=train_loss,
    )
