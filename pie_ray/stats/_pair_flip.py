"""The taxicab distance when the two labels of a pair of members are exchanged at random, for patterns of changes.

Only pairs whose labels differ count. n pairs between classes a and b let 2 Bin(n, 1/2) - n votes flow from a to b, so a
pattern is a graph: classes, and the number of pairs on each edge. The distance is twice the *excess*, the sum of the
positive net flows into classes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from math import comb, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import FloatArray, IntArray, blocks

EXACT_COST = 1 << 14
"""Outcomes that a pattern's exact distribution may go through, by a bound on them; some milliseconds."""


class Edge(NamedTuple):
    """Pairs between two classes, `first` < `second`."""

    first: int
    second: int
    num_pairs: int


Pattern = tuple[Edge, ...]
"""The edges of an example's graph; classes are numbered by their place in it, so that examples share patterns."""


def flip_patterns(
    reference: IntArray, variant: IntArray, *, num_classes: int
) -> tuple[list[Pattern], NDArray[np.int64]]:
    """The distinct patterns, in the order of their edges, and each example's place among them."""
    changes, change_of = np.unique(_changes(reference, variant, num_classes), axis=0, return_inverse=True)
    found = [_pattern(Counter(row[row >= 0].tolist()), num_classes) for row in changes]
    patterns = sorted(set(found))
    place = {pattern: index for index, pattern in enumerate(patterns)}
    return patterns, np.array([place[pattern] for pattern in found])[change_of.reshape(-1)]


def _changes(reference: IntArray, variant: IntArray, num_classes: int) -> NDArray[np.int64]:
    """Codes of the unordered class pairs that differ, ascending, with -1 before them, [examples, most pairs]."""
    num_members, num_examples = reference.shape
    codes = np.empty((num_examples, num_members), np.int64)
    for block in blocks(num_examples, num_members):
        before, after = reference[:, block].astype(np.int64), variant[:, block].astype(np.int64)
        code = np.minimum(before, after) * num_classes + np.maximum(before, after)
        codes[block] = np.sort(np.where(before == after, -1, code), axis=0).T
    return codes[:, num_members - np.count_nonzero(codes >= 0, axis=1).max() :]


def _pattern(num_pairs: Counter[int], num_classes: int) -> Pattern:
    edges = [Edge(*divmod(code, num_classes), num) for code, num in num_pairs.items()]
    rank = _ranks(edges)
    number = {label: place for place, label in enumerate(sorted(rank, key=lambda label: (rank[label], label)))}
    renumbered = ((*sorted((number[edge.first], number[edge.second])), edge.num_pairs) for edge in edges)
    return tuple(Edge(*edge) for edge in sorted(renumbered))


def _ranks(edges: list[Edge]) -> dict[int, int]:
    """Classes ranked by their place in the graph, whatever their labels (colour refinement); equals share a rank."""
    rank: dict[int, int] = defaultdict(int)
    num_ranks = 0
    while True:
        around = defaultdict(list)
        for edge in edges:
            around[edge.first].append((edge.num_pairs, rank[edge.second]))
            around[edge.second].append((edge.num_pairs, rank[edge.first]))
        seen = {label: (rank[label], sorted(neighbours)) for label, neighbours in around.items()}
        order = [key for key, _ in groupby(sorted(seen.values()))]
        if len(order) == num_ranks:
            return rank
        num_ranks = len(order)
        rank = {label: bisect_left(order, value) for label, value in seen.items()}


def is_affordable(pattern: Pattern) -> bool:
    """Whether a bound on the outcomes of the pattern's exact distribution is at most `EXACT_COST`."""
    pairs: Counter[int] = Counter()
    closed: set[int] = set()
    num_outcomes, num_pairs, cost = 1, 0, 0
    for label, edges in _elimination(pattern):
        for edge in edges:
            # Either all outcomes so far are told apart, or each excess with each net flow of the classes still open.
            open_flows = prod(num + 1 for other, num in pairs.items() if other not in closed)
            cost += min(num_outcomes, (num_pairs + 1) * open_flows) * (edge.num_pairs + 1)
            num_outcomes *= edge.num_pairs + 1
            num_pairs += edge.num_pairs
            pairs[edge.first] += edge.num_pairs
            pairs[edge.second] += edge.num_pairs
        closed.add(label)
    return cost <= EXACT_COST


