"""What a fault costs a sweep: `python -m tests.cluster.faults` commits them all and prints a table.

Each strikes a small real sweep while its members train, and what is stored at the end is held against a sweep that
was left alone: rows by member, evaluation set and example, and every file of results byte for byte.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pie_ray.analysis import analyze, open_results
from pie_ray.identity import MemberSpec
from pie_ray.store import Storage, paths, read_progress
from tests.cluster.conftest import TRAINING, WRITING, Sweep, SweepStarter, starter
from tests.cluster.mlflow_server import mlflow_server
from tests.cluster.nodes import cluster
from tests.cluster.processes import command_line, session
from tests.s3 import S3Server, s3_server

# Members of about a second, many enough that a disturbance falls among them.
RECIPE = """
name: tiny
data: {kind: digits}
model: {kind: small_resnet, width: 8}
training: {epochs: 12, batch_size: 50, precision: float32}
population: {num_members: 3}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}, max_concurrent: 2, measure_latency: false}
"""
NUM_MEMBERS = 9

SMALL = "400k"
"""A disk that holds some of the members."""

Row = tuple[str, str, int]
"""Member id, evaluation set, example id."""


@dataclass(frozen=True)
class Snapshot:
    """What a sweep has stored."""

    files: dict[str, bytes]
    """Predictions, checkpoints and result tables by path."""
    rows: Counter[Row]
    complete: tuple[MemberSpec, ...]


def snapshot(results: Storage) -> Snapshot:
    """Writes the result tables first."""
    opened = open_results(results)
    analyze(opened)
    return Snapshot(
        files={path: results.read_bytes(path) for path in results.list_files() if _is_result(path)},
        rows=_rows(results),
        complete=tuple(spec for spec in opened.plan.members if spec.member_id in opened.found.records),
    )


def _is_result(path: str) -> bool:
    return path.startswith((paths.CHECKPOINTS, "predictions/")) or path.endswith(".parquet")


def _rows(results: Storage) -> Counter[Row]:
    rows: Counter[Row] = Counter()
    for path in results.list_files("predictions"):
        table = pq.read_table(pa.BufferReader(results.read_bytes(path)))
        member_id = table.schema.metadata[b"member_id"].decode()
        names, example_ids = table["evaluation_set"].to_pylist(), table["example_id"].to_pylist()
        rows.update((member_id, name, example_id) for name, example_id in zip(names, example_ids, strict=True))
    return rows


@dataclass(frozen=True)
class Toll:
    """What a fault cost; `differing` are the files that are not the undisturbed sweep's."""

    members_lost: int
    rows_lost: int
    rows_doubled: int
    differing: tuple[str, ...]
    seconds_to_recover: float
    """From the blow until a further member was complete, on the same storage, whoever completed it."""

    @property
    def is_nothing(self) -> bool:
        return not (self.members_lost or self.rows_lost or self.rows_doubled or self.differing)


def toll(left_alone: Snapshot, struck: Snapshot, seconds: float) -> Toll:
    names = left_alone.files.keys() | struck.files.keys()
    differing = {name for name in names if left_alone.files.get(name) != struck.files.get(name)}
    kept = {spec.member_id for spec in struck.complete if not differing.intersection(_files(spec))}
    return Toll(
        members_lost=sum(spec.member_id not in kept for spec in left_alone.complete),
        rows_lost=(left_alone.rows - struck.rows).total(),
        rows_doubled=(struck.rows - left_alone.rows).total(),
        differing=tuple(sorted(differing)),
        seconds_to_recover=seconds,
    )


def _files(spec: MemberSpec) -> tuple[str, str]:
    return paths.checkpoint(spec.variant_id, spec.seed), paths.predictions("clean", spec.variant_id, spec.seed)


@dataclass(frozen=True)
class Ground:
    """Where a fault is committed: a folder of its own, sweeps to start, and how an undisturbed one ended."""

    folder: Path
    start: SweepStarter
    left_alone: Snapshot


Ending = tuple[Snapshot, float]
"""What was stored in the end, and seconds to recover: the longest where a fault strikes twice."""


def leave_alone(start: SweepStarter) -> Snapshot:
    sweep = start(RECIPE)
    assert sweep.finish() == 0, sweep.output
    found = snapshot(sweep.results)
    assert len(found.complete) == NUM_MEMBERS, sweep.output
    return found


def nothing(ground: Ground) -> Ending:
    """The measure itself: two sweeps that are left alone."""
    return leave_alone(ground.start), math.nan


