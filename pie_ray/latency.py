"""How long each variant's network takes to answer, beside the float32 reference in the same rounds. No Ray in here.

One member stands for a variant, on the CPU, by the route that its predictions took. All variants take turns, round by
round, so that whatever else the machine does slows them alike, and ratios are of one measurement.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from .analysis import Results
from .errors import StoreError
from .identity import MemberSpec
from .making import read_own_checkpoint, restore_computing
from .models import build_network
from .records import Arithmetic, Latency, LatencyRecord
from .store import read_latency
from .training import make_route
from .training.routes import Forward
from .variants import REFERENCE_ID

BATCH_SIZES = (1, 128)
SECONDS = 20.0

_DEVICE = torch.device("cpu")
_VISIT_SECONDS = 0.01
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 9
_LONGEST_PASS = 6.0
"""A batch size of which once through all variants would take so many times its seconds is left out."""
_HEAT_PARAMETERS = 250_000_000
"""Networks that are held in memory at once: 1 GB in float32, before copies."""


@dataclass(frozen=True)
class _Entrant:
    """A network that is measured."""

    spec: MemberSpec
    arithmetic: Arithmetic
    forward: Forward


def members_to_measure(results: Results) -> list[MemberSpec]:
    """Of each variant the member of the lowest seed that is made and has a checkpoint; the reference's first."""
    chosen: dict[str, MemberSpec] = {}
    for spec in results.plan.members:
        record = results.found.made.get(spec.member_id)
        if record is not None and record.checkpoint_bytes:
            known = chosen.setdefault(spec.variant_id, spec)
            chosen[spec.variant_id] = min(known, spec, key=lambda member: member.seed)
    return [chosen[variant.variant_id] for variant in results.plan.variants if variant.variant_id in chosen]


def is_measured(results: Results) -> bool:
    """Whether the latencies on the storage are of these very members: one that joined has all measured again."""
    record = read_latency(results.storage)
    measured = set() if record is None else {latency.member_id for latency in record.latencies}
    return measured == {spec.member_id for spec in members_to_measure(results)}


def measure_latency(
    results: Results, *, batch_sizes: Sequence[int] = BATCH_SIZES, num_threads: int = 1, seconds: float = SECONDS
) -> LatencyRecord:
    """Measure every variant that has a member with a checkpoint.

    Args:
        batch_sizes: images that a network is given at once.
        num_threads: of torch, while it is measured.
        seconds: to take, about. Large networks take three rounds at least, or one where a round takes longer than
            their share; a batch size that would take minutes is left out.

    Raises StoreError where no member of the reference has a checkpoint.
    """
    specs = members_to_measure(results)
    if not specs or specs[0].variant_id != REFERENCE_ID:
        raise StoreError(f"{results.storage}: no member of the dense reference has a checkpoint to be measured beside")
    started = time.perf_counter()
    heats = _heats(results, specs)
    latencies: list[Latency] = []
    with _threads(num_threads), torch.inference_mode():
        for heat in heats:
            latencies += _measure_heat(results, heat, sorted(set(batch_sizes)), seconds / len(heats))
    measured = {latency.batch_size for latency in latencies}
    return LatencyRecord(
        latencies=tuple({(latency.variant_id, latency.batch_size): latency for latency in latencies}.values()),
        left_out=tuple(size for size in sorted(set(batch_sizes)) if size not in measured),
        device=_DEVICE.type,
        processor=_processor(),
        num_threads=num_threads,
        versions={"torch": torch.__version__, "python": platform.python_version()},
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
    )


