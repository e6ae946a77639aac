"""A sweep on Ray Tune: a trial completes a few members. Resumed from what is on storage, never from Tune's state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, Stopper

from ..compress.multiply_adds import multiply_adds
from ..config import Recipe
from ..errors import PieRayError
from ..identity import MemberSpec, Pack, Plan
from ..models import build_network
from ..packing import pack_size, packs_of
from ..progress import Observer
from ..records import MemberRecord
from ..store import Storage, read_manifest
from .agenda import Agenda
from .capacity import UseNotice, WaitNotice, num_slots
from .completing import open_bench
from .searcher import InOrder, PlanSearcher
from .sink import start_writers
from .teams import trial_resources
from .trainable import MemberTrainable, OpenBench, Shared


@dataclass
class SweepOutcome:
    """How a sweep ended: reasons by member id, and members that were not reached."""

    num_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unreachable: tuple[MemberSpec, ...] = ()
    interrupted: bool = False


def run_sweep(
    recipe: Recipe,
    plan: Plan,
    storage: Storage,
    missing: Sequence[MemberSpec],
    observer: Observer,
    *,
    open_bench: OpenBench = open_bench,
) -> SweepOutcome:
    """Complete the `missing` members of the plan on the Ray cluster that this process is connected to.

    The results folder must have been claimed for the recipe. Members that keep failing are named in the outcome while
    the others finish; a storage that fails is no member's fault and stops them all. Raises PieRayError for that.
    `open_bench` is what completes members in a trial's process: a benchmark may put another in its place.
    """
    observer.planned(plan, missing)
    if not missing:
        return SweepOutcome()
    execution = recipe.execution
    agenda = Agenda(
        _packs(recipe, storage, missing),
        max_retries=execution.max_retries,
        members_per_trial=execution.members_per_trial,
    )
    outcome, storage_watch = SweepOutcome(), _StorageWatch()
    writers = tuple(start_writers(storage, execution.num_writers))
    shared = Shared(recipe, storage, writers, os.getcwd(), open_bench)
    trainable = tune.with_resources(
        tune.with_parameters(MemberTrainable, shared=shared),
        trial_resources(recipe),
    )
    # Enough pending trials for an autoscaler to see the demand; Tune's default for custom searchers is one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(execution.num_pending)
    # Tune's own state, which nothing is ever restored from; written now and then it is a third of the driver's work.
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "inf"
    with tempfile.TemporaryDirectory(prefix="pie_ray-tune-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=PlanSearcher(agenda),
                scheduler=InOrder(),
                num_samples=-1,
                max_concurrent_trials=execution.max_concurrent,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_folder_name,
            ),
            run_config=tune.RunConfig(
                name=recipe.name,
                storage_path=scratch,
                stop=storage_watch,
                verbose=0,
                # The agenda counts attempts, by member; a node that was drained is no one's failure, as ever with Tune.
                failure_config=tune.FailureConfig(max_failures=0),
                # A member keeps its own checkpoint; Tune has none to make.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[
                    _ObserverCallback(agenda, observer, outcome),
                    WaitNotice(execution, observer.waiting),
                    UseNotice(observer.cluster_used),
                ],
            ),
        )
        tuner.fit()
    if storage_watch.failure is not None:
        raise PieRayError(
            f"the storage failed: {storage_watch.failure}; {len(missing) - outcome.num_done} of "
            f"{len(plan.members)} members are missing; once it works the same command goes on"
        )
    outcome.unreachable = tuple(agenda.unreachable)
    outcome.interrupted = not agenda.is_done
    return outcome


def _packs(recipe: Recipe, storage: Storage, missing: Sequence[MemberSpec]) -> list[Pack]:
    """By seed, so that the populations grow evenly and partial results mean something."""
    in_order = sorted(missing, key=lambda spec: spec.seed)
    # Each member of a pack would decode the images for itself.
    if recipe.training.pack == 1 or getattr(recipe.data, "streaming", False):
        return [(spec,) for spec in in_order]
    manifest, execution = read_manifest(storage), recipe.execution
    num_channels, image_size = manifest.image_shape[:2]
    network = build_network(
        recipe.model, num_classes=manifest.num_classes, num_channels=num_channels, image_size=image_size, seed=0
    )
    work, _ = multiply_adds(network, (num_channels, image_size, image_size))
    size = pack_size(recipe.training, work, is_cuda=execution.gpus_per_member > 0)
    return packs_of(in_order, size, least=num_slots(execution))


def _trial_name(trial: Any) -> str:
    return str(trial.config["title"])


def _folder_name(trial: Any) -> str:
    return str(trial.trial_id)


class _StorageWatch(Stopper):
    """Stops the sweep where a trial's storage has failed for longer than its patience: the next one's would too."""

    def __init__(self) -> None:
        self.failure: str | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.failure = self.failure or result.get("storage_failure")
        return self.stop_all()

    def stop_all(self) -> bool:
        return self.failure is not None


_KEPT = {"trial_id", "done", "node_ip", "pid"}
"""Of a trial's result, what Tune itself still needs."""