# ------------------------------------------------------------------------------- the sweep goes on by itself


def kill_workers(ground: Ground) -> Ending:
    sweep = ground.start(RECIPE)
    longest = 0.0
    for num_complete in (1, 4):
        sweep.wait_for(num_complete)
        with recovery(sweep) as seconds:
            sweep.kill_a_worker()
        longest = max(longest, *seconds)
    assert sweep.finish() == 0, sweep.output
    assert "tried again" in sweep.output and "died" in sweep.output
    return snapshot(sweep.results), longest


def kill_workers_of_long_trials(ground: Ground) -> Ending:
    """Of six members each; a death costs the member that it hits an attempt, and the others of its trial nothing."""
    options = ("--set", "execution.members_per_trial=6", "--set", "execution.max_retries=1")
    sweep = ground.start(RECIPE, None, *options)
    longest = 0.0
    for num_complete in (1, 4):
        sweep.wait_for(num_complete)
        with recovery(sweep) as seconds:
            sweep.kill_a_worker()
        longest = max(longest, *seconds)
    assert sweep.finish() == 0, sweep.output
    assert sweep.output.count("tried again") == 2, sweep.output
    told = read_progress(sweep.results)
    assert told is not None and (told.num_done, told.num_retried, told.num_failed) == (NUM_MEMBERS, 2, 0)
    return snapshot(sweep.results), longest


def kill_writers(ground: Ground) -> Ending:
    """Their deaths are not the members' fault: none is tried again."""
    sweep = ground.start(RECIPE, None, "--set", "execution.max_retries=0", "--set", "execution.num_writers=2")
    sweep.wait_for(1)
    writers = sweep.processes(WRITING)
    assert len(writers) == 2
    for writer in writers:
        writer.suspend()
    # A member that has its checkpoint and no record waits for its writer.
    sweep.wait_until(lambda: len(sweep.results.list_files(paths.CHECKPOINTS)) > sweep.num_complete)
    with recovery(sweep) as seconds:
        for writer in writers:
            writer.kill()
    assert sweep.finish() == 0, sweep.output
    assert "tried again" not in sweep.output and "failed" not in sweep.output
    return snapshot(sweep.results), *seconds


def kill_a_node(ground: Ground) -> Ending:
    """With several members on it; each is tried again once."""
    with cluster(ground.folder, namespaces=True) as made:
        dying, _ = made.add_node(num_cpus=2), made.add_node(num_cpus=1)

        def is_training() -> bool:
            return sum(TRAINING in command_line(process) for process in session(dying.process.pid)) == 2

        options = ("--set", "execution.max_retries=1", "--set", "execution.max_concurrent=3")
        sweep = ground.start(RECIPE, None, *options, cluster=made)
        sweep.wait_for(1)
        sweep.wait_until(is_training)
        with recovery(sweep) as seconds:
            dying.kill()
        assert sweep.finish() == 0, sweep.output
        assert "tried again" in sweep.output and "died" in sweep.output, sweep.output
        return snapshot(sweep.results), *seconds


# ----------------------------------------------------------------------------- the driver ends and is resumed


def kill_the_driver(ground: Ground) -> Ending:
    sweep = ground.start(RECIPE)
    sweep.wait_for(2)
    before = time.monotonic()
    sweep.process.kill()
    resumed = ground.start(RECIPE, sweep.storage)
    # Orphaned workers may have completed another member before they noticed.
    told = re.compile(rf"(\d+) of {NUM_MEMBERS} members are complete")
    resumed.wait_until(lambda: told.search(resumed.output) is not None)
    found = told.search(resumed.output)
    assert found is not None
    ending = _resumed(resumed, int(found[1]), before)
    assert not sweep.leftovers(), "processes are left behind"
    return ending


def press_ctrl_c(ground: Ground) -> Ending:
    return _stop(ground, Sweep.press_ctrl_c)


def send_sigterm(ground: Ground) -> Ending:
    """What a driver on a spot machine is warned with."""
    return _stop(ground, lambda sweep: sweep.process.send_signal(signal.SIGTERM))


