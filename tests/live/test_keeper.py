"""From what a driver is told to what it tells."""

from __future__ import annotations

import pytest

from pie_ray.identity import make_plan
from pie_ray.live.keeper import NUM_FAILURES_KEPT, ProgressKeeper
from pie_ray.progress import ClusterUse, Failure, ImagesProgress, SweepProgress, VariantProgress

from .conftest import record

NODE = ClusterUse(num_nodes=1, cpus=2.0, cpus_used=1.5)


@pytest.fixture
def plan(tiny_recipe):
    """Two seeds of dense, magnitude-0.50 and static_int8, which is derived from dense."""
    return make_plan(tiny_recipe)


def test_a_sweep_from_its_images_to_a_failure(plan, clock):
    dense_0, dense_1, pruned_0, _, _, _ = plan.members
    keeper = ProgressKeeper(plan, {dense_0.member_id}, driver="ann on host, process 7", now=clock)
    keeper.images(0, 160)
    clock.pass_seconds(10)
    keeper.images(160, 160)
    assert keeper.progress == SweepProgress(
        state="running",
        started_at="2026-03-01T12:00:00+00:00",
        updated_at="2026-03-01T12:00:10+00:00",
        driver="ann on host, process 7",
        num_members=6,
        num_done=1,
        variants={
            "dense": VariantProgress(num_members=2, num_done=1),
            "magnitude-0.50": VariantProgress(num_members=2),
            "static_int8": VariantProgress(num_members=2),
        },
        images=ImagesProgress(num_images=160, num_done=160),
    )

    keeper.planned(plan, plan.members[1:])
    keeper.waiting("no member runs")
    assert (keeper.progress.note, keeper.progress.images) == ("no member runs", None)
    keeper.started(dense_1)
    keeper.started(pruned_0)
    keeper.cluster_used(NODE)
    clock.pass_seconds(20)
    keeper.done(pruned_0, record(pruned_0))
    keeper.retried(dense_1, "its worker process or node died")
    clock.pass_seconds(4)
    keeper.started(dense_1)
    clock.pass_seconds(1)
    keeper.failed(dense_1, "RuntimeError: s3://key:secret@bucket/x refuses")
    assert keeper.last_seconds == 20
    # Two at once: magnitude-0.50 seed 1 (20 s), and the two derived ones, of which one lost its parent (2 s each).
    assert keeper.progress == SweepProgress(
        state="running",
        started_at="2026-03-01T12:00:00+00:00",
        updated_at="2026-03-01T12:00:35+00:00",
        driver="ann on host, process 7",
        num_members=6,
        num_done=2,
        num_running=0,
        num_failed=2,
        num_retried=1,
        variants={
            "dense": VariantProgress(num_members=2, num_done=1, num_failed=1),
            "magnitude-0.50": VariantProgress(num_members=2, num_done=1),
            "static_int8": VariantProgress(num_members=2, num_failed=1),
        },
        failures=(
            Failure(
                variant_id="dense",
                seed=1,
                reason="its worker process or node died",
                at="2026-03-01T12:00:30+00:00",
                is_final=False,
            ),
            Failure(
                variant_id="dense",
                seed=1,
                reason="RuntimeError: s3://bucket/x refuses",
                at="2026-03-01T12:00:35+00:00",
                is_final=True,
            ),
            Failure(
                variant_id="static_int8",
                seed=1,
                reason="its parent failed",
                at="2026-03-01T12:00:35+00:00",
                is_final=True,
            ),
        ),
        members_per_hour=180.0,
        seconds_left=(20 + 2) / 2,
        cluster=NODE,
    )
    clock.pass_seconds(4)
    assert keeper.snapshot() == keeper.progress.model_copy(
        update={"updated_at": "2026-03-01T12:00:39+00:00", "seconds_left": 7.0}
    )
    clock.pass_seconds(60)
    assert keeper.snapshot().seconds_left == 0


def test_the_end_keeps_the_figures_and_nothing_that_passes(plan, clock):
    keeper = ProgressKeeper(plan, (), now=clock)
    keeper.planned(plan, plan.members)
    for spec in plan.members[:2]:
        keeper.started(spec)
    keeper.cluster_used(NODE)
    clock.pass_seconds(36)
    keeper.done(plan.members[0], record(plan.members[0]))
    keeper.ended("stopped", "why")
    told = keeper.snapshot()
    assert (told.state, told.note, told.num_done, told.members_per_hour) == ("stopped", "why", 1, 100.0)
    assert (told.num_running, told.seconds_left, told.cluster, told.images) == (0, None, None, None)


@pytest.mark.parametrize(("state", "most"), [("complete", None), ("stopped", 60)])
def test_what_is_complete_grows_no_more(plan, clock, state, most):
    keeper = ProgressKeeper(plan, (), num_members_at_most=60, now=clock)
    keeper.ended(state)
    assert keeper.progress.num_members_at_most == most


def test_throughput_counts_from_the_first_member_and_not_from_the_images(plan, clock):
    keeper = ProgressKeeper(plan, (), now=clock)
    clock.pass_seconds(1000)
    keeper.planned(plan, plan.members)
    keeper.started(plan.members[0])
    clock.pass_seconds(36)
    keeper.done(plan.members[0], record(plan.members[0]))
    assert keeper.progress.members_per_hour == 100


def test_only_the_latest_failures_are_kept_and_all_are_counted(plan, clock):
    keeper = ProgressKeeper(plan, (), now=clock)
    keeper.planned(plan, plan.members)
    for number in range(NUM_FAILURES_KEPT + 3):
        keeper.retried(plan.members[0], f"reason {number}")
    told = keeper.progress
    assert told.num_retried == NUM_FAILURES_KEPT + 3
    assert [failure.reason for failure in told.failures] == [f"reason {n}" for n in range(3, NUM_FAILURES_KEPT + 3)]
