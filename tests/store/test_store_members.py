from __future__ import annotations

from typing import Any

import pytest

from pie_ray.errors import StoreError
from pie_ray.identity import MemberSpec
from pie_ray.records import MemberRecord
from pie_ray.store import Storage, complete_record, completeness, paths, read_records, write_record


def make_record(spec: MemberSpec, **changes: Any) -> MemberRecord:
    fields: dict[str, Any] = {
        "member_id": spec.member_id,
        "variant_id": spec.variant_id,
        "seed": spec.seed,
        "num_parameters": 10,
        "num_prunable": 8,
        "num_nonzero": 8,
        "achieved_sparsity": 0.0,
        "checkpoint_bytes": 40,
        "top1": {"test": 0.5},
    }
    return MemberRecord(**{**fields, **changes})


def finish(storage: Storage, spec: MemberSpec, suites: tuple[str, ...] = ("clean",), **changes: Any) -> None:
    storage.write_bytes(paths.checkpoint(spec.variant_id, spec.seed), b"checkpoint")
    for suite in suites:
        storage.write_bytes(paths.predictions(suite, spec.variant_id, spec.seed), b"predictions")
    write_record(storage, make_record(spec, **changes))


def test_records_come_back_by_variant_and_seed(storage, make_sweep):
    plan = make_sweep(num_members=11)
    for spec in reversed(plan.members):
        write_record(storage, make_record(spec))
    expected = sorted(plan.members, key=lambda spec: (spec.variant_id, spec.seed))
    assert read_records(storage) == [make_record(spec) for spec in expected]


def test_nothing_is_complete_in_an_empty_storage(storage, make_sweep):
    plan = make_sweep()
    found = completeness(storage, plan, ["clean"])
    assert found.records == {}
    assert found.missing == plan.members


def test_a_member_with_record_checkpoint_and_predictions_is_complete(storage, make_sweep):
    plan = make_sweep()
    finish(storage, plan.members[2])
    found = completeness(storage, plan, ["clean"])
    assert found.records == {plan.members[2].member_id: make_record(plan.members[2])}
    assert found.missing == (*plan.members[:2], plan.members[3])


@pytest.mark.parametrize(
    "absent",
    [
        paths.member("dense", 0),
        paths.checkpoint("dense", 0),
        paths.predictions("clean", "dense", 0),
        paths.predictions("corruptions", "dense", 0),
    ],
)
def test_every_file_is_needed(storage, make_sweep, absent):
    plan = make_sweep()
    finish(storage, plan.members[0], suites=("clean", "corruptions"))
    suites = (name for name in ("clean", "corruptions"))
    assert list(completeness(storage, plan, suites).records) == [plan.members[0].member_id]

    storage.delete(absent)
    assert completeness(storage, plan, ["clean", "corruptions"]).missing == plan.members


def test_what_members_lack_is_told_by_suite(storage, make_sweep):
    plan = make_sweep()
    finish(storage, plan.members[0], suites=("clean", "corruptions"))
    finish(storage, plan.members[1], suites=("clean",))
    finish(storage, plan.members[2], suites=("clean", "corruptions"))
    storage.delete(paths.checkpoint(plan.members[2].variant_id, plan.members[2].seed))
    found = completeness(storage, plan, ["clean", "corruptions"])
    ids = [spec.member_id for spec in plan.members]
    assert list(found.records) == ids[:1]
    assert list(found.made) == list(found.on_suite("clean")) == ids[:2]
    assert list(found.on_suite("corruptions")) == ids[:1]


def test_a_member_that_stored_no_checkpoint_needs_none(storage, make_sweep):
    plan = make_sweep()
    finish(storage, plan.members[0], checkpoint_bytes=0)
    storage.delete(paths.checkpoint("dense", 0))
    assert list(completeness(storage, plan, ["clean"]).records) == [plan.members[0].member_id]


def test_members_beyond_the_plan_are_left_alone(storage, make_sweep):
    for spec in make_sweep(num_members=3).members:
        finish(storage, spec)
    plan = make_sweep(num_members=1)
    assert list(completeness(storage, plan, ["clean"]).records) == [spec.member_id for spec in plan.members]


def test_a_foreign_record_is_refused_with_both_ids(storage, make_sweep):
    mine, other = make_sweep(), make_sweep(epochs=5)
    finish(storage, other.members[0])
    message = (
        f"members/dense/0.json in {storage} is of member {other.members[0].member_id}, the recipe's dense with "
        f"seed 0 is {mine.members[0].member_id}: the variant's settings differ; use another name or storage"
    )
    with pytest.raises(StoreError) as raised:
        completeness(storage, mine, ["clean"])
    assert str(raised.value) == message


def test_a_damaged_record_is_one_message(storage, make_sweep):
    storage.write_bytes(paths.member("dense", 1), b'{"member_id": ')
    for read in (read_records, lambda storage: completeness(storage, make_sweep(), ["clean"])):
        with pytest.raises(StoreError, match=r"members/dense/1\.json in .* cannot be read: Invalid JSON.*; delete it"):
            read(storage)


@pytest.mark.parametrize("absent", ["nothing", "member", "checkpoint", "predictions"])
def test_one_member_is_asked_about_as_all_are(storage, make_sweep, absent):
    spec = make_sweep().members[1]
    finish(storage, spec)
    files = {
        "member": paths.member(spec.variant_id, spec.seed),
        "checkpoint": paths.checkpoint(spec.variant_id, spec.seed),
        "predictions": paths.predictions("clean", spec.variant_id, spec.seed),
    }
    if absent != "nothing":
        storage.delete(files[absent])
    assert complete_record(storage, spec, ["clean"]) == (make_record(spec) if absent == "nothing" else None)
    assert complete_record(storage, spec, ["clean", "fog"]) is None


def test_a_member_that_stores_no_checkpoint_is_complete_without(storage, make_sweep):
    spec = make_sweep().members[1]
    finish(storage, spec, checkpoint_bytes=0)
    storage.delete(paths.checkpoint(spec.variant_id, spec.seed))
    assert complete_record(storage, spec, ["clean"]) == make_record(spec, checkpoint_bytes=0)