def _stop(ground: Ground, stop: Callable[[Sweep], None]) -> Ending:
    sweep = ground.start(RECIPE)
    sweep.wait_for(3)
    before = time.monotonic()
    stop(sweep)
    assert sweep.finish() == 130, sweep.output
    assert "the same command goes on" in sweep.output
    assert "Traceback" not in sweep.output
    kept = {path: path.stat().st_mtime_ns for path in Path(sweep.storage).rglob("members/**/*.json")}
    assert 3 <= len(kept) < NUM_MEMBERS
    resumed = ground.start(RECIPE, sweep.storage)
    ending = _resumed(resumed, len(kept), before)
    assert f"{len(kept)} of {NUM_MEMBERS} members are complete" in resumed.output
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    return ending


def _resumed(resumed: Sweep, num_complete: int, before: float) -> Ending:
    resumed.wait_for(num_complete + 1)
    seconds = time.monotonic() - before
    assert resumed.finish() == 0, resumed.output
    return snapshot(resumed.results), seconds


# ------------------------------------------------------------------------------------ what the sweep relies on


def storage_fails_for_a_while(ground: Ground) -> Ending:
    """Once with errors, once without an answer; the sweep's patience bridges both."""
    with s3(ground.folder) as server:
        sweep = ground.start(RECIPE, server.uri())
        longest = 0.0
        for num_complete, mode in ((1, "error"), (4, "refuse")):
            sweep.wait_for(num_complete)
            with recovery(sweep) as seconds:
                server.fail(mode)
                num_writes = len(server.writes())
                sweep.wait_until(lambda least=num_writes + 3: len(server.writes()) >= least)
                server.fail(None)
            longest = max(longest, *seconds)
        assert sweep.finish() == 0, sweep.output
        assert "failed" not in sweep.output and "tried again" not in sweep.output, sweep.output
        return snapshot(sweep.results), longest


def storage_stays_away(ground: Ground) -> Ending:
    """Longer than the sweep's patience."""
    with s3(ground.folder) as server:
        with mock.patch.dict(os.environ, {"PIE_RAY_STORAGE_PATIENCE_SECONDS": "3"}):
            sweep = ground.start(RECIPE, server.uri())
        sweep.wait_for(2)
        num_complete, before = sweep.num_complete, time.monotonic()
        server.fail("refuse")
        assert sweep.finish() == 1, sweep.output
        _check_storage_failure(sweep)
        server.fail(None)
        return _resumed(ground.start(RECIPE, server.uri()), num_complete, before)


def _check_storage_failure(sweep: Sweep) -> None:
    assert sweep.output.count("the storage failed: ") == 1, sweep.output
    assert "the same command goes on" in " ".join(sweep.output.split()), sweep.output
    assert "Traceback" not in sweep.output and "tried again" not in sweep.output, sweep.output


def storage_is_full(ground: Ground) -> Ending:
    """It gets more space then, and the same command goes on."""
    with small_storage(ground.folder) as (storage, grow):
        sweep = ground.start(RECIPE, storage)
        assert sweep.finish() == 1, sweep.output
        before = time.monotonic()
        _check_storage_failure(sweep)
        assert "no space left" in sweep.output, sweep.output
        num_complete = sweep.num_complete
        assert 0 < num_complete < NUM_MEMBERS
        whole = {path: sweep.results.read_bytes(path) for path in sweep.results.list_times() if _is_result(path)}
        assert whole.items() <= ground.left_alone.files.items(), "something is there in half"
        grow()
        return _resumed(ground.start(RECIPE, storage), num_complete, before)


@contextmanager
def small_storage(folder: Path) -> Iterator[tuple[Path | str, Callable[[], object]]]:
    """A storage that is full before the sweep is complete, and what makes it larger: a disk where we may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    if mount("-t", "tmpfs", "-o", f"size={SMALL}", "pie_ray-test", str(disk)):
        try:
            yield disk, lambda: mount("-o", "remount,size=64m", str(disk))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        return
    with s3(folder) as server:
        filler = threading.Thread(target=_fill, args=(server,), daemon=True)
        filler.start()
        yield server.uri(), lambda: server.fail(None)
        filler.join()


def mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _fill(server: S3Server) -> None:
    """The store is full when it has taken a few members."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if sum("/members/" in path for method, path in server.requests if method == "PUT") >= 2:
            return server.fail("full")
        time.sleep(0.02)


