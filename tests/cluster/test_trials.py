"""Trials of several members and packs: a member's trouble is its own. What deaths cost them is in `faults`."""

from __future__ import annotations

import json

import pytest

from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe
from pie_ray.store import read_progress
from tests.cluster.networks import moody, refuses

pytestmark = pytest.mark.long


def test_a_member_that_keeps_failing_costs_the_others_of_its_trial_nothing(start_sweep, tiny_text):
    model = f"model={{kind: custom, factory: '{moody.__module__}:moody'}}"
    plan = make_plan(parse_recipe(tiny_text, [model]))
    refusing = {m.member_id for m in plan.members if m.parent_id is None and refuses(m.generator_seed)}
    failing = {m.member_id for m in plan.members if m.member_id in refusing or m.parent_id in refusing}
    assert 0 < len(failing) < len(plan.members)

    options = (model, "execution.max_retries=1", "execution.members_per_trial=100")
    sweep = start_sweep(tiny_text, None, *(part for option in options for part in ("--set", option)))
    assert sweep.finish() == 1, sweep.output
    records = [json.loads(path.read_text()) for path in sweep.storage.glob("tiny/members/*/*.json")]
    assert {record["member_id"] for record in records} == {m.member_id for m in plan.members} - failing
    assert sweep.output.count("tried again") == len(refusing)
    told = read_progress(sweep.results)
    assert (told.state, told.num_done, told.num_failed) == ("failed", len(plan.members) - len(failing), len(failing))


def test_packs_are_completed_in_trials_as_well(start_sweep, tiny_text):
    sweep = start_sweep(tiny_text, None, "--set", "training.pack=2", "--set", "execution.members_per_trial=3")
    assert sweep.finish() == 0, sweep.output
    assert read_progress(sweep.results).num_done == 6
