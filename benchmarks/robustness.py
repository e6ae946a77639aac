"""Robustness at size: what predicting on many corrupted sets costs, and what analysing the predictions does.

    pip install duckdb psutil
    python benchmarks/robustness.py [analysis | inference]

`inference` is told in `inference_routes`; without a name both are run.

`analysis` makes up a sweep's folder, removed afterwards: predictions on the clean images and on the 19 corruptions at 5
severities, written as a sweep writes them. Each image has its difficulty, each corruption its own order of difficulty,
and each variant its own losses, so that members mostly agree; quantized members are their parents but for a little.
`analyze` makes all tables, in a pool of two processes, from the opened folder to the last table written. Beside it
DuckDB, with as many threads, finds only the modes, the PIEs of each set and variant, and every member's top-1 on every
set; its PIEs must be ours. Each is a fresh process. Memory is the sum over a contender's processes, several times a
second, of what each has resident; what they share counts in each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from watched import cpu_seconds, run_watched

NUM_PROCESSES = 2
SPARSITIES = (0.3, 0.5, 0.7, 0.9, 0.95, 0.1, 0.99)
SCHEMES = ("float16", "static_int8")
SUITE = "corruptions"
MOST_CLASSES_WITH_LOGITS = 100


@dataclass(frozen=True)
class Size:
    """Of the store."""

    num_members: int
    num_variants: int
    num_sets: int
    num_examples: int
    num_classes: int = 10

    @property
    def num_predictions(self) -> int:
        """Without those on the clean set."""
        return self.num_members * self.num_variants * self.num_sets * self.num_examples

    @property
    def sets(self) -> list[str]:
        """Evaluation sets, the mildest first."""
        from pie_ray.config import CORRUPTIONS

        names = [f"corruption/{corruption}/{severity}" for severity in range(1, 6) for corruption in CORRUPTIONS]
        return names[: self.num_sets]

    @property
    def recipe(self) -> str:
        num_pruned = max(1, self.num_variants - 1 - len(SCHEMES))
        schemes = SCHEMES[: self.num_variants - 1 - num_pruned]
        grids = [f"- pruning: {{kind: magnitude, sparsities: {list(SPARSITIES[:num_pruned])}, scopes: [layer]}}"]
        grids += [f"- quantization: [{', '.join(schemes)}]"] if schemes else []
        return "\n".join(
            [
                "name: robustness",
                "data: {kind: digits}",
                "model: {kind: small_resnet}",
                "training: {epochs: 100}",
                f"population: {{num_members: {self.num_members}}}",
                "variants:",
                *(f"  {grid}" for grid in grids),
            ]
        )


# ---------------------------------------------------------------------------------------------------- the store


@dataclass(frozen=True)
class Images:
    """What is made up of the images: the same in every process."""

    labels: np.ndarray
    """[examples]"""
    confusable: np.ndarray
    """The label that each image is taken for when it is just too hard, [examples]."""
    ease: np.ndarray
    """[examples]"""
    loss: np.ndarray
    """By which each corrupted set is harder, [sets, examples]."""

    @classmethod
    def of(cls, size: Size) -> Images:
        rng = np.random.default_rng(0)
        labels = rng.integers(size.num_classes, size=size.num_examples)
        kinds = [name.split("/")[1:] for name in size.sets]
        sensitivity = {
            corruption: rng.uniform(0.2, 1.2) * rng.gamma(2, 0.5, size.num_examples)
            for corruption in dict.fromkeys(kind[0] for kind in kinds)
        }
        return cls(
            labels=labels,
            confusable=(labels + rng.integers(1, size.num_classes, size=size.num_examples)) % size.num_classes,
            ease=rng.normal(5, 2, size.num_examples).astype(np.float32),
            loss=np.stack([int(severity) * sensitivity[name] for name, severity in kinds]).astype(np.float32),
        )


def write_store(folder: str, size: Size) -> None:
    """A sweep's folder in which every member is complete; its checkpoints are said not to be kept."""
    from pie_ray.identity import describe_base, make_plan
    from pie_ray.recipe import parse_recipe
    from pie_ray.store import Manifest, Storage, claim, write_examples

    storage, recipe = Storage(folder), parse_recipe(size.recipe, [])
    plan, names = make_plan(recipe), tuple(map(str, range(size.num_classes)))
    manifest = Manifest(
        name="robustness",
        sweep_id=plan.sweep_id,
        base=describe_base(recipe),
        fingerprint="0" * 16,
        num_classes=size.num_classes,
        class_names=names,
        suites={
            "clean": {"test": size.num_examples},
            SUITE: dict.fromkeys(size.sets, size.num_examples),
        },
    )
    claim(storage, manifest, size.recipe)
    ids = np.arange(size.num_examples)
    write_examples(storage, "test", ids, Images.of(size).labels, list(map(str, ids)), {}, names)
    variants = [variant.variant_id for variant in plan.variants]
    with pool() as processes:
        list(processes.map(partial(write_variant, folder, size), variants))


