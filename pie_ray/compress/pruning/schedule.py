"""When masks are recomputed, and how sparse they are then."""

from __future__ import annotations

from ...config import PruningSchedule


def cubic_sparsity(progress: float, final: float, initial: float = 0.0) -> float:
    """s(p) = s_f + (s_i - s_f)(1 - p)^3 with p clipped to [0, 1] (Zhu & Gupta, arXiv 1710.01878)."""
    remaining = 1 - min(max(progress, 0.0), 1.0)
    return final + (initial - final) * remaining**3


def mask_updates(schedule: PruningSchedule, final: float, num_steps: int) -> dict[int, float]:
    """Sparsity by the number of finished steps after which the masks are recomputed; the last one is `final`.

    Raises ValueError where training is too short to prune at all.
    """
    begin, end = round(schedule.begin * num_steps), round(schedule.end * num_steps)
    if end < 1:
        raise ValueError(f"pruning would end before the first of {num_steps} training steps")
    first = 0 if schedule.initial_sparsity > 0 else 1
    updates = {}
    for update in range(first, schedule.num_updates + 1):
        progress = update / schedule.num_updates
        step = max(1, round(begin + (end - begin) * progress))
        updates[step] = cubic_sparsity(progress, final, schedule.initial_sparsity)
    return updates
