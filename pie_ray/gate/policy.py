"""A gate's policy: which limits a compressed variant must respect to ship, one YAML file.

    limits: {max_top1_drop: 0.01, max_worst_class_drop: {limit: 0.05, judge_by: bound}}
    variants: {"magnitude-*": {max_top1_drop: 0.02}}

Fractions, as everywhere inside: 1 % is 0.01. A limit is a number, or that number with its options. Every field of
`Limits` has a measure of the same name in `measures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ..checked_yaml import Document
from ..config import Config
from ..errors import PolicyError

JudgeBy = Literal["estimate", "bound"]
NotMeasured = Literal["fail", "warn", "ignore"]


def _below_one(value: float) -> float:
    if not -1 < value < 1:
        raise ValueError(f"found {value:g}; accepted is a fraction above -1 and below 1: 1 % is 0.01")
    return value


SignedFraction = Annotated[float, AfterValidator(_below_one)]
Share = Annotated[float, Field(ge=0), AfterValidator(_below_one)]
NumExamples = Annotated[int, Field(ge=1)]


class AbstractLimit(Config):
    """A number, or a mapping with that number as `limit` and these options."""

    limit: float
    judge_by: JudgeBy | None = Field(None, description="As the policy's, for this limit.")
    not_measured: NotMeasured | None = Field(None, description="As the policy's, for this limit.")

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"limit": value}


class CountLimit(AbstractLimit):
    limit: Annotated[int, Field(ge=0)] = Field(description="A whole number.")


class ShareLimit(AbstractLimit):
    limit: Share = Field(description="A fraction of at least 0.")


class FractionLimit(AbstractLimit):
    limit: SignedFraction = Field(description="A fraction; below 0 it asks for an improvement.")


class RatioLimit(AbstractLimit):
    limit: Annotated[float, Field(gt=0)] = Field(description="A ratio to the reference, which is 1.")


class LatencyLimit(RatioLimit):
    batch_size: Annotated[int, Field(ge=1)] = Field(1, description="Images that the network is given at once.")


class ClassLimit(FractionLimit):
    classes: Literal["all", "significant", "discovered"] = Field(
        "all",
        description="`significant`: only classes that moved apart from the rest at p ≤ .05, as published; "
        "`discovered`: at q ≤ .05, corrected for the number of classes.",
    )
    min_examples: NumExamples = Field(1, description="Classes of fewer examples are not judged.")


class GroupLimit(FractionLimit):
    rate: Literal["error", "false_positive", "false_negative"] = Field("error", description="Which rate must not rise.")
    min_examples: NumExamples = Field(1, description="Groups of fewer examples are not judged.")


class Limits(Config):
    """What is checked; None is not checked. What each limit means and how it is measured: docs/gate.md."""

    max_significant_pies: CountLimit | None = Field(
        None, description="PIEs whose votes differ significantly (q ≤ .05): examples that compression changed for sure."
    )
    max_significant_fraction: ShareLimit | None = Field(None, description="The same PIEs as a share of the examples.")
    max_pies_beyond_noise: FractionLimit | None = Field(
        None, description="Share of PIEs between halves of the populations, less the noise floor."
    )
    max_cie: ShareLimit | None = Field(
        None, description="Share of predictions that differ between a compressed network and its reference (CIE)."
    )
    max_cie_u: ShareLimit | None = Field(None, description="The same where the reference was right (CIE-U).")
    max_top1_drop: FractionLimit | None = Field(None, description="Top-1 of the reference less the variant's.")
    max_worst_class_drop: ClassLimit | None = Field(None, description="The largest drop of a class's recall.")
    max_worst_group_drop: GroupLimit | None = Field(
        None, description="The largest rise of a group's error, or of another rate."
    )
    max_group_gap_increase: FractionLimit | None = Field(
        None, description="Growth of the distance between the worst and the best group's error."
    )
    max_worst_attribute_drop: FractionLimit | None = Field(
        None, description="The largest drop of an attribute's accuracy, of data with several attributes at once."
    )
    max_ece_increase: FractionLimit | None = Field(None, description="Growth of the expected calibration error.")
    max_corrupted_top1_drop: FractionLimit | None = Field(
        None, description="Top-1 of the reference less the variant's, mean over the corrupted sets."
    )
    max_natural_top1_drop: FractionLimit | None = Field(None, description="The same on the worst natural set.")
    max_excess_drop: FractionLimit | None = Field(
        None, description="What corruption costs the variant beyond what it costs the reference, mean over the sets."
    )
    max_worst_set_excess_drop: FractionLimit | None = Field(
        None, description="The same on the worst corrupted or natural set."
    )
    max_mce: RatioLimit | None = Field(None, description="Mean corruption error over the reference's.")
    max_checkpoint_bytes: CountLimit | None = Field(None, description="Mean size of a checkpoint, in bytes.")
    max_size_ratio: RatioLimit | None = Field(None, description="Size of a checkpoint over the reference's.")
    max_compressed_ratio: RatioLimit | None = Field(
        None, description="Size of a checkpoint after zstd over the reference's."
    )
    max_latency_ratio: LatencyLimit | None = Field(
        None, description="Latency over the reference's in float32, measured beside it."
    )
    min_sparsity: ShareLimit | None = Field(None, description="Share of weights that are zero or gone, measured.")
    min_members: CountLimit | None = Field(None, description="Complete members of the variant and of the reference.")
    max_missing_members: CountLimit | None = Field(
        CountLimit(limit=0), description="Members of the variant and the reference that were planned and are not there."
    )


Pattern = Annotated[str, Field(min_length=1)]


class Policy(Config):
    """Limits for all variants, and others for some."""

    limits: Limits = Field(description="What every variant must respect.")
    variants: dict[Pattern, Limits] = Field(
        {},
        description="Other limits by variant, or by a pattern such as `magnitude-*`; `null` lifts one. Where several "
        "fit, later ones win.",
    )
    must_pass: Annotated[tuple[Pattern, ...], Field(min_length=1)] = Field(
        ("*",), description="Variants, or patterns of them, that decide; the others are reported only."
    )
    evaluation_set: str | None = Field(None, description="Which one is judged; None is `test`, or else the first.")
    judge_by: JudgeBy = Field(
        "estimate",
        description="`bound` passes only where even the unfavourable end of the 95 % interval respects the limit.",
    )
    not_measured: NotMeasured = Field(
        "fail", description="What becomes of a limit that these results cannot answer; `warn` and `ignore` let it pass."
    )

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        every = (self.limits, *self.variants.values())
        if not any(getattr(limits, name) is not None for limits in every for name in limits.model_fields_set):
            raise ValueError(f"found no limits; accepted are one or more of {', '.join(Limits.model_fields)}")
        return self

    def limits_of(self, variant_id: str) -> dict[str, AbstractLimit]:
        """The limits of one variant by name, in the order of `Limits`."""
        limits = dict(self.limits)
        for pattern, others in self.variants.items():
            if fnmatchcase(variant_id, pattern):
                limits |= {name: getattr(others, name) for name in others.model_fields_set}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def is_required(self, variant_id: str) -> bool:
        """Whether the variant's limits decide whether the gate passes."""
        return any(fnmatchcase(variant_id, pattern) for pattern in self.must_pass)

    def check_patterns(self, variant_ids: Sequence[str]) -> None:
        """Raises PolicyError for the patterns that fit none of the variants: what they say would silently not hold."""
        there = f"fits none of the variants: {', '.join(variant_ids)}"
        mistakes = [
            f"{field}: {pattern!r} {there}"
            for field, patterns in (("must_pass", self.must_pass), ("variants", self.variants))
            for pattern in patterns
            if not any(fnmatchcase(variant_id, pattern) for variant_id in variant_ids)
        ]
        if mistakes:
            raise PolicyError("\n  ".join(["the policy does not fit these results", *mistakes]))


_DOCUMENT = Document("policy", Policy, PolicyError)


def load_policy(path: str) -> Policy:
    """Read a policy file. Raises PolicyError with every mistake at once."""
    return parse_policy(_DOCUMENT.read(path), source=path)


def parse_policy(text: str, *, source: str = "policy") -> Policy:
    """Validate the text of a policy; see `load_policy`."""
    return _DOCUMENT.check(_DOCUMENT.parse_mapping(text, source), source)