def write_variant(folder: str, size: Size, variant_id: str) -> None:
    """All members of one variant. Quantized ones are drawn as the reference's, and are a little worse."""
    from pie_ray.identity import make_plan
    from pie_ray.recipe import parse_recipe
    from pie_ray.records import MemberRecord
    from pie_ray.store import Storage, write_predictions, write_record

    storage, images, plan = Storage(folder), Images.of(size), make_plan(parse_recipe(size.recipe, []))
    variant = next(each for each in plan.variants if each.variant_id == variant_id)
    place = 0 if variant.quantization else plan.variants.index(variant)
    own = np.random.default_rng([1, plan.variants.index(variant)]).normal(0, 0.3, size.num_examples)
    loss = {"float16": 0.01 * own, "static_int8": 0.1 + 0.3 * own}.get(
        variant.quantization or "", 1.2 * variant.sparsity**4 + own * (variant.sparsity > 0)
    )
    # A pruned network suffers from corruption more than its clean loss tells.
    images = Images(images.labels, images.confusable, images.ease - loss, images.loss * (1 + variant.sparsity**4 / 4))
    for spec in plan.population(variant_id):
        rng = np.random.default_rng([2, place, spec.seed])
        clean = predict(size, images, np.zeros((1, 1), np.float32), rng)[0]
        write_predictions(storage, spec, "clean", clean_table(size, images, clean, rng))
        corrupted = predict(size, images, images.loss, rng)
        write_predictions(storage, spec, SUITE, table(size.sets, images, corrupted, rng))
        record = MemberRecord(
            member_id=spec.member_id,
            variant_id=variant_id,
            seed=spec.seed,
            num_parameters=10,
            num_prunable=8,
            num_nonzero=8,
            achieved_sparsity=variant.sparsity,
            checkpoint_bytes=0,
        )
        write_record(storage, record)


