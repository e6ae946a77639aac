"""When masks are recomputed, and how sparse they are then."""

from __future__ import annotations

from ...config import PruningSchedule
from ...errors import CompressionError


def cubic_sparsity(progress: float, final: float, initial: float = 0.0) -> float:
    """s(p) = s_f + (s_i - s_f)(1 - p)^3 with p clipped to [0, 1] (Zhu & Gupta, arXiv 1710.01878)."""
    remaining = 1 - min(max(progress, 0.0), 1.0)
    return final + (initial - final) * remaining**3


def mask_updates(schedule: PruningSchedule, final: float, num_steps: int) -> dict[int, float]:
    """Sparsity by the number of finished steps after which the masks are recomputed; the last one is `final`.

    Raises CompressionError where training is too short to prune at all.
    """
    begin, end = round(schedule.begin * num_steps), last_step(schedule.end, num_steps)
    first = 0 if schedule.initial_sparsity > 0 else 1
    updates = {}
    for update in range(first, schedule.num_updates + 1):
        progress = update / schedule.num_updates
        step = max(1, round(begin + (end - begin) * progress))
        updates[step] = cubic_sparsity(progress, final, schedule.initial_sparsity)
    return updates


def last_step(end: float, num_steps: int) -> int:
    """The step at which a fraction of all steps is done. Raises CompressionError where there is none so early."""
    step = round(end * num_steps)
    if step < 1:
        raise CompressionError(
            f"pruning would end before the first of {num_steps} training steps: found `end` at {end:g} of them; raise "
            "it, or the epochs"
        )
    return step
