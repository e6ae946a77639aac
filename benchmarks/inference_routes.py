"""Images a second through each variant's network: our routes against plain evaluation loops, alternating in one run.

    python benchmarks/inference_routes.py [--cifar10 data/cifar10]

One thread each. The plain loops are in float32, batches of 500 from a DataLoader without workers, and in a process as a
user has it: over a TensorDataset of normalised images, the ratio's base; in batches of 32; over PIL images and their
transforms. `channels_last` is our loop without routes: normalised from bytes, in batches of 500, and like all of ours
in a process with the malloc that `pie-ray` sets for its workers. So is what is compiled, with its weights frozen; it
compiles in its first run, with nothing in the compiler's cache.

On the CPU all seconds but those are of processor time, so that what else the machine does counts little. Networks are
untrained and images are noise, which costs the same. How many labels a route moves is asked of a network trained on
the spot, on the digits and, where it is given, on CIFAR-10.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from machine import machine
from side_by_side import HUGE_PAGES
from training import PilImages

BATCH_SIZE, SMALL_BATCH_SIZE = 500, 32
STATISTICS = ((0.5,), (0.25,))
VARIANTS = ("dense", "float16", "static_int8", "dynamic_int8")
PLAIN, SMALL_BATCHES, PIL = "plain loop", "plain loop, batches of 32", "plain loop, PIL + transforms"
CHANNELS_LAST, FLOAT32, BFLOAT16 = "channels_last, batches of 500", "pie_ray, float32", "pie_ray, bfloat16"
COMPILED = {FLOAT32: "torch.compile, float32", BFLOAT16: "torch.compile, bfloat16"}
ROUTES = (PLAIN, SMALL_BATCHES, PIL, CHANNELS_LAST, FLOAT32, BFLOAT16, *COMPILED.values())
OF_A_USER = (PLAIN, SMALL_BATCHES, PIL)
OF_NATIVE_VARIANTS = (BFLOAT16,)
OF_THE_REFERENCE = tuple(COMPILED.values())


@dataclass(frozen=True)
class Case:
    """A network and its images."""

    model: dict[str, Any]
    num_channels: int
    size: int
    num_images: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.num_channels, self.size, self.size


CASES = {
    "small_resnet, 3 x 32 x 32": Case({"kind": "small_resnet"}, 3, 32, 2_000),
    "small_resnet, 1 x 28 x 28": Case({"kind": "small_resnet"}, 1, 28, 2_000),
    "wide_resnet 16-2, 3 x 32 x 32": Case({"kind": "wide_resnet", "depth": 16, "width": 2}, 3, 32, 500),
}


@dataclass(frozen=True)
class Job:
    """One route with one variant; travels as JSON to the process that runs it."""

    case: str
    route: str
    variant: str
    device: str


# --------------------------------------------------------------------------------------------- inside a process


def serve() -> None:
    """Run the jobs that come line by line; answer each with its seconds and, the first time, those to compile."""
    import torch

    torch.set_num_threads(1)
    contenders: dict[Job, Callable[[], None]] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        job = Job(**json.loads(line))
        compile_seconds = None
        if job not in contenders:
            contenders[job] = make_contender(job)
            # A compiler works in processes of its own.
            compile_seconds = clocked(contenders[job], time.perf_counter)
        clock = time.process_time if job.device == "cpu" else time.perf_counter
        print(json.dumps({"seconds": clocked(contenders[job], clock), "first": compile_seconds}), flush=True)


def clocked(contender: Callable[[], None], clock: Callable[[], float]) -> float:
    started = clock()
    contender()
    return clock() - started


def make_contender(job: Job) -> Callable[[], None]:
    """What predicts on all images of the case once."""
    import torch

    from pie_ray.compress.quantization import quantize
    from pie_ray.training import Normalise, make_route, predict

    case, device = CASES[job.case], torch.device(job.device)
    images, network = images_of(job.case), network_of(job.case).to(device)
    arithmetic = "native"
    if job.variant != "dense":
        calibration = Normalise(statistics_of(case), device)(images[:100].to(device))
        quantized = quantize(network, job.variant, calibration_images=calibration)  # type: ignore[arg-type]
        network, arithmetic = quantized.network, quantized.arithmetic
    if job.route in OF_A_USER:
        return make_plain_loop(job, network, device)
    if job.route == CHANNELS_LAST or job.route in COMPILED.values():
        return make_loop(job, network, device)
    forward = make_route(
        network,
        arithmetic=arithmetic,
        precision="bfloat16" if job.route == BFLOAT16 else "float32",
        image_shape=case.shape,
    )

    def predictions() -> None:
        for _ in predict(forward, images, statistics=statistics_of(case), batch_size=BATCH_SIZE, device=device):
            pass

    return predictions


def make_loop(job: Job, network: Any, device: Any) -> Callable[[], None]:
    """Over bytes, in channels_last; compiled where the route is."""
    import torch

    from pie_ray.training import Normalise

    images, normalise = images_of(job.case), Normalise(statistics_of(CASES[job.case]), device)
    is_in_bfloat16 = job.route == COMPILED[BFLOAT16]

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_in_bfloat16):
            return network(inputs)

    if job.route in COMPILED.values():
        forward = torch.compile(forward, dynamic=False, options={"freezing": True})

    def loop() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_SIZE):
                forward(normalise(images[start : start + BATCH_SIZE].to(device))).float().cpu()

    return loop


def make_plain_loop(job: Job, network: Any, device: Any) -> Callable[[], None]:
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from torchvision import transforms

    from pie_ray.training import Normalise

    case, images = CASES[job.case], images_of(job.case)
    network = network.to(memory_format=torch.contiguous_format)
    if job.route == PIL:
        mean, std = statistics_of(case)
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
        data: Any = PilImages(Labelled(images, torch.zeros(len(images))), transform)
    else:
        normalised = Normalise(statistics_of(case), torch.device("cpu"))(images)
        data = TensorDataset(normalised.contiguous(), torch.zeros(len(images)))
    loader = DataLoader(data, batch_size=SMALL_BATCH_SIZE if job.route == SMALL_BATCHES else BATCH_SIZE)

    def loop() -> None:
        with torch.no_grad():
            for inputs, _ in loader:
                network(inputs.to(device)).cpu()

    return loop


@dataclass(frozen=True)
class Labelled:
    """What `PilImages` takes."""

    images: Any
    labels: Any


@cache
def images_of(case: str) -> Any:
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (CASES[case].num_images, *CASES[case].shape), dtype=torch.uint8, generator=generator)


def network_of(case: str) -> Any:
    """With statistics of the images in its batch norms."""
    import torch
    from pydantic import TypeAdapter

    from pie_ray.config import Model
    from pie_ray.models import build_network
    from pie_ray.training import Normalise

    channels, size, _ = CASES[case].shape
    model = TypeAdapter(Model).validate_python(CASES[case].model)
    network = build_network(model, num_classes=10, num_channels=channels, image_size=size, seed=0)
    with torch.no_grad():
        network(Normalise(statistics_of(CASES[case]), torch.device("cpu"))(images_of(case)[:100]))
    return network.eval()


def statistics_of(case: Case) -> Any:
    return tuple(values * case.num_channels for values in STATISTICS)


# ------------------------------------------------------------------------------------------ in the measuring one


class Server:
    """A process that runs jobs."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        )
        self._read("to start")

    def run(self, job: Job) -> tuple[float, float | None]:
        """Seconds, and the first time those of a run before it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._read(f"{job.route}, {job.variant}"))
        return answer["seconds"], answer["first"]

    def stop(self) -> None:
        self._process.communicate()

    def _read(self, what: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"a process failed: {what}"
        return line


def jobs_of(case: str, device: str) -> list[Job]:
    jobs = []
    for variant in VARIANTS:
        for route in ROUTES:
            is_native = variant in ("dense", "float16")
            if (is_native or route not in OF_NATIVE_VARIANTS) and (variant == "dense" or route not in OF_THE_REFERENCE):
                jobs.append(Job(case, route, variant, device))
    return jobs


def benchmark(case: str, device: str, num_rounds: int) -> None:
    jobs, num_images = jobs_of(case, device), CASES[case].num_images
    seconds: dict[Job, list[float]] = {job: [] for job in jobs}
    first: dict[Job, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        servers = {True: Server({}), False: Server(HUGE_PAGES | {"TORCHINDUCTOR_CACHE_DIR": folder})}
        for round_ in range(num_rounds):
            for job in jobs:
                taken, before = servers[job.route in OF_A_USER].run(job)
                seconds[job].append(taken)
                if before is not None:
                    first[job] = before
            print(f"  {case}, {device}: round {round_ + 1} of {num_rounds}", file=sys.stderr)
        for server in servers.values():
            server.stop()
    print(
        f"\n{case}, {device}: {num_images:,} images, {num_rounds} rounds; medians of images a second, and of the ratio "
        "to the plain loop"
    )
    print(f"{'':<34}" + "".join(f"{variant:>16}" for variant in VARIANTS))
    for route in ROUTES:
        cells = [cell(seconds, Job(case, route, variant, device), num_images) for variant in VARIANTS]
        print(f"{route:<34}" + "".join(f"{text:>16}" for text in cells))
    for ours, compiled in COMPILED.items():
        print_compiled(Job(case, ours, "dense", device), Job(case, compiled, "dense", device), seconds, first)
    sys.stdout.flush()


def cell(seconds: dict[Job, list[float]], job: Job, num_images: int) -> str:
    if job not in seconds:
        return ""
    plain = seconds[replace(job, route=PLAIN)]
    ratio = statistics.median(theirs / mine for theirs, mine in zip(plain, seconds[job], strict=True))
    return f"{num_images / statistics.median(seconds[job]):,.0f}{ratio:>8.2f}"


def print_compiled(ours: Job, compiled: Job, seconds: dict[Job, list[float]], first: dict[Job, float]) -> None:
    """What it costs to compile, and after how many images it has paid."""
    num_images = CASES[ours.case].num_images
    mine, theirs = (statistics.median(seconds[job]) / num_images for job in (ours, compiled))
    compile_seconds = first[compiled] - theirs * num_images
    pays = f"after {compile_seconds / (mine - theirs):,.0f} images" if theirs < mine else "never"
    print(f"{compiled.route} compiles for {compile_seconds:.1f} s and pays, against {ours.route}, {pays}")


def moved_labels(name: str, data: Any, epochs: int) -> None:
    """Train a network and print the share of test images whose label each route moves."""
    import torch

    from pie_ray.compress.quantization import quantize
    from pie_ray.config import SmallResNetModel, Training
    from pie_ray.data import load_splits
    from pie_ray.models import build_network
    from pie_ray.training import Batches, Normalise, make_route, predict, train

    torch.set_num_threads(1)
    splits, device, config = load_splits(data), torch.device("cpu"), Training(epochs=epochs)
    train_set, test = splits.train, splits.test
    shape = (train_set.num_channels, train_set.image_size, train_set.image_size)
    network = build_network(
        SmallResNetModel(kind="small_resnet"),
        num_classes=train_set.num_classes,
        num_channels=shape[0],
        image_size=shape[1],
        seed=0,
    )
    batches = Batches(
        train_set.images,
        train_set.labels,
        statistics=train_set.channel_statistics,
        batch_size=config.batch_size,
        augmentation=config.augmentation,
        generator=torch.Generator().manual_seed(0),
        device=device,
    )
    train(network, batches, config)

    def labels(forward: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        parts = predict(
            forward, test.images, statistics=train_set.channel_statistics, batch_size=BATCH_SIZE, device=device
        )
        return torch.cat([logits.argmax(1) for _, logits in parts])

    plain = labels(network)
    calibration = Normalise(train_set.channel_statistics, device)(train_set.images[:100])
    found = (
        {
            precision: labels(make_route(network, arithmetic="native", precision=precision, image_shape=shape))  # type: ignore[arg-type]
            for precision in ("float32", "bfloat16")
        }
        | {
            scheme: labels(quantize(network, scheme, calibration_images=calibration).forward)  # type: ignore[arg-type]
            for scheme in VARIANTS[1:]
        }
    )
    accuracy = float((plain == test.labels).double().mean())
    print(
        f"\n{name}, {len(plain):,} test images, top-1 {accuracy:.4f}; labels that are others than the plain network's"
    )
    for way, moved in found.items():
        num_moved = int((moved != plain).sum())
        print(f"{way:<34}{num_moved:>8}{num_moved / len(plain):>9.2%}", flush=True)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cifar10", help="folder of CIFAR-10's Parquet files")
    parser.add_argument("--epochs", type=int, default=4, help="on CIFAR-10")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return
    import torch

    from pie_ray.config import DigitsData, ParquetData

    print(machine("torch", "torchvision"))
    for case in options.cases:
        benchmark(case, "cpu", options.rounds)
    if torch.cuda.is_available():
        for case in options.cases:
            benchmark(case, "cuda", options.rounds)
    else:
        print("\nCUDA: not measured, as there is none here")
    moved_labels("digits", DigitsData(kind="digits"), 10)
    if options.cifar10:
        moved_labels("CIFAR-10", ParquetData(kind="parquet", path=options.cifar10), options.epochs)


if __name__ == "__main__":
    main(sys.argv[1:])
