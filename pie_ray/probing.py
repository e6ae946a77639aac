"""How long a member takes on this machine, from a few of its own steps: the recipe's network, images and engine.

Nothing is kept. One network is trained for some steps with nothing else at work, predicts on some test images and is
converted as the recipe's variants are; what a whole member takes is arithmetic from there (`costing`).
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .compress.quantization import quantize
from .config import QuantizationScheme, Recipe
from .costing import Costs, NodeOffer, VariantCost, training_epochs
from .data import EvaluationImages, Suites, load_splits, open_suites
from .identity import MemberSpec, Plan
from .making import MemberFit, calibration_images
from .prepared import parts
from .store import MemorySink, Storage, prediction_batch, predictions_size
from .suites import keeps_logits
from .training import Alone, choose_device, compiles, images_per_pass, make_route, predict
from .variants import Variant
from .workplace import Workplace

WARM_UP_STEPS = 3
NUM_WRITTEN = 2_000
"""Rows that bytes are measured of."""
NUM_MADE = 8
"""Images made of each corrupted set."""
RECORD_BYTES = 2_000
"""Of a member's record; a quantized one's names its layers."""
HEADER_BYTES = 4_000
"""Of a checkpoint: names, shapes and facts."""


def _clock(device: torch.device) -> float:
    """Seconds, of which only differences mean something; on the processor those that it worked for this process alone.

    So a busy machine tells what a quiet one takes. A thread that waits for the others of its process works, too.
    """
    if device.type == "cpu":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize()
    return time.perf_counter()


class _EnoughError(Exception):
    """Leaves the training."""


@dataclass(frozen=True)
class Probe:
    """What was measured, in seconds."""

    step: float
    """Of one process, on its share of a batch."""
    first_step: float
    """Beyond a step: what is compiled once a member, and what a process does once."""
    compiles: bool
    num_steps: int
    steps_per_epoch: int
    image: float
    """A prediction by a network in floating point."""
    setup: float
    """To build and describe a network."""
    converted: dict[str, tuple[float, float, float]]
    """By scheme: seconds to convert, seconds a prediction, bytes of a checkpoint."""
    row_bytes: dict[str, float]
    """Of a prediction, by suite."""
    row_seconds: float
    checkpoint_bytes: float


def this_machine() -> NodeOffer:
    """What members may have here."""
    resources = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    return NodeOffer("this machine", resources, limit=1)


def probe(recipe: Recipe, plan: Plan, seconds: float) -> Costs:
    """Measure for about `seconds`, with as many threads as a member has. Raises DataError and ModelError."""
    torch.set_num_threads(recipe.execution.cpus_per_member)
    splits = load_splits(recipe.data, recipe.execution.cache)
    suites = open_suites(recipe.evaluation.suites, splits)
    device = choose_device()
    with tempfile.TemporaryDirectory(prefix="pie_ray-plan-") as scratch:
        workplace = Workplace(recipe, splits, Storage(scratch), MemorySink())
        found = _measure(workplace, suites, plan, device, seconds)
    costs = {variant.variant_id: _variant_cost(variant, recipe, found, suites) for variant in plan.variants}
    made = [images for sets in suites.values() for images in sets if not images.is_in_memory]
    image_seconds, image_bytes = (sum(column) for column in zip((0.0, 0.0), *map(_made, made), strict=True))
    return Costs(
        by_variant=costs,
        prediction_bytes={
            suite: found.row_bytes[suite] * sum(map(len, sets)) + HEADER_BYTES for suite, sets in suites.items()
        },
        record_bytes=RECORD_BYTES,
        measured=_in_words(found, device, recipe),
        image_seconds=image_seconds,
        image_bytes=image_bytes,
        num_image_files=sum(len(parts(images)) for images in made),
    )


def _in_words(found: Probe, device: torch.device, recipe: Recipe) -> str:
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {os.cpu_count()} CPUs"
    threads = recipe.execution.cpus_per_member
    if recipe.execution.gpus_per_member and device.type == "cpu":
        where += "; members ask for a GPU, and there is none here"
    return (
        f"measured here: {found.num_steps:,} training steps of {1000 * found.step:.3g} ms, predictions of "
        f"{1e6 * found.image:,.0f} µs an image ({where}; {threads} thread{'s' if threads > 1 else ''})"
    )


def _measure(workplace: Workplace, suites: Suites, plan: Plan, device: torch.device, seconds: float) -> Probe:
    spec = plan.members[0]
    started = time.process_time()
    network = workplace.skeleton(spec.generator_seed).to(device)
    setup = time.process_time() - started
    steps, first, steps_per_epoch = _train(spec, workplace, network, device, seconds)
    network.eval()
    image = _seconds_per_image(network, "native", workplace, device, seconds / 4)
    num_bytes = sum(tensor.nbytes for tensor in network.state_dict().values()) + HEADER_BYTES
    row_bytes, row_seconds = _rows(workplace, suites, network, device)
    schemes = {v.quantization for v in plan.variants if v.quantization is not None}
    return Probe(
        step=float(np.median(steps)),
        first_step=first,
        compiles=compiles(workplace.recipe.training, device),
        num_steps=len(steps),
        steps_per_epoch=steps_per_epoch,
        image=image,
        setup=setup,
        converted={scheme: _convert(network, scheme, workplace, device, seconds / 8) for scheme in sorted(schemes)},
        row_bytes=row_bytes,
        row_seconds=row_seconds,
        checkpoint_bytes=num_bytes,
    )


def _train(
    spec: MemberSpec, workplace: Workplace, network: nn.Module, device: torch.device, seconds: float
) -> tuple[list[float], float, int]:
    """Seconds of steps, what the first took beyond one, and steps an epoch."""
    first_of_team = Alone((0, workplace.recipe.training.num_processes))
    fit = MemberFit(spec, workplace, device, None, lambda epoch, loss: None, team=first_of_team)
    ends, deadline = [_clock(device)], time.monotonic() + seconds

    def after_step(step: int) -> None:
        ends.append(_clock(device))
        if len(ends) > WARM_UP_STEPS + 3 and time.monotonic() > deadline:
            raise _EnoughError

    with suppress(_EnoughError):
        fit(network, after_step=after_step)
    taken = np.diff(ends)
    steps = taken[WARM_UP_STEPS:] if len(taken) > 2 * WARM_UP_STEPS else taken
    return steps.tolist(), max(float(taken[0] - np.median(steps)), 0.0), fit.steps_per_epoch


def _seconds_per_image(
    network: nn.Module, arithmetic: str, workplace: Workplace, device: torch.device, seconds: float
) -> float:
    recipe, test = workplace.recipe, workplace.splits.test
    precision = recipe.evaluation.precision
    forward = make_route(network, arithmetic=arithmetic, precision=precision, image_shape=workplace.image_shape)
    size = images_per_pass(*workplace.image_shape[1:], device)
    images = test.images[: max(size, min(recipe.evaluation.batch_size, len(test)))]

    def once() -> int:
        batches = predict(
            forward,
            images,
            statistics=workplace.splits.train.channel_statistics,
            batch_size=recipe.evaluation.batch_size,
            device=device,
        )
        return sum(len(logits) for _, logits in batches)

    return _repeated(once, seconds, device)


def _repeated(once: Callable[[], int], seconds: float, device: torch.device) -> float:
    """Seconds for one of what `once` does some of; the first time warms up."""
    once()
    started, deadline, number = _clock(device), time.monotonic() + seconds, 0
    while number == 0 or time.monotonic() < deadline:
        number += once()
    return (_clock(device) - started) / number


def _convert(
    network: nn.Module, scheme: QuantizationScheme, workplace: Workplace, device: torch.device, seconds: float
) -> tuple[float, float, float]:
    images = calibration_images(workplace, device)
    started = _clock(device)
    quantized = quantize(network, scheme, calibration_images=images)
    taken = _clock(device) - started
    image = _seconds_per_image(quantized.network.eval(), quantized.arithmetic, workplace, device, seconds)
    return taken, image, sum(tensor.nbytes for tensor in quantized.state.values()) + HEADER_BYTES


def _rows(
    workplace: Workplace, suites: Suites, network: nn.Module, device: torch.device
) -> tuple[dict[str, float], float]:
    """Bytes of a stored prediction by suite, and seconds to write one: of this network's, on the first test images."""
    test, recipe = workplace.splits.test, workplace.recipe
    images = test.images[:NUM_WRITTEN]
    statistics = workplace.splits.train.channel_statistics
    batches = predict(network, images, statistics=statistics, batch_size=len(images), device=device)
    logits = torch.cat([logits for _, logits in batches])
    sizes, seconds = {}, 0.0
    for suite, sets in suites.items():
        started = time.process_time()  # one thread's work, whatever the device
        batch = prediction_batch(
            sets[0].name,
            test.example_ids[: len(images)],
            test.labels[: len(images)].numpy(),
            logits.numpy(),
            store_logits=keeps_logits(recipe.evaluation, suite, workplace.splits.train.num_classes),
        )
        sizes[suite] = predictions_size(batch)
        seconds = max(seconds, (time.process_time() - started) / len(images))
    return sizes, seconds


