"""Seconds a member to 94 % on CIFAR-10, on one GPU: the fast recipe alone and in packs, beside a plain loop.

    python benchmarks/gpu.py --cifar10 data/cifar10

Plain: ResNet-18 with a 3 x 3 stem, a DataLoader with torchvision's transforms, SGD with a cosine, mixed precision in
channels_last. Ours: `training.preset: fast` on the same network, alone; and on a smaller one, alone, in a pack, and in
processes that share the GPU as `execution.gpus_per_member` has them. Each trains a first member, which compiles what is
compiled, and a second, which is timed. Where there is no GPU the rows say so; `--device cpu` with few images tries the
benchmark itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from machine import machine
from side_by_side import ProcessError, run_side_by_side

TARGET = 0.94


@dataclass(frozen=True)
class Job:
    """One process; travels as JSON on its command line."""

    engine: str
    network: str
    epochs: int
    num_together: int = 1
    path: str = ""
    num_train: int | None = None
    device: str = "cuda"
    seed: int = 0


NETWORKS: dict[str, dict[str, Any]] = {
    "ResNet-18": {"kind": "resnet18", "stem": "small"},
    "WRN-16-4": {"kind": "wide_resnet", "depth": 16, "width": 4},
}


# --------------------------------------------------------------------------------------------- inside a process


def work(job: Job) -> None:
    """Load, train to warm up, say so, wait for the word, train, report seconds and accuracies."""
    import torch

    from pie_ray.config import ParquetData
    from pie_ray.data import load_splits

    splits = load_splits(ParquetData(kind="parquet", path=job.path, num_train=job.num_train))
    train = {"ours": train_ours, "plain": train_plain}[job.engine]
    train(replace(job, epochs=1), splits)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    networks = train(job, splits)
    if job.device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "top1": [accuracy(each, splits, job) for each in networks]}), flush=True)


def make_network(job: Job, splits: Any, seed: int) -> Any:
    from pydantic import TypeAdapter

    from pie_ray.config import Model
    from pie_ray.models import build_network

    config = TypeAdapter(Model).validate_python(NETWORKS[job.network])
    return build_network(config, num_classes=10, num_channels=3, image_size=32, seed=seed)


def train_ours(job: Job, splits: Any) -> Sequence[Any]:
    import torch

    from pie_ray.config import Training
    from pie_ray.training import Batches, Normalise, PackedBatches, PackedLoss, PackedNetwork, train
    from pie_ray.training.whitening import NUM_IMAGES_TO_WHITEN, whiten_first_convolution

    config = Training.model_validate({"preset": "fast", "epochs": job.epochs})
    device, statistics = torch.device(job.device), splits.train.channel_statistics
    first_images = Normalise(statistics, torch.device("cpu"))(splits.train.first(NUM_IMAGES_TO_WHITEN))
    networks, batches = [], []
    for seed in range(job.seed, job.seed + job.num_together):
        network = make_network(job, splits, seed)
        whiten_first_convolution(network, first_images)
        networks.append(network.to(device))
        batches.append(
            Batches(
                splits.train.images,
                splits.train.labels,
                statistics=statistics,
                batch_size=config.batch_size,
                augmentation=config.augmentation,
                generator=torch.Generator().manual_seed(seed),
                device=device,
            )
        )
    if job.num_together == 1:
        train(networks[0], batches[0], config)
        return networks
    pack = PackedNetwork(networks)
    train(pack, PackedBatches(batches), config, objective=PackedLoss(config.label_smoothing))
    return pack.release()


def train_plain(job: Job, splits: Any) -> Sequence[Any]:
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from training import PilImages

    mean, std = splits.train.channel_statistics
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    torch.manual_seed(job.seed)
    num_workers = min(8, (os.cpu_count() or 1) - 1)
    loader: DataLoader[Any] = DataLoader(
        PilImages(splits.train, transform),  # type: ignore[arg-type]
        batch_size=128,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=job.device == "cuda",
    )
    network = make_network(job, splits, job.seed).to(job.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job.epochs * len(loader))
    network.train()
    for _ in range(job.epochs):
        for images, labels in loader:
            images = images.to(job.device, memory_format=torch.channels_last, non_blocking=True)
            labels = labels.to(job.device, non_blocking=True)
            with torch.autocast(job.device, torch.bfloat16):
                loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return [network.eval()]


def accuracy(network: Any, splits: Any, job: Job) -> float:
    import torch

    from pie_ray.training import predict

    labels = splits.test.labels
    parts = predict(
        network,
        splits.test.images,
        statistics=splits.train.channel_statistics,
        batch_size=500,
        device=torch.device(job.device),
    )
    return sum(int((logits.argmax(1) == labels[rows]).sum()) for rows, logits in parts) / len(labels)


# ------------------------------------------------------------------------------------------ in the measuring one


def measure(jobs: Sequence[Job]) -> tuple[float, list[float]]:
    """Run the jobs side by side; seconds a member, and every member's top-1."""
    results = run_side_by_side(__file__, jobs)
    top1 = [one for result in results for one in result["top1"]]
    return max(result["seconds"] for result in results) / len(top1), top1


def contenders(options: argparse.Namespace) -> dict[str, list[Job]]:
    together = options.together
    shared = {"path": options.cifar10, "num_train": options.num_train, "device": options.device}
    small = Job("ours", "WRN-16-4", options.small_epochs, **shared)
    return {
        f"plain loop, ResNet-18, {options.plain_epochs} epochs": [
            Job("plain", "ResNet-18", options.plain_epochs, **shared)
        ],
        f"fast, ResNet-18, {options.epochs} epochs": [Job("ours", "ResNet-18", options.epochs, **shared)],
        f"fast, WRN-16-4, {options.small_epochs} epochs": [small],
        f"fast, WRN-16-4, a pack of {together}": [replace(small, num_together=together)],
        f"fast, WRN-16-4, {together} processes": [replace(small, seed=seed) for seed in range(together)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="folder of CIFAR-10's Parquet files")
    parser.add_argument("--plain-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=10, help="of the fast recipe on ResNet-18")
    parser.add_argument("--small-epochs", type=int, default=16, help="of the fast recipe on the smaller network")
    parser.add_argument("--together", type=int, default=4, help="members of a pack, and processes side by side")
    parser.add_argument("--num-train", type=int, help="fewer images, to try the benchmark")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", default="", help="measure the rows whose names have this in them")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work(Job(**json.loads(options.job)))
        return
    if not options.cifar10:
        parser.error("--cifar10: the folder of its Parquet files is needed")
    import torch

    is_there = options.device == "cpu" or torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{machine('torch', 'torchvision')}; {gpu}")
    print(f"\n{'':<40}{'s/member':>10}{'ratio':>8}{'top-1':>8}{'  94 %':>8}")
    base = None
    for name, jobs in contenders(options).items():
        if options.only not in name:
            continue
        if not is_there:
            print(f"{name:<40}  not measured: there is no GPU")
            continue
        try:
            seconds, top1 = measure(jobs)
        except ProcessError as error:
            print(f"{name:<40}  {error}", flush=True)
            continue
        base = base or seconds
        mean = sum(top1) / len(top1)
        reached = "reached" if mean >= TARGET else "missed"
        print(f"{name:<40}{seconds:>10.2f}{base / seconds:>8.1f}{mean:>8.4f}{reached:>8}", flush=True)


if __name__ == "__main__":
    main()
