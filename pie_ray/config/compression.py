"""`variants`: what is done to networks, each choice a variant."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Config, Fraction, PositiveInt, Sparsity, once
from .training import FineTuning


class PruningSchedule(Config):
    """Cubic sparsity schedule (Zhu & Gupta): when it starts and ends, as fractions of the training steps."""

    begin: Fraction = Field(0.2, description="Where it starts; below `end`.")
    end: Fraction = Field(0.75, description="Where the sparsity is reached; training goes on with fixed masks.")
    num_updates: PositiveInt = Field(20, description="Times that the masks are recomputed, evenly spaced.")
    initial_sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Sparsity at `begin`.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.begin < self.end:
            raise ValueError(f"begin must be below end, found begin {self.begin:g} and end {self.end:g}")
        return self


Scope = Literal["layer", "global"]
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1), AfterValidator(once)]
Sparsities = Annotated[tuple[Sparsity, ...], Field(min_length=1)]

_SPARSITIES = "Shares of the weights that are removed, a variant each."
_SCOPES = "`layer` spares the classifier (Hooker et al.); `global` includes it (Iofinova et al.)."
_FROM_DENSE = "How the network is trained on after it was pruned; None leaves it as it is then."


class GradualPruningGrid(Config):
    """Gradual pruning during training: the largest weights are kept, or random ones, which is the control."""

    kind: Literal["magnitude", "random"]
    sparsities: Sparsities = Field(description=_SPARSITIES)
    scopes: Scopes = Field(("layer",), description=_SCOPES)
    schedule: PruningSchedule = Field(PruningSchedule(), description="How the sparsity grows during training.")
    fine_tuning: FineTuning | None = Field(
        None,
        description="None trains from random weights (GMP-RI); else training goes on from the dense member of equal "
        "seed, and the schedule is one of these steps (GMP-PT).",
    )


class OneShotPruningGrid(Config):
    """The smallest weights of the dense member of equal seed removed at once."""

    kind: Literal["one_shot"]
    sparsities: Sparsities = Field(description=_SPARSITIES)
    scopes: Scopes = Field(("layer",), description=_SCOPES)
    fine_tuning: FineTuning | None = Field(None, description=_FROM_DENSE)


Pattern = Annotated[str, Field(pattern=r"^[1-9]\d?:[1-9]\d?$")]


def _sparse_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        num_kept, group = map(int, pattern.split(":"))
        if num_kept >= group:
            raise ValueError(f"found {pattern}, which removes nothing; accepted is N:M with N below M, such as 2:4")
    return once(patterns)


class NMPruningGrid(Config):
    """Of every M consecutive input channels' weights the N largest are kept, as sparse tensor cores have it."""

    kind: Literal["n_m"]
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1), AfterValidator(_sparse_patterns)] = Field(
        description="N:M, a variant each: `2:4`, `1:4`. Layers whose input channels are no multiple of M are spared."
    )
    fine_tuning: FineTuning | None = Field(None, description=_FROM_DENSE)


class StructuredPruningGrid(Config):
    """Whole channels of the dense member of equal seed removed, those of the smallest norm: a smaller network."""

    kind: Literal["structured"]
    sparsities: Sparsities = Field(description="Shares of the channels that are removed, a variant each.")
    scopes: Scopes = Field(
        ("layer",), description="`layer` removes the share of every layer's channels, `global` of all of them."
    )
    fine_tuning: FineTuning | None = Field(None, description=_FROM_DENSE)


class RiglPruningGrid(Config):
    """RigL (Evci et al., arXiv 1911.11134): sparse from the first step; small weights go, large gradients come."""

    kind: Literal["rigl"]
    sparsities: Sparsities = Field(description=_SPARSITIES)
    scopes: Scopes = Field(
        ("layer",),
        description="`layer` gives every convolution the sparsity and spares the classifier; `global` includes it and "
        "spreads the sparsity by Erdős-Rényi kernel.",
    )
    num_updates: PositiveInt = Field(20, description="Times that weights are exchanged, evenly spaced up to `end`.")
    end: Fraction = Field(0.75, description="Where the exchange ends, as a fraction of the training steps.")
    drop_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Share of a layer's weights that is exchanged first; it decays to zero as a cosine."
    )


class RewindingPruningGrid(Config):
    """Iterative magnitude pruning with rewinding (Frankle et al., arXiv 1903.01611): lottery tickets.

    Train, prune a part, put the other weights back to what they were early in training, and train again.
    """

    kind: Literal["rewinding"]
    sparsities: Sparsities = Field(description=_SPARSITIES)
    scopes: Scopes = Field(("layer",), description=_SCOPES)
    num_rounds: PositiveInt = Field(
        3, description="Times that a part is pruned; each trains the network again, after one training without pruning."
    )
    rewind_epoch: Annotated[int, Field(ge=0)] = Field(
        0, description="Epoch of the first training whose weights are gone back to; 0 is the initial ones."
    )


PruningGrid = Annotated[
    GradualPruningGrid
    | OneShotPruningGrid
    | NMPruningGrid
    | StructuredPruningGrid
    | RiglPruningGrid
    | RewindingPruningGrid,
    Field(discriminator="kind"),
]