def predict(size: Size, images: Images, loss: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint16 [sets, examples]: right, taken for the confusable class, or anything."""
    shape = (len(loss), images.labels.size)
    chance = rng.random(shape, np.float32)
    score = images.ease - loss + np.log((chance + 1e-6) / (1 - chance + 1e-6))
    anything = rng.integers(size.num_classes, size=shape, dtype=np.uint16)
    return np.where(score > 0, images.labels, np.where(score > -3, images.confusable, anything)).astype(np.uint16)


def clean_table(size: Size, images: Images, predictions: np.ndarray, rng: np.random.Generator) -> Any:
    """With logits, unless there are so many classes that they would outgrow all else."""
    import pyarrow as pa

    from pie_ray.store import prediction_batch

    if size.num_classes > MOST_CLASSES_WITH_LOGITS:
        return table(["test"], images, predictions[None], rng)
    logits = rng.normal(0, 1, (size.num_examples, size.num_classes)).astype(np.float32)
    ids = np.arange(size.num_examples)
    logits[ids, predictions] += 6
    return pa.Table.from_batches([prediction_batch("test", ids, images.labels, logits, store_logits=True)])


def table(sets: Sequence[str], images: Images, predictions: np.ndarray, rng: np.random.Generator) -> Any:
    """As a sweep collects it; what no statistic of robustness reads, such as confidences, is filled with noise."""
    import pyarrow as pa

    from pie_ray.store import schema

    num_sets, num_examples = predictions.shape
    noise = rng.random(predictions.size + len(schema.PREDICTIONS), np.float32)
    columns = {name: noise[start : start + predictions.size] for start, name in enumerate(schema.PREDICTIONS.names)} | {
        schema.EVALUATION_SET: pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(num_sets, dtype=np.int32), num_examples), sets
        ),
        schema.EXAMPLE_ID: np.tile(np.arange(num_examples), num_sets),
        schema.LABEL: np.tile(images.labels.astype(np.uint16), num_sets),
        schema.PREDICTION: predictions.ravel(),
        schema.LABEL_RANK: ((predictions != images.labels) * rng.integers(1, 10, predictions.shape))
        .astype(np.uint16)
        .ravel(),
    }
    return pa.table([columns[name] for name in schema.PREDICTIONS.names], schema=schema.PREDICTIONS)


# --------------------------------------------------------------------------------------------------- contenders
# Each returns the PIEs of every variant and set.

Pies = dict[str, int]


def pie_ray_(folder: str) -> Pies:
    from pie_ray.analysis import analyze, open_results
    from pie_ray.store import Storage

    with pool() as processes:
        analysis = analyze(open_results(Storage(folder)), mapper=processes.map)
    rows = analysis.robustness[analysis.robustness["variant_id"] != "dense"].to_dict("records")
    return {f"{row['variant_id']} {row['evaluation_set']}": row["num_pies"] for row in rows}


def duckdb_(folder: str) -> Pies:
    import duckdb

    predictions = Path(folder) / "predictions" / SUITE
    variants = ["dense", *sorted(path.name for path in predictions.iterdir() if path.name != "dense")]
    pies: Pies = {}
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {NUM_PROCESSES}")
        for variant_id in variants:
            rows = f"read_parquet('{predictions}/{variant_id}/*.parquet', filename = true)"
            connection.execute(
                f"""
                CREATE OR REPLACE TABLE modes AS
                SELECT evaluation_set, example_id, max(votes * 65536 + prediction) % 65536 AS mode
                FROM (SELECT evaluation_set, example_id, prediction, count(*) AS votes FROM {rows} GROUP BY ALL)
                GROUP BY ALL
                """
            )
            top1 = f"SELECT evaluation_set, filename, avg((prediction = label)::INTEGER) FROM {rows} GROUP BY ALL"
            connection.execute(top1).fetchall()
            if variant_id == "dense":
                connection.execute("ALTER TABLE modes RENAME TO reference")
                continue
            found = connection.execute(
                """
                SELECT evaluation_set, count(*) FILTER (modes.mode <> reference.mode)
                FROM modes JOIN reference USING (evaluation_set, example_id) GROUP BY ALL
                """
            ).fetchall()
            pies |= {f"{variant_id} {evaluation_set}": count for evaluation_set, count in found}
    return pies


OURS, THEIRS = "pie_ray, every table", "DuckDB, modes, PIEs and top-1 alone"
CONTENDERS: dict[str, Callable[[str], Pies]] = {OURS: pie_ray_, THEIRS: duckdb_}


def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(NUM_PROCESSES, mp_context=get_context("spawn"))


# ------------------------------------------------------------------------------------------ in the measuring one


@dataclass(frozen=True)
class Measurement:
    """One contender's."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    pies: Pies


def measure(contender: str, folder: str) -> Measurement:
    """Run it in a process of its own."""
    (seconds, used, pies), peak_mb = run_watched(__file__, [contender, folder], {"OMP_NUM_THREADS": "1"})
    return Measurement(seconds, used, peak_mb, pies)


def work(contender: str, folder: str) -> None:
    """Inside that process; its own imports come before the clock."""
    import duckdb  # noqa: F401

    import pie_ray.analysis  # noqa: F401

    started, cpu_started = time.perf_counter(), cpu_seconds()
    pies = CONTENDERS[contender](folder)
    print(json.dumps([time.perf_counter() - started, cpu_seconds() - cpu_started, pies]))


def analysis(size: Size) -> None:
    """Print the table."""
    print(
        f"{size.num_predictions:,} predictions: {size.num_members} members x {size.num_variants} variants x "
        f"{size.num_sets} sets x {size.num_examples:,} examples",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_store(folder, size)
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        print(f"written in {time.perf_counter() - started:.0f} s, {num_bytes / 1e9:.2f} GB\n")
        print(f"{'':<40}{'s':>9}{'CPU s':>9}{'M predictions/s':>18}{'peak MB':>10}{'PIEs':>12}")
        found = {}
        for contender in CONTENDERS:
            found[contender] = measured = measure(contender, folder)
            rate = size.num_predictions / measured.seconds / 1e6
            print(
                f"{contender:<40}{measured.seconds:>9.1f}{measured.cpu_seconds:>9.1f}{rate:>18.1f}{measured.peak_mb:>10.0f}"
                f"{sum(measured.pies.values()):>12,}",
                flush=True,
            )
    if found[OURS].pies != found[THEIRS].pies:
        sys.exit("DuckDB found other PIEs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["analysis", "inference"], help="both where none is named")
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--variants", type=int, default=8, help="the reference among them")
    parser.add_argument("--sets", type=int, default=95)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work(*json.loads(options.job))
        return
    if options.part != "inference":
        print(machine("numpy", "scipy", "pyarrow", "pandas", "duckdb"))
        analysis(Size(options.members, options.variants, options.sets, options.examples))
    if options.part != "analysis":
        import inference_routes

        # The options here are of the analysis.
        del sys.argv[1:]
        inference_routes.main()


if __name__ == "__main__":
    main()
