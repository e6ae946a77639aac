"""Members an hour: our engine against the script a user would write, alternating in one run.

    python benchmarks/training.py --cifar10 data/cifar10

Ours: two members side by side, one thread each, images in memory, channels_last, bfloat16 where the processor has it;
once as it is (with `--compile` also compiled), and once by `training.preset: fast` for fewer epochs. The other: one
member on all cores, a torchvision-style Dataset with PIL transforms behind a DataLoader of 0 and of 2 workers,
float32; ratios are to the faster of the two in the same round. Network and images are the same, in memory for both
before the clock starts; so are augmentation, epochs, optimizer and schedule, but for the fast recipe's, which has its
own: hold its top-1 against the others'.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from machine import machine
from side_by_side import HUGE_PAGES, run_side_by_side

NUM_SIDE_BY_SIDE = 2
PEER, NUM_WORKERS = "DataLoader + PIL, float32", (0, 2)


@dataclass(frozen=True)
class Job:
    """One training process; travels as JSON on its command line."""

    engine: str
    data: str
    path: str | None
    num_train: int
    epochs: int
    seed: int
    num_workers: int = 0
    compile: bool = False
    preset: str | None = None


# --------------------------------------------------------------------------------------------- inside a process


def work(job: Job) -> None:
    """Load, say so, wait for the word, train, report seconds and accuracy."""
    os.environ["OMP_NUM_THREADS"] = "1" if job.engine == "ours" else str(os.cpu_count())
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    from pie_ray.data import load_splits

    splits = load_splits(data_config(job))
    train = {"ours": train_ours, "peer": train_peer}[job.engine]
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    network = train(job, splits)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "accuracy": accuracy(network, splits)}), flush=True)


def data_config(job: Job) -> Any:
    from pie_ray.config import FashionMnistData, ParquetData

    if job.data == "fashion_mnist":
        return FashionMnistData(kind="fashion_mnist", num_train=job.num_train)
    assert job.path is not None
    return ParquetData(kind="parquet", path=job.path, num_train=job.num_train)


def training_config(job: Job) -> Any:
    from pie_ray.config import Augmentation, CosineSchedule, Training

    if job.preset:
        # A member for itself, as the others are.
        return Training.model_validate({"preset": job.preset, "epochs": job.epochs, "pack": 1})
    return Training(
        epochs=job.epochs,
        schedule=CosineSchedule(kind="cosine", warmup_epochs=0.5),
        augmentation=Augmentation(crop_padding=4, flip=True),
        compile=job.compile,
    )


def make_network(job: Job, splits: Any) -> Any:
    from pie_ray.config import SmallResNetModel
    from pie_ray.models import build_network

    train = splits.train
    return build_network(
        SmallResNetModel(kind="small_resnet"),
        num_classes=train.num_classes,
        num_channels=train.num_channels,
        image_size=train.image_size,
        seed=job.seed,
    )


def train_ours(job: Job, splits: Any) -> Any:
    import torch

    from pie_ray.training import Batches, Normalise, train
    from pie_ray.training.whitening import NUM_IMAGES_TO_WHITEN, whiten_first_convolution

    config, network = training_config(job), make_network(job, splits)
    if config.initialisation == "whitening":
        normalise = Normalise(splits.train.channel_statistics, torch.device("cpu"))
        whiten_first_convolution(network, normalise(splits.train.first(NUM_IMAGES_TO_WHITEN)))
    batches = Batches(
        splits.train.images,
        splits.train.labels,
        statistics=splits.train.channel_statistics,
        batch_size=config.batch_size,
        augmentation=config.augmentation,
        generator=torch.Generator().manual_seed(job.seed),
        device=torch.device("cpu"),
    )
    train(network, batches, config)
    return network


class PilImages:
    """What torchvision's CIFAR10 and FashionMNIST do: arrays in memory, a PIL image and its transforms an item."""

    def __init__(self, images: Any, transform: Any) -> None:
        self.pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels, self.transform = images.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        pixels = self.pixels[index]
        image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
        return self.transform(image), self.labels[index]


