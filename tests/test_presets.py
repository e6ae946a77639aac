"""Presets are the published protocols."""

from __future__ import annotations

import pytest

from pie_ray.compress.pruning.schedule import mask_updates
from pie_ray.presets import PRESETS


def test_presets_update_masks_at_the_published_steps():
    def steps(name: str, num_steps: int) -> list[int]:
        grid = PRESETS[name][0].pruning
        return list(mask_updates(grid.schedule, 0.9, num_steps))

    # Sparsity is 0 at step 5,000, and so it needs no masks.
    assert steps("hooker", 32_000) == list(range(5_500, 8_001, 500))
    assert steps("gmp_ri", 100) == list(range(10, 81, 10))
    assert steps("gmp_pt", 80) == list(range(1, 58, 4))
    for name in ("gmp_ri", "gmp_pt"):
        schedule = PRESETS[name][0].pruning.schedule
        assert next(iter(mask_updates(schedule, 0.9, 100).values())) == pytest.approx(0.05)


def test_presets_have_the_published_sparsities_scopes_and_fine_tuning():
    hooker, gmp_ri, gmp_pt = (PRESETS[name] for name in ("hooker", "gmp_ri", "gmp_pt"))
    assert hooker[0].pruning.sparsities == (0.1, 0.3, 0.5, 0.7, 0.9)
    assert (hooker[0].pruning.scopes, hooker[0].pruning.fine_tuning) == (("layer",), None)
    assert hooker[1].quantization == ("float16", "dynamic_int8", "static_int8")
    for grids in (gmp_ri, gmp_pt):
        assert grids[0].pruning.sparsities == (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
        assert grids[0].pruning.scopes == ("global",)
    assert gmp_ri[0].pruning.fine_tuning is None
    tuning = gmp_pt[0].pruning.fine_tuning
    assert (tuning.epochs, tuning.optimizer, tuning.learning_rate, tuning.schedule.kind) == (
        80,
        "adam",
        1e-4,
        "constant",
    )
