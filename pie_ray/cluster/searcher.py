"""Hands a plan's members to Ray Tune: a derived member only once its parent is complete."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, final

from ray.tune.search import Searcher

from ..identity import MemberSpec
from ..variants import loss_id


def trial_config(spec: MemberSpec) -> dict[str, Any]:
    """What Tune and its observers see of a member."""
    variant = spec.variant
    return {
        "member_id": spec.member_id,
        "variant": spec.variant_id,
        "pruning": "none" if variant.pruning is None else variant.pruning.method,
        "sparsity": variant.sparsity,
        "quantization": variant.quantization or "none",
        "loss": "plain" if variant.loss is None else loss_id(variant.loss),
        "seed": spec.seed,
    }


@final
class PlanSearcher(Searcher):
    """Suggests the `missing` members of a plan, those of the lowest seeds first.

    Ordered by seed, so that the populations grow evenly and partial results mean something. A member waits for its
    parent where that one is missing as well; where the parent failed for good it ends up in `unreachable`.
    """

    def __init__(self, missing: Sequence[MemberSpec]) -> None:
        super().__init__()
        missing_ids = {spec.member_id for spec in missing}
        self.ready: deque[MemberSpec] = deque()
        self.children: dict[str, list[MemberSpec]] = defaultdict(list)
        for spec in sorted(missing, key=lambda spec: spec.seed):
            if spec.parent_id is not None and spec.parent_id in missing_ids:
                self.children[spec.parent_id].append(spec)
            else:
                self.ready.append(spec)
        self.live: dict[str, MemberSpec] = {}
        self.unreachable: list[MemberSpec] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.ready:
            spec = self.live[trial_id] = self.ready.popleft()
            return trial_config(spec)
        # Tune would block for minutes if it got None while nothing is live.
        return None if self.live and self.children else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        spec = self.live.pop(trial_id)
        children = self.children.pop(spec.member_id, [])
        if not error and result is not None and result.get("record"):
            self.ready.extendleft(children)
        else:
            self.unreachable += children

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a sweep resumes from what is complete on storage, not from Tune's own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore; see `save`."""
