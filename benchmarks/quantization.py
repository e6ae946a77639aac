"""How fast quantized networks compute: ResNet-18 in float32, bfloat16, our int8 schemes and torchao's.

    python benchmarks/quantization.py [--rounds 7] [--threads 1] [--no-peer]

Medians of milliseconds a batch; all networks take turns in every round, so that they share the machine's moods. The
peer is PT2E: torch.export, torchao's X86InductorQuantizer, torch.compile with freezing, one compilation for each case.
`error` is the relative error of the logits against float32 (norms) on noise that no network was calibrated on; batch
norms hold statistics of noise, without which activations of random weights would grow from layer to layer. The peer
needs `pip install torchao` and g++.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from machine import machine
from torch import Tensor, nn

from pie_ray.compress.quantization import quantize
from pie_ray.config import ResNetModel
from pie_ray.models import build_network
from pie_ray.training import make_route

Forward = Callable[[Tensor], Tensor]

CASES = {32: ("small", (1, 128)), 224: ("imagenet", (1, 8))}
"""Image size: stem, batch sizes."""


@dataclass
class Entrant:
    name: str
    forward: Forward
    compile_seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)


def trained_like(size: int, stem: str) -> nn.Module:
    """ResNet-18 of random weights whose batch norms have seen noise."""
    model = ResNetModel.model_validate({"kind": "resnet18", "stem": stem})
    network = build_network(model, num_classes=1000, num_channels=3, image_size=size, seed=0).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            network(noise(16, size))
    return network.eval()


def noise(num_images: int, size: int) -> Tensor:
    return torch.randn(num_images, 3, size, size).contiguous(memory_format=torch.channels_last)


def entrants(network: nn.Module, size: int, batch: int, with_peer: bool) -> list[Entrant]:
    calibration = noise(16, size)
    found = []
    for precision in ("float32", "bfloat16"):
        forward = make_route(network, arithmetic="native", precision=precision, image_shape=(3, size, size))
        found.append(Entrant(precision, forward))
    for scheme in ("static_int8", "dynamic_int8"):
        quantized = quantize(network, scheme, calibration_images=calibration)
        found.append(Entrant(f"{scheme} ({quantized.arithmetic})", quantized.forward))
    return [*found, compiled_peer(network, calibration, batch)] if with_peer else found


def compiled_peer(network: nn.Module, calibration: Tensor, batch: int) -> Entrant:
    """PT2E's static int8, compiled for this batch."""
    from torch._inductor import config
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    config.freezing = True
    # What torch and torchao say of each other is no news to whoever runs this.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    example = calibration[: min(batch, len(calibration))]
    with torch.no_grad():
        shapes = None if batch == 1 else ({0: torch.export.Dim("batch", min=2, max=1024)},)
        exported = torch.export.export(network, (example,), dynamic_shapes=shapes, strict=True).module()
        quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(exported, quantizer)
        for images in calibration.split(len(example)):
            prepared(images)
        converted = move_exported_model_to_eval(convert_pt2e(prepared))
        compiled: Forward = torch.compile(converted)
        compiled(noise(batch, calibration.shape[-1]))
    return Entrant("PT2E static int8, compiled", compiled, compile_seconds=time.perf_counter() - started)


def measure(found: list[Entrant], images: Tensor, num_rounds: int) -> None:
    with torch.inference_mode():
        for number in range(num_rounds + 1):
            for entrant in found:
                started = time.perf_counter()
                entrant.forward(images)
                if number:  # the first round warms up
                    entrant.milliseconds.append((time.perf_counter() - started) * 1e3)


def row(size: int, batch: int, entrant: Entrant, reference: Entrant, images: Tensor) -> str:
    with torch.inference_mode():
        wanted, logits = reference.forward(images).float(), entrant.forward(images).float()
    error = float((logits - wanted).norm() / wanted.norm())
    median, base = statistics.median(entrant.milliseconds), statistics.median(reference.milliseconds)
    seconds = f"{entrant.compile_seconds:.1f}" if entrant.compile_seconds else ""
    return f"| {size} px, {batch} | {entrant.name} | {median:.1f} | {base / median:.2f} | {error:.4f} | {seconds} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    libraries = ("torch",) if asked.no_peer else ("torch", "torchao")
    print(f"{machine(*libraries)}; {torch.backends.cpu.get_cpu_capability()}, threads: {asked.threads}\n")
    print("| images | network | ms a batch | times as fast as float32 | error | s to compile |")
    print("|---|---|---|---|---|---|")
    for size, (stem, batches) in CASES.items():
        network = trained_like(size, stem)
        for batch in batches:
            found = entrants(network, size, batch, with_peer=not asked.no_peer)
            images = noise(batch, size)
            measure(found, images, asked.rounds)
            for entrant in found:
                print(row(size, batch, entrant, found[0], images), flush=True)


if __name__ == "__main__":
    main()
