"""Members are suggested parents first, seeds in order, children only of complete parents."""

from __future__ import annotations

import pytest
from ray.tune.search import Searcher

from pie_ray.cluster.searcher import PlanSearcher
from pie_ray.identity import make_plan

DONE = {"record": "{}"}


@pytest.fixture
def members(tiny_recipe):
    return make_plan(tiny_recipe).members


def names(configs):
    return [f"{config['variant']}/{config['seed']}" for config in configs]


def drain(searcher):
    """Suggest until the searcher has nothing for now."""
    suggested = {}
    while isinstance(config := searcher.suggest(trial_id := f"t{len(searcher.live)}-{len(suggested)}"), dict):
        suggested[trial_id] = config
    return suggested, config


def test_a_child_waits_for_its_parent_and_then_goes_first(members):
    searcher = PlanSearcher(members)
    first, then = drain(searcher)
    assert names(first.values()) == ["dense/0", "magnitude-0.50/0", "dense/1", "magnitude-0.50/1"]
    assert then is None
    parent = next(trial for trial, config in first.items() if config["variant"] == "dense" and config["seed"] == 1)
    searcher.on_trial_complete(parent, DONE)
    assert names(drain(searcher)[0].values()) == ["static_int8/1"]


def test_a_suggestion_shows_what_tune_and_mlflow_show(members):
    config = PlanSearcher(members[-1:]).suggest("t")
    assert config == {
        "member_id": members[-1].member_id,
        "variant": "static_int8",
        "pruning": "none",
        "sparsity": 0.0,
        "quantization": "static_int8",
        "loss": "plain",
        "seed": 1,
    }


@pytest.mark.parametrize("how", [{"error": True}, {"result": {"error": "diverged"}}])
def test_children_of_a_failed_parent_are_unreachable(members, how):
    searcher = PlanSearcher(members)
    suggested, _ = drain(searcher)
    for trial, config in suggested.items():
        if (config["variant"], config["seed"]) == ("dense", 0):
            searcher.on_trial_complete(trial, **how)
        else:
            searcher.on_trial_complete(trial, DONE)
    assert names(drain(searcher)[0].values()) == ["static_int8/1"]
    assert [(spec.variant_id, spec.seed) for spec in searcher.unreachable] == [("static_int8", 0)]


def test_children_of_parents_that_are_not_missing_need_no_wait(members):
    searcher = PlanSearcher([member for member in members if member.parent_id])
    suggested, then = drain(searcher)
    assert len(suggested) == 2
    assert then == Searcher.FINISHED


def test_tune_is_never_left_waiting_with_nothing_live():
    assert PlanSearcher([]).suggest("t") == Searcher.FINISHED
