"""What scheduling costs as workers and members grow: sweeps of members that sleep, on one machine.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --workers 128 --members 10000 --seconds 8 --members-per-trial auto --writers 2

Everything is the real thing but the member: `run_sweep` with its agenda, searcher, trial class, writer actors,
observers and progress file, then the real analysis. A member sleeps (exponentially distributed, from its own seed),
sends random predictions of a small test set to its writer, and leaves a checkpoint of a few bytes and its record. Its
process loads no torch, so that a machine of few cores holds many: some 130 MB a worker, so about 150 workers in 24 GiB.
Every row is a process and a Ray of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import logging
import os
import pstats
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from machine import machine
from safetensors.numpy import save

from pie_ray.config import CLEAN, Recipe
from pie_ray.identity import MemberSpec, Pack, Plan
from pie_ray.progress import ClusterUse
from pie_ray.recipe import parse_recipe
from pie_ray.records import MemberRecord
from pie_ray.store import (
    Sink,
    Storage,
    prediction_batch,
    read_examples,
    write_checkpoint,
    write_record,
)

if TYPE_CHECKING:
    from pie_ray.cluster.trainable import Complete

RECIPE = """
name: scaling
data: {kind: digits, num_train: 50, num_test: 100}
model: {kind: small_resnet, width: 4}
training: {epochs: 1, batch_size: 50, precision: float32}
population: {num_members: 1}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5, 0.9], scopes: [global]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}}
"""
NUM_VARIANTS = 4
"""With the dense reference; the quantized members wait for the dense ones."""
NUM_CLASSES = 10
DERIVED_SHARE = 0.1
"""Of a trained member's seconds, that a derived one takes."""


# ----------------------------------------------------------------------------------------------- the sleeping member


def open_bed(recipe: Recipe, storage: Storage, sink: Sink, *, seconds: float, constant: bool) -> Complete:
    """Stands in for `cluster.completing.open_bench`: members that sleep."""
    examples = read_examples(storage, "test")
    labels = np.asarray(examples.labels)

    def complete(pack: Pack) -> Mapping[str, MemberRecord]:
        return {spec.member_id: sleep(spec) for spec in pack}

    def sleep(spec: MemberSpec) -> MemberRecord:
        generator = np.random.default_rng(spec.generator_seed)
        mean = seconds if spec.variant.trains else seconds * DERIVED_SHARE
        asleep = mean if constant else float(generator.exponential(mean))
        time.sleep(asleep)
        started = time.perf_counter()
        data = save({"weight": np.zeros(4, np.float32)}, metadata={"member_id": spec.member_id})
        write_checkpoint(storage, spec.variant_id, spec.seed, data)
        logits = generator.normal(size=(len(labels), NUM_CLASSES)).astype(np.float32)
        logits[np.arange(len(labels)), labels] += 3
        with sink.open(spec, CLEAN, len(labels)) as predictions:
            predictions.write(prediction_batch("test", np.asarray(examples.example_ids), labels, logits))
            predictions.commit()
        record = MemberRecord(
            member_id=spec.member_id,
            variant_id=spec.variant_id,
            seed=spec.seed,
            parent_id=spec.parent_id,
            sparsity=spec.variant.sparsity,
            quantization=spec.variant.quantization,
            num_parameters=4,
            num_prunable=4,
            num_nonzero=4,
            achieved_sparsity=spec.variant.sparsity,
            checkpoint_bytes=len(data),
            top1={"test": float((logits.argmax(1) == labels).mean())},
            train_seconds=asleep,
            evaluate_seconds=time.perf_counter() - started,
        )
        write_record(storage, record)
        return record

    return complete


# ----------------------------------------------------------------------------------------------------- one row


@dataclass(frozen=True)
class Asked:
    """What a row is to measure."""

    workers: int
    members: int
    seconds: float
    members_per_trial: int | None
    writers: int
    pending: int
    constant: bool
    profile: bool = False


@dataclass
class Measured:
    """What a row's process tells; seconds from the call of `run_sweep`."""

    wall: float
    start: float
    """Until as many members had begun as there are workers."""
    own: float
    """All members' seconds together."""
    pace: float
    """Members a second while the middle half of them ended."""
    driver_cpu: float
    driver_rss: float
    """At its most, in MB; and what it grew by."""
    driver_growth: float
    worker_pss: float
    """Of a trial's process, in MB; the mean over processes."""
    after_record: float
    """From the last record on storage until the observer hears of it."""
    after_last: float
    """From there until `run_sweep` returns."""
    analysis: float


