"""From stored predictions to a table of PIEs: ours against DuckDB, polars and pandas on the same files, in one run.

    pip install duckdb polars
    python benchmarks/pies.py

Populations of 30 members, a reference and seven variants, are made up and written as a sweep writes them: one Parquet
file a member. Everybody makes one table of the examples whose mode moved, with both modes, and writes it as Parquet;
ours has the agreements besides. Everybody may use all cores, is a fresh process each time, and has its imports and a
small store to warm up on before the clock starts; rounds alternate, and the figures are their medians. "counts" are
the fastest queries found that keep the published rule (of tied labels the largest); DuckDB's `mode()` breaks ties as
it likes. All others have to find the very same PIEs as ours, or the benchmark fails. The floor is reading the
predictions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import machine

RECIPE = """
name: statistics
data: {kind: digits}
model: {kind: small_resnet}
training: {epochs: 100}
population: {num_members: 30}
variants:
  - pruning: {kind: magnitude, sparsities: [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99], scopes: [layer]}
"""
NUM_MEMBERS = 30
REFERENCE = "dense"
VARIANTS = [REFERENCE, *(f"magnitude-{sparsity:.2f}" for sparsity in (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99))]
SUITE, EVALUATION_SET = "clean", "test"
NUM_WARM_UP, NUM_GROUPED = 1_000, 50_000
"""Examples to warm up on, and the most that pandas' groupby-mode gets: beyond, its time is extrapolated."""


@dataclass(frozen=True)
class Case:
    """One store."""

    num_examples: int
    num_classes: int
    num_rounds: int

    @property
    def num_predictions(self) -> int:
        return len(VARIANTS) * NUM_MEMBERS * self.num_examples


CASES = {"cifar": Case(50_000, 10, 5), "imagenet": Case(50_000, 1_000, 5), "large": Case(500_000, 10, 2)}


@dataclass(frozen=True)
class Job:
    """One contender at one store; travels as JSON on a process' command line."""

    contender: str
    folder: str
    warm_up_folder: str
    num_examples: int
    num_classes: int


# ---------------------------------------------------------------------------------------------------- the store


def write_store(folder: Path, num_examples: int, num_classes: int) -> None:
    """Predictions of populations that agree on most examples, and less the sparser they are.

    What no table of PIEs needs, such as confidences, is filled with noise.
    """
    import numpy as np
    import pyarrow as pa

    from pie_ray.identity import make_plan
    from pie_ray.recipe import parse_recipe
    from pie_ray.store import ParquetSink, Storage, schema

    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=num_examples)
    confusable = (labels + rng.integers(1, num_classes, size=num_examples)) % num_classes
    ease = rng.normal(4, 2, num_examples)
    noise = rng.random(2 * num_examples, np.float32)
    plan, sink = make_plan(parse_recipe(RECIPE, [])), ParquetSink(Storage(folder))
    for variant in plan.variants:
        loss = 1.2 * variant.sparsity**4 + rng.normal(0, 0.25, num_examples)
        for spec in plan.population(variant.variant_id):
            score = ease - loss + rng.logistic(size=num_examples)
            wrong = np.where(score > -3, confusable, rng.integers(num_classes, size=num_examples))
            predictions = np.where(score > 0, labels, wrong)
            columns = {name: noise[start : start + num_examples] for start, name in enumerate(schema.PREDICTIONS.names)}
            columns |= {
                schema.EVALUATION_SET: schema.constant(EVALUATION_SET, num_examples),
                schema.EXAMPLE_ID: np.arange(num_examples),
                schema.LABEL: labels.astype(np.uint16),
                schema.PREDICTION: predictions.astype(np.uint16),
                schema.LABEL_RANK: (predictions != labels).astype(np.uint16),
            }
            with sink.open(spec, SUITE, num_examples) as member:
                member.write(pa.record_batch([columns[name] for name in columns], schema=schema.PREDICTIONS))
                member.commit()


