"""Members an hour by size of the network: alone, and in packs (`training.pack`), in two processes side by side.

    python benchmarks/packing.py

A row is a size and a way: each process, with one thread, trains its members one after the other or as one network. The
last column is the share of test labels in which a packed member differs from the lone one of the same seed; the row
`two seeds` has the share in which two lone members of different seeds differ, against which it is to be held.
On CUDA a fraction of a GPU a member (`execution.gpus_per_member`) is the other way: processes that share the device.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from machine import machine
from side_by_side import HUGE_PAGES, run_side_by_side

PACKS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Size:
    """One network on one image set; `num_train` images of it, so that a row takes seconds."""

    name: str
    data: str
    model: dict[str, Any]
    batch_size: int
    num_train: int
    epochs: int


SIZES = [
    *(
        Size(f"digits 8x8, width {width}, batch {batch}", "digits", {"kind": "small_resnet", "width": width},
             batch, 1000, 6)
        for width in (8, 16)
        for batch in (16, 32, 64, 128)
    ),
    *(
        Size(f"Fashion-MNIST, width {width}, batch {batch}", "fashion_mnist", {"kind": "small_resnet", "width": width},
             batch, 4096, 2)
        for width, batch in ((8, 32), (8, 128), (16, 128))
    ),
    Size("noise 32x32x3, WRN-16-1, batch 128", "noise", {"kind": "wide_resnet", "depth": 16, "width": 1}, 128, 1024, 1),
    Size("noise 32x32x3, WRN-16-4, batch 128", "noise", {"kind": "wide_resnet", "depth": 16, "width": 4}, 128, 512, 1),
]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What one process trains; travels as JSON on its command line."""

    size: dict[str, Any]
    seeds: tuple[int, ...]
    pack: int
    share: float
    """Of the size's images, for quick looks."""


# --------------------------------------------------------------------------------------------- inside a process


