"""What the sweep costs beside its members' own work, and what writer actors cost beside writing directly.

    python benchmarks/overhead.py

Sweeps of members that sleep for a known time, so that a machine of few cores can stand for many nodes: each simulated
node is a raylet of its own with room for one member. A member's own seconds are those in its record. Then the same
rows through writer actors and straight into files, alternating.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from torch import Tensor, nn

from pie_ray.config import Recipe
from pie_ray.identity import MemberSpec, Plan, make_plan
from pie_ray.progress import ClusterUse
from pie_ray.recipe import parse_recipe
from pie_ray.records import MemberRecord
from pie_ray.store import ParquetSink, Sink, Storage, prediction_batch
from pie_ray.study import prepare

RECIPE = """
name: overhead
data: {kind: digits, num_train: 50, num_test: 100}
model: {kind: custom, factory: 'overhead:sleeper'}
training: {epochs: 1, batch_size: 50, precision: float32}
population: {num_members: 32}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5], scopes: [global]}
execution: {tracking: {kind: none}}
"""
NUM_EXAMPLES, NUM_CLASSES, BATCH_SIZE = 50_000, 10, 500


# ------------------------------------------------------------------------------------------------- the sleeping member


class Sleeper(nn.Module):
    """A small network each of whose training steps, here there is one, takes `seconds`."""

    def __init__(self, num_inputs: int, num_classes: int, seconds: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(num_inputs, 32), nn.ReLU(), nn.Linear(32, num_classes))
        self.seconds = seconds

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(self.seconds)
        return self.layers(images)


def sleeper(num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    """The factory that the recipe names; how long it sleeps is a matter of the workers' environment."""
    return Sleeper(num_channels * image_size**2, num_classes, float(os.environ.get("OVERHEAD_SECONDS", "0")))


# ---------------------------------------------------------------------------------------------------- sweeps


@dataclass
class Stopwatch:
    """An observer that notes when members were done, in seconds since the sweep began."""

    began: float = field(default_factory=time.perf_counter)
    done_at: list[float] = field(default_factory=list)
    own_seconds: list[float] = field(default_factory=list)

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None: ...

    def started(self, spec: MemberSpec) -> None: ...

    def done(self, spec: MemberSpec, record: MemberRecord) -> None:
        self.done_at.append(time.perf_counter() - self.began)
        self.own_seconds.append((record.train_seconds or 0) + record.evaluate_seconds)
        if sys.stderr.isatty():
            print(f"\r  {len(self.done_at)} members", end="\r", file=sys.stderr, flush=True)

    def retried(self, spec: MemberSpec, reason: str) -> None:
        sys.exit(f"a member failed: {reason}")

    def failed(self, spec: MemberSpec, reason: str) -> None:
        sys.exit(f"a member failed: {reason}")

    def waiting(self, reason: str) -> None: ...

    def cluster_used(self, use: ClusterUse) -> None: ...