def folder_of(job: Job, variant_id: str) -> str:
    return f"{job.folder}/predictions/{SUITE}/{variant_id}"


def files_of(job: Job, variant_id: str) -> str:
    return f"{folder_of(job, variant_id)}/*.parquet"


# --------------------------------------------------------------------------------------------------- contenders
# Each writes the table and returns the seconds that it did without, extrapolating.


def read_alone(job: Job, table: str) -> float:
    import pyarrow.parquet as pq

    def read(path: str) -> Any:
        return pq.ParquetFile(path).read_row_group(0, columns=["prediction"], use_threads=False)

    for variant_id in VARIANTS:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, [f"{folder_of(job, variant_id)}/{seed}.parquet" for seed in range(NUM_MEMBERS)]))
    return 0


def pie_ray_(job: Job, table: str) -> float:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pie_ray import stats
    from pie_ray.store import PredictionStore, Storage

    store = PredictionStore(Storage(job.folder))

    def vote(variant_id: str) -> tuple[Any, stats.ModalVote]:
        population = store.read_population(SUITE, EVALUATION_SET, variant_id, range(NUM_MEMBERS))
        return population.example_ids, stats.modal_vote(population.arrays["prediction"], num_classes=job.num_classes)

    _, reference = vote(REFERENCE)
    parts = []
    for variant_id in VARIANTS[1:]:
        example_ids, variant = vote(variant_id)
        pies = stats.find_pies_from_votes(reference, variant)
        rows = np.flatnonzero(pies.is_pie)
        parts.append(
            pa.table(
                {
                    "variant_id": pa.repeat(variant_id, rows.size),
                    "example_id": example_ids[rows],
                    "reference_mode": pies.reference_mode[rows],
                    "variant_mode": pies.variant_mode[rows],
                    "reference_agreement": pies.reference_agreement[rows],
                    "variant_agreement": pies.variant_agreement[rows],
                }
            )
        )
    pq.write_table(pa.concat_tables(parts), table)
    return 0


def duckdb_modes(job: Job, table: str, query: str) -> float:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE modes (variant_id VARCHAR, example_id BIGINT, mode USMALLINT)")
        for variant_id in VARIANTS:
            source = query.format(f"read_parquet('{files_of(job, variant_id)}')")
            connection.execute(f"INSERT INTO modes SELECT '{variant_id}', example_id, mode FROM ({source})")
        connection.execute(
            f"""
            COPY (
                SELECT other.variant_id, example_id, reference.mode AS reference_mode, other.mode AS variant_mode
                FROM modes AS other JOIN modes AS reference USING (example_id)
                WHERE reference.variant_id = '{REFERENCE}' AND other.mode <> reference.mode
            ) TO '{table}' (FORMAT parquet)
            """
        )
    return 0


def duckdb_mode(job: Job, table: str) -> float:
    return duckdb_modes(job, table, "SELECT example_id, mode(prediction) AS mode FROM {} GROUP BY example_id")


def duckdb_counts(job: Job, table: str) -> float:
    query = """
        SELECT example_id, max(votes * 65536 + prediction) % 65536 AS mode
        FROM (SELECT example_id, prediction, count(*) AS votes FROM {} GROUP BY example_id, prediction)
        GROUP BY example_id
    """
    return duckdb_modes(job, table, query)


def polars_modes(job: Job, table: str, mode: Callable[[Any], Any]) -> float:
    import polars as pl

    def modes(variant_id: str) -> pl.LazyFrame:
        return mode(pl.scan_parquet(files_of(job, variant_id)))

    reference = modes(REFERENCE).rename({"mode": "reference_mode"}).collect(engine="streaming").lazy()
    pl.concat(
        modes(variant_id)
        .join(reference, on="example_id")
        .filter(pl.col("mode") != pl.col("reference_mode"))
        .select(
            pl.lit(variant_id).alias("variant_id"), "example_id", "reference_mode", pl.col("mode").alias("variant_mode")
        )
        for variant_id in VARIANTS[1:]
    ).sink_parquet(table, engine="streaming")
    return 0


