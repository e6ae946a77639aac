"""What keeping a member's state in the middle of its training costs.

    python benchmarks/saving.py [--storage URI]

The state is that of SGD with momentum and of gradual pruning: weights, momentum, masks. Training stands still while it
is copied; it is put into bytes and written beside training, where that costs the processor time that is told.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import numpy as np
import torch
from machine import machine
from torch import nn

from pie_ray.compress.pruning.masks import FixedMasks, prunable_weights
from pie_ray.config import ResNetModel
from pie_ray.identity import make_plan
from pie_ray.models import build_network
from pie_ray.recipe import parse_recipe
from pie_ray.saved_states import MemberStates
from pie_ray.store import Storage, paths
from pie_ray.training import choose_device
from pie_ray.training.saving import TrainingParts

RECIPE = """
name: saving
data: {kind: digits}
model: {kind: resnet18}
training: {epochs: 1}
population: {num_members: 1}
variants: [{pruning: {kind: magnitude, sparsities: [0.5]}}]
"""
SECONDS_BETWEEN = 600.0


def trained(kind: str, device: torch.device) -> TrainingParts:
    """A network after one step."""
    network = build_network(
        ResNetModel.model_validate({"kind": kind}), num_classes=1000, num_channels=3, image_size=64, seed=0
    ).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    nn.functional.cross_entropy(
        network(torch.randn(2, 3, 64, 64, device=device)), torch.zeros(2).long().to(device)
    ).backward()
    optimizer.step()
    return TrainingParts(network, optimizer, {"method": FixedMasks.of_zeros(prunable_weights(network, "layer"))})


def measure(parts: TrainingParts, storage: Storage, device: torch.device, num_rounds: int) -> tuple[int, list[float]]:
    """Bytes; medians of the seconds that training stands still, that writing takes, and its processor's."""
    spec = make_plan(parse_recipe(RECIPE)).members[0]
    states = MemberStates(spec, storage, device=device, precision="float32", minutes=10.0)
    rounds = []
    for _ in range(num_rounds):
        started = time.perf_counter()
        state = parts.state(1, torch.zeros(()))
        copied, processor = time.perf_counter(), time.process_time()
        states.keep(state)
        states.wait()
        rounds.append((copied - started, time.perf_counter() - copied, time.process_time() - processor))
    num_bytes = len(storage.read_bytes(paths.training_state(spec.variant_id, spec.seed)))
    return num_bytes, [float(seconds) for seconds in np.median(rounds, axis=0)]


def main() -> int:
    parser = argparse.ArgumentParser(description="What keeping a member's state costs.")
    parser.add_argument("--storage", help="folder or address; a temporary folder where it is left out")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    device = choose_device()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{machine('torch')}; on {where}\n")
    print("| network | bytes | stands still, s | written in, s | of it processor, s | of 10 minutes |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(asked.storage or folder)
        for kind in ("resnet18", "resnet50"):
            num_bytes, (still, written, processor) = measure(trained(kind, device), storage, device, asked.rounds)
            share = (still + processor) / SECONDS_BETWEEN
            print(f"| {kind} | {num_bytes / 1e6:.0f} M | {still:.2f} | {written:.2f} | {processor:.2f} | {share:.2%} |")
        storage.delete(paths.training_state("dense", 0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
