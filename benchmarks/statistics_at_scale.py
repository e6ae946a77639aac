"""A billion predictions: every figure of robustness on 95 corrupted sets of 50,000 images, 240 members, 1,000 classes.

    pip install duckdb polars psutil
    python benchmarks/statistics_at_scale.py                                    # takes 20 GB of disk for the time
    python benchmarks/statistics_at_scale.py --sets 10 --examples 5000          # a small one
    python benchmarks/statistics_at_scale.py --without DuckDB polars pandas

The store is made up and written as a sweep writes it (see `robustness.py`), in a folder that is removed afterwards.
The floor is reading the two columns that robustness is made of, predictions and ranks of the label, with pyarrow and
nothing else. Ours is the analysis as `pie-ray analyze` computes it: first its part about these sets, then all tables.
The others find the modes of every set and variant, by the published rule for ties, and count the PIEs: a small part of
ours. Their counts must be ours. Everybody has two processes or threads, is a fresh process, and is measured with all
its children: memory is the sum of what they have resident, several times a second. What takes too long is given its
first sets alone and extrapolated by their number, which the table says. The files are in the page cache if there is
room for them: the floor is run first, untimed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import robustness
from machine import machine
from robustness import NUM_PROCESSES, SUITE, Pies, Size
from watched import cpu_seconds, run_watched

REFERENCE = "dense"
COLUMNS = ["prediction", "label_rank"]

# --------------------------------------------------------------------------------------------------- contenders
# Each is given the folder and the sets that it is to do, and returns the PIEs of every variant and set.


def files_of(folder: str, variant_id: str) -> list[str]:
    return sorted(map(str, Path(folder, "predictions", SUITE, variant_id).glob("*.parquet")))


def variants_of(folder: str) -> list[str]:
    """The reference first."""
    found = sorted(path.name for path in Path(folder, "predictions", SUITE).iterdir())
    return [REFERENCE, *(name for name in found if name != REFERENCE)]


def read_file(path: str) -> int:
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).read(columns=COLUMNS, use_threads=False).num_rows)


def read_alone(folder: str, sets: Sequence[str]) -> Pies:
    paths = [path for variant_id in variants_of(folder) for path in files_of(folder, variant_id)]
    with robustness.pool() as processes:
        list(processes.map(read_file, paths))
    return {}


def robustness_alone(folder: str, sets: Sequence[str]) -> Pies:
    import pandas as pd

    from pie_ray.analysis import open_results
    from pie_ray.analysis.robustness import analyze_robustness, finish, robustness_tasks, summarise, summary_tasks
    from pie_ray.store import Storage

    source = open_results(Storage(folder))
    with robustness.pool() as processes:
        found = [one for some in processes.map(analyze_robustness, robustness_tasks(source)) for one in some]
        parts = list(processes.map(summarise, summary_tasks(source, found)))
    names = ("robustness", "corruption_errors", "fragility")
    tables = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in names}
    return pies_of(finish(tables, source.evaluation_sets)["robustness"])


def every_table(folder: str, sets: Sequence[str]) -> Pies:
    from pie_ray.analysis import analyze, open_results
    from pie_ray.store import Storage

    with robustness.pool() as processes:
        return pies_of(analyze(open_results(Storage(folder)), mapper=processes.map).robustness)


def pies_of(table: Any) -> Pies:
    rows = table[table["variant_id"] != REFERENCE].to_dict("records")
    return {f"{row['variant_id']} {row['evaluation_set']}": row["num_pies"] for row in rows}


def duckdb_(folder: str, sets: Sequence[str]) -> Pies:
    import duckdb

    pies: Pies = {}
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {NUM_PROCESSES}")
        for variant_id in variants_of(folder):
            # A set at a time, whose row groups alone are read: all at once take 10 times the memory, and longer.
            connection.execute(
                "CREATE OR REPLACE TABLE modes (evaluation_set VARCHAR, example_id BIGINT, mode USMALLINT)"
            )
            for name in sets:
                connection.execute(
                    """
                    INSERT INTO modes
                    SELECT $name, example_id, max(votes * 65536 + prediction) % 65536
                    FROM (
                        SELECT example_id, prediction, count(*) AS votes FROM read_parquet($files)
                        WHERE evaluation_set = $name GROUP BY ALL
                    )
                    GROUP BY example_id
                    """,
                    {"name": name, "files": files_of(folder, variant_id)},
                )
            if variant_id == REFERENCE:
                connection.execute("ALTER TABLE modes RENAME TO reference")
                continue
            found = connection.execute(
                """
                SELECT evaluation_set, count(*) FILTER (modes.mode <> reference.mode)
                FROM modes JOIN reference USING (evaluation_set, example_id) GROUP BY ALL
                """
            ).fetchall()
            pies |= {f"{variant_id} {name}": count for name, count in found}
    return pies


def polars_(folder: str, sets: Sequence[str]) -> Pies:
    import polars as pl

    key = pl.col("len").cast(pl.UInt64) * 65536 + pl.col("prediction")
    mode = (key.max() % 65536).cast(pl.UInt16).alias("mode")

    def modes(variant_id: str, name: str) -> Any:
        rows = pl.scan_parquet(files_of(folder, variant_id)).filter(pl.col("evaluation_set") == name)
        counts = rows.group_by("example_id", "prediction").len()
        return counts.group_by("example_id").agg(mode).collect(engine="streaming")

    reference = {name: modes(REFERENCE, name) for name in sets}
    pies: Pies = {}
    for variant_id in variants_of(folder)[1:]:
        for name in sets:
            both = modes(variant_id, name).join(reference[name], on="example_id")
            pies[f"{variant_id} {name}"] = int((both["mode"] != both["mode_right"]).sum())
    return pies


def pandas_(folder: str, sets: Sequence[str]) -> Pies:
    import pandas as pd

    def modes(variant_id: str, name: str) -> Any:
        rows = pd.read_parquet(
            files_of(folder, variant_id), columns=["example_id", "prediction"], filters=[("evaluation_set", "==", name)]
        )
        counts = rows.groupby(["example_id", "prediction"], sort=False).size().reset_index(name="votes")
        last = counts.sort_values(["votes", "prediction"]).drop_duplicates("example_id", keep="last")
        return last.set_index("example_id")["prediction"].sort_index()

    reference = {name: modes(REFERENCE, name) for name in sets}
    return {
        f"{variant_id} {name}": int((modes(variant_id, name) != reference[name]).sum())
        for variant_id in variants_of(folder)[1:]
        for name in sets
    }


FLOOR, PART, OURS = "reading two columns alone", "pie_ray, all of robustness", "pie_ray, every table"


@dataclass(frozen=True)
class Contender:
    run: Callable[[str, Sequence[str]], Pies]
    num_sets: int | None = None
    """The most that it is given: beyond, its time is extrapolated."""


CONTENDERS = {
    FLOOR: Contender(read_alone),
    PART: Contender(robustness_alone),
    OURS: Contender(every_table),
    "DuckDB": Contender(duckdb_),
    "polars": Contender(polars_, 5),
    "pandas": Contender(pandas_, 1),
}

# --------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Measurement:
    """One contender's once."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    pies: Pies
    num_sets: int