def _made(images: EvaluationImages) -> tuple[float, float]:
    """Seconds to make all images of a set, and their bytes before compression."""
    number = min(NUM_MADE, len(images))
    images.read(0, 1)
    on_processor = torch.device("cpu")
    started = _clock(on_processor)
    images.read(0, number)
    seconds = (_clock(on_processor) - started) * len(images) / number
    return seconds, float(len(images) * np.prod(images.image_shape))


def _variant_cost(variant: Variant, recipe: Recipe, found: Probe, suites: Suites) -> VariantCost:
    num_images = sum(len(images) for sets in suites.values() for images in sets)
    num_steps = training_epochs(variant, recipe.training) * found.steps_per_epoch
    # A loss that preserves labels, and training with rounding in the network, ask for another pass forward.
    own_images = recipe.training.batch_size // recipe.training.num_processes
    num_forward = own_images if variant.loss is not None or variant.quantization_aware else 0
    make = found.setup + num_steps * (found.step + num_forward * found.image)
    if num_steps and found.compiles:  # else what the first step takes longer is the process' own beginning
        make += found.first_step
    image, num_bytes = found.image, found.checkpoint_bytes
    if variant.quantization is not None:
        converting, image, num_bytes = found.converted[variant.quantization]
        make += converting
    return VariantCost(make, found.setup + num_images * (image + found.row_seconds), num_bytes)