@dataclass
class Stopwatch:
    """An observer that notes when members began and were done."""

    began: float = field(default_factory=time.time)
    started_at: list[float] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    own_seconds: list[float] = field(default_factory=list)

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None: ...

    def started(self, spec: MemberSpec) -> None:
        self.started_at.append(time.time() - self.began)

    def done(self, spec: MemberSpec, record: MemberRecord) -> None:
        self.done_at.append(time.time() - self.began)
        self.own_seconds.append((record.train_seconds or 0) + record.evaluate_seconds)
        if len(self.done_at) % 100 == 0:
            print(f"  {len(self.done_at)} members, {self.done_at[-1]:.0f} s", file=sys.stderr, flush=True)

    def retried(self, spec: MemberSpec, reason: str) -> None:
        print(f"  retried: {spec.variant_id} {spec.seed}: {reason}", file=sys.stderr, flush=True)

    def failed(self, spec: MemberSpec, reason: str) -> None:
        sys.exit(f"a member failed: {reason}")

    def waiting(self, reason: str) -> None: ...

    def cluster_used(self, use: ClusterUse) -> None: ...


class Memory:
    """Looks at the driver and its trials' processes now and then."""

    def __init__(self) -> None:
        self.driver = psutil.Process()
        self.before = self.most = self.driver.memory_info().rss
        self.pss: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = 0
        while not self._over.wait(1.0):
            self.most = max(self.most, self.driver.memory_info().rss)
            looks += 1
            if looks % 15 == 10:
                self.pss = list(self._trials()) or self.pss

    def _trials(self) -> Iterator[float]:
        for process in self.driver.children(recursive=True):
            try:
                if "MemberTrainable" in " ".join(process.cmdline()[:1]):
                    yield process.memory_full_info().pss / 1e6
            except psutil.Error:
                continue


def measure(asked: Asked) -> Measured:
    """Runs in a process of its own."""
    from rich.console import Console

    from pie_ray.analysis import analyze, open_results
    from pie_ray.cluster.sweep import run_sweep
    from pie_ray.console import ConsoleObserver
    from pie_ray.live.keeper import ProgressKeeper
    from pie_ray.live.publisher import ProgressPublisher
    from pie_ray.progress import Observers
    from pie_ray.study import prepare
    from pie_ray.tracking import make_tracker

    with tempfile.TemporaryDirectory(prefix="pie_ray-scaling-") as folder:
        recipe = parse_recipe(RECIPE, settings(asked, folder))
        study = prepare(recipe)
        members = study.plan.members
        with ray_of(asked.workers):
            keeper = ProgressKeeper(study.plan, ())
            tracker = make_tracker(recipe.execution.tracking, default_uri="")
            console = ConsoleObserver(Console(file=io.StringIO()), keeper)
            with Memory() as memory, ProgressPublisher(keeper, study.storage, tracker), profiled(asked.profile):
                stopwatch, cpu = Stopwatch(), time.process_time()
                open_bench = partial(open_bed, seconds=asked.seconds, constant=asked.constant)
                observer = Observers(keeper, console, stopwatch)
                outcome = run_sweep(recipe, study.plan, study.storage, members, observer, open_bench=open_bench)
                returned, cpu = time.time() - stopwatch.began, time.process_time() - cpu
        assert outcome.num_done == len(members) == asked.members, outcome
        records = [path.stat().st_mtime for path in Path(folder).glob("scaling/members/*/*.json")]
        started = time.perf_counter()
        analyze(open_results(study.storage))
        analysis = time.perf_counter() - started
    quarter = len(members) // 4
    middle = stopwatch.done_at[3 * quarter] - stopwatch.done_at[quarter]
    return Measured(
        wall=stopwatch.done_at[-1],
        start=stopwatch.started_at[min(asked.workers, len(members)) - 1],
        own=sum(stopwatch.own_seconds),
        pace=2 * quarter / middle,
        driver_cpu=cpu,
        driver_rss=memory.most / 1e6,
        driver_growth=(memory.most - memory.before) / 1e6,
        worker_pss=float(np.mean(memory.pss)) if memory.pss else float("nan"),
        after_record=stopwatch.began + stopwatch.done_at[-1] - max(records),
        after_last=returned - stopwatch.done_at[-1],
        analysis=analysis,
    )