QuantizationScheme = Literal["float16", "bfloat16", "dynamic_int8", "static_int8", "weight_int8", "weight_int4"]
_ROUNDED_FLOATS = ("float16", "bfloat16")

# -------------------------------------------------------------------------------------------------------- losses


class UniformWeights(Config):
    """Equal weights that add up to 1."""

    kind: Literal["uniform"]


class FixedWeights(Config):
    """Weights of your own."""

    kind: Literal["fixed"]
    weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(description="One a term, in their order.")


class LearnedWeights(Config):
    """Uncertainty weighting (Kendall et al., arXiv 1705.07115): sum of exp(-s_k) loss_k + s_k, with s_k learned."""

    kind: Literal["learned"]


class SoftAdaptWeights(Config):
    """SoftAdapt (Heydari et al., arXiv 1912.12355): the more slowly a term falls, the more it weighs."""

    kind: Literal["softadapt"]
    beta: float = Field(0.1, description="How sharply the weights follow the slopes.")
    loss_weighted: bool = Field(True, description="Weigh by the terms' recent means as well.")
    window: Annotated[int, Field(ge=2)] = Field(10, description="Steps that slopes and means are taken over.")


Weighting = Annotated[UniformWeights | FixedWeights | LearnedWeights | SoftAdaptWeights, Field(discriminator="kind")]
LossTerm = Literal["cross_entropy", "logit_pairing", "distillation"]


class LabelPreservingLoss(Config):
    """A loss that holds a compressed member to the dense member of equal seed (Joseph et al., arXiv 2012.01604)."""

    terms: Annotated[tuple[LossTerm, ...], Field(min_length=1), AfterValidator(once)] = Field(
        description="`cross_entropy` with the labels; `logit_pairing`, the mean squared difference of the logits; "
        "`distillation`, the divergence from the dense member's softened probabilities."
    )
    weighting: Weighting = Field(UniformWeights(kind="uniform"), description="How the terms are weighed.")
    temperature: Annotated[float, Field(gt=0)] = Field(4.0, description="Of `distillation`.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.terms == ("cross_entropy",):
            raise ValueError("cross_entropy alone is the plain loss, which every variant is trained with as well")
        if isinstance(self.weighting, FixedWeights) and len(self.weighting.weights) != len(self.terms):
            raise ValueError(f"weighting.weights: found {len(self.weighting.weights)}, expected {len(self.terms)}")
        if self.weighting.kind in ("learned", "softadapt") and len(self.terms) < 2:
            raise ValueError(f"weighting {self.weighting.kind} weighs terms against each other, found one term")
        return self


# -------------------------------------------------------------------------------------------------------- grids

_AT_ONCE = (OneShotPruningGrid, NMPruningGrid, StructuredPruningGrid)

Preset = Literal["hooker", "gmp_ri", "gmp_pt"]


class VariantGrid(Config):
    """Pruning alone, quantization alone, or every combination of the two; or a published protocol by name."""

    preset: Preset | None = Field(
        None,
        description="A published protocol instead of everything below but `sparsities`: `hooker` (gradual magnitude a "
        "layer, and three quantizations), `gmp_ri` and `gmp_pt` (global magnitude from random and from dense weights).",
    )
    sparsities: Sparsities | None = Field(None, description="Of a preset, in place of the published ones.")
    pruning: PruningGrid | None = Field(None, description="What is removed, and when.")
    losses: Annotated[tuple[LabelPreservingLoss, ...], AfterValidator(once)] = Field(
        (),
        description="Label-preserving losses, a variant each, of whatever is trained; the plain one comes along.",
    )
    quantization: tuple[QuantizationScheme, ...] = Field(
        (), description="Schemes, a variant each: converted from the uncompressed or pruned members."
    )
    quantization_aware: FineTuning | None = Field(
        None, description="Train on with the quantization's rounding in the network before it is converted."
    )

    @property
    def trains(self) -> bool:
        """Whether anything is trained that a loss could bear on."""
        prunes_only = isinstance(self.pruning, _AT_ONCE) and self.pruning.fine_tuning is None
        return (self.pruning is not None and not prunes_only) or self.quantization_aware is not None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.preset is not None:
            others = [n for n in ("pruning", "losses", "quantization", "quantization_aware") if getattr(self, n)]
            if others:
                raise ValueError(f"preset {self.preset} is a whole protocol, found {', '.join(others)} beside it")
            return self
        if self.sparsities is not None:
            raise ValueError("sparsities are a preset's; those of `pruning` stand below it")
        if self.pruning is None and not self.quantization:
            raise ValueError("needs pruning, quantization or both; the dense reference is always trained")
        if self.losses and not self.trains:
            what = "post-training quantization" if self.pruning is None else f"{self.pruning.kind} without fine_tuning"
            raise ValueError(f"losses need training, and {what} has none: give fine_tuning or quantization_aware")
        if self.quantization_aware is not None:
            floats = [scheme for scheme in self.quantization if scheme in _ROUNDED_FLOATS]
            if floats or not self.quantization:
                raise ValueError(
                    f"quantization_aware needs integer schemes, found {', '.join(floats) or 'no quantization'}: "
                    "rounding to 16 bits moves next to nothing that training could mend"
                )
        return self