def exact_masses(pattern: Pattern) -> FloatArray:
    """Probability of each excess from 0 to the number of pairs.

    Edge by edge over the states (excess of the classes that are done, net flow into each that is not), each a whole
    number with these as digits. The number of ways to a state is a whole number too, so that nothing is rounded.
    """
    degree = _degrees(pattern)
    num_pairs = sum(edge.num_pairs for edge in pattern)
    # Digits: the excess first, then for each class its net flow plus its degree.
    stride: dict[int, int] = {}
    size = num_pairs + 1
    for label, num in degree.items():
        stride[label], size = size, size * (2 * num + 1)
    states = {sum(num * stride[label] for label, num in degree.items()): 1}
    for label, edges in _elimination(pattern):
        for edge in edges:
            states = _let_flow(states, edge.num_pairs, stride[edge.second] - stride[edge.first])
        states = _close(states, stride[label], degree[label])
    return np.array([states.get(excess, 0) / 2**num_pairs for excess in range(num_pairs + 1)])


def _degrees(pattern: Pattern) -> Counter[int]:
    degree: Counter[int] = Counter()
    for edge in pattern:
        degree[edge.first] += edge.num_pairs
        degree[edge.second] += edge.num_pairs
    return degree


def _elimination(pattern: Pattern) -> Iterator[tuple[int, list[Edge]]]:
    """Classes with the edges that none before them has, fewest first: most are done soon, so that states are few."""
    left: dict[int, list[Edge]] = defaultdict(list)
    for edge in pattern:
        left[edge.first].append(edge)
        left[edge.second].append(edge)
    begun: set[int] = set()
    while left:
        label = min(left, key=lambda label: (len(left[label]), label not in begun, label))
        edges = left.pop(label)
        for edge in edges:
            other = edge.first + edge.second - label
            left[other].remove(edge)
            begun.add(other)
        yield label, edges


def _let_flow(states: dict[int, int], num_pairs: int, step: int) -> dict[int, int]:
    after: dict[int, int] = defaultdict(int)
    ways = [((2 * num - num_pairs) * step, comb(num_pairs, num)) for num in range(num_pairs + 1)]
    for state, weight in states.items():
        for move, number in ways:
            after[state + move] += weight * number
    return after


def _close(states: dict[int, int], stride: int, degree: int) -> dict[int, int]:
    """Replace a class's digit by what it adds to the excess."""
    after: dict[int, int] = defaultdict(int)
    for state, weight in states.items():
        digit = state // stride % (2 * degree + 1)
        after[state - digit * stride + max(0, digit - degree)] += weight
    return after


def draw_flows(num_members: int, num_permutations: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Sums of the first i of random signs, [members + 1, draws]: an edge's flow is a difference of two rows."""
    flows = np.zeros((num_members + 1, num_permutations), np.int32)
    signs = 2 * rng.integers(0, 2, (num_permutations, num_members), dtype=np.int8) - 1
    np.cumsum(signs.T, axis=0, out=flows[1:])
    return flows


def drawn_masses(pattern: Pattern, flows: NDArray[np.int32]) -> NDArray[np.integer]:
    """Number of draws of each excess; the same draws serve every pattern, its edges in their order."""
    net = np.zeros((len(_degrees(pattern)), flows.shape[1]), np.int32)
    start = 0
    for edge in pattern:
        flow = flows[start + edge.num_pairs] - flows[start]
        net[edge.first] -= flow
        net[edge.second] += flow
        start += edge.num_pairs
    excess = np.maximum(net, 0, out=net).sum(axis=0)
    return np.bincount(excess, minlength=start + 1)
