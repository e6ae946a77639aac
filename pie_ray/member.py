"""One member from description to record: train or derive it, keep its checkpoint, predict, record. No Ray in here.

Every step begins with "already complete? use it", so a killed member goes on from its checkpoint when it is run again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .checkpoint import Facts
from .data import EvaluationImages
from .identity import MemberSpec
from .making import OnEpoch, make_network, read_own_checkpoint, restore_network
from .records import MemberRecord
from .store import compressed_size, paths, prediction_batch, read_record, stored_top1, write_checkpoint, write_record
from .suites import keeps_logits
from .training import choose_device, make_route, predict
from .workplace import Workplace


def run_member(spec: MemberSpec, workplace: Workplace, *, on_epoch: OnEpoch = lambda epoch, loss: None) -> MemberRecord:
    """Bring one member to completion and return its record, which is written last.

    Raises NonFiniteLossError, CompressionError, StoreError (a parent's checkpoint is missing or not its own).
    """
    device = choose_device()
    started = time.perf_counter()
    network, facts, data, was_made = _obtain(spec, workplace, device, on_epoch)
    earlier = read_record(workplace.storage, spec)
    known_seconds = None if earlier is None else earlier.train_seconds
    train_seconds = time.perf_counter() - started if was_made else known_seconds

    started = time.perf_counter()
    forward = make_route(
        network.eval(),
        arithmetic=facts.arithmetic,
        precision=workplace.recipe.evaluation.precision,
        image_shape=workplace.image_shape,
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
        quantization_facts=facts.quantization,
        num_parameters=facts.num_parameters,
        num_prunable=facts.num_prunable,
        num_nonzero=facts.num_nonzero,
        achieved_sparsity=facts.achieved_sparsity,
        checkpoint_bytes=len(data),
        compressed_bytes=compressed_size(data),
        multiply_adds=facts.multiply_adds,
        multiply_adds_nonzero=facts.multiply_adds_nonzero,
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
            yield slice(part.start + rows.start, part.start + rows.stop), restrict(logits, images.among)


def restrict(logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Logits [rows, classes] that choose among some classes only: the others' probability is zero."""
    if classes is None:
        return logits
    restricted = torch.full_like(logits, torch.finfo(logits.dtype).min)
    restricted[:, list(classes)] = logits[:, list(classes)]
    return restricted


def _obtain(
    spec: MemberSpec, workplace: Workplace, device: torch.device, on_epoch: OnEpoch
) -> tuple[nn.Module, Facts, bytes, bool]:
    """The member's network, what is known of it and its checkpoint's bytes; from there where there is one.

    Says last whether it was made now.
    """
    if workplace.storage.exists(paths.checkpoint(spec.variant_id, spec.seed)):
        checkpoint, data = read_own_checkpoint(spec, workplace.storage)
        skeleton = workplace.skeleton(spec.generator_seed)
        network = restore_network(skeleton, spec.variant.quantization, checkpoint, device)
        return network, checkpoint.facts, data, False
    network, checkpoint = make_network(spec, workplace, device, on_epoch)
    data = checkpoint.to_bytes()
    write_checkpoint(workplace.storage, spec.variant_id, spec.seed, data)
    return network, checkpoint.facts, data, True