def work(job: Job) -> None:
    """Load, say so, wait for the word, train, report seconds and predictions."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    size = Size(**job.size)
    images = load(size, max(2 * size.batch_size, int(size.num_train * job.share)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print("ready", flush=True)
    sys.stdin.readline()
    started, cpu_started = time.perf_counter(), time.process_time()
    networks = []
    for start in range(0, len(job.seeds), job.pack):
        networks += train_members(size, job.seeds[start : start + job.pack], images, device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    labels = [predicted(network, images, device) for network in networks]
    accuracies = [(label == images.test.labels).double().mean().item() for label in labels]
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "accuracies": accuracies,
                "labels": {seed: label.tolist() for seed, label in zip(job.seeds, labels, strict=True)},
            }
        ),
        flush=True,
    )


def load(size: Size, num_train: int) -> Any:
    """Splits, of which the training images are `num_train`."""
    import numpy as np
    import torch

    from pie_ray.config import DigitsData, FashionMnistData
    from pie_ray.data import ImageSet, Splits, load_splits

    if size.data == "digits":
        return load_splits(DigitsData(kind="digits", num_train=min(num_train, 1000)))
    if size.data == "fashion_mnist":
        return load_splits(FashionMnistData(kind="fashion_mnist", num_train=num_train))
    generator = torch.Generator().manual_seed(0)

    def noise(name: str, num_images: int) -> ImageSet:
        return ImageSet(
            images=torch.randint(256, (num_images, 3, 32, 32), dtype=torch.uint8, generator=generator),
            labels=torch.randint(10, (num_images,), generator=generator),
            example_ids=np.arange(num_images),
            keys=tuple(f"{name}[{row}]" for row in range(num_images)),
            class_names=tuple(map(str, range(10))),
        )

    return Splits(train=noise("train", num_train), test=noise("test", 200))


def train_members(size: Size, seeds: tuple[int, ...], splits: Any, device: Any) -> list[Any]:
    """One member alone by the lone path; several as one network."""
    import torch
    from pydantic import TypeAdapter

    from pie_ray.config import Augmentation, CosineSchedule, Model, Training
    from pie_ray.models import build_network
    from pie_ray.training import Batches, PackedBatches, PackedLoss, PackedNetwork, train

    train_set = splits.train
    config = Training(
        epochs=size.epochs,
        batch_size=size.batch_size,
        schedule=CosineSchedule(kind="cosine", warmup_epochs=0.5),
        augmentation=Augmentation(crop_padding=1),
    )
    model: Any = TypeAdapter(Model).validate_python(size.model)
    networks = [
        build_network(
            model,
            num_classes=train_set.num_classes,
            num_channels=train_set.num_channels,
            image_size=train_set.image_size,
            seed=seed,
        ).to(device)
        for seed in seeds
    ]
    batches = [
        Batches(
            train_set.images,
            train_set.labels,
            statistics=train_set.channel_statistics,
            batch_size=config.batch_size,
            augmentation=config.augmentation,
            generator=torch.Generator().manual_seed(seed),
            device=device,
        )
        for seed in seeds
    ]
    if len(seeds) == 1:
        train(networks[0], batches[0], config)
        return networks
    packed = PackedNetwork(networks)
    train(packed, PackedBatches(batches), config, objective=PackedLoss(config.label_smoothing))
    return list(packed.release())


def predicted(network: Any, splits: Any, device: Any) -> Any:
    """Labels of the test images."""
    import torch

    from pie_ray.training import predict

    parts = predict(
        network, splits.test.images, statistics=splits.train.channel_statistics, batch_size=500, device=device
    )
    return torch.cat([logits.argmax(1) for _, logits in parts])


# ------------------------------------------------------------------------------------------ in the measuring one


def measure(jobs: list[Job]) -> tuple[float, float, dict[int, list[int]], list[float]]:
    """Start the jobs together; members an hour, processor seconds a member, labels by seed, accuracies."""
    results = run_side_by_side(__file__, jobs, HUGE_PAGES)
    num_members = sum(len(job.seeds) for job in jobs)
    labels = {int(seed): row for result in results for seed, row in result["labels"].items()}
    return (
        num_members * 3600 / max(result["seconds"] for result in results),
        sum(result["cpu_seconds"] for result in results) / num_members,
        labels,
        [accuracy for result in results for accuracy in result["accuracies"]],
    )


def differing(pairs: list[tuple[list[int], list[int]]]) -> float:
    """Mean share of labels that differ."""
    shares = [sum(a != b for a, b in zip(*pair, strict=True)) / len(pair[0]) for pair in pairs]
    return sum(shares) / len(shares)


def benchmark(size: Size, options: argparse.Namespace) -> None:
    lone: tuple[float, float] | None = None
    lone_labels: dict[int, list[int]] = {}
    print(f"\n{size.name}: {options.processes} processes side by side")
    print(f"  {'':<12}{'members/h':>10}{'ratio':>7}{'cpu s/member':>14}{'ratio':>7}{'top-1':>8}{'labels differ':>15}")
    for pack in options.packs:
        # A lone process needs few members to be timed; a pack trains all of its own at once.
        num_each = max(pack, options.lone, 2)
        jobs = [
            Job(asdict(size), tuple(range(number * 100, number * 100 + num_each)), pack, options.share)
            for number in range(options.processes)
        ]
        per_hour, cpu, labels, accuracies = measure(jobs)
        if lone is None:
            lone, lone_labels = (per_hour, cpu), labels
            told = f"{differing(list(pairwise(labels.values()))):>10.4f} two seeds"
        else:
            common = [(row, lone_labels[seed]) for seed, row in labels.items() if seed in lone_labels]
            told = f"{differing(common):>10.4f} from lone"
        name = "alone" if pack == 1 else f"packs of {pack}"
        print(
            f"  {name:<12}{per_hour:>10.0f}{per_hour / lone[0]:>7.2f}{cpu:>14.3f}{lone[1] / cpu:>7.2f}"
            f"{sum(accuracies) / len(accuracies):>8.4f}{told}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="", help="part of the names of the sizes to measure; default all")
    parser.add_argument("--packs", type=int, nargs="+", default=list(PACKS), help="the first is what ratios are to")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--lone", type=int, default=4, help="members a process trains alone")
    parser.add_argument("--share", type=float, default=1.0, help="of the training images")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        fields = json.loads(options.job)
        work(Job(**fields | {"seeds": tuple(fields["seeds"])}))
        return
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{machine('torch')}; on {device}")
    for size in SIZES:
        if options.sizes in size.name:
            benchmark(size, options)
    if torch.cuda.is_available():
        print("\nfractions of a GPU: the rows `alone` with --processes 4, 8, ... are members that share the device")
    else:
        print("\nCUDA, packs and fractions of a GPU: not measured")


if __name__ == "__main__":
    main()
