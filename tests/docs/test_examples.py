"""The recipes in `examples/`, on few images and one epoch: every member is made, without Ray, and analysed.

What the documentation says takes minutes or GPUs is tried here.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pie_ray.cli import main
from pie_ray.member import run_member
from pie_ray.recipe import load_recipe
from pie_ray.store import ParquetSink
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.celeba import make_celeba
from tests.docs.blocks import ROOT

NUM_TRAIN, NUM_TEST = 60, 40


def pixels(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Real images, the digits enlarged, and their labels."""
    digits = load_digits()
    chosen = (digits.images[: NUM_TRAIN + NUM_TEST] * 15).astype(np.uint8)
    enlarged = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in chosen]
    return np.stack(enlarged), digits.target[: NUM_TRAIN + NUM_TEST]


def idx_files(folder: Path) -> Path:
    images, labels = pixels(28)
    folder.mkdir()
    for split, rows in (("train", slice(0, NUM_TRAIN)), ("t10k", slice(NUM_TRAIN, None))):
        for name, values in (("images-idx3", images[rows]), ("labels-idx1", labels[rows].astype(np.uint8))):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))
    return folder


def parquet_files(folder: Path) -> Path:
    images, labels = pixels(32)
    folder.mkdir()
    for split, rows in (("train", slice(0, NUM_TRAIN)), ("test", slice(NUM_TRAIN, None))):
        encoded = [{"bytes": _png(image), "path": None} for image in images[rows]]
        pd.DataFrame({"img": encoded, "label": labels[rows]}).to_parquet(folder / f"{split}-00000.parquet")
    return folder


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(file, "PNG")
    return file.getvalue()


def celeba(folder: Path) -> Path:
    """CelebA's names for the categories that the recipe's groups have."""
    make_celeba(folder, num_train=NUM_TRAIN, num_validation=20, num_test=NUM_TEST)
    listing = folder / "list_attr_celeba.txt"
    text = listing.read_text()
    for ours, theirs in {"Marked": "Male", "Large": "Young", "Round": "Chubby", "Bright": "Pale_Skin"}.items():
        text = text.replace(ours, theirs)
    listing.write_text(text)
    return folder


def imagenet(folder: Path) -> Path:
    """ImageNet's layout with digits in it, and ImageNet-C and ImageNet-A beside it: of the clean test images."""
    images, labels = pixels(40)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        places = [folder / "train"] if row < NUM_TRAIN else [folder / "val", folder.parent / "a"]
        if row >= NUM_TRAIN:
            places += [folder.parent / "c" / "fog" / str(severity) for severity in (1, 2, 3, 4, 5)]
        for place in places:
            path = place / f"n{label:08d}" / f"{row:08d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).convert("RGB").save(path)
    return folder


LESS = (
    *("training.epochs=2", "training.batch_size=30", "training.learning_rate=0.02", "training.precision=float32"),
    *("population.num_members=2", "execution.tracking={kind: none}"),
)
SUITE = "evaluation.suites.corruptions={kind: corruptions, severities: [1], corruptions: [fog], num_examples: 20}"
EXAMPLES: dict[str, tuple[Callable[[Path], Path] | None, tuple[str, ...]]] = {
    "digits": (None, (f"data.num_train={NUM_TRAIN}", f"data.num_test={NUM_TEST}")),
    "fashion_mnist": (idx_files, ()),
    "label_preservation": (idx_files, ()),
    "cifar10": (parquet_files, ()),
    "cifar10_fast": (parquet_files, ()),
    "robustness": (parquet_files, (SUITE,)),
    "cifar10_paper": (parquet_files, ("model.depth=10", "model.width=1")),
    "imagenet_paper": (
        imagenet,
        (
            *("data.image_size=16", "model={kind: wide_resnet, depth: 10, width: 1}"),
            *("training.schedule={kind: step, milestones: [1]}", "training.num_processes=1"),
            "variants.0.pruning.sparsities=[0.9]",
            *("evaluation.suites.imagenet_c.path=c", "evaluation.suites.imagenet_a.path=a"),
        ),
    ),
    "celeba": (celeba, ("data.image_size=16", "model.stem=imagenet", "variants.0.pruning.sparsities=[0.9]")),
}


def test_every_example_is_tried():
    assert set(EXAMPLES) == {path.stem for path in (ROOT / "examples").glob("*.yaml") if _is_recipe(path)}


def _is_recipe(path: Path) -> bool:
    return "\ndata:" in path.read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_results(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make, less = EXAMPLES[name]
    images = () if make is None else (f"data.path={make(tmp_path / 'images')}",)
    cache = f"execution.cache={tmp_path / 'cache'}"
    recipe = load_recipe(str(ROOT / "examples" / f"{name}.yaml"), [*LESS, *less, *images, cache])
    study = prepare(recipe)
    place = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    for spec in study.plan.members:
        run_member(spec, place)
    assert main(["analyze", f"results/{name}"]) == 0
    summary = pd.read_parquet(f"results/{name}/analysis/summary.parquet")
    assert set(summary.variant_id) == {variant.variant_id for variant in study.plan.variants}
    assert (summary.num_members == 2).all() and summary.top1_mean.notna().all()
    assert "variant" in capsys.readouterr().out
