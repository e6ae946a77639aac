"""A member of two processes on Ray loses first one, then the other, and goes on from what was kept."""

from __future__ import annotations

import io

import pytest
import torch

from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink, Storage, paths
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.cluster.conftest import TRAINING

pytestmark = pytest.mark.long

HELPING = "ray::_Helper.help"
RECIPE = """
name: tiny
data: {kind: digits, num_train: 200, num_test: 100}
model: {kind: small_resnet, width: 4}
training: {epochs: 120, batch_size: 50, precision: float32, num_processes: 2}
population: {num_members: 1}
variants:
  - pruning: {kind: one_shot, sparsities: [0.5]}
execution: {tracking: {kind: none}, measure_latency: false, save_minutes: 0}
"""
STATE = paths.training_state("dense", 0)


def test_a_member_whose_processes_are_killed_goes_on_with_the_same_bits(start_sweep, tmp_path):
    sweep = start_sweep(RECIPE)
    steps = [0]

    def has_gone_on() -> bool:
        """By 20 steps since the last time."""
        found = step_kept(sweep.results)
        assert found is None or found >= steps[-1], f"it began anew: step {found} after {steps}"
        if found is None or found < steps[-1] + 20:
            return False
        steps.append(found)
        return True

    for title in (HELPING, TRAINING):
        sweep.wait_until(has_gone_on)
        (process,) = sweep.processes(title)
        process.kill()
    sweep.wait_until(has_gone_on)
    assert sweep.finish() == 0, sweep.output
    assert sweep.output.count("tried again") == 2, sweep.output
    assert "process 1 of 2" in sweep.output and "worker process or node died" in sweep.output, sweep.output
    assert not sweep.results.exists(STATE)

    study = prepare(parse_recipe(RECIPE, [f"execution.storage={tmp_path / 'undisturbed'}"]))
    for spec in study.plan.members:
        run_member(spec, Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage)))
        for path in (paths.checkpoint(spec.variant_id, 0), paths.predictions("clean", spec.variant_id, 0)):
            assert sweep.results.read_bytes(path) == study.storage.read_bytes(path)


def step_kept(results: Storage) -> int | None:
    try:
        data = results.read_bytes(STATE)
    except FileNotFoundError:
        return None
    found = torch.load(io.BytesIO(data.partition(b"\n")[2]), weights_only=True)
    return int(found["state"]["step"])
