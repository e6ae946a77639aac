"""Every pruning method over a member's whole way: with a loss, as a parent, killed and made again."""

from __future__ import annotations

import pytest
import torch

from pie_ray.checkpoint import Checkpoint
from pie_ray.compress.pruning import PRUNERS
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink, paths, read_checkpoint
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.conftest import TINY

GRIDS = {
    "magnitude": "kind: magnitude, sparsities: [0.5], fine_tuning: {epochs: 1}",
    "random": "kind: random, sparsities: [0.5]",
    "one_shot": "kind: one_shot, sparsities: [0.5], fine_tuning: {epochs: 1}",
    "n_m": "kind: n_m, patterns: ['2:4'], fine_tuning: {epochs: 1}",
    "structured": "kind: structured, sparsities: [0.5], fine_tuning: {epochs: 1}",
    "rigl": "kind: rigl, sparsities: [0.5], num_updates: 3",
    "rewinding": "kind: rewinding, sparsities: [0.5], num_rounds: 2, rewind_epoch: 1",
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A member of each kind, of the plain and of a label-preserving loss, and an int8 one derived from it."""
    grids = ", ".join(
        f"{{pruning: {{{grid}}}, quantization: [static_int8]}}, "
        f"{{pruning: {{{grid}}}, losses: [{{terms: [cross_entropy, distillation]}}]}}"
        for grid in GRIDS.values()
    )
    storage = tmp_path_factory.mktemp("methods")
    study = prepare(
        parse_recipe(TINY, [f"execution.storage={storage}", f"variants=[{grids}]", "population.num_members=1"])
    )
    place = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    return study, place, {spec.variant_id: run_member(spec, place) for spec in study.plan.members}


def members_of(study, kind):
    return [
        spec for spec in study.plan.members if spec.variant.pruning is not None and spec.variant.pruning.kind == kind
    ]


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_every_kind_goes_the_whole_way_with_a_loss_and_as_a_parent(sweep, kind):
    study, _, records = sweep
    plain, preserving, quantized = sorted_by_part(study, kind)
    assert (preserving.plain, quantized.parent) == (plain, plain)
    assert plain.variant_id + "+ce_kd4" == preserving.variant_id
    for variant in (plain, preserving, quantized):
        record = records[variant.variant_id]
        assert record.achieved_sparsity == pytest.approx(0.5, abs=0.03 if kind != "structured" else 0.3)
        assert record.achieved_sparsity == pytest.approx(records[plain.variant_id].achieved_sparsity, abs=0.01)
    assert records[quantized.variant_id].train_loss is None
    assert records[plain.variant_id].train_loss != records[preserving.variant_id].train_loss


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_a_member_killed_before_it_was_recorded_goes_on_from_its_checkpoint(sweep, kind):
    study, place, _ = sweep
    for spec in members_of(study, kind):
        made = forget(study, spec)
        checkpoint = read_checkpoint(study.storage, spec.variant_id, spec.seed)
        epochs: list[int] = []
        run_member(spec, place, on_epoch=lambda epoch, loss, epochs=epochs: epochs.append(epoch))
        assert epochs == []
        assert study.storage.read_bytes(paths.predictions("clean", spec.variant_id, spec.seed)) == made
        assert read_checkpoint(study.storage, spec.variant_id, spec.seed) == checkpoint


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_a_member_made_again_has_the_same_bits(sweep, kind):
    study, place, _ = sweep
    for spec in members_of(study, kind):
        made = forget(study, spec)
        checkpoint = read_checkpoint(study.storage, spec.variant_id, spec.seed)
        study.storage.delete(paths.checkpoint(spec.variant_id, spec.seed))
        run_member(spec, place)
        assert study.storage.read_bytes(paths.predictions("clean", spec.variant_id, spec.seed)) == made
        states = [
            Checkpoint.from_bytes(data, source="it").state
            for data in (checkpoint, read_checkpoint(study.storage, spec.variant_id, spec.seed))
        ]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def sorted_by_part(study, kind):
    """Variants: the plain one, with a loss, quantized."""
    variants = [spec.variant for spec in members_of(study, kind)]
    return sorted(variants, key=lambda variant: (variant.quantization is not None, variant.loss is not None))


def forget(study, spec) -> bytes:
    """The bytes of a member's predictions, which are deleted, as is its record."""
    path = paths.predictions("clean", spec.variant_id, spec.seed)
    made = study.storage.read_bytes(path)
    study.storage.delete(path)
    study.storage.delete(paths.member(spec.variant_id, spec.seed))
    return made
