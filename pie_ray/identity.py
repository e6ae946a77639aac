"""Names computed from what determines the bits, and the plan of a sweep: every member, its id and its parent.

A member id is a hash of the canonical description (data, model, training, variant, seed): never of where it ran.
Fields at their default are left out, so a new field with a default that switches it off moves no id; a *changed*
default is a breaking change, which a test of literal ids holds. Where data lies is not part of the data's identity;
the images' own fingerprint stands in the manifest instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .config import Recipe
from .variants import REFERENCE, Variant, expand

FORMAT = 1
"""Raised when the same description comes to mean other bits."""

_WHERE_IT_LIES = {"path", "download"}


@dataclass(frozen=True)
class MemberSpec:
    """One network to be: everything that `run_member` needs to know of it."""

    member_id: str
    variant: Variant
    seed: int
    parent_id: str | None
    """The member whose checkpoint has to be there first."""
    reference_id: str
    """The dense member of equal seed, whose labels a loss may preserve."""

    @property
    def variant_id(self) -> str:
        return self.variant.variant_id

    @property
    def generator_seed(self) -> int:
        """Seed of the member's random numbers.

        Taken from the member id, so that populations are independent of each other even at equal seeds.
        """
        return int(self.member_id, 16) % 2**63

    @property
    def mask_seed(self) -> int:
        """Seed of random masks, which share no random numbers with the batches."""
        return self._seed_of("masks")

    def network_seed(self, training: int, process: int) -> int:
        """Seed of what the network itself draws, as for dropout, in one of the member's trainings and processes."""
        return self._seed_of(f"network {training} {process}")

    def _seed_of(self, what: str) -> int:
        return int(_hash({"member_id": self.member_id, "of": what}), 16) % 2**63


Pack = tuple[MemberSpec, ...]
"""Members that are completed together, in one step of a trial; most have one."""


@dataclass(frozen=True)
class Plan:
    """Every member of a sweep, parents before their children."""

    sweep_id: str
    members: tuple[MemberSpec, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Each variant once, the reference first."""
        return tuple({member.variant_id: member.variant for member in self.members}.values())

    def population(self, variant_id: str) -> tuple[MemberSpec, ...]:
        return tuple(member for member in self.members if member.variant_id == variant_id)

    def of_sizes(self, sizes: Mapping[str, int]) -> Plan:
        """The plan with as many members of each variant as `sizes` has by its id: those of the lowest seeds."""
        first = min((member.seed for member in self.members), default=0)
        members = (member for member in self.members if member.seed - first < sizes[member.variant_id])
        return Plan(self.sweep_id, tuple(members))


def make_plan(recipe: Recipe) -> Plan:
    """Expand a recipe's grids; a quantized variant's parent population joins the plan where a grid did not name it.

    Of a recipe with `population.adaptive` these are the most members that any variant may have; `Plan.of_sizes` has
    those that it is to have now.

    Raises RecipeError where two grids give one variant different settings.
    """
    base = describe_base(recipe)
    seeds = range(recipe.population.base_seed, recipe.population.base_seed + recipe.population.most_members)
    members = []
    for variant in expand(recipe.variants):
        for seed in seeds:
            parent = variant.parent
            members.append(
                MemberSpec(
                    member_id=_member_id(base, variant, seed),
                    variant=variant,
                    seed=seed,
                    parent_id=None if parent is None else _member_id(base, parent, seed),
                    reference_id=_member_id(base, REFERENCE, seed),
                )
            )
    return Plan(sweep_id=_hash(base), members=tuple(members))


def describe_base(recipe: Recipe) -> dict[str, Any]:
    """What all members of a sweep share; a results folder belongs to exactly one such description."""
    data = {key: value for key, value in _canonical(recipe.data).items() if key not in _WHERE_IT_LIES}
    return {"format": FORMAT, "data": data, "model": _canonical(recipe.model), "training": _canonical(recipe.training)}


def _member_id(base: dict[str, Any], variant: Variant, seed: int) -> str:
    return _hash({**base, "variant": _canonical(variant), "seed": seed})


def _canonical(config: BaseModel) -> dict[str, Any]:
    """The description without default-valued fields; `kind` never has a default, so alternatives stay apart."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _hash(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
