"""What an adaptive population saves and loses, by replaying its rule on the members of finished sweeps.

    python benchmarks/adaptive.py                              # a sweep of its own: digits, 40 members a variant
    python benchmarks/adaptive.py results/digits results/cifar10

Each replay takes the stored members in another random order and decides as a sweep would (`pie_ray.adaptive`): first
with as many members a variant to spend as are stored, so that it can only save, then with half of them, so that what
one variant saves another gets. The PIEs of the members that it ends with are held against those of all members:
Jaccard similarity (shared / all of either), recall (of theirs, found) and precision. `even` is the same number of
members spread evenly over the variants: what adapting adds to, or takes from, merely having fewer. Means over variants
and orders.

The last table is about optional stopping. A rule that looks again and again stops at lucky moments, and what it says of
itself then is too good. Replays on two halves of the members that share none are two studies: `told` is the similarity
that they expect when they stop, `found` that of their PIEs. The other order takes as many members of each half, but
not those that the rule had looked at when it stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import machine

from pie_ray import adaptive, stats
from pie_ray.analysis import Results, clean_set, kin_of, open_results
from pie_ray.store import Storage, schema

STEP, INTERVAL = 4, 0.2
OVERRIDES = (
    "execution.tracking={kind: none}",
    "execution.measure_latency=false",
    "variants=[{pruning: {kind: magnitude, sparsities: [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]}}, "
    "{quantization: [static_int8]}]",
)


@dataclass(frozen=True, eq=False)
class Stored:
    """The members of a sweep that every variant has: predictions [members, examples] by variant id."""

    name: str
    predictions: Mapping[str, np.ndarray]
    kin: tuple[adaptive.Kin, ...]
    paired: frozenset[str]
    num_classes: int

    @property
    def num_members(self) -> int:
        return len(next(iter(self.predictions.values())))

    @property
    def reference(self) -> str:
        return self.kin[0].variant_id

    @property
    def compared(self) -> list[str]:
        return [each.variant_id for each in self.kin[1:]]

    def of_members(self, members: np.ndarray) -> Stored:
        return replace(self, predictions={name: rows[members] for name, rows in self.predictions.items()})

    def pies(self, name: str, sizes: Mapping[str, int]) -> np.ndarray:
        """Booleans [examples]: the PIEs of the first members, as many of each variant as `sizes` has."""
        before, after = (self.predictions[each][: sizes[each]] for each in (self.reference, name))
        return stats.find_pies(before, after, num_classes=self.num_classes).is_pie


@dataclass(frozen=True)
class Replay:
    """How one ended."""

    sizes: Mapping[str, int]
    verdicts: Mapping[str, adaptive.Verdict]
    reasons: Mapping[str, str]


def read(results: Results, fewest: int) -> Stored:
    """Raises SystemExit where there are fewer members than a replay begins with."""
    evaluation_set = clean_set(results.evaluation_sets)
    if results.is_multilabel or evaluation_set is None:
        raise SystemExit(f"{results.storage}: found attributes learned jointly; accepted are classes")
    populations = {
        variant.variant_id: results.population(evaluation_set, variant.variant_id, (schema.PREDICTION,))
        for variant in results.plan.variants
    }
    seeds = set.intersection(*(set(each.seeds) if each else set() for each in populations.values()))
    if len(seeds) < fewest:
        raise SystemExit(f"{results.storage}: found {len(seeds)} seeds that all variants have; accepted are {fewest}")
    rows = {
        name: each.arrays[schema.PREDICTION][[each.seeds.index(seed) for seed in sorted(seeds)]]
        for name, each in populations.items()
        if each is not None
    }
    paired = frozenset(variant.variant_id for variant in results.plan.variants if variant.is_paired)
    return Stored(results.title, rows, kin_of(results.plan), paired, len(results.class_names))


def replay(stored: Stored, rule: adaptive.Rule, seed: int) -> Replay:
    """Decide round by round, as a sweep does, with the members in the order they have."""
    sizes = adaptive.first_sizes(stored.kin, rule)
    verdicts: dict[str, adaptive.Verdict] = {}
    reasons: dict[str, str] = {}
    while True:
        judged = {name: judge(stored, name, sizes, rule, seed) for name in stored.compared if name not in reasons}
        grown, refused = adaptive.next_sizes(sizes, judged, stored.kin, rule)
        verdicts |= judged
        reasons |= {name: verdict.because for name, verdict in judged.items() if verdict.because is not None}
        reasons |= refused
        if grown == sizes:
            return Replay(sizes, verdicts, reasons)
        sizes = grown


def judge(stored: Stored, name: str, sizes: Mapping[str, int], rule: adaptive.Rule, seed: int) -> adaptive.Verdict:
    is_paired = name in stored.paired
    num_mine = sizes[name]
    before = stored.predictions[stored.reference][: num_mine if is_paired else sizes[stored.reference]]
    stability = stats.pie_stability(
        before,
        stored.predictions[name][:num_mine],
        num_classes=stored.num_classes,
        rng=np.random.default_rng([seed, num_mine, len(before), stored.compared.index(name)]),
        is_paired=is_paired,
    )
    return adaptive.judge(stability, num_mine, rule)


def rule_of(num_members: int, target: float, most: int, fewest: int) -> adaptive.Rule:
    return adaptive.Rule(num_members, target=target, interval=INTERVAL, fewest=fewest, step=STEP, most=most)


# ------------------------------------------------------------------------------------------------------- figures


def overlap(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Jaccard similarity, recall and precision; NaN of nothing."""
    shared = float((found & true).sum())
    return tuple(shared / n if n else np.nan for n in map(np.count_nonzero, (found | true, true, found)))  # type: ignore[return-value]


def mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def trained(stored: Stored, sizes: Mapping[str, int]) -> int:
    return sum(sizes[head] for head in adaptive.heads(stored.kin))


def savings(stored: Stored, targets: Sequence[float], num_orders: int, fewest: int) -> None:
    whole = dict.fromkeys(stored.predictions, stored.num_members)
    num_trained = len(list(adaptive.heads(stored.kin)))
    header = f"{'to spend':>8} {'target':>6} {'trained':>7} {'saved':>6} | {'Jaccard':>7} {'recall':>6} {'precis.':>7}"
    print(f"{header} | {'even: J':>7} {'recall':>6} | stopped because")
    for num_members in (stored.num_members, stored.num_members // 2):
        if num_members < fewest:
            continue
        for target in targets:
            rule = rule_of(num_members, target, stored.num_members, fewest)
            counts, mine, even, why = [], [], [], Counter[str]()
            for order in range(num_orders):
                members = np.random.default_rng(order).permutation(stored.num_members)
                shuffled = stored.of_members(members)
                ended = replay(shuffled, rule, order)
                counts.append(trained(stored, ended.sizes))
                same = dict.fromkeys(whole, max(round(counts[-1] / num_trained), 1))
                for name in stored.compared:
                    true = shuffled.pies(name, whole)
                    mine.append(overlap(shuffled.pies(name, ended.sizes), true))
                    even.append(overlap(shuffled.pies(name, same), true))
                    why[ended.reasons.get(name, "")] += 1
            share = 1 - mean(counts) / (num_members * num_trained)
            figures = [mean(column) for column in zip(*mine, strict=True)]
            others = [mean(column) for column in zip(*even, strict=True)][:2]
            reasons = ", ".join(f"{reason} {count / num_orders:.1f}" for reason, count in why.most_common())
            print(
                f"{num_members:>8} {target:>6g} {mean(counts):>7.0f} {share:>6.0%} | {figures[0]:>7.2f} "
                f"{figures[1]:>6.2f} {figures[2]:>7.2f} | {others[0]:>7.2f} {others[1]:>6.2f} | {reasons}",
                flush=True,
            )


def by_variant(stored: Stored, target: float, num_orders: int, fewest: int) -> None:
    """Members and PIE sets of each variant, with half of the members to spend; and for scale, two halves."""
    num_members = stored.num_members // 2
    whole, half = (dict.fromkeys(stored.predictions, n) for n in (stored.num_members, num_members))
    print(f"\nby variant, {num_members} to spend, target {target:g}")
    print(f"{'variant':<24} {'PIEs':>5} {'members':>15} {'Jaccard':>8} {'even':>6} {'two halves share':>17}")
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in stored.compared}
    for order in range(num_orders):
        members = np.random.default_rng(order).permutation(stored.num_members)
        shuffled, other = stored.of_members(members), stored.of_members(members[num_members:])
        ended = replay(shuffled, rule_of(num_members, target, stored.num_members, fewest), order)
        for name, found in rows.items():
            true, evenly = shuffled.pies(name, whole), shuffled.pies(name, half)
            found.append(
                (
                    ended.sizes[name],
                    overlap(shuffled.pies(name, ended.sizes), true)[0],
                    overlap(evenly, true)[0],
                    overlap(evenly, other.pies(name, half))[0],
                )
            )
    for name, found in rows.items():
        sizes, jaccard, even, halves = (list(column) for column in zip(*found, strict=True))
        members_text = f"{mean(sizes):.0f} ({min(sizes):.0f} to {max(sizes):.0f})"
        print(
            f"{name:<24} {int(stored.pies(name, whole).sum()):>5} {members_text:>15} {mean(jaccard):>8.2f} "
            f"{mean(even):>6.2f} {mean(halves):>17.2f}"
        )


