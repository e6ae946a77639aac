"""Hold the result tables against a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import isnan

from ..analysis import clean_set
from ..errors import PolicyError
from ..variants import REFERENCE_ID
from .case import Case, Measured, NotMeasuredError, Tables
from .limits import LIMITS
from .outcome import Finding
from .policy import AbstractLimit, JudgeBy, Policy

TOLERANCE = 1e-9
"""Relative; by how much a figure may miss a limit for rounding alone, as .97 - .96 misses .01."""

_NO_PLAN: Mapping[str, int] = {}


def check(
    tables: Tables, policy: Policy, *, variants: Sequence[str] = (), num_planned: Mapping[str, int] = _NO_PLAN
) -> list[Finding]:
    """A finding for each variant and limit of the policy, from the analysis' tables by name.

    `variants` are names or patterns of those to judge, by default all. `num_planned` has the members that each variant
    of the sweep was planned with, the reference's too; without it a variant has lost those members alone that some of
    its evaluation sets have and others have not.

    Raises PolicyError where the policy or `variants` name what these results have not: a gate that has nothing to judge
    must not pass.
    """
    there = _variants_there(tables, num_planned)
    policy.check_patterns(there)
    chosen = _chosen(there, variants)
    if not any(policy.is_required(variant_id) for variant_id in chosen):
        raise PolicyError(
            f"none of {', '.join(chosen)} must pass by the policy, so the gate could not fail; accepted are variants "
            f"that fit must_pass: {', '.join(policy.must_pass)}"
        )
    evaluation_set = _evaluation_set(tables, policy)
    return [
        _judge(Case(tables, evaluation_set, variant_id, num_planned), name, limit, policy)
        for variant_id in chosen
        for name, limit in policy.limits_of(variant_id).items()
    ]


def _variants_there(tables: Tables, num_planned: Mapping[str, int]) -> list[str]:
    """Every compressed variant of the plan and the tables."""
    names = dict.fromkeys([*num_planned, *tables["summary"]["variant_id"]])
    there = [name for name in names if name != REFERENCE_ID]
    if not there:
        raise PolicyError("these results have no compressed variant, so there is nothing to judge")
    return there


def _chosen(there: Sequence[str], wanted: Sequence[str]) -> list[str]:
    strange = [pattern for pattern in wanted if not any(fnmatchcase(name, pattern) for name in there)]
    if strange:
        raise PolicyError(
            f"--variant: found {', '.join(strange)}; accepted are {', '.join(there)}, and patterns of them"
        )
    return [name for name in there if not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)]


def _evaluation_set(tables: Tables, policy: Policy) -> str:
    there = list(dict.fromkeys(tables["summary"]["evaluation_set"]))
    wanted = policy.evaluation_set or clean_set(there) or there[0]
    if wanted not in there:
        raise PolicyError(
            f"evaluation_set: found {wanted!r}; accepted are the sets of these results: {', '.join(there)}"
        )
    return wanted


def _judge(case: Case, name: str, limit: AbstractLimit, policy: Policy) -> Finding:
    kind, is_minimum = LIMITS[name], name.startswith("min_")
    blank = Finding(
        limit=name,
        variant_id=case.variant_id,
        verdict="not measured",
        allowed=float(limit.limit),
        told="",
        judged_by=(limit.judge_by or policy.judge_by) if kind.interval else "estimate",
        is_required=policy.is_required(case.variant_id),
        not_measured=limit.not_measured or policy.not_measured,
    )
    try:
        worst, judged = _worst(list(kind.measure(case, limit)), blank.judged_by, is_minimum=is_minimum)
        low, high = worst.interval
    except NotMeasuredError as reason:
        return replace(blank, told=str(reason))
    return replace(
        blank,
        verdict="passed" if _respects(judged, blank.allowed, is_minimum=is_minimum) else "violated",
        told=worst.told,
        found=worst.value,
        low=low,
        high=high,
        examples=worst.examples,
    )


def _worst(figures: Sequence[Measured], judge_by: JudgeBy, *, is_minimum: bool) -> tuple[Measured, float]:
    """The figure that is worst by what is judged, and that: its value, or the upper end of its interval.

    Lower limits have no intervals, so that the upper end is the unfavourable one.
    """
    judged = [each.value if judge_by == "estimate" else each.interval[1] for each in figures]
    if any(map(isnan, judged)):
        raise NotMeasuredError("an interval takes two members or more a variant: train more, or `judge_by: estimate`")
    pick = min if is_minimum else max
    index = pick(range(len(judged)), key=judged.__getitem__)
    return figures[index], judged[index]


def _respects(judged: float, allowed: float, *, is_minimum: bool) -> bool:
    slack = TOLERANCE * max(abs(allowed), 1e-3)
    return judged >= allowed - slack if is_minimum else judged <= allowed + slack