def measure(name: str, folder: str, size: Size) -> Measurement:
    """Run it in a process of its own."""
    num_sets = min(CONTENDERS[name].num_sets or size.num_sets, size.num_sets)
    environment = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": str(NUM_PROCESSES)}
    (seconds, used, pies), peak_mb = run_watched(__file__, [name, folder, size.sets[:num_sets]], environment)
    return Measurement(seconds, used, peak_mb, pies, num_sets)


def work(name: str, folder: str, sets: Sequence[str]) -> None:
    """Inside that process; its own imports come before the clock."""
    for module in {"DuckDB": ["duckdb"], "polars": ["polars"], "pandas": ["pandas"]}.get(name, ["pie_ray.analysis"]):
        __import__(module)
    started, cpu_started = time.perf_counter(), cpu_seconds()
    pies = CONTENDERS[name].run(folder, sets)
    print(json.dumps([time.perf_counter() - started, cpu_seconds() - cpu_started, pies]))


def benchmark(folder: str, size: Size, contenders: Sequence[str], num_rounds: int) -> None:
    """Measure the contenders in alternating rounds, and print their medians."""
    measure(FLOOR, folder, size)
    rounds: list[dict[str, Measurement]] = []
    for round_ in range(num_rounds):
        rounds.append({})
        for name in contenders:
            rounds[-1][name] = found = measure(name, folder, size)
            print(f"  round {round_ + 1}: {name}: {found.seconds:.1f} s", file=sys.stderr)
    print_table(size, rounds)
    check(rounds)


