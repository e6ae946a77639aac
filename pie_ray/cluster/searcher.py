"""Hands an agenda's members to Ray Tune, a few a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from ..identity import Pack
from .agenda import Agenda


def trial_config(packs: Sequence[Pack]) -> dict[str, Any]:
    """What Tune sees of a trial: the ids of its members, by pack, and a name that people can read."""
    first = packs[0][0]
    num_others = sum(map(len, packs)) - 1
    return {
        "packs": [[spec.member_id for spec in pack] for pack in packs],
        "title": f"{first.variant_id}-seed-{first.seed}" + (f"-and-{num_others}" if num_others else ""),
    }


@final
class PlanSearcher(Searcher):
    """Suggests what the agenda has ready. How trials went the agenda hears from Tune's callbacks, which know more."""

    def __init__(self, agenda: Agenda) -> None:
        super().__init__()
        self.agenda = agenda

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        packs = self.agenda.take(trial_id)
        if packs:
            return trial_config(packs)
        # A live trial may break down and its members be tried again. Tune would block for minutes if it got None
        # while nothing is live.
        return None if self.agenda.has_live_trials else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do; see above."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a sweep resumes from what is complete on storage, not from Tune's own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore; see `save`."""


@final
class InOrder(FIFOScheduler):
    """Trials in the order that they came in, but for those whose process is just starting.

    Tune's own looks through all trials at every event, and gives an actor that has become free to the oldest waiting
    trial, even where that one's own is starting and is then killed: where members end faster than processes start,
    new ones would hardly get through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[Trial] = []

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.queue.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        self.queue = [trial for trial in self.queue if trial.status == Trial.PENDING]
        return next((trial for trial in self.queue if not _is_starting(tune_controller, trial)), None)


def _is_starting(tune_controller: Any, trial: Trial) -> bool:
    """Ray has no public way to learn it; where another version keeps it elsewhere, none is."""
    try:
        controller = tune_controller._tune_controller
        actor = controller._trial_to_actor.get(trial)
        return actor is not None and controller._actor_manager.is_actor_started(actor)
    except AttributeError:
        return False