def measure_sweep(num_nodes: int, seconds: float) -> str:
    """One sweep on a fresh cluster; a row of the table."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray.cluster_utils import Cluster

    from pie_ray.cluster.local import ray_session

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(num_nodes):
        cluster.add_node(num_cpus=1)
    try:
        environment = {"OVERHEAD_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"}
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR,
                 runtime_env={"env_vars": environment})  # fmt: skip
        with ray_session(cluster.address), tempfile.TemporaryDirectory() as folder:
            stopwatch = run(parse_recipe(RECIPE, [f"execution.storage={folder}"]))
    finally:
        ray.shutdown()
        cluster.shutdown()
    return row(num_nodes, seconds, stopwatch)


def run(recipe: Recipe) -> Stopwatch:
    from pie_ray.cluster.sweep import run_sweep

    study = prepare(recipe)
    stopwatch = Stopwatch()
    run_sweep(recipe, study.plan, study.storage, study.plan.members, stopwatch)
    return stopwatch


def row(num_nodes: int, seconds: float, stopwatch: Stopwatch) -> str:
    wall, own, num_members = stopwatch.done_at[-1], sum(stopwatch.own_seconds), len(stopwatch.done_at)
    beyond = (wall * num_nodes - own) / num_members
    # The first member of each node waits for its worker process and its imports.
    first = stopwatch.done_at[num_nodes - 1]
    steady = ((wall - first) * num_nodes - sum(stopwatch.own_seconds[num_nodes:])) / (num_members - num_nodes)
    start = first - statistics.mean(stopwatch.own_seconds[:num_nodes])
    return (
        f"{num_nodes:5} {seconds:8.0f} {num_members:8} {wall:7.1f} {own / num_nodes:11.1f} "
        f"{wall * num_nodes / own if seconds else float('nan'):6.3f} {beyond:9.3f} {start:9.1f} {steady:9.3f}"
    )


# ------------------------------------------------------------------------------------------------ writers


def measure_writers(num_members: int, num_rounds: int) -> Iterator[str]:
    """Rows a second straight into files and through a writer actor, alternating; rows of the table."""
    from pie_ray.cluster.local import ray_session

    specs = make_plan(parse_recipe(RECIPE)).members[:num_members]
    batches = prediction_batches()
    with ray_session(None), tempfile.TemporaryDirectory() as folder:
        from pie_ray.cluster.sink import ActorSink, start_writers

        storage = Storage(folder)
        direct, through = ParquetSink(storage), ActorSink(start_writers(storage, 1))
        ways: dict[str, tuple[Sink, int]] = {
            "directly": (direct, 1),
            "1 sender": (through, 1),
            "4 senders": (through, 4),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(num_rounds + 1):
            for name, (sink, num_senders) in ways.items():
                seconds = timed(partial(send_all, specs, batches, sink, num_senders))
                if number:  # the first round warms up
                    rates[name].append(num_members * NUM_EXAMPLES / seconds)
    base = statistics.median(rates["directly"])
    for name, found in rates.items():
        yield f"{name:10} {statistics.median(found) / 1e6:14.2f} {statistics.median(found) / base:7.2f}"


def prediction_batches() -> list[Any]:
    """One member's predictions as its trial makes them."""
    generator = np.random.default_rng(0)
    labels = generator.integers(NUM_CLASSES, size=NUM_EXAMPLES)
    logits = generator.normal(size=(NUM_EXAMPLES, NUM_CLASSES)).astype(np.float32)
    logits[np.arange(NUM_EXAMPLES), labels] += 3
    return [
        prediction_batch("test", np.arange(start, start + BATCH_SIZE), labels[rows], logits[rows])
        for start in range(0, NUM_EXAMPLES, BATCH_SIZE)
        for rows in [slice(start, start + BATCH_SIZE)]
    ]


def send_all(specs: Sequence[MemberSpec], batches: Sequence[Any], sink: Sink, num_senders: int) -> None:
    """Members' predictions, from as many at once as trials would be running."""

    def send(spec: MemberSpec) -> None:
        with sink.open(spec, "clean", NUM_EXAMPLES) as predictions:
            for batch in batches:
                predictions.write(batch)
            predictions.commit()

    with ThreadPoolExecutor(num_senders) as pool:
        list(pool.map(send, specs))


def timed(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


# -------------------------------------------------------------------------------------------------- the tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, nargs="*", default=[0, 2, 10])
    parser.add_argument("--writer-members", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    # Workers find the sleeping network in the driver's working directory.
    os.chdir(Path(__file__).parent)
    sys.path.insert(0, os.getcwd())
    print(machine("ray", "torch", "pyarrow"))
    print("\nnodes  s/member  members  wall s  own/nodes s  ratio  beyond s  start s  steady s", flush=True)
    for seconds in options.seconds:
        for num_nodes in options.nodes:
            print(measure_sweep(num_nodes, seconds), flush=True)
    print("ratio: wall / (own / nodes); beyond: seconds a member and node beyond its own work; start: until every node")
    print("has done its first member, without that member's work; steady: as beyond, from then on\n")
    print(f"{NUM_EXAMPLES:,} rows a member   M rows/s   ratio")
    for line in measure_writers(options.writer_members, options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
