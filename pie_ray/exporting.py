"""A member of a results folder made into a file, and the file held against the stored predictions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .analysis import Results
from .config import CLEAN
from .data import Splits, load_splits_of_sweep
from .errors import InputError, StoreError
from .identity import MemberSpec
from .making import read_own_checkpoint, restore_network
from .models import build_network
from .packaged import network_facts
from .portable import FORMATS, Agreement, PortableMember, compare, tolerance_of
from .records import MemberRecord
from .store import PredictionStore, schema

MAX_CHECKED = 2_000
"""Test images that a file is checked on."""
_MEMBER_ID = re.compile(r"[0-9a-f]{4,16}")
_NUM_NAMED = 8


@dataclass(frozen=True)
class Asked:
    """A member that somebody named."""

    spec: MemberSpec
    record: MemberRecord
    is_best_of_variant: bool = False
    """Whether a variant alone was named: this is its member that is right most often on the test images."""


def find_member(results: Results, name: str) -> Asked:
    """`name` is a member id or the beginning of one, `variant_id/seed`, or a variant id.

    Raises InputError, with what there is, where it names no complete member.
    """
    of_variant = [spec for spec in results.plan.members if spec.variant_id == name]
    if of_variant:
        return _best(results, of_variant)
    specs = [spec for spec in results.plan.members if name in (_name(spec), spec.member_id)]
    if not specs and _MEMBER_ID.fullmatch(name):
        specs = [spec for spec in results.plan.members if spec.member_id.startswith(name)]
        if len(specs) > 1:
            ids = _listed([f"{spec.member_id} ({_name(spec)})" for spec in specs])
            raise InputError(f"--member: {name} begins the ids of {ids}; accepted is more of one")
    if not specs:
        raise InputError(f"--member: {results.storage} has no member {name!r}; {_accepted(results, name)}")
    record = results.found.made.get(specs[0].member_id)
    if record is None:
        raise InputError(
            f"--member: {_name(specs[0])} is not complete yet: the sweep goes on by the same command again"
        )
    return Asked(specs[0], record)


def _best(results: Results, specs: Sequence[MemberSpec]) -> Asked:
    made = results.found.made
    complete = [(spec, made[spec.member_id]) for spec in specs if spec.member_id in made]
    if not complete:
        raise InputError(f"--member: no member of {specs[0].variant_id} is complete yet")
    test = _test_set(results)
    spec, record = max(complete, key=lambda pair: (pair[1].top1.get(test, -1.0), -pair[0].seed))
    return Asked(spec, record, is_best_of_variant=True)


def _name(spec: MemberSpec) -> str:
    return f"{spec.variant_id}/{spec.seed}"


def _accepted(results: Results, name: str) -> str:
    variants = [variant.variant_id for variant in results.plan.variants]
    seeds = sorted({spec.seed for spec in results.plan.members})
    near = difflib.get_close_matches(name.rpartition("/")[0] or name, variants, n=1)
    guess = f"did you mean {near[0]}? " if near and near[0] not in (name, name.rpartition("/")[0]) else ""
    return (
        f"{guess}accepted: a member id, VARIANT/SEED or VARIANT, of the variants {_listed(variants)} "
        f"and the seeds {_listed([str(seed) for seed in seeds])}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more


def restore_member(results: Results, asked: Asked, splits: Splits) -> PortableMember:
    """Raises StoreError where its checkpoint is missing or damaged."""
    spec, images = asked.spec, splits.train
    if not asked.record.checkpoint_bytes:
        raise StoreError(
            f"{_name(spec)} in {results.storage} was stored without a checkpoint: there is nothing to export"
        )
    checkpoint, _ = read_own_checkpoint(spec, results.storage)
    skeleton = build_network(
        results.recipe.model,
        num_classes=images.num_classes,
        num_channels=images.num_channels,
        image_size=images.image_size,
        seed=spec.generator_seed,
    )
    return PortableMember(
        network=restore_network(skeleton, spec.variant.quantization, checkpoint, torch.device("cpu")),
        scheme=spec.variant.quantization,
        checkpoint=checkpoint,
        record=asked.record,
        facts=network_facts(images),
        recipe=results.recipe,
    )


def open_images(results: Results) -> Splits:
    """The images of the sweep: a file takes their statistics along. Raises DataError where they are others."""
    recipe = results.recipe
    return load_splits_of_sweep(recipe.data, recipe.execution.cache, results.manifest.fingerprint)


def check(data: bytes, format_name: str, results: Results, asked: Asked, splits: Splits) -> Agreement:
    """Predict with a file's bytes on the first test images, and compare with what is stored of them."""
    predict = FORMATS[format_name].open(data, source=f"the exported {format_name}")
    example_ids, stored = _stored_predictions(results, asked.spec)
    rows = np.argsort(splits.test.example_ids, kind="stable")[: len(example_ids)]
    if not np.array_equal(splits.test.example_ids[rows], example_ids):
        raise StoreError(f"{_name(asked.spec)} in {results.storage}: its predictions are of other examples")
    return compare(
        predict,
        splits.test.images[torch.from_numpy(rows)].numpy(),
        stored,
        tolerance_of(asked.record.arithmetic, results.recipe.evaluation.precision),
        is_multilabel=results.is_multilabel,
    )


def _stored_predictions(results: Results, spec: MemberSpec) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Ascending example ids and the member's columns, of at most `MAX_CHECKED` examples."""
    store, test = PredictionStore(results.storage), _test_set(results)
    there = store.stored_columns(CLEAN, spec.variant_id, spec.seed)
    columns = [schema.LOGITS] if schema.LOGITS in there else [schema.PREDICTION, schema.CONFIDENCE]
    member_ids = {spec.seed: spec.member_id}
    population = store.read_population(CLEAN, test, spec.variant_id, [spec.seed], columns, member_ids=member_ids)
    if not population.num_members:
        raise StoreError(f"{_name(spec)} in {results.storage}: its predictions on {test} are missing")
    stored = {name: values[0][:MAX_CHECKED] for name, values in population.arrays.items()}
    return population.example_ids[:MAX_CHECKED], stored


def _test_set(results: Results) -> str:
    return next(iter(results.manifest.suites[CLEAN]))
