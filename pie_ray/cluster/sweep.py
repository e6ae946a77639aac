"""A sweep on Ray Tune: every member a trial; resumed from what is complete on storage, never from Tune's state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, Stopper

from ..config import Recipe
from ..errors import PieRayError
from ..identity import MemberSpec, Plan
from ..progress import Observer
from ..records import MemberRecord
from ..store import Storage
from .capacity import UseNotice, WaitNotice
from .searcher import PlanSearcher
from .sink import start_writers
from .trainable import MemberTrainable, Shared


@dataclass
class SweepOutcome:
    """How a sweep ended: reasons by member id, and members that were not reached."""

    num_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unreachable: tuple[MemberSpec, ...] = ()
    interrupted: bool = False


def run_sweep(
    recipe: Recipe, plan: Plan, storage: Storage, missing: Sequence[MemberSpec], observer: Observer
) -> SweepOutcome:
    """Complete the `missing` members of the plan on the Ray cluster that this process is connected to.

    The results folder must have been claimed for the recipe. Members that keep failing are named in the outcome while
    the others finish; a storage that fails is no member's fault and stops them all. Raises PieRayError for that.
    """
    observer.planned(plan, missing)
    if not missing:
        return SweepOutcome()
    execution = recipe.execution
    searcher = PlanSearcher(missing)
    outcome, storage_watch = SweepOutcome(), _StorageWatch()
    shared = Shared(recipe, storage, tuple(start_writers(storage, execution.num_writers)), os.getcwd())
    trainable = tune.with_resources(
        tune.with_parameters(MemberTrainable, shared=shared),
        {"cpu": execution.cpus_per_member, "gpu": execution.gpus_per_member, **execution.resources_per_member},
    )
    # Enough pending trials for an autoscaler to see the demand; Tune's default for custom searchers is one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(execution.num_pending)
    with tempfile.TemporaryDirectory(prefix="pie_ray-tune-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=execution.max_concurrent,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=recipe.name,
                storage_path=scratch,
                stop=storage_watch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=execution.max_retries),
                # A member keeps its own checkpoint; Tune has none to make.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[
                    _ObserverCallback(plan, observer, outcome),
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
    outcome.unreachable = tuple(searcher.unreachable)
    outcome.interrupted = bool(searcher.ready or searcher.live or searcher.children)
    return outcome


def _trial_name(trial: Any) -> str:
    return f"{trial.config['variant']}-seed-{trial.config['seed']}"


class _StorageWatch(Stopper):
    """Stops the sweep where a trial's storage has failed for longer than its patience: the next one's would too."""

    def __init__(self) -> None:
        self.failure: str | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.failure = self.failure or result.get("storage_failure")
        return self.stop_all()

    def stop_all(self) -> bool:
        return self.failure is not None


class _ObserverCallback(Callback):
    """Translates Tune's events into the observer's words."""

    def __init__(self, plan: Plan, observer: Observer, outcome: SweepOutcome) -> None:
        self.specs = {spec.member_id: spec for spec in plan.members}
        self.observer, self.outcome = observer, outcome

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks for a resume that never happens; a terminal's locks cannot be saved.
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.observer.started(self._spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "error" in result:
            self._fail(trial, result["error"])
        elif "record" in result:
            self.outcome.num_done += 1
            self.observer.done(self._spec(trial), MemberRecord.model_validate_json(result["record"]))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.observer.retried(self._spec(trial), _reason(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._fail(trial, _reason(trial))

    def _fail(self, trial: Any, reason: str) -> None:
        spec = self._spec(trial)
        self.outcome.failed[spec.member_id] = reason
        self.observer.failed(spec, reason)

    def _spec(self, trial: Any) -> MemberSpec:
        return self.specs[trial.config["member_id"]]


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
