"""What is known of a finished member, and how a sweep's results are passed between rooms."""

from __future__ import annotations

from typing import Literal

from .config import Config

Arithmetic = Literal["native", "int8", "simulated"]
"""How a member computes: `native` in its own type, `int8` in int8 kernels, `simulated` with int8 rounding in floats."""


Granularity = Literal["none", "channel", "tensor", "image"]
"""What has a scale of its own: nothing, an output channel's weights, all inputs of a layer, or those of one image."""


class QuantizationFacts(Config):
    """What a quantized member's rounding covers."""

    weight_bits: int
    weight_granularity: Granularity
    input_bits: int
    """Of the covered layers' inputs; 32 are float32, not rounded."""
    input_granularity: Granularity
    covered: tuple[str, ...]
    """Names of the layers; sums, biases in int8 schemes and everything between the layers stay float32."""
    covered_fraction: float
    """Share of the network's parameters that is stored in `weight_bits`."""
    not_covered: dict[str, int]
    """Number of parameters in float32, by the kind of the layer."""
    calibration_images: tuple[int, int] | None = None
    """First and one past the last index in the training set, in its order; None where none were looked at."""


class MemberRecord(Config):
    """One complete member; stored as JSON beside its predictions, and what a tracker logs."""

    member_id: str
    variant_id: str
    seed: int
    parent_id: str | None = None
    sparsity: float = 0.0
    quantization: str | None = None
    arithmetic: Arithmetic = "native"
    quantization_facts: QuantizationFacts | None = None
    """None of a member that is not quantized, and in records that are older than this."""
    num_parameters: int
    num_prunable: int
    num_nonzero: int
    achieved_sparsity: float
    """Share of exact zeros among the weights that the variant's scope may prune, measured from the weights; those that
    went with their channels count as zeros."""
    checkpoint_bytes: int
    compressed_bytes: int | None = None
    """The checkpoint's bytes after zstd; None in records that are older than this figure and the next two."""
    multiply_adds: int | None = None
    """Of one image, zeros and all."""
    multiply_adds_nonzero: int | None = None
    """Of these the ones whose weight is not zero."""
    train_loss: float | None = None
    """Mean loss of the last epoch; None for a derived member."""
    top1: dict[str, float] = {}
    """Share of correct predictions by evaluation set; of attributes learned jointly, the mean over attributes of the
    share that is right when a logit above 0 predicts that an example has one."""
    train_seconds: float | None = None
    """Seconds to train or derive, of members trained together each one's share; None where a later attempt went on from
    the checkpoint."""
    num_packed: int | None = None
    """Members that were trained together as one network, this one included; None where train_seconds is, and in records
    that are older than this figure."""
    evaluate_seconds: float = 0.0
    device: str = "cpu"
    precision: str = "float32"
    versions: dict[str, str] = {}


class Latency(Config):
    """How long a variant's network takes for a batch: the median over rounds, in which all variants took turns."""

    variant_id: str
    member_id: str
    """The member that was measured: one stands for all, since a dense kernel takes as long whatever the weights are."""
    arithmetic: Arithmetic = "native"
    """On the measuring device; a member may have been made on another."""
    batch_size: int
    median_ms: float
    low_ms: float | None
    """Lower quartile over rounds; of one round there is none."""
    high_ms: float | None
    reference_ms: float
    """Median of the reference in float32, in the same rounds."""
    speedup: float
    """How many times as fast as that: the median over rounds of the ratio in a round."""
    speedup_low: float | None
    speedup_high: float | None
    num_rounds: int


class LatencyRecord(Config):
    """One measurement of a sweep's variants, and what it was measured on."""

    latencies: tuple[Latency, ...]
    left_out: tuple[int, ...] = ()
    """Batch sizes that would have taken too long."""
    device: str
    processor: str
    num_threads: int
    versions: dict[str, str] = {}
    measured_at: str
    seconds: float
    """That it took."""


class VariantSize(Config):
    """How many members a variant of an adaptive population has or is to have, and what was last found of it."""

    variant_id: str
    num_members: int
    num_judged: int | None = None
    """Members that the figures are of; None of the reference, and before the variant is judged."""
    jaccard: float | None = None
    """Similarity of the PIEs that two repetitions with as many members would find; None where it is not known."""
    low: float | None = None
    high: float | None = None
    """Ends over all curves that fit."""
    because: str | None = None
    """Why it has no more members; None of one that grows, and of the reference, which has as many as the largest."""


class PopulationRecord(Config):
    """The sizes of an adaptive population, as its driver last decided; a sweep goes on from here."""

    settings: dict[str, float | int | str]
    """What the decisions follow; of other settings they are made anew."""
    evaluation_set: str
    """That the variants are judged on."""
    num_rounds: int = 0
    """Decisions so far."""
    is_final: bool = False
    variants: tuple[VariantSize, ...]
    """In the plan's order, the reference first."""
