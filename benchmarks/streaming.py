"""Images that are decoded when a batch needs them: how fast, and in how much memory.

    python benchmarks/streaming.py --cifar10 data/cifar10

1. CIFAR-10's Parquet file, in memory against streamed (crop of 4 pixels and flip): what streaming costs where it is not
   needed.
2. JPEGs of 500 x 375 pixels, mosaics of CIFAR-10's images enlarged threefold, one file each: our loader against
   torchvision's ImageFolder and transforms behind a DataLoader of as many processes. Both cut, resize to 224 px and
   mirror at random, and normalise.
3. The most memory that a streaming process had at once, for more and more of these images.

Rounds alternate; every measurement is a process of its own, with one torch thread.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import machine

BATCH_SIZE = 128
SIZE = 224
TILE, COLUMNS, ROWS = 96, 6, 4


# --------------------------------------------------------------------------------------------- inside a process


def work(job: dict[str, Any]) -> dict[str, float]:
    """Images a second of one epoch after a first one, and the process's peak memory in MB."""
    import torch

    torch.set_num_threads(1)
    epoch = {"ours": our_epochs, "torchvision": torchvision_epochs}[job["engine"]](job)
    consume(epoch())
    started = time.perf_counter()
    num_images = consume(epoch())
    seconds = time.perf_counter() - started
    return {"rate": num_images / seconds, "megabytes": peak_megabytes()}


def peak_megabytes() -> float:
    """Of this process alone: getrusage also knows of the one that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def consume(batches: Iterable[Any]) -> int:
    return sum(len(labels) for _, labels in batches)


def our_epochs(job: dict[str, Any]) -> Any:
    import torch

    from pie_ray.config import Augmentation, ImageFolderData, ParquetData, ResizedCrop
    from pie_ray.data import load_splits
    from pie_ray.training import StreamedBatches, make_batches

    streaming = job["workers"] is not None
    if job["data"] == "cifar10":
        data: Any = ParquetData(
            kind="parquet", path=job["path"], image_size=32, streaming=streaming, num_train=job["images"]
        )
        augmentation = Augmentation(crop_padding=4, flip=True)
    else:
        data = ImageFolderData(kind="image_folder", path=job["path"], image_size=SIZE, streaming=True)
        augmentation = Augmentation(resized_crop=ResizedCrop(), flip=True)
    train: Any = load_splits(data, job["cache"]).train
    settings: dict[str, Any] = {
        "statistics": train.channel_statistics,
        "batch_size": BATCH_SIZE,
        "augmentation": augmentation,
        "generator": torch.Generator().manual_seed(0),
        "device": torch.device("cpu"),
    }
    if not streaming:
        return make_batches(train.pixels, train.labels, **settings).epoch
    return StreamedBatches(train.pixels, train.labels, num_workers=job["workers"], **settings).epoch


def torchvision_epochs(job: dict[str, Any]) -> Any:
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = [
        transforms.RandomResizedCrop(SIZE, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.25] * 3),
    ]
    torch.manual_seed(0)
    loader = DataLoader(
        datasets.ImageFolder(Path(job["path"], "train"), transforms.Compose(steps)),
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=job["workers"],
        persistent_workers=job["workers"] > 0,
    )
    return lambda: iter(loader)


# ------------------------------------------------------------------------------------------------------ driver


def make_tree(cifar10: str, folder: Path, num_images: int) -> None:
    """`train` of `num_images` mosaics, `test` of ten; two classes, which nothing is learned of."""
    import numpy as np
    import pyarrow.parquet
    from PIL import Image

    path = next(Path(cifar10).glob("train*.parquet"))
    column = pyarrow.parquet.read_table(path, columns=["img"]).column(0)
    random = np.random.default_rng(0)
    for number in range(num_images + 10):
        mosaic = Image.new("RGB", (TILE * COLUMNS, TILE * ROWS))
        for place, row in enumerate(random.integers(len(column), size=COLUMNS * ROWS).tolist()):
            with Image.open(io.BytesIO(column[row].as_py()["bytes"])) as tile:
                enlarged = tile.resize((TILE, TILE), Image.Resampling.BICUBIC)
            mosaic.paste(enlarged, (place % COLUMNS * TILE, place // COLUMNS * TILE))
        split = "train" if number < num_images else "test"
        target = folder / split / f"class{number % 2}" / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        mosaic.crop((0, 0, 500, 375)).save(target, quality=90)


def measure(**job: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(jobs: dict[str, dict[str, Any]], rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            found[name].append(measure(**job))
    print("| | images/s (median) | all rounds | peak MB of the process |\n|---|---|---|---|")
    for name, results in found.items():
        rates = [result["rate"] for result in results]
        told = " ".join(f"{rate:,.0f}" for rate in rates)
        peak = max(result["megabytes"] for result in results)
        print(f"| {name} | {sorted(rates)[len(rates) // 2]:,.0f} | {told} | {peak:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", default="data/cifar10", help="folder of CIFAR-10's Parquet files")
    parser.add_argument("--num-train", type=int, default=50_000, help="of CIFAR-10's images")
    parser.add_argument("--images", type=int, default=2000, help="JPEGs that are made for 2 and 3")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that decode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(work(json.loads(options.job))))
        return
    print(f"{machine('torch', 'torchvision', 'pillow')}; on a GPU: not measured")
    with tempfile.TemporaryDirectory() as scratch:
        cache, workers = str(Path(scratch, "cache")), options.workers
        ours = {"engine": "ours", "cache": cache}

        print(f"\nCIFAR-10, {options.num_train:,} images of 32 x 32 in one Parquet file")
        cifar10 = {**ours, "data": "cifar10", "path": options.cifar10, "images": options.num_train}
        compare(
            {
                "in memory": {**cifar10, "workers": None},
                "streamed by the training's own thread": {**cifar10, "workers": 0},
                f"streamed by {workers} processes": {**cifar10, "workers": workers},
            },
            options.rounds,
        )

        print(f"\n{options.images:,} JPEGs of 500 x 375, cut and resized to {SIZE} x {SIZE}")
        make_tree(options.cifar10, Path(scratch, "tree"), options.images)
        tree = {"data": "tree", "path": str(Path(scratch, "tree"))}
        compare(
            {
                "ours, by the training's own thread": {**ours, **tree, "workers": 0},
                "torchvision, likewise": {**tree, "engine": "torchvision", "workers": 0},
                f"ours, {workers} processes": {**ours, **tree, "workers": workers},
                f"torchvision, {workers} processes": {**tree, "engine": "torchvision", "workers": workers},
            },
            options.rounds,
        )

        print("\nMemory by number of images\n| images | decoded, MB | peak MB of the process |\n|---|---|---|")
        for share in (4, 2, 1):
            num_images = options.images // share
            folder = Path(scratch, f"tree{share}")
            make_tree(options.cifar10, folder, num_images)
            peak = measure(**ours, data="tree", path=str(folder), workers=0)["megabytes"]
            print(f"| {num_images:,} | {num_images * 3 * SIZE**2 / 1e6:,.0f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
