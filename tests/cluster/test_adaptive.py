"""An adaptive population on Ray: rounds in one session, a kill between them, what people are told."""

from __future__ import annotations

import pytest

from pie_ray.analysis import open_results
from pie_ray.live.status import look

RECIPE = """
name: tiny
data: {kind: digits, num_train: 100, num_test: 60}
model: {kind: small_resnet, width: 4}
training: {epochs: 1, batch_size: 50, precision: float32}
population: {num_members: 5, adaptive: {fewest: 4, step: 1, most: 8}}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}, measure_latency: false}
"""
NUM_FIRST, NUM_ALL = 12, 15
"""Four members cannot tell, so each variant gets the fifth that there is a budget for."""


@pytest.mark.long
def test_a_sweep_that_is_killed_in_a_round_goes_on_with_it(start_sweep):
    sweep = start_sweep(RECIPE)
    sweep.wait_for(NUM_FIRST - 2)
    sweep.end()
    assert open_results(sweep.results).is_complete is False
    again = start_sweep(RECIPE, sweep.storage)
    assert again.finish() == 0, again.output
    results = open_results(again.results)
    assert results.is_complete and len(results.records) == NUM_ALL
    told = " ".join(again.output.split())
    assert "Round 2: 3 more members; dense to 5, magnitude-0.50 to 5, static_int8 to 5." in told
    assert "Members a variant" in told and told.count("budget") >= 2
    status = look(again.results)
    assert (status.state, status.progress.num_members, status.progress.num_done) == ("complete", NUM_ALL, NUM_ALL)
