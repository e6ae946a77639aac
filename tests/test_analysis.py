"""Tables from a store whose predictions are known, held against pandas and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pie_ray.analysis import analyze, load_analysis, open_results
from pie_ray.errors import StoreError
from pie_ray.records import MemberRecord
from pie_ray.store import ParquetSink, prediction_batch, write_checkpoint, write_record
from pie_ray.study import prepare

NUM_CLASSES = 10
VARIANTS = ("dense", "magnitude-0.50", "static_int8")


@pytest.fixture
def study(tiny_text, tmp_path):
    from pie_ray.recipe import parse_recipe

    return prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", "population.num_members=4"]))


def logits_of(predictions, rng):
    """Logits whose largest is at `predictions`, the rest at random below it."""
    logits = rng.normal(size=(len(predictions), NUM_CLASSES)).astype(np.float32)
    logits[np.arange(len(predictions)), predictions] = 10
    return logits


def complete(study, predictions):
    """Write members as if they had been trained; `predictions` by (variant, seed)."""
    test, sink = study.splits.test, ParquetSink(study.storage)
    rng = np.random.default_rng(0)
    for spec in study.plan.members:
        if (spec.variant_id, spec.seed) not in predictions:
            continue
        chosen = predictions[spec.variant_id, spec.seed]
        with sink.open(spec, "clean", len(test)) as rows:
            rows.write(prediction_batch("test", test.example_ids, test.labels.numpy(), logits_of(chosen, rng)))
            rows.commit()
        write_checkpoint(study.storage, spec.variant_id, spec.seed, b"tensors")
        record = MemberRecord(
            member_id=spec.member_id,
            variant_id=spec.variant_id,
            seed=spec.seed,
            num_parameters=10,
            num_prunable=8,
            num_nonzero=6,
            achieved_sparsity=spec.variant.sparsity,
            checkpoint_bytes=7 + spec.seed,
        )
        write_record(study.storage, record)


def random_predictions(study, variants=VARIANTS, seeds=range(4)):
    rng = np.random.default_rng(1)
    labels = study.splits.test.labels.numpy()
    return {
        (variant, seed): np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, NUM_CLASSES, len(labels)))
        for variant in variants
        for seed in seeds
    }


def published_mode(predictions, variant):
    """The published code: pandas, example by example, the largest of tied labels."""
    table = pd.DataFrame([predictions[variant, seed] for seed in range(4)])
    return np.array([int(table[column].mode().max()) for column in table])


def test_summary_and_pies_agree_with_pandas(study):
    predictions = random_predictions(study)
    complete(study, predictions)
    analysis = analyze(open_results(study.storage))
    labels, example_ids = study.splits.test.labels.numpy(), study.splits.test.example_ids
    reference = published_mode(predictions, "dense")
    summary = analysis.summary.set_index("variant_id")
    assert list(summary.index) == list(VARIANTS)
    assert analysis.missing == ()
    for variant in VARIANTS[1:]:
        mode = published_mode(predictions, variant)
        is_pie = mode != reference
        row = summary.loc[variant]
        pies = analysis.pies[analysis.pies["variant_id"] == variant]
        assert set(pies["example_id"]) == set(example_ids[is_pie])
        assert (row["num_pies"], row["pie_fraction"]) == (is_pie.sum(), is_pie.mean())
        by_member = np.array([predictions[variant, seed] == labels for seed in range(4)])
        by_reference = np.array([predictions["dense", seed] == labels for seed in range(4)])
        assert row["top1_mean"] == pytest.approx(by_member.mean())
        assert row["top1_std"] == pytest.approx(by_member.mean(1).std(ddof=1))
        assert row["top1_on_pies"] == pytest.approx(by_member[:, is_pie].mean())
        assert row["top1_without_pies"] == pytest.approx(by_member[:, ~is_pie].mean())
        assert row["reference_top1_on_pies"] == pytest.approx(by_reference[:, is_pie].mean())
        assert row["top1_mean"] <= row["top5_mean"] <= 1
        assert row["num_members"] == 4
        assert row["checkpoint_bytes_mean"] == 8.5
        assert 0 < row["null_pie_fraction"] < 1
        assert is_pie.mean() < row["half_pie_fraction"] < 1
        assert list(pies["taxicab"]) == sorted(pies["taxicab"], reverse=True)


def test_the_class_table_has_a_row_a_class_and_variant(study):
    complete(study, random_predictions(study))
    classes = analyze(open_results(study.storage)).classes
    assert len(classes) == 2 * NUM_CLASSES
    assert classes["num_examples"].sum() == 2 * len(study.splits.test)
    np.testing.assert_allclose(classes["change"], classes["variant_recall"] - classes["reference_recall"])


def test_a_variant_that_changes_nothing_has_no_pies(study):
    predictions = random_predictions(study)
    predictions |= {("static_int8", seed): predictions["dense", seed] for seed in range(4)}
    complete(study, predictions)
    row = analyze(open_results(study.storage)).summary.set_index("variant_id").loc["static_int8"]
    assert row["num_pies"] == 0
    assert row["half_pie_fraction"] == pytest.approx(row["null_pie_fraction"])
    assert np.isnan(row["top1_on_pies"])
    assert row["top1_without_pies"] == row["reference_top1_mean"]


def test_missing_members_are_named_and_the_rest_is_compared(study):
    predictions = random_predictions(study)
    del predictions["magnitude-0.50", 2]
    for seed in range(4):
        del predictions["static_int8", seed]
    complete(study, predictions)
    analysis = analyze(open_results(study.storage))
    summary = analysis.summary.set_index("variant_id")
    assert list(summary.index) == ["dense", "magnitude-0.50"]
    assert summary.loc["magnitude-0.50", "num_members"] == 3
    assert np.isnan(summary.loc["magnitude-0.50", "half_pie_fraction"])
    assert analysis.missing == ("magnitude-0.50 seed 2", *(f"static_int8 seed {seed}" for seed in range(4)))


def test_one_member_has_no_noise_floor(study):
    complete(study, random_predictions(study, seeds=[0]))
    summary = analyze(open_results(study.storage)).summary
    assert summary["null_pie_fraction"].isna().all()
    assert summary["top1_std"].isna().all()


def test_analysis_is_repeatable_and_reads_back(study):
    complete(study, random_predictions(study))
    results = open_results(study.storage)
    first, second = analyze(results), analyze(results)
    stored = load_analysis(results)
    for name in ("summary", "pies", "classes"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
        pd.testing.assert_frame_equal(
            getattr(stored, name).reset_index(drop=True), getattr(first, name).reset_index(drop=True), check_dtype=False
        )


def test_a_mapper_gives_the_same_tables(study):
    complete(study, random_predictions(study))
    results = open_results(study.storage)
    backwards = analyze(results, mapper=lambda f, tasks: [f(task) for task in reversed(list(tasks))][::-1])
    pd.testing.assert_frame_equal(backwards.summary, analyze(results).summary)


def test_without_a_reference_there_is_nothing_to_compare_with(study):
    complete(study, random_predictions(study, variants=["magnitude-0.50"]))
    with pytest.raises(StoreError, match="no member of the dense reference is complete"):
        analyze(open_results(study.storage))


def test_predictions_of_another_recipe_are_refused(study, tiny_text, tmp_path):
    from pie_ray.recipe import parse_recipe
    from pie_ray.store import paths

    complete(study, random_predictions(study))
    other = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path / 'other'}", "training.epochs=3"]))
    complete(other, random_predictions(other, seeds=range(2)))
    path = paths.predictions("clean", "dense", 0)
    study.storage.write_bytes(path, other.storage.read_bytes(path))
    with pytest.raises(StoreError, match=r"predictions/clean/dense/0.parquet"):
        analyze(open_results(study.storage))
