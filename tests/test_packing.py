"""Packs: which members they have, and that each is left as if it had been made alone."""

from __future__ import annotations

import pytest
import torch

import pie_ray.packing
from pie_ray.checkpoint import Checkpoint
from pie_ray.config import Training
from pie_ray.errors import NonFiniteLossError, StoreError
from pie_ray.identity import make_plan
from pie_ray.member import run_member, run_members
from pie_ray.packing import pack_size, packs_of
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink, completeness, paths, read_checkpoint, read_record
from pie_ray.study import prepare
from pie_ray.workplace import Workplace

GRID = """[
  {pruning: {kind: magnitude, sparsities: [0.5, 0.9], scopes: [layer, global]}},
  {pruning: {kind: random, sparsities: [0.7]}},
  {pruning: {kind: one_shot, sparsities: [0.5]}},
  {quantization: [static_int8]}
]"""
PACKED = ("dense", "magnitude-0.50", "magnitude_global-0.90", "random-0.70")


def study_of(text, folder, *overrides):
    return prepare(parse_recipe(text, [f"execution.storage={folder}", f"variants={GRID}", *overrides]))


@pytest.fixture
def study(tiny_text, tmp_path):
    return study_of(tiny_text, tmp_path / "results", "training.pack=8")


def workplace(study):
    return Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))


def members(study, *variant_ids, seed=0):
    return [next(m for m in study.plan.members if (m.variant_id, m.seed) == (name, seed)) for name in variant_ids]


def checkpoint(study, spec):
    return Checkpoint.from_bytes(read_checkpoint(study.storage, spec.variant_id, spec.seed), source="it")


# ----------------------------------------------------------------------------------------------------- which members


def test_what_trains_alike_is_packed_evenly_and_the_rest_is_alone(study):
    plan = study.plan.members
    packs = packs_of(plan, 5)
    assert sorted(spec.member_id for pack in packs for spec in pack) == sorted(spec.member_id for spec in plan)
    assert {pack[0].variant_id for pack in packs if len(pack) == 1} == {"one_shot-0.50", "static_int8"}
    assert [len(pack) for pack in packs if len(pack) > 1] == [4, 4, 4]
    together = [spec for pack in packs if len(pack) > 1 for spec in pack]
    assert together == [spec for spec in plan if spec in together]


def test_packs_are_as_many_as_there_are_processes_to_train_them(study):
    plan = study.plan.members[:6]
    assert [len(pack) for pack in packs_of(plan, 16)] == [6]
    assert [len(pack) for pack in packs_of(plan, 16, least=2)] == [3, 3]
    assert [len(pack) for pack in packs_of(plan, 1)] == [1] * 6
    assert packs_of([], 8) == []


def test_a_loss_or_fine_tuning_keeps_a_member_alone(tiny_text):
    loss = "{terms: [cross_entropy, logit_pairing]}"
    grids = (
        f"[{{pruning: {{kind: magnitude, sparsities: [0.5]}}, losses: [{loss}]}}]",
        "[{pruning: {kind: magnitude, sparsities: [0.5], fine_tuning: {epochs: 1}}}]",
    )
    for grid in grids:
        plan = make_plan(parse_recipe(tiny_text, [f"variants={grid}"]))
        special = [m for m in plan.members if m.variant.loss is not None or m.variant_id.startswith("magnitude_pt")]
        assert special and all(len(pack) == 1 for pack in packs_of(special, 8))


def test_the_automatic_size_falls_with_the_work_of_a_step():
    training = Training(epochs=1, batch_size=64, pack="auto")
    works = [10**power for power in range(3, 12)]
    for is_cuda in (False, True):
        sizes = [pack_size(training, work, is_cuda=is_cuda) for work in works]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1 and sizes[-1] == 1
    assert pack_size(training.model_copy(update={"pack": 5}), 10**11, is_cuda=False) == 5
    assert pack_size(training.model_copy(update={"num_processes": 2}), 1, is_cuda=False) == 1


# ------------------------------------------------------------------------------------------------------ complete ones


def test_every_member_of_a_pack_is_left_as_if_it_were_alone(study, tiny_text, tmp_path):
    specs = members(study, *PACKED)
    records = run_members(specs, workplace(study))
    alone = study_of(tiny_text, tmp_path / "alone", "training.pack=8")
    done = completeness(study.storage, study.plan, ["clean"]).records
    for spec in specs:
        record, lone = records[spec.member_id], run_member(spec, workplace(alone))
        assert done[spec.member_id] == record == read_record(study.storage, spec)
        assert (record.num_packed, lone.num_packed) == (4, 1)
        assert record.train_loss == pytest.approx(lone.train_loss, rel=0.05)
        for name in ("num_nonzero", "num_prunable", "achieved_sparsity", "precision", "multiply_adds"):
            assert getattr(record, name) == getattr(lone, name)
        tensors, expected = checkpoint(study, spec).state, checkpoint(alone, spec).state
        assert {name: (t.shape, t.dtype) for name, t in tensors.items()} == {
            name: (t.shape, t.dtype) for name, t in expected.items()
        }


def test_a_pack_that_is_run_again_trains_only_who_is_missing(study):
    specs = members(study, *PACKED)
    first = run_members(specs, workplace(study))
    before = [study.storage.read_bytes(paths.checkpoint(spec.variant_id, spec.seed)) for spec in specs]
    study.storage.delete(paths.checkpoint(specs[1].variant_id, specs[1].seed))
    second = run_members(specs, workplace(study))
    after = [study.storage.read_bytes(paths.checkpoint(spec.variant_id, spec.seed)) for spec in specs]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
    assert [second[spec.member_id].num_packed for spec in specs] == [4, 1, 4, 4]
    assert second[specs[0].member_id].train_seconds == first[specs[0].member_id].train_seconds


def test_one_that_diverges_fails_by_itself_and_costs_no_other(study, monkeypatch):
    specs = members(study, *PACKED)
    honest = pie_ray.making.initial_network

    def poisoned(spec, *of_it):
        network = honest(spec, *of_it)
        if spec == specs[1]:
            with torch.no_grad():
                network.classifier.bias.fill_(float("nan"))
        return network

    for module in (pie_ray.making, pie_ray.packing):
        monkeypatch.setattr(module, "initial_network", poisoned)
    results = run_members(specs, workplace(study))
    error = results.pop(specs[1].member_id)
    assert isinstance(error, NonFiniteLossError) and "magnitude-0.50, seed 0: the training loss is nan" in str(error)
    assert {record.num_packed for record in results.values()} == {3}
    assert set(completeness(study.storage, study.plan, ["clean"]).records) == set(results)


def test_a_damaged_checkpoint_is_its_members_own_trouble(study):
    specs = members(study, *PACKED)
    study.storage.write_bytes(paths.checkpoint("dense", 0), b"not a checkpoint")
    results = run_members(specs, workplace(study))
    assert isinstance(results[specs[0].member_id], StoreError)
    assert all(results[spec.member_id].num_packed == 3 for spec in specs[1:])


def test_networks_that_cannot_be_packed_are_made_alone(study, monkeypatch):
    monkeypatch.setattr(pie_ray.packing, "can_pack", lambda *of_it: False)
    specs = members(study, *PACKED[:2])
    assert [record.num_packed for record in run_members(specs, workplace(study)).values()] == [1, 1]