def polars_mode(job: Job, table: str) -> float:
    import polars as pl

    mode = pl.col("prediction").mode().max().alias("mode")
    return polars_modes(job, table, lambda frame: frame.group_by("example_id").agg(mode))


def polars_counts(job: Job, table: str) -> float:
    import polars as pl

    key = pl.col("len").cast(pl.UInt64) * 65536 + pl.col("prediction")
    mode = (key.max() % 65536).cast(pl.UInt16).alias("mode")
    return polars_modes(
        job,
        table,
        lambda frame: frame.group_by("example_id", "prediction").len().group_by("example_id").agg(mode),
    )


def pandas_modes(job: Job, table: str, mode: Callable[[Any], Any], num_examples: int) -> float:
    """`mode` is given the first `num_examples`, and its time extrapolated to all."""
    import pandas as pd

    modes, seconds = {}, 0.0
    for variant_id in VARIANTS:
        frame = pd.read_parquet(folder_of(job, variant_id), columns=["example_id", "prediction"])
        if num_examples < job.num_examples:
            frame = frame[frame["example_id"] < num_examples]
        started = time.perf_counter()
        modes[variant_id] = mode(frame)
        seconds += time.perf_counter() - started
    reference = modes[REFERENCE].rename("reference_mode")
    parts = [
        pd.concat([reference, modes[variant_id].rename("variant_mode")], axis=1)
        .query("reference_mode != variant_mode")
        .assign(variant_id=variant_id)
        for variant_id in VARIANTS[1:]
    ]
    pd.concat(parts).reset_index().to_parquet(table)
    return seconds * (job.num_examples / num_examples - 1)


def pandas_mode(job: Job, table: str) -> float:
    """The published code's way."""
    return pandas_modes(
        job,
        table,
        lambda frame: frame.groupby("example_id")["prediction"].agg(lambda votes: votes.mode().max()),
        min(job.num_examples, NUM_GROUPED),
    )


def pandas_counts(job: Job, table: str) -> float:
    def mode(frame: Any) -> Any:
        counts = frame.groupby(["example_id", "prediction"], sort=False).size().reset_index(name="votes")
        last = counts.sort_values(["votes", "prediction"]).drop_duplicates("example_id", keep="last")
        return last.set_index("example_id")["prediction"]

    return pandas_modes(job, table, mode, job.num_examples)


FLOOR, OURS = "reading alone", "pie_ray"
CONTENDERS: dict[str, Callable[[Job, str], float]] = {
    FLOOR: read_alone,
    OURS: pie_ray_,
    "DuckDB mode(), ties as it likes": duckdb_mode,
    "DuckDB counts": duckdb_counts,
    "polars mode().max()": polars_mode,
    "polars counts": polars_counts,
    "pandas groupby, mode().max()": pandas_mode,
    "pandas counts": pandas_counts,
}
TIES_ARE_ARBITRARY = {"DuckDB mode(), ties as it likes"}


# --------------------------------------------------------------------------------------------- inside a process


@dataclass(frozen=True)
class Measurement:
    """One contender's once."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    start_mb: float
    """Before the clock started: the interpreter, imports and what the warm-up left."""
    is_extrapolated: bool
    num_pies: dict[str, int]
    """By variant; none of an extrapolated one."""


def work(job: Job) -> Measurement:
    contend = CONTENDERS[job.contender]
    with tempfile.TemporaryDirectory() as folder:
        warm_up = Job(job.contender, job.warm_up_folder, "", NUM_WARM_UP, job.num_classes)
        contend(warm_up, f"{folder}/warm_up.parquet")
        table = f"{folder}/pies.parquet"
        start_mb = memory_mb("VmRSS")
        started, cpu_started = time.perf_counter(), time.process_time()
        extrapolated = contend(job, table)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        return Measurement(
            seconds=seconds + extrapolated,
            cpu_seconds=cpu_seconds + extrapolated,
            peak_mb=memory_mb("VmHWM"),
            start_mb=start_mb,
            is_extrapolated=extrapolated > 0,
            num_pies={} if extrapolated or job.contender == FLOOR else count_pies(table),
        )


def memory_mb(field: str) -> float:
    """Of this process' status: VmRSS is what it has now, VmHWM the most that it ever had.

    Not `ru_maxrss`, which a child process starts with its parent's.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def count_pies(table: str) -> dict[str, int]:
    import pyarrow.parquet as pq

    counts = pq.read_table(table)["variant_id"].value_counts().to_pylist()
    return {str(count["values"]): count["counts"] for count in counts}


