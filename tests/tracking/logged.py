"""A small sweep to log, and what a store then holds of it."""

from __future__ import annotations

from typing import Any

from pie_ray.records import MemberRecord
from pie_ray.tracking import SweepInfo, TrackedDataset, TrackedVariant, Tracker, TrackingOutcome

PRUNED, BOTH = "magnitude-0.90", "magnitude-0.90+static_int8"
ARTIFACTS = {"report/index.html": b"<p>page</p>", "figures/accuracy.png": b"\x89PNG"}
METRICS = {
    "dense": {"top1": 0.95, "noise_floor": 0.02, "num_members": 2.0},
    PRUNED: {"top1": 0.91, "top1_change": -0.04, "num_pies": 12.0, "pie_fraction": 0.12, "num_members": 2.0},
}


def make_record(seed: int, variant_id: str = "dense", **changes: Any) -> MemberRecord:
    values: dict[str, Any] = {
        "member_id": f"{variant_id}-{seed}",
        "variant_id": variant_id,
        "seed": seed,
        "num_parameters": 1000,
        "num_prunable": 900,
        "num_nonzero": 1000,
        "achieved_sparsity": 0.0,
        "checkpoint_bytes": 4000,
        "train_loss": 0.25,
        "top1": {"test": 0.9 + seed / 100},
        "train_seconds": 5.0,
        "evaluate_seconds": 1.0,
    }
    return MemberRecord(**(values | changes))


def make_sweep(**changes: Any) -> SweepInfo:
    values: dict[str, Any] = {
        "name": "digits",
        "sweep_id": "abc123",
        "params": {"training.epochs": "3", "population.num_members": "2"},
        "tags": {"pie_ray.version": "0"},
        "recipe_text": "name: digits\n",
        "num_members": 4,
        "results": "results/digits",
        "variants": (
            TrackedVariant("dense", 2, arithmetic="native"),
            TrackedVariant(PRUNED, 2, pruning="magnitude", sparsity=0.9),
        ),
        "datasets": (
            TrackedDataset("digits/train", "feed", "train", "/data/digits", 1000, 10, (1, 8, 8)),
            TrackedDataset("digits/test", "feed", "test", "/data/digits", 797, 10, (1, 8, 8)),
        ),
    }
    return SweepInfo(**(values | changes))


RECORDS = [make_record(seed, variant_id) for variant_id in ("dense", PRUNED) for seed in (0, 1)]


def log_all(tracker: Tracker, records: list[MemberRecord] = RECORDS) -> TrackingOutcome:
    tracker.start(make_sweep())
    for record in records:
        tracker.log_member(record)
    tracker.log_analysis(METRICS, ARTIFACTS)
    return tracker.finish("complete", "4 of 4 members.")


class Logged:
    """What a store holds, read with a client of its own; lists are by name."""

    def __init__(self, uri: str, experiment: str = "pie_ray") -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.get_experiment_by_name(experiment)
        runs = list(self.client.search_runs([self.experiment.experiment_id], max_results=500))
        runs.sort(key=lambda run: run.info.run_name)
        self.members = [run for run in runs if "pie_ray.member_id" in run.data.tags]
        self.parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.variants = [run for run in runs if run not in self.members and run not in self.parents]
        self.all = runs

    @property
    def parent(self) -> Any:
        (parent,) = self.parents
        return parent

    @property
    def note(self) -> str:
        return str(self.parent.data.tags["mlflow.note.content"])

    def artifacts(self, path: str | None = None) -> set[str]:
        return {item.path for item in self.client.list_artifacts(self.parent.info.run_id, path)}

    def history(self, run: Any, name: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, name)]

    def nothing_doubled(self) -> bool:
        """Whether every metric has one value at each step."""
        histories = [self.history(run, name) for run in self.all for name in run.data.metrics]
        return all(len({step for step, _ in history}) == len(history) for history in histories)
