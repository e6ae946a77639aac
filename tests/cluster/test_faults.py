"""A disturbed sweep ends with the very bytes of an undisturbed one: none lost, none doubled, none mixed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe
from tests.cluster.networks import moody, refuses

# Members of about two seconds, so that a disturbance falls into the middle of one.
RECIPE = """
name: tiny
data: {kind: digits}
model: {kind: small_resnet, width: 8}
training: {epochs: 12, batch_size: 50, precision: float32}
population: {num_members: 3}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}, num_writers: 2}
"""
NUM_MEMBERS = 9


def contents(storage: Path) -> dict[str, object]:
    """Prediction columns and checkpoint bytes by file."""
    files = {}
    for path in sorted((storage / "tiny").rglob("*")):
        name = str(path.relative_to(storage))
        if path.suffix == ".parquet" and "predictions" in path.parts:
            files[name] = pq.read_table(path).to_pydict()
        elif path.suffix == ".safetensors":
            files[name] = path.read_bytes()
    return files


@pytest.fixture(scope="module")
def undisturbed(start_module_sweep):
    sweep = start_module_sweep(RECIPE)
    assert sweep.finish() == 0, sweep.output
    found = contents(sweep.storage)
    assert len(found) == 2 * NUM_MEMBERS
    return found


def test_the_same_recipe_in_two_storages_gives_equal_columns(start_sweep, undisturbed):
    sweep = start_sweep(RECIPE)
    assert sweep.finish() == 0, sweep.output
    assert contents(sweep.storage) == undisturbed


def test_killed_workers_are_replaced(start_sweep, undisturbed):
    sweep = start_sweep(RECIPE)
    for num_complete in (1, 4):
        sweep.wait_until(lambda least=num_complete: sweep.num_complete >= least)
        sweep.kill_a_worker()
    assert sweep.finish() == 0, sweep.output
    assert "tried again" in sweep.output and "died" in sweep.output
    assert contents(sweep.storage) == undisturbed


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_sweep_goes_on_with_the_same_command(start_sweep, undisturbed, stop):
    sweep = start_sweep(RECIPE)
    sweep.wait_until(lambda: sweep.num_complete >= 3)
    sweep.process.send_signal(stop)
    assert sweep.finish() == 130, sweep.output
    assert "the same command goes on" in sweep.output
    assert "Traceback" not in sweep.output
    kept = {path: path.stat().st_mtime_ns for path in sweep.storage.rglob("members/**/*.json")}
    assert 3 <= len(kept) < NUM_MEMBERS

    resumed = start_sweep(RECIPE, sweep.storage)
    assert resumed.finish() == 0, resumed.output
    assert f"{len(kept)} of {NUM_MEMBERS} members are complete" in resumed.output
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(sweep.storage) == undisturbed


def test_a_killed_driver_is_resumed(start_sweep, undisturbed):
    sweep = start_sweep(RECIPE)
    sweep.wait_until(lambda: sweep.num_complete >= 2)
    sweep.process.kill()
    sweep.end()
    resumed = start_sweep(RECIPE, sweep.storage)
    assert resumed.finish() == 0, resumed.output
    assert contents(sweep.storage) == undisturbed


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
