"""Tables from a store whose predictions are known, held against pandas and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pie_ray import stats
from pie_ray.analysis import Evidence, analyze, load_analysis, open_results, plan_members
from pie_ray.analysis.group_tables import group_masks
from pie_ray.analysis.tables import TABLES
from pie_ray.errors import InputError, StoreError
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
            logits = logits_of(chosen, rng)
            rows.write(prediction_batch("test", test.example_ids, test.labels.numpy(), logits, store_logits=True))
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
    assert set(TABLES) >= {"summary", "pies", "classes", "pairs", "foretelling", "stability", "groups", "evidence"}
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
        written, read = (getattr(tables, name).replace({None: np.nan}) for tables in (first, stored))
        pd.testing.assert_frame_equal(read, written.reset_index(drop=True), check_dtype=False, check_column_type=False)


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


# ------------------------------------------------------------------------------------------------ beyond the papers


def planted(study, num_members=4):
    """Two populations apart on the first 30 examples and alike elsewhere; int8 members are their parents but once."""
    rng = np.random.default_rng(2)
    labels = study.splits.test.labels.numpy()
    predictions = {}
    for seed in range(num_members):
        for variant in VARIANTS[:2]:
            predictions[variant, seed] = np.where(rng.random(len(labels)) < 0.9, labels, (labels + 1) % NUM_CLASSES)
        predictions["dense", seed][:30] = labels[:30]
        predictions["magnitude-0.50", seed][:30] = (labels[:30] + 3) % NUM_CLASSES
        predictions["static_int8", seed] = predictions["dense", seed].copy()
        predictions["static_int8", seed][50 + seed] = (labels[50 + seed] + 5) % NUM_CLASSES
    return predictions


@pytest.fixture
def large_study(tiny_text, tmp_path):
    from pie_ray.recipe import parse_recipe

    return prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", "population.num_members=8"]))


def test_planted_effects_are_significant_and_nothing_else_is(large_study):
    complete(large_study, planted(large_study, 8))
    analysis = analyze(open_results(large_study.storage))
    pies = analysis.pies.query("variant_id == 'magnitude-0.50'")
    ids = large_study.splits.test.example_ids
    assert set(pies.query("is_significant")["example_id"]) == set(ids[:30])
    assert pies.query("is_significant")["p_value"].to_numpy() == pytest.approx(2 / 12870)
    row = analysis.summary.set_index("variant_id").loc["magnitude-0.50"]
    assert (row["num_significant"], row["num_significant_pies"]) == (30, 30)
    assert row["smallest_p_value"] == pytest.approx(2 / 12870)
    assert list(pies["key"].iloc[:2]) == [
        large_study.splits.test.keys[row] for row in np.searchsorted(ids, pies["example_id"].iloc[:2])
    ]


def test_quantized_members_are_tested_in_pairs(large_study):
    predictions = planted(large_study, 8)
    complete(large_study, predictions)
    analysis = analyze(open_results(large_study.storage))
    summary = analysis.summary.set_index("variant_id")
    assert summary["is_paired"].to_dict() == {"dense": False, "magnitude-0.50": False, "static_int8": True}
    pairs = analysis.pairs.query("variant_id == 'static_int8'")
    assert list(pairs["num_cie"]) == [1] * 8 and pairs["is_paired"].all()
    assert summary.loc["static_int8", "cie_mean"] == pytest.approx(1 / len(large_study.splits.test))
    # One swapped pair of eight can be no evidence, whichever way it went.
    assert summary.loc["static_int8", ["num_testable", "num_significant"]].tolist() == [0, 0]


def test_pairs_agree_with_a_count_by_hand(study):
    predictions = random_predictions(study)
    complete(study, predictions)
    analysis = analyze(open_results(study.storage))
    labels = study.splits.test.labels.numpy()
    for row in analysis.pairs.to_dict("records"):
        before, after = predictions["dense", row["seed"]], predictions[row["variant_id"], row["seed"]]
        assert row["num_cie"] == (before != after).sum()
        assert row["num_cie_u"] == ((before != after) & (before == labels)).sum()
        assert row["num_only_variant_right"] == ((before != labels) & (after == labels)).sum()
    dense = [predictions["dense", seed] for seed in range(4)]
    apart = [(dense[i] != dense[j]).mean() for i in range(4) for j in range(i)]
    assert analysis.summary["null_cie_mean"].to_numpy() == pytest.approx(np.mean(apart))


def test_foretelling_agrees_with_scikit_learn(study):
    from sklearn.metrics import average_precision_score, roc_auc_score

    complete(study, random_predictions(study))
    results = open_results(study.storage)
    analysis = analyze(results)
    dense = results.population("test", "dense", ("logits", "confidence"))
    probability = np.exp(dense.arrays["logits"].astype(np.float64))
    mean = (probability / probability.sum(axis=2, keepdims=True)).mean(axis=0)
    entropy = -(mean * np.log(mean)).sum(axis=1)
    pies = set(analysis.pies.query("variant_id == 'magnitude-0.50' and is_pie")["example_id"])
    is_pie = np.isin(dense.example_ids, list(pies))
    row = analysis.foretelling.set_index(["variant_id", "score"]).loc["magnitude-0.50", "entropy"]
    assert row["auroc"] == pytest.approx(roc_auc_score(is_pie, entropy))
    assert row["average_precision"] == pytest.approx(average_precision_score(is_pie, entropy))
    assert set(analysis.foretelling["score"]) == {
        "vote_entropy", "unconfidence", "expected_entropy", "unlikely_label", "entropy", "mutual_information",
    }  # fmt: skip


def test_scores_are_told_on_pies_and_on_the_rest(study):
    complete(study, random_predictions(study))
    results = open_results(study.storage)
    analysis = analyze(results)
    dense = results.population("test", "dense", ("confidence",))
    score = pd.Series(-dense.arrays["confidence"].astype(np.float64).mean(axis=0), index=dense.example_ids)
    pies = analysis.pies.query("variant_id == 'magnitude-0.50' and is_pie")["example_id"]
    row = analysis.foretelling.set_index(["variant_id", "score"]).loc["magnitude-0.50", "unconfidence"]
    for where, values in (("pies", score[pies]), ("rest", score.drop(pies))):
        told = values.describe()
        assert len(values) and list(row[[f"{name}_on_{where}" for name in ("mean", "q25", "median", "q75")]]) == (
            pytest.approx(list(told[["mean", "25%", "50%", "75%"]]))
        )


def test_the_change_of_top1_has_an_interval_over_members(study):
    """Welch's of members that were trained apart, Student's of pairs."""
    complete(study, random_predictions(study))
    results = open_results(study.storage)
    analysis = analyze(results)
    top1 = {name: part["top1"].to_numpy() for name, part in analysis.accuracy.groupby("variant_id")}
    summary = analysis.summary.set_index("variant_id")
    assert np.isnan(summary.loc["dense", "top1_change"])
    assert set(summary.index[summary["is_paired"].astype(bool)]) == {"static_int8"}
    for name, row in summary.drop("dense").iterrows():
        if row["is_paired"]:
            expected = scipy.stats.ttest_rel(top1[name], top1["dense"]).confidence_interval()
        else:
            expected = scipy.stats.ttest_ind(top1[name], top1["dense"], equal_var=False).confidence_interval()
        assert row["top1_change"] == pytest.approx(row["top1_mean"] - row["reference_top1_mean"])
        assert (row["top1_change_low"], row["top1_change_high"]) == pytest.approx(tuple(expected))


def test_classes_are_judged_by_both_rules(study):
    complete(study, random_predictions(study))
    classes = analyze(open_results(study.storage)).classes
    assert (classes["significant"] == (classes["p_value"] <= 0.05)).all()
    np.testing.assert_allclose(classes["q_value"], stats.benjamini_hochberg(classes["p_value"].to_numpy()))
    assert (classes["low"] <= classes["normalised_change"]).all() and (
        classes["normalised_change"] <= classes["high"]
    ).all()


def test_a_plan_says_how_many_members_a_variant_needs(large_study):
    complete(large_study, planted(large_study, 8))
    analysis = analyze(open_results(large_study.storage))
    assert set(analysis.stability["num_members"]) == {2, 3, 4}
    needed = plan_members(analysis.tables, 0.5).set_index("variant_id")
    assert list(needed.index) == ["magnitude-0.50", "static_int8"] and set(needed["num_members"]) == {8}
    measured = analysis.stability.query("variant_id == 'magnitude-0.50' and jaccard_mean >= 0.5")["num_members"]
    assert len(measured) and needed.loc["magnitude-0.50", "num_needed"] == measured.min()
    assert needed.loc["magnitude-0.50", "basis"] == "measured"


def test_evidence_is_told_of_pies_and_the_rest(study):
    predictions = random_predictions(study)
    complete(study, predictions)
    results = open_results(study.storage)
    is_pie = published_mode(predictions, "magnitude-0.50") != published_mode(predictions, "dense")
    values = np.where(is_pie, 2.0, 1.0)
    values[0] = np.nan
    evidence = Evidence({"test": {"doubt": values}}, num_rows=len(values), num_matched=len(values) - 1, notes=())
    table = analyze(results, evidence=evidence).evidence.set_index("variant_id")
    row = table.loc["magnitude-0.50"]
    assert (row["evidence"], row["mean_on_pies"], row["mean_on_rest"], row["auroc"]) == ("doubt", 2, 1, 1)
    assert row["num_unknown"] == 1 and row["num_pies"] + row["num_rest"] == len(values) - 1
    assert table.loc["static_int8", "auroc"] < 1
    assert analyze(results).evidence.empty and load_analysis(results).evidence.empty


GROUPS = {
    "Male": np.array([True, True, False, False]),
    "Young": np.array([True, False, True, False]),
    "origin": np.array(["a", "b", "a", "c"]),
    "constant": np.zeros(4),
}


def test_groups_are_every_attribute_and_every_pair_by_default():
    masks = group_masks(GROUPS, None)
    assert {"Male", "not Male", "origin=c", "Male & Young", "not Young & origin=b"} <= set(masks)
    assert not any("constant" in name for name in masks)
    assert masks["Male & not Young"].tolist() == [False, True, False, False]


def test_groups_can_be_named():
    assert set(group_masks(GROUPS, ("Male & Young",))) == {
        "Male & Young", "Male & not Young", "not Male & Young", "not Male & not Young",
    }  # fmt: skip
    with pytest.raises(
        InputError, match=r"evaluation.groups: found 'Old'; accepted are the attributes of the data: Male"
    ):
        group_masks(GROUPS, ("Old",))
