"""Compression settings: what a variant is made of, what it is called and derived from; and the expansion of grids.

Fields at their default are left out of an identity (see `identity.py`), so a new one needs a default that switches it
off; a `kind` has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter

from .config import (
    Config,
    FineTuning,
    FixedWeights,
    LabelPreservingLoss,
    NMPruningGrid,
    PruningGrid,
    PruningSchedule,
    QuantizationScheme,
    Scope,
    VariantGrid,
)
from .errors import RecipeError
from .presets import grids_of

REFERENCE_ID = "dense"

# ------------------------------------------------------------------------------------------------------- pruning


class AbstractPruning(Config):
    """Pruning to one sparsity. A subclass has a `kind`."""

    scope: Scope
    sparsity: float

    @property
    def starts_dense(self) -> bool:
        """Whether it begins with the weights of the dense member of equal seed, and not with random ones."""
        return False

    @property
    def trains(self) -> bool:
        """Whether the member is trained, so that a loss bears on it."""
        return True

    @property
    def method(self) -> str:
        """Reads like `magnitude`, `magnitude_global`, `magnitude_pt`, `structured_ft`."""
        scope = "" if self.scope == "layer" else f"_{self.scope}"
        return f"{getattr(self, 'kind')}{scope}{self.suffix}"  # noqa: B009

    @property
    def suffix(self) -> str:
        return ""

    @property
    def strength(self) -> str:
        """Reads like `0.90`, `2of4`."""
        return _sparsity_text(self.sparsity)


class GradualPruning(AbstractPruning):
    """The largest or random weights are kept, fewer and fewer during training."""

    kind: Literal["magnitude", "random"]
    schedule: PruningSchedule
    fine_tuning: FineTuning | None = None

    @property
    def starts_dense(self) -> bool:
        return self.fine_tuning is not None

    @property
    def suffix(self) -> str:
        """Post-training, as Iofinova et al. call it."""
        return "_pt" if self.fine_tuning else ""


class AbstractDensePruning(AbstractPruning):
    """Pruning of the dense member of equal seed at once; then, maybe, fine-tuning."""

    fine_tuning: FineTuning | None = None

    @property
    def starts_dense(self) -> bool:
        return True

    @property
    def trains(self) -> bool:
        return self.fine_tuning is not None

    @property
    def suffix(self) -> str:
        return "_ft" if self.fine_tuning else ""


class OneShotPruning(AbstractDensePruning):
    kind: Literal["one_shot"]


class NMPruning(AbstractDensePruning):
    """`sparsity` is the share that the pattern leaves out."""

    kind: Literal["n_m"]
    pattern: str

    @property
    def strength(self) -> str:
        return self.pattern.replace(":", "of")

    @property
    def group(self) -> tuple[int, int]:
        """N and M: how many are kept of how many."""
        num_kept, size = map(int, self.pattern.split(":"))
        return num_kept, size


class StructuredPruning(AbstractDensePruning):
    """`sparsity` is the share of channels that is removed."""

    kind: Literal["structured"]


class RiglPruning(AbstractPruning):
    kind: Literal["rigl"]
    num_updates: int
    end: float
    drop_fraction: float


class RewindingPruning(AbstractPruning):
    kind: Literal["rewinding"]
    num_rounds: int
    rewind_epoch: int


Pruning = Annotated[
    GradualPruning | OneShotPruning | NMPruning | StructuredPruning | RiglPruning | RewindingPruning,
    Field(discriminator="kind"),
]

PRUNING_KINDS: tuple[str, ...] = tuple(
    kind for pruning in get_args(get_args(Pruning)[0]) for kind in get_args(pruning.model_fields["kind"].annotation)
)

# ------------------------------------------------------------------------------------------------------ variants


class Variant(Config):
    """One compression setting; the reference has no part."""

    pruning: Pruning | None = None
    loss: LabelPreservingLoss | None = None
    """Of whatever training there is; None is the plain loss."""
    quantization: QuantizationScheme | None = None
    quantization_aware: FineTuning | None = None

    @property
    def variant_id(self) -> str:
        """Reads like `dense`, `magnitude-0.90`, `static_int8`, `magnitude-0.90+ce_kd4-softadapt+qat_static_int8`."""
        parts = []
        if self.pruning is not None:
            parts.append(f"{self.pruning.method}-{self.pruning.strength}")
        if self.loss is not None:
            parts.append(loss_id(self.loss))
        if self.quantization is not None:
            parts.append(("qat_" if self.quantization_aware else "") + self.quantization)
        return "+".join(parts) or REFERENCE_ID

    @property
    def parent(self) -> Variant | None:
        """The variant whose checkpoints have to be there first; None where it is trained from random weights alone.

        A quantized variant is made of its parent's weights; so is a pruned one that starts dense. With a loss that
        preserves the dense member's labels, that member is the parent even of one that starts at random.
        """
        if self.quantization is not None:
            trained = self.pruning is not None and self.pruning.trains
            return Variant(pruning=self.pruning, loss=self.loss if trained else None)
        if self.pruning is not None and (self.pruning.starts_dense or self.loss is not None):
            return REFERENCE
        return None

    @property
    def ancestors(self) -> tuple[Variant, ...]:
        """The parent, its parent and so on."""
        return () if self.parent is None else (self.parent, *self.parent.ancestors)

    @property
    def is_paired(self) -> bool:
        """Whether member m depends on member m of the reference."""
        return REFERENCE in self.ancestors

    @property
    def trains(self) -> bool:
        """Whether its members are trained, and not only converted."""
        if self.quantization is not None:
            return self.quantization_aware is not None
        return self.pruning is None or self.pruning.trains

    @property
    def plain(self) -> Variant | None:
        """The same variant of the plain loss; None where this is it."""
        return None if self.loss is None else self.model_copy(update={"loss": None})

    @property
    def sparsity(self) -> float:
        return 0.0 if self.pruning is None else self.pruning.sparsity


REFERENCE = Variant()

_TERM_IDS = {"cross_entropy": "ce", "logit_pairing": "lp", "distillation": "kd"}


def loss_id(loss: LabelPreservingLoss) -> str:
    """Reads like `ce_lp`, `kd4` (its temperature), `ce_kd4-softadapt`, `ce_lp-fixed_1_0.5`."""
    terms = [_TERM_IDS[term] + (f"{loss.temperature:g}" if term == "distillation" else "") for term in loss.terms]
    weighting = loss.weighting
    if weighting.kind == "uniform":
        return "_".join(terms)
    weights = [f"{weight:g}" for weight in weighting.weights] if isinstance(weighting, FixedWeights) else []
    return "_".join(terms) + "-" + "_".join([weighting.kind, *weights])


def _sparsity_text(sparsity: float) -> str:
    """At least two decimals, more where they are needed: 0.90, 0.995."""
    text = f"{sparsity:.10f}".rstrip("0")
    return text if len(text) >= 4 else f"{sparsity:.2f}"


# --------------------------------------------------------------------------------------------------------- grids


def expand(grids: Sequence[VariantGrid]) -> list[Variant]:
    """Every variant once, the reference first and parents before their children.

    A variant's ancestors come along where no grid names them, and so does the variant of the plain loss. Raises
    RecipeError where two grids give one variant different settings.
    """
    variants = {REFERENCE_ID: REFERENCE}
    for index, grid in enumerate(grids):
        for variant in _variants_of(grid):
            plain = () if variant.plain is None else (*variant.plain.ancestors, variant.plain)
            for needed in (*plain, *variant.ancestors, variant):
                known = variants.setdefault(needed.variant_id, needed)
                if known != needed:
                    raise RecipeError(
                        f"variants.{index}: {needed.variant_id} is described twice with different settings; give each "
                        "sparsity and scope one pruning schedule and fine-tuning, and each loss one weighting"
                    )
    return sorted(variants.values(), key=lambda variant: len(variant.ancestors))


def _variants_of(grid: VariantGrid) -> Iterator[Variant]:
    if grid.preset is not None:
        for part in grids_of(grid.preset, grid.sparsities):
            yield from _variants_of(part)
        return
    for pruning in [None] if grid.pruning is None else _prunings(grid.pruning):
        for loss in grid.losses or (None,):
            for scheme in grid.quantization or (None,):
                yield Variant(
                    pruning=pruning,
                    loss=loss,
                    quantization=scheme,
                    quantization_aware=grid.quantization_aware,
                )


_PRUNING: TypeAdapter[Pruning] = TypeAdapter(Pruning)
"""A grid's settings one by one are those of a pruning, field by field, but for scope and sparsity."""


def _prunings(grid: PruningGrid) -> list[Pruning]:
    if isinstance(grid, NMPruningGrid):
        return [_n_m(grid, pattern) for pattern in grid.patterns]
    settings: list[dict[str, Any]] = [
        {"scope": scope, "sparsity": sparsity} for scope in grid.scopes for sparsity in grid.sparsities
    ]
    shared = {name: getattr(grid, name) for name in type(grid).model_fields if name not in ("scopes", "sparsities")}
    return [_PRUNING.validate_python(shared | setting) for setting in settings]


def _n_m(grid: NMPruningGrid, pattern: str) -> NMPruning:
    num_kept, size = map(int, pattern.split(":"))
    sparsity = 1 - num_kept / size
    return NMPruning(kind="n_m", scope="layer", sparsity=sparsity, pattern=pattern, fine_tuning=grid.fine_tuning)