def train_peer(job: Job, splits: Any) -> Any:
    """A training script as in the libraries' tutorials."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision import transforms

    config, size = training_config(job), splits.train.image_size
    mean, std = splits.train.channel_statistics
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    torch.manual_seed(job.seed)
    loader = DataLoader(
        PilImages(splits.train, transform),  # type: ignore[arg-type]
        batch_size=config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.num_workers,
        persistent_workers=job.num_workers > 0,
    )
    network = make_network(job, splits).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=config.learning_rate, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
    )
    num_warmup, num_steps = len(loader) // 2, config.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, 1.0, num_warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(num_steps - num_warmup, 1)),
        ],
        [num_warmup],
    )
    network.train()
    for _ in range(config.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy(network: Any, splits: Any) -> float:
    import torch

    from pie_ray.training import predict

    labels = splits.test.labels
    statistics_ = splits.train.channel_statistics
    parts = predict(network, splits.test.images, statistics=statistics_, batch_size=500, device=torch.device("cpu"))
    num_correct = sum(int((logits.argmax(1) == labels[rows]).sum()) for rows, logits in parts)
    return num_correct / len(labels)


# ------------------------------------------------------------------------------------------ in the measuring one


def measure(jobs: list[Job]) -> tuple[float, float]:
    """Start the jobs together; members an hour and mean accuracy."""
    results = run_side_by_side(__file__, jobs, HUGE_PAGES if jobs[0].engine == "ours" else None)
    slowest = max(result["seconds"] for result in results)
    return len(jobs) * 3600 / slowest, statistics.mean(result["accuracy"] for result in results)


def benchmark(data: str, path: str | None, options: argparse.Namespace) -> None:
    def job(engine: str, **changes: Any) -> Job:
        fields = {"num_train": options.num_train, "epochs": options.epochs, "seed": 0} | changes
        return Job(engine=engine, data=data, path=path, **fields)

    rows: dict[str, list[tuple[float, float]]] = {}
    for round_ in range(options.rounds):
        seeds = range(round_ * NUM_SIDE_BY_SIDE, (round_ + 1) * NUM_SIDE_BY_SIDE)
        contenders = {
            **{f"{PEER}, {number} workers": [job("peer", seed=seeds[0], num_workers=number)] for number in NUM_WORKERS},
            "pie_ray, 2 members side by side": [job("ours", seed=seed) for seed in seeds],
            **(
                {"pie_ray, the same with compile": [job("ours", seed=seed, compile=True) for seed in seeds]}
                if options.compile
                else {}
            ),
            f"pie_ray, preset fast, {options.fast_epochs} epoch(s)": [
                job("ours", seed=seed, preset="fast", epochs=options.fast_epochs) for seed in seeds
            ],
        }
        for name, jobs in contenders.items():
            rows.setdefault(name, []).append(measure(jobs))
            print(f"  {data} round {round_ + 1}: {name}: {rows[name][-1][0]:.1f} members/h", file=sys.stderr)
    peers = [measured for name, measured in rows.items() if name.startswith(PEER)]
    fastest = [max(speed for speed, _ in each) for each in zip(*peers, strict=True)]
    print(f"\n{data}: {options.num_train:,} images, {options.epochs} epochs, {options.rounds} rounds, medians")
    print(f"{'':<42}{'members/h':>10}{'ratio':>8}{'top-1':>8}")
    for name, measured in rows.items():
        ratios = [mine / theirs for (mine, _), theirs in zip(measured, fastest, strict=True)]
        speed, top1 = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"{name:<42}{speed:>10.1f}{statistics.median(ratios):>8.2f}{top1:>8.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="folder of CIFAR-10's Parquet files; without it, Fashion-MNIST alone")
    parser.add_argument("--num-train", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--fast-epochs", type=int, default=1, help="of the fast recipe, in place of --epochs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also with torch.compile, which has not paid yet")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work(Job(**json.loads(options.job)))
        return
    print(machine("torch", "torchvision"))
    benchmark("fashion_mnist", None, options)
    if options.cifar10:
        benchmark("cifar10", options.cifar10, options)


if __name__ == "__main__":
    main()