class _ObserverCallback(Callback):
    """Translates Tune's events into the agenda's and the observer's words."""

    def __init__(self, agenda: Agenda, observer: Observer, outcome: SweepOutcome) -> None:
        self.agenda, self.observer, self.outcome = agenda, observer, outcome

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks for a resume that never happens; a terminal's locks cannot be saved.
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._begin(self.agenda.current(trial.trial_id))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        records, errors = result.get("records", {}), result.get("errors", {})
        for member_id, text in records.items():
            spec = self.agenda.settle(trial.trial_id, member_id, is_complete=True)
            if spec is not None:
                self.outcome.num_done += 1
                self.observer.done(spec, MemberRecord.model_validate_json(text))
        for member_id, reason in errors.items():
            spec = self.agenda.settle(trial.trial_id, member_id, is_complete=False)
            if spec is not None:
                self._fail(spec, reason)
        if not result["done"]:
            self._begin(self.agenda.current(trial.trial_id))
        # What is left in it Tune keeps for as long as the sweep lasts, with statistics of every number.
        for key in result.keys() - _KEPT:
            del result[key]

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = _reason(trial)
        for spec in self.agenda.current(trial.trial_id):
            self.observer.retried(spec, reason)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = _reason(trial)
        again, given_up = self.agenda.broke_down(trial.trial_id)
        for spec in again:
            self.observer.retried(spec, reason)
        for spec in given_up:
            self._fail(spec, reason)

    def _begin(self, pack: Pack) -> None:
        for spec in pack:
            self.observer.started(spec)

    def _fail(self, spec: MemberSpec, reason: str) -> None:
        self.outcome.failed[spec.member_id] = reason
        self.observer.failed(spec, reason)


def _reason(trial: Any) -> str:
    """The last error of a trial in one line."""
    error = _error(trial)
    if isinstance(error, RayTaskError):
        cause = error.cause if isinstance(error.cause, BaseException) else error
        return ": ".join(filter(None, (type(cause).__name__, _last_line(cause))))
    if isinstance(error, RayActorError):
        return "its worker process or node died"
    return _last_line(error) or "unknown error"


def _error(trial: Any) -> BaseException | str:
    # Tune's own get_error reads copies that a thread makes later; these files are there before a callback is called.
    if trial.pickled_error_file:
        try:
            with open(trial.pickled_error_file, "rb") as file:
                return cloudpickle.load(file)
        except Exception:  # an exception class of the user's that cannot be made from its message alone
            pass
    if trial.error_file:
        with open(trial.error_file) as file:
            return file.read()
    return ""


def _last_line(error: BaseException | str) -> str:
    return (str(error).strip().splitlines() or [""])[-1]