def _heats(results: Results, specs: Sequence[MemberSpec]) -> list[list[MemberSpec]]:
    """As many variants at a time as memory has room for, the reference with each."""
    reference, *others = specs
    num_parameters = results.found.made[reference.member_id].num_parameters
    size = max(_HEAT_PARAMETERS // max(num_parameters, 1) - 1, 1)
    return [[reference, *others[start : start + size]] for start in range(0, max(len(others), 1), size)]


def _measure_heat(
    results: Results, specs: Sequence[MemberSpec], batch_sizes: Sequence[int], seconds: float
) -> list[Latency]:
    precision = results.recipe.evaluation.precision
    entrants = [_entrant(results, spec, precision) for spec in specs]
    # The yardstick is the reference in float32, whatever precision the sweep predicts in.
    yardstick = 0
    if precision != "float32":
        yardstick = len(entrants)
        entrants.append(_entrant(results, specs[0], "float32"))
    share, found, estimate = seconds / len(batch_sizes), [], 0.0
    for batch_size in batch_sizes:
        if estimate * batch_size > _LONGEST_PASS * share:
            break
        images = torch.randn(batch_size, *_image_shape(results), generator=torch.Generator().manual_seed(0))
        images = images.to(memory_format=torch.channels_last)
        times = _rounds([entrant.forward for entrant in entrants], images, share)
        estimate = sum(statistics.median(mine) for mine in times) / batch_size
        found += [
            _latency(entrant, batch_size, mine, times[yardstick])
            for entrant, mine in zip(entrants[: len(specs)], times, strict=False)
        ]
    return found


def _entrant(results: Results, spec: MemberSpec, precision: str) -> _Entrant:
    checkpoint, _ = read_own_checkpoint(spec, results.storage)
    channels, height, width = _image_shape(results)
    skeleton = build_network(
        results.recipe.model,
        num_classes=results.manifest.num_classes,
        num_channels=channels,
        image_size=height,
        seed=spec.generator_seed,
    )
    network, arithmetic = restore_computing(skeleton, spec.variant.quantization, checkpoint, _DEVICE)
    forward = make_route(
        network,
        arithmetic=arithmetic,
        precision="bfloat16" if precision == "bfloat16" else "float32",
        image_shape=(channels, height, width),
    )
    return _Entrant(spec, arithmetic, forward)


def _image_shape(results: Results) -> tuple[int, int, int]:
    if len(results.manifest.image_shape) != 3:
        raise StoreError(f"{results.storage}: its manifest is older than image_shape")
    channels, height, width = results.manifest.image_shape
    return channels, height, width


def _latency(entrant: _Entrant, batch_size: int, seconds: Sequence[float], reference: Sequence[float]) -> Latency:
    low, middle, high = _quartiles([1000 * mine for mine in seconds])
    slowest, ratio, fastest = _quartiles([theirs / mine for mine, theirs in zip(seconds, reference, strict=True)])
    return Latency(
        variant_id=entrant.spec.variant_id,
        member_id=entrant.spec.member_id,
        arithmetic=entrant.arithmetic,
        batch_size=batch_size,
        median_ms=middle,
        low_ms=low,
        high_ms=high,
        reference_ms=1000 * statistics.median(reference),
        speedup=ratio,
        speedup_low=slowest,
        speedup_high=fastest,
        num_rounds=len(seconds),
    )


def _quartiles(values: Sequence[float]) -> tuple[float | None, float, float | None]:
    """The median between them is there of one value, too."""
    if len(values) == 1:
        return None, values[0], None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


# ---------------------------------------------------------------------------------------------------------- timing


def _rounds(networks: Sequence[Forward], images: Tensor, seconds: float) -> list[list[float]]:
    """Seconds a batch, [networks][rounds], in about so many seconds.

    The first pass chooses kernels and memory and is not counted, unless passes take so long that it hardly matters.
    """
    started = time.perf_counter()
    first = [_visit(forward, images) for forward in networks]
    pass_seconds = time.perf_counter() - started
    if pass_seconds > seconds:
        return [[mine] for mine in first]
    num_left = seconds / pass_seconds - 1
    counted = [first] if num_left < _FEWEST_ROUNDS else []
    num_rounds = min(max(int(num_left), _FEWEST_ROUNDS - len(counted)), _MOST_ROUNDS)
    for index in range(num_rounds):
        counted.append(_pass(networks, images, backwards=index % 2 == 1))
    return [list(mine) for mine in zip(*counted, strict=True)]


def _pass(networks: Sequence[Forward], images: Tensor, *, backwards: bool) -> list[float]:
    """Once through all networks: in turns from the last to the first, so that none has always the same one before."""
    order = range(len(networks))
    times = {index: _visit(networks[index], images) for index in (reversed(order) if backwards else order)}
    return [times[index] for index in order]


def _visit(forward: Forward, images: Tensor) -> float:
    """Seconds of a call; of short ones the median of several but the first, which finds others' data in the caches."""
    times: list[float] = []
    started = time.perf_counter()
    while not times or time.perf_counter() - started < _VISIT_SECONDS:
        before = time.perf_counter()
        forward(images)
        times.append(time.perf_counter() - before)
    return statistics.median(times[1:] or times)


@contextmanager
def _threads(num_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processor() -> str:
    """Its name as the system tells it, or the kind of machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