def settings(asked: Asked, folder: str) -> list[str]:
    per_trial = "null" if asked.members_per_trial is None else asked.members_per_trial
    return [
        f"execution.storage={folder}",
        f"execution.members_per_trial={per_trial}",
        f"execution.num_writers={asked.writers}",
        f"execution.num_pending={asked.pending}",
        f"population.num_members={asked.members // NUM_VARIANTS}",
    ]


@contextmanager
def ray_of(num_workers: int) -> Iterator[None]:
    """One node that says it has a processor a worker."""
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_prestart_worker_first_driver": "0",
        # As many at once as the machine can start before Ray takes them for lost.
        "RAY_maximum_startup_concurrency": "8",
        # Otherwise whatever else runs on the machine goes before its workers.
        "RAY_worker_niceness": "0",
        "OMP_NUM_THREADS": "1",
    }
    import ray

    from pie_ray.cluster.local import OBJECT_STORE_BYTES, ray_session

    ray.init(
        address="local",
        num_cpus=num_workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with ray_session(None):
            yield
    finally:
        ray.shutdown()


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile(time.thread_time) as profile:
        yield
    for order in ("tottime", "cumulative"):
        pstats.Stats(profile, stream=sys.stderr).sort_stats(order).print_stats(40)


# ----------------------------------------------------------------------------------------------- the table


HEADER = (
    "workers members  a trial  s each    wall s   ideal s  start s  members/s  of ideal  driver ms  driver MB  (grown)"
    "  worker MB  heard ms   end s  analysis s"
)
LEGEND = """\
s each: a member's own seconds; ideal: all of them over the workers; start: until every worker had begun one;
members/s: while the middle half of the members ended, and the share of what the workers could do; driver ms: processor
time of the driver a member; driver MB: resident at most, and what of it the sweep added; worker MB: proportional set
size of a trial's process, without torch; heard: from the last record on storage until the driver knew; end: from there
until the sweep returned"""


def row(asked: Asked, found: Measured) -> str:
    mean = found.own / asked.members
    per_trial = asked.members_per_trial or "auto"
    return (
        f"{asked.workers:7} {asked.members:7} {per_trial:>8} {mean:7.2f} {found.wall:9.1f} "
        f"{found.own / asked.workers:9.1f} "
        f"{found.start:8.1f} {found.pace:10.2f} {found.pace * mean / asked.workers:9.3f} "
        f"{1000 * found.driver_cpu / asked.members:10.1f} {found.driver_rss:10.0f} {found.driver_growth:8.0f} "
        f"{found.worker_pss:10.0f} {1000 * found.after_record:9.0f} {found.after_last:7.1f} {found.analysis:11.1f}"
    )


def measured(asked: Asked) -> Measured:
    """The row's figures, from a process of its own."""
    command = [sys.executable, __file__, "--row", json.dumps(vars(asked))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[8, 64])
    parser.add_argument("--members", type=int, nargs="*", default=[400, 2000], help="of each; multiples of 4")
    parser.add_argument("--seconds", type=float, default=2.0, help="that a trained member sleeps, on average")
    parser.add_argument("--members-per-trial", nargs="*", default=["1", "8"], help="numbers, or auto")
    parser.add_argument("--writers", type=int, default=1)
    parser.add_argument("--pending", type=int, help="execution.num_pending; by default 16 more than workers")
    parser.add_argument("--constant", action="store_true", help="all members sleep equally long")
    parser.add_argument("--profile", action="store_true", help="where the driver spends its time, to stderr")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if len(options.workers) != len(options.members) or any(number % NUM_VARIANTS for number in options.members):
        parser.error(f"--members: as many numbers as --workers, multiples of {NUM_VARIANTS}")
    if options.row:
        print(json.dumps(vars(measure(Asked(**json.loads(options.row))))))
        return
    print(machine("ray", "pyarrow"))
    print(f"\n{HEADER}", flush=True)
    for workers, members in zip(options.workers, options.members, strict=True):
        for text in options.members_per_trial:
            asked = Asked(
                workers=workers,
                members=members,
                seconds=options.seconds,
                members_per_trial=None if text == "auto" else int(text),
                writers=options.writers,
                pending=options.pending or workers + 16,
                constant=options.constant,
                profile=options.profile,
            )
            print(row(asked, measured(asked)), flush=True)
    print(LEGEND)


if __name__ == "__main__":
    main()
