"""Results whose every name is hostile, with planted predictions; shared, so only to be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pie_ray.analysis import analyze, open_results
from pie_ray.recipe import parse_recipe
from pie_ray.records import MemberRecord
from pie_ray.store import ParquetSink, prediction_batch, write_checkpoint, write_record
from pie_ray.study import prepare

from ..celeba import make_celeba
from ..test_analysis import complete

CLASSES = (
    "+plus", "<script>alert(1)<", "=1+1", "@at", 'a, "quoted" one', "new\nline", "plain", "Ünïcödé 猫", "[bold]", "'q'",
)  # fmt: skip
"""In the order of folders: by code points."""

VARIANTS = ("magnitude-0.50", "static_int8")
NUM_TEST = 40

RECIPE = """
name: hostile
data: {{kind: image_folder, path: {path}}}
model: {{kind: small_resnet, width: 4}}
training: {{epochs: 1}}
population: {{num_members: 4}}
variants:
  - pruning: {{kind: magnitude, sparsities: [0.5]}}
  - quantization: [static_int8]
execution: {{storage: {folder}/results, cache: {folder}/cache, tracking: {{kind: none}}}}
"""


def make_images(folder):
    rng = np.random.default_rng(0)
    for split, num_each in (("train", 1), ("test", NUM_TEST // len(CLASSES))):
        names = []
        for class_name in CLASSES:
            (folder / split / class_name).mkdir(parents=True)
            for number in range(num_each):
                path = folder / split / class_name / f"{number} #1.png"
                Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
                names.append(path.relative_to(folder / split).as_posix())
        # One group has the name of a column of ours, one is a formula.
        described = {"file_name": names, "variant_id": [f"@{row % 2}" for row in range(len(names))], "=site": "A"}
        pd.DataFrame(described).to_csv(folder / split / "metadata.csv", index=False)


def planted(study):
    """By variant and seed: dense is right but on the first; the pruned forget 0 to 9, int8 the even ones of them."""
    labels = study.splits.test.labels.numpy()
    wrong = (labels + 1) % len(CLASSES)
    predictions = {}
    for seed in range(4):
        pruned, quantized, dense = labels.copy(), labels.copy(), labels.copy()
        pruned[:10] = wrong[:10]
        # Example 3 is forgotten by three members of four.
        pruned[3] = labels[3] if seed == 0 else wrong[3]
        quantized[:10:2] = wrong[:10:2]
        dense[0] = (labels[0] + 2) % len(CLASSES)
        predictions |= {("dense", seed): dense, ("magnitude-0.50", seed): pruned, ("static_int8", seed): quantized}
    return predictions


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Path of an analysed results folder; the images lie beside it in `images`."""
    folder = tmp_path_factory.mktemp("export")
    make_images(folder / "images")
    study = prepare(parse_recipe(RECIPE.format(path=folder / "images", folder=folder)))
    assert study.splits.test.class_names == tuple(sorted(CLASSES))
    complete(study, planted(study))
    analyze(open_results(study.storage))
    return folder / "results" / "hostile"


@pytest.fixture(scope="session")
def quiet(hostile, tmp_path_factory):
    """Results of the same images that have no PIEs, and lack a member."""
    folder = tmp_path_factory.mktemp("quiet")
    study = prepare(parse_recipe(RECIPE.format(path=hostile.parent.parent / "images", folder=folder)))
    predictions = planted(study)
    for seed in range(4):
        predictions["magnitude-0.50", seed] = predictions["static_int8", seed] = predictions["dense", seed]
    del predictions["static_int8", 3]
    complete(study, predictions)
    analyze(open_results(study.storage))
    return folder / "results" / "hostile"


@pytest.fixture(scope="session")
def joint(tmp_path_factory):
    """Results on several attributes learned jointly; the pruned forget the first attribute of examples 0 to 4."""
    folder = tmp_path_factory.mktemp("joint")
    path = make_celeba(folder / "images", num_train=40, num_validation=10, num_test=20)
    text = RECIPE.replace("image_folder", "celeba").format(path=path, folder=folder)
    few = ["data.attributes=[Even, Large, Marked]", "variants=[{pruning: {kind: magnitude, sparsities: [0.5]}}]"]
    study = prepare(parse_recipe(text, few))
    sink = ParquetSink(study.storage)
    for spec in study.plan.members:
        for suite, sets in study.suites.items():
            images = sets[0]
            labels = images.labels.numpy()
            logits = np.where(labels, 2.0, -2.0).astype(np.float32)
            if spec.variant_id != "dense":
                logits[:5, 0] *= -1
            with sink.open(spec, suite, len(images)) as rows:
                rows.write(prediction_batch(images.name, images.example_ids, labels, logits))
                rows.commit()
        write_checkpoint(study.storage, spec.variant_id, spec.seed, b"tensors")
        sizes = {"num_parameters": 10, "num_prunable": 8, "num_nonzero": 6, "checkpoint_bytes": 7}
        facts = {"member_id": spec.member_id, "variant_id": spec.variant_id, "seed": spec.seed}
        write_record(study.storage, MemberRecord(**facts, **sizes, achieved_sparsity=spec.variant.sparsity))
    analyze(open_results(study.storage))
    return folder / "results" / "hostile"
