"""Published protocols as grids of variants.

Their schedules as fractions of the training steps; how a network is trained meanwhile is the recipe's `training`, but
for what GMP-PT's fine-tuning names.
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import ConstantSchedule, FineTuning, GradualPruningGrid, Preset, PruningSchedule, VariantGrid

_IOFINOVA_SPARSITIES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)

PRESETS: dict[Preset, tuple[VariantGrid, ...]] = {
    # ImageNet's schedule: steps 5,000 to 8,000 of 32,000, every 500 (Hooker et al., arXiv 1911.05248).
    "hooker": (
        VariantGrid(
            pruning=GradualPruningGrid(
                kind="magnitude",
                sparsities=(0.1, 0.3, 0.5, 0.7, 0.9),
                schedule=PruningSchedule(begin=5 / 32, end=8 / 32, num_updates=6),
            )
        ),
        VariantGrid(quantization=("float16", "dynamic_int8", "static_int8")),
    ),
    # Epochs 10, 20 .. 80 of 100, from 5 % (Iofinova et al., arXiv 2304.12622).
    "gmp_ri": (
        VariantGrid(
            pruning=GradualPruningGrid(
                kind="magnitude",
                sparsities=_IOFINOVA_SPARSITIES,
                scopes=("global",),
                schedule=PruningSchedule(begin=0.1, end=0.8, num_updates=7, initial_sparsity=0.05),
            )
        ),
    ),
    # Epochs 1, 5 .. 57 of 80, from 5 %, with Adam at 1e-4 (the same).
    "gmp_pt": (
        VariantGrid(
            pruning=GradualPruningGrid(
                kind="magnitude",
                sparsities=_IOFINOVA_SPARSITIES,
                scopes=("global",),
                schedule=PruningSchedule(begin=1 / 80, end=57 / 80, num_updates=14, initial_sparsity=0.05),
                fine_tuning=FineTuning(
                    epochs=80, optimizer="adam", learning_rate=1e-4, schedule=ConstantSchedule(kind="constant")
                ),
            )
        ),
    ),
}


def grids_of(preset: Preset, sparsities: Sequence[float] | None) -> tuple[VariantGrid, ...]:
    """A preset's grids, with other sparsities than the published ones where they are given."""
    if sparsities is None:
        return PRESETS[preset]
    return tuple(_with_sparsities(grid, tuple(sparsities)) for grid in PRESETS[preset])


def _with_sparsities(grid: VariantGrid, sparsities: tuple[float, ...]) -> VariantGrid:
    if grid.pruning is None:
        return grid
    return grid.model_copy(update={"pruning": grid.pruning.model_copy(update={"sparsities": sparsities})})