# ------------------------------------------------------------------------------------------ in the measuring one


def benchmark(name: str, case: Case, contenders: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, warm_up = Path(folder) / "store", Path(folder) / "warm_up"
        write_store(warm_up, NUM_WARM_UP, case.num_classes)
        write_store(store, case.num_examples, case.num_classes)
        rounds: list[dict[str, Measurement]] = []
        for round_ in range(case.num_rounds):
            rounds.append({})
            for contender in contenders:
                job = Job(contender, str(store), str(warm_up), case.num_examples, case.num_classes)
                rounds[-1][contender] = measurement = measure(job)
                print(f"  {name} round {round_ + 1}: {contender}: {measurement.seconds:.3f} s", file=sys.stderr)
    print_table(case, rounds)
    check(rounds)


def measure(job: Job) -> Measurement:
    command = [sys.executable, __file__, "--job", json.dumps(asdict(job))]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Measurement(**json.loads(answer))


def print_table(case: Case, rounds: list[dict[str, Measurement]]) -> None:
    from numpy import median

    print(
        f"\n{case.num_predictions:,} predictions: {NUM_MEMBERS} members x {len(VARIANTS)} variants x "
        f"{case.num_examples:,} examples, {case.num_classes:,} classes; {len(rounds)} rounds, medians"
    )
    print(f"{'':<34}{'s':>9}{'CPU s':>9}{'x floor':>9}{'x ours':>9}{'peak MB':>9}{'start MB':>10}{'PIEs':>9}")
    for contender in rounds[0]:
        found = [measured[contender] for measured in rounds]
        of_floor, of_ours = (
            median([measured[contender].seconds / measured[base].seconds for measured in rounds])
            for base in (FLOOR, OURS)
        )
        num_pies = sum(found[0].num_pies.values())
        print(
            f"{contender:<34}{median([one.seconds for one in found]):>9.3f}"
            f"{median([one.cpu_seconds for one in found]):>9.3f}{of_floor:>9.1f}{of_ours:>9.1f}"
            f"{median([one.peak_mb for one in found]):>9.0f}{median([one.start_mb for one in found]):>10.0f}"
            f"{num_pies or '':>9}{'  extrapolated' if found[0].is_extrapolated else ''}",
            flush=True,
        )


def check(rounds: list[dict[str, Measurement]]) -> None:
    """Everybody who keeps to the rule found, in every round, the PIEs that we did."""
    expected = rounds[0][OURS].num_pies
    for measured in rounds:
        for contender, measurement in measured.items():
            compared = contender != FLOOR and contender not in TIES_ARE_ARBITRARY and not measurement.is_extrapolated
            if compared and measurement.num_pies != expected:
                sys.exit(f"{contender} found {measurement.num_pies} PIEs where {OURS} found {expected}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, help="instead of the cases' own")
    parser.add_argument("--without", nargs="*", choices=[*CONTENDERS][2:], default=[], help="contenders to leave out")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(asdict(work(Job(**json.loads(options.job))))))
        return
    print(machine("numpy", "pyarrow", "duckdb", "polars", "pandas"))
    contenders = [name for name in CONTENDERS if name not in options.without]
    for name in options.cases:
        case = CASES[name]
        benchmark(name, Case(case.num_examples, case.num_classes, options.rounds or case.num_rounds), contenders)


if __name__ == "__main__":
    main()
