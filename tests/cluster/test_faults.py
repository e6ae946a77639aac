"""A disturbed sweep ends with the very bytes of an undisturbed one: none lost, none doubled, none mixed."""

from __future__ import annotations

import json
import os
from collections import Counter

import numpy as np
import psutil
import pytest
import ray

from pie_ray.analysis.tables import TABLES
from pie_ray.cluster.local import ray_session
from pie_ray.cluster.sink import ActorSink, WriterLostError, start_writers
from pie_ray.errors import PieRayError
from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink, Storage, paths, prediction_batch, read_progress
from tests.cluster.faults import FAULTS, NUM_MEMBERS, Snapshot, commit, leave_alone, toll
from tests.cluster.networks import moody, refuses

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def left_alone(start_module_sweep):
    found = leave_alone(start_module_sweep)
    assert len(found.files) == 2 * NUM_MEMBERS + len(("test", *TABLES))
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_or_doubled_or_other_than_it_was(fault, left_alone, tmp_path):
    found = commit(fault, left_alone, tmp_path)
    assert found.is_nothing, found


def test_the_measure_sees_what_is_lost_doubled_and_changed(left_alone):
    lost, doubled = left_alone.complete[:2]
    rows = Counter(left_alone.rows)
    for row in left_alone.rows:
        if row[0] in (lost.member_id, doubled.member_id):
            rows[row] = 0 if row[0] == lost.member_id else 2
    num_rows = sum(row[0] == lost.member_id for row in left_alone.rows)
    changed = paths.checkpoint(doubled.variant_id, doubled.seed)
    gone = paths.predictions("clean", lost.variant_id, lost.seed)
    files = left_alone.files | {changed: b""}
    del files[gone]
    found = toll(left_alone, Snapshot(files, rows, left_alone.complete[1:]), 1.0)
    assert (found.members_lost, found.rows_lost, found.rows_doubled) == (2, num_rows, num_rows)
    assert set(found.differing) == {changed, gone}
    assert not found.is_nothing


# ---------------------------------------------------------------------------------------------------- writers


@pytest.fixture
def ray_here():
    with ray_session(None):
        yield


def test_a_writer_that_dies_with_rows_is_replaced_and_the_rows_are_sent_again(ray_here, tiny_recipe, tmp_path):
    spec = make_plan(tiny_recipe).members[0]
    storage = Storage(tmp_path / "actors")
    (writer,) = start_writers(storage, 1)
    sink = ActorSink([writer])
    with sink.open(spec, "clean", 40) as predictions:
        predictions.write(batch(0, 20))
        pid = writer_pid(writer)
        psutil.Process(pid).kill()
        predictions.write(batch(20, 40))
        with pytest.raises(WriterLostError):
            predictions.commit()
    assert storage.list_files() == []

    # What a trial does next; it waits here until the writer is back.
    send(sink, spec)
    assert writer_pid(writer) != pid
    direct = Storage(tmp_path / "direct")
    send(ParquetSink(direct), spec)
    (path,) = storage.list_files()
    assert storage.read_bytes(path) == direct.read_bytes(path)


def test_a_file_that_was_published_just_before_its_writer_died_is_replaced_by_the_same_bits(
    ray_here, tiny_recipe, tmp_path
):
    spec = make_plan(tiny_recipe).members[0]
    storage = Storage(tmp_path)
    (writer,) = start_writers(storage, 1)
    sink = ActorSink([writer])
    send(sink, spec)
    (path,) = storage.list_files()
    published = storage.read_bytes(path)
    psutil.Process(writer_pid(writer)).kill()
    send(sink, spec)
    assert storage.list_files() == [path] and storage.read_bytes(path) == published