def mlflow_dies_and_returns(ground: Ground) -> Ending:
    """Just before the sweep ends, and has everything then, once."""
    with mlflow_server(ground.folder) as server:
        tracking = f"execution.tracking={{kind: mlflow, uri: '{server.uri}'}}"
        sweep = ground.start(RECIPE, None, "--set", tracking)
        sweep.wait_until(lambda: server.num_logged().total() >= 1)
        with recovery(sweep) as seconds:
            server.kill()
        sweep.wait_for(min(NUM_MEMBERS, sweep.num_complete + 1))
        # The driver stands still meanwhile, so that it does not end before.
        sweep.process.send_signal(signal.SIGSTOP)
        server.start()
        sweep.process.send_signal(signal.SIGCONT)
        assert sweep.finish() == 0, sweep.output
        assert "MLflow" not in sweep.output, sweep.output
        found = snapshot(sweep.results)
        assert server.num_logged() == Counter(spec.member_id for spec in found.complete)
        assert [parent.info.status for parent in server.parents()] == ["FINISHED"]
        return found, *seconds


@contextmanager
def s3(folder: Path) -> Iterator[S3Server]:
    with mock.patch.dict(os.environ, S3Server.environment), s3_server(folder) as server:
        yield server


def second_driver(ground: Ground) -> Ending:
    """It is refused, and the first hears nothing of it."""
    first = ground.start(RECIPE)
    first.wait_for(1)
    # The members stand still meanwhile, so that the first driver is not done before the second is up.
    first.wait_until(lambda: len(first.processes(TRAINING)) > 0)
    training = first.processes(TRAINING)
    for process in training:
        process.suspend()
    second = ground.start(RECIPE, first.storage)
    assert second.finish() == 2, second.output
    told = " ".join(second.output.split())
    assert "has another driver: " in told and f"process {first.process.pid}," in told, second.output
    with recovery(first) as seconds:
        for process in training:
            process.resume()
    assert first.finish() == 0, first.output
    assert "driver" not in first.output, first.output
    return snapshot(first.results), *seconds


@contextmanager
def recovery(sweep: Sweep) -> Iterator[list[float]]:
    """Fills the list with the seconds from the blow in the `with` block to the next complete member."""
    seconds: list[float] = []
    num_complete, before = sweep.num_complete, time.monotonic()
    yield seconds
    sweep.wait_for(num_complete + 1)
    seconds.append(time.monotonic() - before)


FAULTS: dict[str, Callable[[Ground], Ending]] = {
    "none, in another storage": nothing,
    "kill -9 of two training workers": kill_workers,
    "kill -9 of two workers in trials of six members": kill_workers_of_long_trials,
    "kill -9 of the writers": kill_writers,
    "kill -9 of a worker node": kill_a_node,
    "kill -9 of the driver, resumed": kill_the_driver,
    "Ctrl-C, resumed": press_ctrl_c,
    "SIGTERM, resumed": send_sigterm,
    "storage fails for a while, twice": storage_fails_for_a_while,
    "storage stays away, resumed": storage_stays_away,
    "storage is full, resumed": storage_is_full,
    "MLflow dies and returns at the end": mlflow_dies_and_returns,
    "a second driver": second_driver,
}


def commit(fault: str, left_alone: Snapshot, folder: Path) -> Toll:
    with starter(folder) as start:
        struck, seconds = FAULTS[fault](Ground(folder, start, left_alone))
    return toll(left_alone, struck, seconds)


def main(chosen: list[str]) -> int:
    """The faults whose names contain a word that was given; all where none was. Returns the exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(box=None)
    table.add_column("fault", no_wrap=True)
    for header in ("members lost", "rows lost", "rows doubled", "files changed", "seconds to recover"):
        table.add_column(header, justify="right")
    is_clean = True
    with tempfile.TemporaryDirectory(prefix="pie_ray-faults-", ignore_cleanup_errors=True) as folder:
        with starter(Path(folder)) as start:
            left_alone = leave_alone(start)
        for number, fault in enumerate(name for name in FAULTS if not chosen or any(word in name for word in chosen)):
            own = Path(folder, f"fault{number}")
            own.mkdir()
            try:
                found = commit(fault, left_alone, own)
            except Exception as error:
                console.print(f"{fault}: {type(error).__name__}: {error}", markup=False)
                table.add_row(fault, "the sweep did not get over it")
                is_clean = False
                continue
            is_clean &= found.is_nothing
            counts = (found.members_lost, found.rows_lost, found.rows_doubled, len(found.differing))
            seconds = "–" if math.isnan(found.seconds_to_recover) else f"{found.seconds_to_recover:.1f}"
            table.add_row(fault, *map(str, counts), seconds)
            console.print(f"{fault}: done", markup=False)
    console.print(table)
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
