"""A member from description to record, without Ray: what a debugger steps through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from pie_ray.checkpoint import Checkpoint
from pie_ray.data import open_suites
from pie_ray.errors import NonFiniteLossError, StoreError
from pie_ray.identity import make_plan
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import (
    MemorySink,
    ParquetSink,
    PredictionStore,
    completeness,
    paths,
    read_checkpoint,
    read_examples,
    read_manifest,
)
from pie_ray.study import begin, is_begun, prepare
from pie_ray.workplace import Workplace
from tests.celeba import make_celeba


@pytest.fixture
def study(tiny_recipe):
    return prepare(tiny_recipe)


def workplace(study, sink=None):
    return Workplace(study.recipe, study.splits, study.storage, sink or MemorySink())


def member(study, variant_id, seed=0):
    return next(m for m in study.plan.members if (m.variant_id, m.seed) == (variant_id, seed))


def columns(sink, spec):
    return sink.tables[spec.member_id, "clean"].to_pandas()


def test_a_trained_member_leaves_checkpoint_predictions_and_record(study):
    spec = member(study, "magnitude-0.50")
    sink = MemorySink()
    record = run_member(spec, workplace(study, sink))
    rows = columns(sink, spec)
    assert rows["example_id"].tolist() == study.splits.test.example_ids.tolist()
    assert record.top1 == {"test": (rows["prediction"] == rows["label"]).mean()}
    assert record.achieved_sparsity == pytest.approx(0.5, abs=0.01)
    assert record.checkpoint_bytes == len(read_checkpoint(study.storage, spec.variant_id, spec.seed))
    assert (record.member_id, record.sparsity, record.quantization) == (spec.member_id, 0.5, None)
    assert record.train_loss > 0 and record.train_seconds > 0


def test_the_checkpoint_on_storage_has_the_sparsity_that_the_record_states(study):
    spec = member(study, "magnitude-0.50")
    record = run_member(spec, workplace(study))
    state = Checkpoint.from_bytes(read_checkpoint(study.storage, spec.variant_id, spec.seed), source="it").state
    kernels = [tensor for name, tensor in state.items() if tensor.ndim == 4]
    num_zero = sum(int((kernel == 0).sum()) for kernel in kernels)
    assert record.achieved_sparsity == num_zero / sum(kernel.numel() for kernel in kernels)
    assert record.num_prunable == sum(kernel.numel() for kernel in kernels)


def test_the_same_recipe_and_seed_give_the_same_bits(study, tmp_path, tiny_text):
    other = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path / 'elsewhere'}"]))
    spec = member(study, "dense")
    sinks = MemorySink(), MemorySink()
    for place, sink in zip((study, other), sinks, strict=True):
        run_member(spec, workplace(place, sink))
    assert columns(sinks[0], spec).equals(columns(sinks[1], spec))
    first, second = (read_checkpoint(place.storage, "dense", 0) for place in (study, other))
    assert first == second


def test_variants_of_one_seed_are_independent_networks(study):
    sink = MemorySink()
    dense, pruned = member(study, "dense"), member(study, "magnitude-0.50")
    states = []
    for spec in (dense, pruned):
        run_member(spec, workplace(study, sink))
        states.append(Checkpoint.from_bytes(read_checkpoint(study.storage, spec.variant_id, 0), source="it").state)
    biases = [state["classifier.bias"] for state in states]
    assert not torch.equal(*biases)


def test_a_member_with_a_checkpoint_is_not_trained_again(study):
    spec = member(study, "dense")
    first, second = MemorySink(), MemorySink()
    trained = run_member(spec, workplace(study, first))
    epochs = []
    record = run_member(spec, workplace(study, second), on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == []
    assert record.train_seconds == trained.train_seconds
    assert columns(first, spec).equals(columns(second, spec))


@pytest.mark.parametrize("scheme", ["float16", "dynamic_int8", "static_int8"])
def test_a_derived_member_reads_its_parent_and_restores_to_the_same_predictions(tiny_text, tmp_path, scheme):
    study = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", f"variants.1.quantization=[{scheme}]"]))
    parent, child = member(study, "dense"), member(study, scheme)
    sinks = [MemorySink() for _ in range(3)]
    run_member(parent, workplace(study, sinks[0]))
    derived = run_member(child, workplace(study, sinks[1]))
    restored = run_member(child, workplace(study, sinks[2]))
    assert derived.parent_id == parent.member_id
    assert derived.train_loss is None
    assert restored.arithmetic == derived.arithmetic
    assert columns(sinks[1], child).equals(columns(sinks[2], child))
    agreement = np.mean(columns(sinks[0], parent)["prediction"] == columns(sinks[1], child)["prediction"])
    assert agreement > 0.9
    full = len(read_checkpoint(study.storage, "dense", 0))
    assert derived.checkpoint_bytes < full


def test_pruned_zeros_stay_zero_when_quantized(tiny_text, tmp_path):
    grid = "{pruning: {kind: magnitude, sparsities: [0.5]}, quantization: [static_int8]}"
    study = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", f"variants=[{grid}]"]))
    sink = MemorySink()
    for variant_id in ("magnitude-0.50", "magnitude-0.50+static_int8"):
        record = run_member(member(study, variant_id), workplace(study, sink))
        assert record.achieved_sparsity == pytest.approx(0.5, abs=0.01)


def test_a_derived_member_without_its_parent_is_refused(study):
    with pytest.raises(StoreError, match=r"dense/0.safetensors"):
        run_member(member(study, "static_int8"), workplace(study))


def test_a_checkpoint_of_another_recipe_is_refused(study, tiny_text, tmp_path):
    run_member(member(study, "dense"), workplace(study))
    other = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path / 'other'}", "training.epochs=3"]))
    path = paths.checkpoint("dense", 0)
    other.storage.write_bytes(path, study.storage.read_bytes(path))
    spec = member(other, "dense")
    with pytest.raises(StoreError, match=f"{member(study, 'dense').member_id}.*{spec.member_id}"):
        run_member(spec, workplace(other))


def test_a_damaged_checkpoint_is_named(study):
    spec = member(study, "dense")
    study.storage.write_bytes(paths.checkpoint("dense", 0), b"not a checkpoint")
    with pytest.raises(StoreError, match=r"checkpoints/dense/0.safetensors"):
        run_member(spec, workplace(study))


def test_a_diverging_member_is_named(tiny_text, tmp_path):
    study = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", "training.learning_rate=1e30"]))
    with pytest.raises(NonFiniteLossError, match=r"dense, seed 0: the training loss is (nan|inf) in epoch"):
        run_member(member(study, "dense"), workplace(study))
    assert completeness(study.storage, study.plan, ["clean"]).records == {}


def test_a_member_is_complete_only_with_its_predictions_on_storage(study):
    spec = member(study, "dense")
    run_member(spec, workplace(study))
    assert completeness(study.storage, study.plan, ["clean"]).records == {}
    run_member(spec, workplace(study, ParquetSink(study.storage)))
    assert list(completeness(study.storage, study.plan, ["clean"]).records) == [spec.member_id]


def test_the_plan_is_the_recipes(study):
    assert study.plan == make_plan(study.recipe)


# ---------------------------------------------------------------------------------------- attributes learned jointly

ATTRIBUTES = ("Large", "Bright", "Marked")


@pytest.fixture
def faces(tiny_text, tmp_path):
    """A study of three attributes of ten, with a validation split, and pruned members that are quantized too."""
    folder = make_celeba(tmp_path / "celeba", num_train=200, num_validation=40, num_test=60)
    grid = "{pruning: {kind: magnitude, sparsities: [0.5], scopes: [global]}, quantization: [static_int8]}"
    overrides = [
        f"data={{kind: celeba, path: {folder}, attributes: [{', '.join(ATTRIBUTES)}]}}",
        f"execution.storage={tmp_path / 'results'}",
        f"variants=[{grid}]",
        "training.epochs=10",
        "training.batch_size=20",
        "training.label_smoothing=0.1",
    ]
    return prepare(parse_recipe(tiny_text, overrides))


def test_members_of_attributes_train_prune_quantize_and_predict_on_both_suites(faces):
    sink, splits = ParquetSink(faces.storage), faces.splits
    variants = ("dense", "magnitude_global-0.50", "magnitude_global-0.50+static_int8")
    records = {name: run_member(member(faces, name), workplace(faces, sink)) for name in variants}
    assert records[variants[1]].achieved_sparsity == pytest.approx(0.5, abs=0.01)
    assert records["dense"].train_loss < np.log(2)
    assert [names[:2] for names in of_suites(splits)] == [("clean", "test"), ("validation", "validation")]
    for name, record in records.items():
        for suite, evaluation_set, images in of_suites(splits):
            found = PredictionStore(faces.storage).read_population(suite, evaluation_set, name, [0], ("logits",))
            assert found.example_ids.tolist() == images.example_ids.tolist()
            assert np.array_equal(found.labels, images.labels.numpy())
            is_right = (found.arrays["logits"][0] > 0) == found.labels
            assert record.top1[evaluation_set] == pytest.approx(is_right.mean(axis=0).mean())
    done = completeness(faces.storage, faces.plan, ["clean", "validation"])
    assert {record.variant_id for record in done.records.values()} == set(variants)
    assert {spec.seed for spec in done.missing} == {1}


def of_suites(splits):
    """Suite, evaluation set and images."""
    return [(suite, images.name, images) for suite, sets in open_suites({}, splits).items() for images in sets]


def test_a_member_of_attributes_learns_what_can_be_seen(faces):
    record = run_member(member(faces, "dense"), workplace(faces, ParquetSink(faces.storage)))
    found = PredictionStore(faces.storage).read_population("clean", "test", "dense", [0], ("logits",))
    is_right = ((found.arrays["logits"][0] > 0) == found.labels).mean(axis=0)
    assert is_right[ATTRIBUTES.index("Marked")] > 0.8
    assert record.top1["test"] > 0.6


def test_a_member_of_attributes_goes_on_from_its_checkpoint(faces):
    pruned, quantized = member(faces, "magnitude_global-0.50"), member(faces, "magnitude_global-0.50+static_int8")
    tables = []
    for _ in range(2):
        sink = MemorySink()
        for spec in (pruned, quantized):
            run_member(spec, workplace(faces, sink))
        tables.append(sink.tables)
    assert len(tables[0]) == 4
    assert all(tables[0][key].equals(tables[1][key]) for key in tables[0])


def test_a_study_of_attributes_says_so_and_tells_the_training_examples(faces):
    manifest = read_manifest(faces.storage)
    assert manifest.is_multilabel and manifest.class_names == ATTRIBUTES and manifest.num_classes == 3
    assert manifest.suites == {"clean": {"test": 60}, "validation": {"validation": 40}}
    for name, images in faces.splits.by_name.items():
        examples = read_examples(faces.storage, name)
        assert examples.class_names == ATTRIBUTES
        assert np.array_equal(examples.labels, images.labels.numpy())
        assert examples.keys == images.keys
        assert len(examples.groups) == 10 and set(ATTRIBUTES) < set(examples.groups)
        assert np.array_equal(examples.groups["Even"], images.groups["Even"])


def test_a_study_of_attributes_is_begun_with_its_training_examples(faces):
    assert is_begun(faces)
    faces.storage.delete(paths.examples("train"))
    assert not is_begun(faces)
    begin(faces)
    assert is_begun(faces)


def test_a_study_of_classes_tells_no_training_examples(study):
    assert study.storage.list_files("examples") == ["examples/test.parquet"]
    assert not read_manifest(study.storage).is_multilabel


def test_validation_images_of_classes_are_a_suite_too(tiny_text, tmp_path):
    for split, rows in (("train", range(40)), ("test", range(40, 60)), ("val", range(60, 70))):
        write_digits(tmp_path / "digits" / split, rows)
    data = f"data={{kind: image_folder, path: {tmp_path / 'digits'}, validation_split: val}}"
    study = prepare(parse_recipe(tiny_text, [data, f"execution.storage={tmp_path / 'results'}", "training.epochs=1"]))
    record = run_member(member(study, "dense"), workplace(study, ParquetSink(study.storage)))
    assert set(record.top1) == {"test", "validation"}
    columns = ("prediction", "logits")
    found = PredictionStore(study.storage).read_population("validation", "validation", "dense", [0], columns)
    assert found.arrays["prediction"].shape == (1, 10)


def write_digits(folder, rows):
    digits = load_digits()
    for row in rows:
        path = folder / str(digits.target[row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[row] * 15).astype(np.uint8)).save(path)
