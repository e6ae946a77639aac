"""The analysis spread over a Ray cluster."""

import pandas as pd
import pytest

from pie_ray.analysis import analyze, robustness
from pie_ray.recipe import parse_recipe
from pie_ray.study import prepare

from ..test_robustness_analysis import NUM_MEMBERS, complete, random_predictions


@pytest.mark.long
def test_sets_spread_over_a_cluster_give_the_same_tables(tiny_text, tmp_path, monkeypatch):
    from pie_ray.cluster.local import ray_session
    from pie_ray.cluster.stats_job import ray_map

    overrides = [f"execution.storage={tmp_path}", f"population.num_members={NUM_MEMBERS}"]
    study = prepare(parse_recipe(tiny_text, overrides))
    predictions = random_predictions(study)
    # A partial store: one member less.
    del predictions["magnitude-0.50", 1]
    results = complete(study, predictions)
    here = analyze(results)
    monkeypatch.setattr(robustness, "PREDICTIONS_AT_ONCE", 1)
    assert len(robustness.robustness_tasks(results)) == 5
    with ray_session(None):
        there = analyze(results, mapper=ray_map)
    assert len(here.robustness) == 15 and len(here.fragility) and len(here.corruption_errors)
    for name, table in here.tables.items():
        pd.testing.assert_frame_equal(table, there.tables[name], obj=name)
