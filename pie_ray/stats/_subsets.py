"""Modes of subsets of a population's members."""

from __future__ import annotations

from ._arrays import BoolArray, IntArray


def settled(num_votes: IntArray, *, num_members: int, subset_size: int) -> BoolArray:
    """Where *every* subset of that size has the mode of all `num_members`, given its votes: none needs counting."""
    fewest_votes_in_subset = num_votes - (num_members - subset_size)
    return 2 * fewest_votes_in_subset > subset_size
