"""One member from description to record: train or derive it, keep its checkpoint, predict, record. No Ray in here.

Every step begins with "already complete? use it", so a killed member goes on from its checkpoint when it is run again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint, Facts
from .data import EvaluationImages
from .errors import CompressionError, InputError, NonFiniteLossError, PieRayError, StorageError
from .identity import MemberSpec
from .making import OnEpoch, make_network, read_own_checkpoint, restore_network
from .packing import make_together
from .records import MemberRecord
from .saved_states import open_states
from .store import (
    compressed_size,
    delete_training_state,
    paths,
    prediction_batch,
    read_record,
    stored_top1,
    write_checkpoint,
    write_record,
)
from .suites import keeps_logits
from .teamwork import gather
from .training import choose_device, make_route, predict
from .workplace import Workplace


def run_member(spec: MemberSpec, workplace: Workplace, *, on_epoch: OnEpoch = lambda epoch, loss: None) -> MemberRecord:
    """Bring one member to completion and return its record, which is written last.

    Raises NonFiniteLossError, CompressionError, StoreError (a parent's checkpoint is missing or not its own).
    """
    device = choose_device()
    started = time.perf_counter()
    network, facts, data, earlier_seconds = _obtain(spec, workplace, device, on_epoch)
    if earlier_seconds is None:
        earlier = read_record(workplace.storage, spec)
        effort = _Effort() if earlier is None else _Effort(earlier.train_seconds, earlier.num_packed)
    else:
        effort = _Effort(earlier_seconds + time.perf_counter() - started, 1)
    return _complete(spec, network, facts, data, effort, workplace, device)


def run_members(specs: Sequence[MemberSpec], workplace: Workplace) -> dict[str, MemberRecord | PieRayError]:
    """Bring a pack (see `packing.packs_of`) to completion: its members' records by member id, or why there is none.

    Those without checkpoints are trained together where they can be, and else one after the other; each is stored,
    evaluated and recorded as if it were alone. The bits of a member that is alone are those of `run_member`. An error
    that another attempt would only repeat is the member's own and costs no other.

    Raises StorageError, and what a sink raises; the same call goes on from there.
    """
    device = choose_device()
    started = time.perf_counter()
    made = make_together([spec for spec in specs if not _has_checkpoint(spec, workplace)], workplace, device)
    written = {
        spec.member_id: _write(spec, made[spec.member_id][1], workplace) for spec in specs if spec.member_id in made
    }
    effort = _Effort((time.perf_counter() - started) / max(len(made), 1), len(made))
    results: dict[str, MemberRecord | PieRayError] = {}
    for spec in specs:
        try:
            if spec.member_id in made:
                network, checkpoint = made[spec.member_id]
                data = written[spec.member_id]
                results[spec.member_id] = _complete(spec, network, checkpoint.facts, data, effort, workplace, device)
            else:
                results[spec.member_id] = run_member(spec, workplace)
        except StorageError:
            raise
        except (NonFiniteLossError, CompressionError, InputError) as error:
            results[spec.member_id] = error
    return results


@dataclass(frozen=True)
class _Effort:
    """What a member took; nothing is known of one that went on from its checkpoint."""

    train_seconds: float | None = None
    num_packed: int | None = None


def _complete(
    spec: MemberSpec,
    network: nn.Module,
    facts: Facts,
    data: bytes,
    effort: _Effort,
    workplace: Workplace,
    device: torch.device,
) -> MemberRecord:
    """Evaluate and record a member whose checkpoint, `data`, is on storage."""
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
        train_seconds=effort.train_seconds,
        num_packed=effort.num_packed,
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
) -> tuple[nn.Module, Facts, bytes, float | None]:
    """The member's network, what is known of it and its checkpoint's bytes; from there where there is one.

    Where it was made now, says last for how many seconds earlier attempts had trained it.
    """
    if _has_checkpoint(spec, workplace):
        checkpoint, data = read_own_checkpoint(spec, workplace.storage)
        skeleton = workplace.skeleton(spec.generator_seed)
        network = restore_network(skeleton, spec.variant.quantization, checkpoint, device)
        _forget_state(spec, workplace)
        return network, checkpoint.facts, data, None
    with (
        gather(spec, workplace, device) as team,
        open_states(spec, workplace.recipe, workplace.storage, device, team) as states,
    ):
        network, checkpoint = make_network(spec, workplace, device, on_epoch, states, team)
    return network, checkpoint.facts, _write(spec, checkpoint, workplace), states.earlier_seconds


def _has_checkpoint(spec: MemberSpec, workplace: Workplace) -> bool:
    return workplace.storage.exists(paths.checkpoint(spec.variant_id, spec.seed))


def _write(spec: MemberSpec, checkpoint: Checkpoint, workplace: Workplace) -> bytes:
    """The checkpoint's bytes, which are on storage then."""
    data = checkpoint.to_bytes()
    write_checkpoint(workplace.storage, spec.variant_id, spec.seed, data)
    _forget_state(spec, workplace)
    return data


def _forget_state(spec: MemberSpec, workplace: Workplace) -> None:
    """Of a member whose checkpoint is there: how it was trained up to there is needed no more."""
    if spec.variant.trains and workplace.recipe.execution.save_minutes is not None:
        delete_training_state(workplace.storage, spec.variant_id, spec.seed)