def test_an_attempt_that_was_given_up_cannot_write_over_its_successor(ray_here, tiny_recipe, tmp_path):
    spec = make_plan(tiny_recipe).members[0]
    storage = Storage(tmp_path)
    sink = ActorSink(start_writers(storage, 1))
    with sink.open(spec, "clean", 40) as given_up:
        given_up.write(batch(0, 40))
        with sink.open(spec, "clean", 40) as successor:
            with pytest.raises(PieRayError, match="another attempt at this member took over"):
                given_up.commit()
            assert storage.list_files() == []
            successor.write(batch(0, 40))
            successor.commit()
    assert len(storage.list_files()) == 1


def send(sink, spec):
    with sink.open(spec, "clean", 40) as predictions:
        predictions.write(batch(0, 40))
        predictions.commit()


def batch(start, end):
    example_ids = np.arange(start, end)
    logits = np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)[start:end]
    return prediction_batch("test", example_ids, example_ids % 10, logits)


def writer_pid(writer):
    """Asked of the actor itself, whose calls are done in order: what was sent before has arrived."""
    return ray.get(writer.__ray_call__.remote(lambda self: os.getpid()))


# ------------------------------------------------------------------------------------------------ whole sweeps


def test_a_complete_sweep_starts_no_ray(start_sweep, tiny_text):
    first = start_sweep(tiny_text)
    assert first.finish() == 0, first.output
    second = start_sweep(tiny_text, first.storage)
    assert second.finish() == 0, second.output
    assert "All 6 members are complete: nothing to train." in second.output
    assert any(first.ray_folder.iterdir()) and not any(second.ray_folder.iterdir())


def test_members_that_keep_failing_are_named_while_the_others_finish(start_sweep, tiny_text):
    model = f"model={{kind: custom, factory: '{moody.__module__}:moody'}}"
    plan = make_plan(parse_recipe(tiny_text, [model]))
    refusing = {m.member_id for m in plan.members if m.parent_id is None and refuses(m.generator_seed)}
    failing = {m for m in plan.members if m.member_id in refusing or m.parent_id in refusing}
    assert 0 < len(failing) < len(plan.members)

    sweep = start_sweep(tiny_text, None, "--set", model, "--set", "execution.max_retries=1")
    assert sweep.finish() == 1, sweep.output
    records = [json.loads(path.read_text()) for path in sweep.storage.glob("tiny/members/*/*.json")]
    assert {record["member_id"] for record in records} == {m.member_id for m in plan.members if m not in failing}
    assert f"{len(failing)} of 6 members failed; the others are complete" in sweep.output
    for member in failing:
        assert f"{member.variant_id} seed {member.seed}: " in sweep.output
    assert sweep.output.count("tried again") == len(refusing)
    assert "RuntimeError: this network refuses to train" in sweep.output
    assert "Traceback" not in sweep.output
    told = read_progress(sweep.results)
    assert (told.state, told.num_done, told.num_failed) == ("failed", len(plan.members) - len(failing), len(failing))
    assert told.num_retried == len(refusing)
    given_up = {(failure.variant_id, failure.seed): failure.reason for failure in told.failures if failure.is_final}
    assert given_up == {
        (member.variant_id, member.seed): "RuntimeError: this network refuses to train"
        if member.member_id in refusing
        else "its parent failed"
        for member in failing
    }


def test_a_diverging_member_is_not_tried_again(start_sweep, tiny_text):
    sweep = start_sweep(tiny_text, None, "--set", "training.learning_rate=1e30")
    assert sweep.finish() == 1, sweep.output
    assert "6 of 6 members failed" in sweep.output
    assert "NonFiniteLossError: dense, seed 0: the training loss is" in sweep.output
    assert "tried again" not in sweep.output


def test_a_member_that_fits_nowhere_is_refused_and_not_waited_for(start_sweep, tiny_text):
    sweep = start_sweep(tiny_text, None, "--set", "execution.cpus_per_member=500")
    assert sweep.finish() == 2, sweep.output
    assert "execution.cpus_per_member: a member asks for 500 CPU, this machine has" in sweep.output
    assert "Traceback" not in sweep.output
