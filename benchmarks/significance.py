"""The permutation tests of single examples against what a person would write: a loop over permutations of the members.

    python benchmarks/significance.py

50,000 examples, 30 members a side; three of four examples are nearly certain, the others shared among several classes.
The loop permutes the members of all examples at once, counts votes with one-hot sums and compares taxicab distances; it
does 40 permutations and is extrapolated to 10,000.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from machine import machine

from pie_ray import stats

NUM_MEMBERS, NUM_PERMUTATIONS, NUM_LOOPED = 30, 10_000, 40
SEED = 0


def populations(num_examples: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Two populations alike, uint16 [members, examples] each."""
    rng = np.random.default_rng(SEED)
    shares = rng.dirichlet(np.full(min(num_classes, 20), 0.3), num_examples)
    certain = rng.random(num_examples) < 0.75
    shares[certain] = 0.03 * shares[certain]
    shares[certain, 0] += 0.97
    bounds = shares.cumsum(axis=1)
    shift = rng.integers(0, num_classes, num_examples)

    def votes() -> np.ndarray:
        drawn = rng.random((NUM_MEMBERS, num_examples))
        rank = np.stack([(bounds < row[:, None]).sum(axis=1) for row in drawn])
        return ((np.minimum(rank, shares.shape[1] - 1) + shift) % num_classes).astype(np.uint16)

    return votes(), votes()


def loop(before: np.ndarray, after: np.ndarray, num_classes: int, num_permutations: int) -> np.ndarray:
    """p-values [examples] as a person would compute them."""
    rng = np.random.default_rng(SEED)
    pooled = np.concatenate([before, after])

    def distance(chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
        total = np.zeros(pooled.shape[1], np.int64)
        for label in range(num_classes):
            total += np.abs((pooled[chosen] == label).sum(axis=0) - (pooled[others] == label).sum(axis=0))
        return total

    members = np.arange(len(pooled))
    observed = distance(members[: len(before)], members[len(before) :])
    num_as_large = np.zeros(pooled.shape[1], np.int64)
    for _ in range(num_permutations):
        order = rng.permutation(members)
        num_as_large += distance(order[: len(before)], order[len(before) :]) >= observed
    return (1 + num_as_large) / (1 + num_permutations)


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(num_classes: int, num_examples: int) -> None:
    """Print the rows of one number of classes; the loop only of few, as its time grows with them."""
    before, after = populations(num_examples, num_classes)

    def ours(test: Callable[..., object], **options: str) -> float:
        rng = np.random.default_rng(SEED)
        shared = {"num_classes": num_classes, "num_permutations": NUM_PERMUTATIONS, "rng": rng}
        return seconds_of(lambda: test(before, after, **shared, **options))

    rows = {
        "pie_ray, counted exactly": ours(stats.permutation_test, method="exact"),
        "pie_ray, random permutations": ours(stats.permutation_test, method="monte_carlo"),
        "pie_ray, paired": ours(stats.paired_permutation_test),
    }
    if num_classes <= 10:
        looped = seconds_of(lambda: loop(before, after, num_classes, NUM_LOOPED))
        rows["loop over permutations, extrapolated"] = looped * NUM_PERMUTATIONS / NUM_LOOPED
    for name, seconds in rows.items():
        print(
            f"{name:42}{num_classes:>8}{seconds:>10.2f}{seconds / rows['pie_ray, counted exactly']:>10.1f}", flush=True
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=50_000)
    options = parser.parse_args()
    print(
        f"{machine('numpy', 'scipy')}; "
        f"{options.examples:,} examples, {NUM_MEMBERS} + {NUM_MEMBERS} members, {NUM_PERMUTATIONS:,} permutations\n"
    )
    print(f"{'':42}{'classes':>8}{'s':>10}{'x ours':>10}")
    for num_classes in (10, 1000):
        measure(num_classes, options.examples)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, the arrays among it")


if __name__ == "__main__":
    main()
