"""A sweep of an adaptive population goes in rounds: complete the members of a decision, then decide again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from .analysis import Results, decide, open_results, sizes_of
from .config import Recipe
from .console import print_decisions
from .identity import MemberSpec, Plan
from .store import Storage, write_population

if TYPE_CHECKING:
    from .cluster.sweep import SweepOutcome

Run = Callable[[Plan, Sequence[MemberSpec]], "SweepOutcome"]
"""Completes members of a plan."""


def run_rounds(
    run: Run, results: Results, console: Console, on_grown: Callable[[Plan, Collection[str]], None]
) -> tuple[Plan, SweepOutcome]:
    """Complete what is missing of an adaptive population, and decide and complete until nothing grows.

    A member that failed for good is not tried again, and its family does not grow; the others do. `on_grown` hears of
    the plan of each further round and of the ids of its complete members. Returns the plan of the last round, and what
    became of all members.
    """
    outcome = run(results.plan, results.missing_members)
    while not outcome.interrupted:
        lost = outcome.failed.keys() | {spec.member_id for spec in outcome.unreachable}
        results = next_round(reopen_results(results.storage, results.recipe), console, lost)
        missing = _pending(results, lost)
        if not missing:
            break
        on_grown(results.plan, results.found.records)
        more = run(results.plan, missing)
        outcome = replace(
            more,
            num_done=outcome.num_done + more.num_done,
            failed=outcome.failed | more.failed,
            unreachable=(*outcome.unreachable, *more.unreachable),
        )
    return results.plan, outcome


def next_round(results: Results, console: Console, lost: Collection[str] = ()) -> Results:
    """Decide, and keep what was decided, until members are wanted that are not there yet, or nothing grows any more.

    `lost` are the ids of members that are not waited for. Raises StoreError for damaged predictions.
    """
    while results.sizes is not None and not results.sizes.is_final:
        before, record = results.sizes, decide(results)
        write_population(results.storage, record)
        print_decisions(console, before, record)
        results = reopen_results(results.storage, results.recipe)
        if sizes_of(record) == sizes_of(before) or _pending(results, lost):
            break
    return results


def reopen_results(storage: Storage, recipe: Recipe) -> Results:
    """The results of a recipe that is at hand: the one that lies with them has no credentials in its addresses."""
    results = open_results(storage)
    return replace(results, recipe=results.recipe.model_copy(update={"execution": recipe.execution}))


def _pending(results: Results, lost: Collection[str]) -> list[MemberSpec]:
    return [spec for spec in results.missing_members if spec.member_id not in lost]
