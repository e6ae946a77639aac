"""What a trial's process does with its packs, without Ray."""

from __future__ import annotations

import pytest

from pie_ray.cluster.trainable import Shared, _Bench, _told
from pie_ray.errors import NonFiniteLossError
from pie_ray.store import paths, write_record
from pie_ray.study import prepare
from tests.store.test_store_members import make_record


@pytest.fixture
def study(tiny_recipe, tmp_path):
    execution = tiny_recipe.execution.model_copy(update={"storage": str(tmp_path)})
    return prepare(tiny_recipe.model_copy(update={"execution": execution}))


def finish(storage, spec):
    storage.write_bytes(paths.checkpoint(spec.variant_id, spec.seed), b"checkpoint")
    storage.write_bytes(paths.predictions("clean", spec.variant_id, spec.seed), b"predictions")
    record = make_record(spec)
    write_record(storage, record)
    return record


def test_members_that_are_complete_are_read_and_not_done_again(study):
    done, opened = [], []

    def open_bench(recipe, storage, sink):
        opened.append(recipe)

        def complete(pack):
            done.append(pack)
            return {spec.member_id: finish(storage, spec) for spec in pack}

        return complete

    members = study.plan.members[:3]
    there = finish(study.storage, members[1])
    bench = _Bench(Shared(study.recipe, study.storage, (), "", open_bench))
    results = bench.complete(members)
    assert done == [(members[0], members[2])]
    assert results == {spec.member_id: make_record(spec) for spec in members}
    assert results[members[1].member_id] == there
    # An attempt whose end no one heard of: all of it is there.
    assert bench.complete(members) == results
    assert len(done) == len(opened) == 1


def test_records_and_errors_are_told_apart(study):
    good, bad = study.plan.members[:2]
    told = _told({good.member_id: make_record(good), bad.member_id: NonFiniteLossError("dense, seed 1: diverged")})
    assert told == {
        "records": {good.member_id: make_record(good).model_dump_json()},
        "errors": {bad.member_id: "NonFiniteLossError: dense, seed 1: diverged"},
    }