def print_table(size: Size, rounds: list[dict[str, Measurement]]) -> None:
    from numpy import median

    print(f"{'':<28}{'s':>9}{'CPU s':>9}{'x floor':>9}{'CPU x floor':>13}{'M/s':>9}{'peak MB':>9}{'PIEs':>13}")
    for name in rounds[0]:
        found, floors = [each[name] for each in rounds], [each[FLOOR] for each in rounds]
        share = found[0].num_sets / size.num_sets
        seconds, used = (median([getattr(one, key) / share for one in found]) for key in ("seconds", "cpu_seconds"))
        of_floor, of_floor_cpu = (
            median([getattr(one, key) / share / getattr(floor, key) for one, floor in zip(found, floors, strict=True)])
            for key in ("seconds", "cpu_seconds")
        )
        num_pies = f"{sum(found[0].pies.values()):,}" if found[0].pies else ""
        note = f"  extrapolated: sets done {found[0].num_sets}" if share < 1 else ""
        print(
            f"{name:<28}{seconds:>9.1f}{used:>9.1f}{of_floor:>9.1f}{of_floor_cpu:>13.1f}"
            f"{size.num_predictions / seconds / 1e6:>9.1f}{median([one.peak_mb for one in found]):>9.0f}"
            f"{num_pies:>13}{note}",
            flush=True,
        )


def check(rounds: list[dict[str, Measurement]]) -> None:
    """Everybody found, on the sets that they did, the PIEs that we did."""
    expected = rounds[0][PART].pies
    for measured in rounds:
        for name, measurement in measured.items():
            wrong = [key for key, count in measurement.pies.items() if expected[key] != count]
            if wrong:
                sys.exit(
                    f"{name} found {measurement.pies[wrong[0]]} PIEs of {wrong[0]} where we found {expected[wrong[0]]}"
                )


@contextmanager
def store(size: Size, where: str | None) -> Iterator[str]:
    """A folder with predictions, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        started = time.perf_counter()
        robustness.write_store(folder, size)
        files = list(Path(folder).rglob("*.parquet"))
        num_bytes = sum(path.stat().st_size for path in files)
        print(
            f"written in {time.perf_counter() - started:.0f} s: {len(files)} files, {num_bytes / 1e9:.1f} GB\n",
            flush=True,
        )
        yield folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=30, help="of each variant")
    parser.add_argument("--variants", type=int, default=8, help="the reference among them")
    parser.add_argument("--sets", type=int, default=95)
    parser.add_argument("--examples", type=int, default=50_000, help="of each set")
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--without", nargs="*", choices=list(CONTENDERS)[3:], default=[], help="contenders to leave out"
    )
    parser.add_argument("--folder", help="where the store is written and removed again (default: the temporary folder)")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work(*json.loads(options.job))
        return
    size = Size(options.members, options.variants, options.sets, options.examples, options.classes)
    asked = [name for name in CONTENDERS if name not in options.without]
    print(machine("numpy", "scipy", "pyarrow", *(name.lower() for name in asked if name not in (FLOOR, PART, OURS))))
    print(
        f"{size.num_predictions:,} predictions: {size.num_members} members x {size.num_variants} variants x "
        f"{size.num_sets} sets x {size.num_examples:,} examples, {size.num_classes:,} classes",
        flush=True,
    )
    with store(size, options.folder) as folder:
        benchmark(folder, size, asked, options.rounds)


if __name__ == "__main__":
    main()
