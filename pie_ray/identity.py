"""Names computed from what determines the bits, and the plan of a sweep: every member, its id and its parent.

A member id is a hash of the canonical description (data, model, training, variant, seed): never of where it ran.
Fields at their default are left out, so a new field with a default that switches it off moves no id; a *changed*
default is a breaking change, which a test of literal ids holds. Where data lies is not part of the data's identity;
the images' own fingerprint stands in the manifest instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from .config import Config, MagnitudePruningGrid, PruningSchedule, QuantizationScheme, Recipe, Scope
from .errors import RecipeError

FORMAT = 1
"""Raised when the same description comes to mean other bits."""

REFERENCE_ID = "dense"

_WHERE_IT_LIES = {"path", "download"}


class MagnitudePruning(Config):
    """Gradual magnitude pruning to one sparsity."""

    kind: Literal["magnitude"]
    scope: Scope
    sparsity: float
    schedule: PruningSchedule


class Variant(Config):
    """One compression setting; the reference has neither part."""

    pruning: MagnitudePruning | None = None
    quantization: QuantizationScheme | None = None

    @property
    def variant_id(self) -> str:
        """Reads like `dense`, `magnitude-0.90`, `static_int8`, `magnitude-0.90+static_int8`."""
        parts = []
        if self.pruning is not None:
            scope = "" if self.pruning.scope == "layer" else f"_{self.pruning.scope}"
            parts.append(f"{self.pruning.kind}{scope}-{_sparsity_text(self.pruning.sparsity)}")
        if self.quantization is not None:
            parts.append(self.quantization)
        return "+".join(parts) or REFERENCE_ID

    @property
    def parent(self) -> Variant | None:
        """The variant whose checkpoints this one is derived from; None where it is trained."""
        return None if self.quantization is None else Variant(pruning=self.pruning)

    @property
    def sparsity(self) -> float:
        return 0.0 if self.pruning is None else self.pruning.sparsity


REFERENCE = Variant()


def _sparsity_text(sparsity: float) -> str:
    """At least two decimals, more where they are needed: 0.90, 0.995."""
    text = f"{sparsity:.10f}".rstrip("0")
    return text if len(text) >= 4 else f"{sparsity:.2f}"


@dataclass(frozen=True)
class MemberSpec:
    """One network to be: everything that `run_member` needs to know of it."""

    member_id: str
    variant: Variant
    seed: int
    parent_id: str | None

    @property
    def variant_id(self) -> str:
        return self.variant.variant_id

    @property
    def generator_seed(self) -> int:
        """Seed of the member's random numbers.

        Taken from the member id, so that populations are independent of each other even at equal seeds.
        """
        return int(self.member_id, 16) % 2**63


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


def make_plan(recipe: Recipe) -> Plan:
    """Expand a recipe's grids; a quantized variant's parent population joins the plan where a grid did not name it.

    Raises RecipeError where two grids give one variant different settings.
    """
    base = describe_base(recipe)
    seeds = range(recipe.population.base_seed, recipe.population.base_seed + recipe.population.num_members)
    members = []
    for variant in _expand(recipe):
        for seed in seeds:
            parent = variant.parent
            members.append(
                MemberSpec(
                    member_id=_member_id(base, variant, seed),
                    variant=variant,
                    seed=seed,
                    parent_id=None if parent is None else _member_id(base, parent, seed),
                )
            )
    return Plan(sweep_id=_hash(base), members=tuple(members))


def describe_base(recipe: Recipe) -> dict[str, Any]:
    """What all members of a sweep share; a results folder belongs to exactly one such description."""
    data = {key: value for key, value in _canonical(recipe.data).items() if key not in _WHERE_IT_LIES}
    return {"format": FORMAT, "data": data, "model": _canonical(recipe.model), "training": _canonical(recipe.training)}


def _expand(recipe: Recipe) -> list[Variant]:
    variants: dict[str, Variant] = {REFERENCE_ID: REFERENCE}
    for index, grid in enumerate(recipe.variants):
        for pruning in _prunings(grid.pruning):
            for scheme in grid.quantization or (None,):
                variant = Variant(pruning=pruning, quantization=scheme)
                for needed in filter(None, (variant.parent, variant)):
                    known = variants.setdefault(needed.variant_id, needed)
                    if known != needed:
                        raise RecipeError(
                            f"variants.{index}: {needed.variant_id} is described twice with different settings; "
                            "give each sparsity and scope one pruning schedule"
                        )
    return sorted(variants.values(), key=lambda variant: variant.quantization is not None)


def _prunings(grid: MagnitudePruningGrid | None) -> Iterator[MagnitudePruning | None]:
    if grid is None:
        yield None
        return
    for scope in grid.scopes:
        for sparsity in grid.sparsities:
            yield MagnitudePruning(kind=grid.kind, scope=scope, sparsity=sparsity, schedule=grid.schedule)


def _member_id(base: dict[str, Any], variant: Variant, seed: int) -> str:
    return _hash({**base, "variant": _canonical(variant), "seed": seed})


def _canonical(config: BaseModel) -> dict[str, Any]:
    """The description without default-valued fields; `kind` never has a default, so alternatives stay apart."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _hash(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