def stopping(stored: Stored, targets: Sequence[float], num_orders: int, fewest: int) -> None:
    """Two studies of half of the members each: what they tell of their similarity when they stop, and what it is."""
    num_members = stored.num_members // 2
    print(f"\noptional stopping: two studies of {num_members} members that share none; variants that both found stable")
    print(
        f"{'target':>6} {'pairs':>6} {'members':>8} {'told':>6} {'found':>6} | {'other order: told':>17} {'found':>6}"
    )
    for target in targets:
        rule = rule_of(num_members, target, num_members, fewest)
        rows = []
        for order in range(num_orders):
            members = np.random.default_rng(order).permutation(stored.num_members)
            halves = [stored.of_members(members[:num_members]), stored.of_members(members[num_members:][:num_members])]
            first, second = (replay(each, rule, order) for each in halves)
            again = [
                each.of_members(np.random.default_rng(num_orders + order).permutation(num_members)) for each in halves
            ]
            for name in stored.compared:
                if {first.reasons.get(name), second.reasons.get(name)} != {"stable"}:
                    continue
                told = mean([each.verdicts[name].jaccard for each in (first, second)])
                sizes = [
                    dict.fromkeys((name, stored.reference), each.verdicts[name].num_members) for each in (first, second)
                ]
                found = overlap(*(h.pies(name, s) for h, s in zip(halves, sizes, strict=True)))[0]
                checked = [
                    judge(a, name, s, rule, num_orders + order).jaccard for a, s in zip(again, sizes, strict=True)
                ]
                other = overlap(*(a.pies(name, s) for a, s in zip(again, sizes, strict=True)))[0]
                rows.append((mean([s[name] for s in sizes]), told, found, mean(checked), other))
        if not rows:
            print(f"{target:>6g} {0:>6}")
            continue
        size, told, found, checked, other = (mean(column) for column in zip(*rows, strict=True))
        print(
            f"{target:>6g} {len(rows):>6} {size:>8.1f} {told:>6.2f} {found:>6.2f} | {checked:>17.2f} {other:>6.2f}",
            flush=True,
        )


# ------------------------------------------------------------------------------------------- a sweep of its own


def own_sweep(folder: Path, num_members: int) -> Storage:
    """The embedded recipe, made in this process without Ray."""
    import torch

    from pie_ray.member import run_member
    from pie_ray.recipe import load_recipe
    from pie_ray.store import ParquetSink
    from pie_ray.study import prepare
    from pie_ray.workplace import Workplace

    torch.set_num_threads(1)
    overrides = [*OVERRIDES, f"population.num_members={num_members}", f"execution.storage={folder}"]
    study = prepare(load_recipe(None, overrides))
    missing = open_results(study.storage).missing_members
    workplace = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    for number, spec in enumerate(missing, 1):
        run_member(spec, workplace)
        if number % 20 == 0:
            print(f"{number} of {len(missing)} members", file=sys.stderr, flush=True)
    return study.storage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", help="finished sweeps; without one, digits are trained")
    parser.add_argument("--members", type=int, default=40, help="of the own sweep (default 40)")
    parser.add_argument("--folder", type=Path, help="where the own sweep is kept, to go on with it")
    parser.add_argument("--orders", type=int, default=10, help="random orders of the members (default 10)")
    parser.add_argument("--fewest", type=int, default=12, help="members that all variants begin with (default 12)")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.4, 0.5, 0.6, 0.7, 0.8])
    options = parser.parse_args()
    print(machine("pie_ray", "numpy", "scipy"))
    print(f"at least {options.fewest} members, {STEP} at a time, interval {INTERVAL:g}, {options.orders} orders")
    with tempfile.TemporaryDirectory(prefix="pie_ray-adaptive-") as scratch:
        storages = [Storage(address) for address in options.results]
        for storage in storages or [own_sweep(options.folder or Path(scratch), options.members)]:
            stored = read(open_results(storage), options.fewest)
            print(f"\n{stored.name}: {stored.num_members} members of {len(stored.predictions)} variants\n")
            savings(stored, options.targets, options.orders, options.fewest)
            if stored.num_members < 2 * options.fewest:
                continue
            by_variant(stored, options.targets[len(options.targets) // 2], options.orders, options.fewest)
            stopping(stored, options.targets, options.orders, options.fewest)


if __name__ == "__main__":
    main()
