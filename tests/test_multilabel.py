"""Several attributes at once, from images in CelebA's layout to tables and report: the planted bias must be found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pie_ray import stats
from pie_ray.analysis import analyze, open_results
from pie_ray.analysis.tables import TABLES, Task, analyze_variant
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.report.page import render_report
from pie_ray.store import ParquetSink, read_examples
from pie_ray.study import prepare
from pie_ray.workplace import Workplace

from .celeba import CATEGORY, HARD, make_celeba

PRUNED = "magnitude_global-0.90"
TEXT = """
name: celeba
data: {{kind: celeba, path: {path}}}
model: {{kind: small_resnet, width: 8}}
training: {{epochs: 8, batch_size: 64, learning_rate: 0.1, precision: float32}}
population: {{num_members: 3}}
variants:
  - pruning: {{kind: magnitude, sparsities: [0.9], scopes: [global]}}
  - quantization: [static_int8]
execution: {{storage: {folder}/results, cache: {folder}/cache}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Nine members, trained and derived in this process."""
    folder = tmp_path_factory.mktemp("celeba")
    path = make_celeba(folder / "images", num_train=1000, num_validation=300, num_test=497)
    study = prepare(parse_recipe(TEXT.format(path=path, folder=folder)))
    workplace = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for spec in study.plan.members:
        run_member(spec, workplace)
    torch.set_num_threads(num_threads)
    return open_results(study.storage)


@pytest.fixture(scope="module")
def analysis(results):
    return analyze(results)


def logits_of(results, variant_id, evaluation_set="test"):
    """float32 [members, examples, attributes]"""
    return results.population(evaluation_set, variant_id, ("logits",)).arrays["logits"]


def amplification(predicted, labels, on_side):
    """The definition, for one member and attribute."""
    return (predicted & on_side).sum() / predicted.sum() - (labels & on_side).sum() / labels.sum()


def test_the_planted_bias_is_found_and_pruning_amplifies_it(results, analysis):
    table = analysis.amplification.set_index(["variant_id", "attribute", "category"])
    planted = table.loc[PRUNED, HARD, CATEGORY]
    assert planted["category_side"] == "with"
    assert planted["training_rate_with"] > 0.8 > 0.2 > planted["training_rate_without"]
    assert planted["reference_amplification"] > 0.1
    assert planted["change"] > 0.02
    dense = analysis.amplification.query("variant_id == @PRUNED and reason == ''")
    strongest = dense.loc[dense["reference_amplification"].idxmax()]
    assert (strongest["attribute"], strongest["category"]) == (HARD, CATEGORY)


def test_quantization_amplifies_it_less_than_pruning(analysis):
    change = analysis.amplification.set_index(["variant_id", "attribute", "category"])["change"]
    assert abs(change["static_int8", HARD, CATEGORY]) < change[PRUNED, HARD, CATEGORY]


def test_amplification_agrees_with_its_definition(results, analysis):
    examples = read_examples(results.storage, "test")
    names = results.class_names
    attribute, category = names.index(HARD), examples.groups[CATEGORY]
    labels = examples.labels[:, attribute]
    by_member = [
        amplification(member[:, attribute] > 0, labels, category == 1) for member in logits_of(results, PRUNED)
    ]
    row = analysis.amplification.set_index(["variant_id", "attribute", "category"]).loc[PRUNED, HARD, CATEGORY]
    assert row["amplification"] == pytest.approx(np.mean(by_member))
    assert row["amplification_std"] == pytest.approx(np.std(by_member, ddof=1))


def test_what_is_undefined_says_why(analysis):
    table = analysis.amplification
    undefined = table["reason"] != ""
    assert 0 < undefined.sum() < len(table) and table.loc[undefined, "change"].isna().all()
    own = table[table["attribute"] == table["category"]]
    assert len(own) and set(own["reason"]) == {"same attribute"}


def test_attributes_agree_with_scikit_learn_and_pandas(results, analysis):
    examples, table = read_examples(results.storage, "test"), analysis.attributes.set_index(["variant_id", "attribute"])
    before, after = logits_of(results, "dense"), logits_of(results, PRUNED)
    for index, name in enumerate(results.class_names):
        labels, row = examples.labels[:, index], table.loc[PRUNED, name]
        assert row["accuracy"] == pytest.approx(((after[:, :, index] > 0) == labels).mean())
        assert row["auroc"] == pytest.approx(np.mean([roc_auc_score(labels, member[:, index]) for member in after]))
        probability = 1 / (1 + np.exp(-before[:, :, index].astype(np.float64)))
        assert row["reference_uncertainty"] == pytest.approx((np.abs(probability - 0.5) < 0.4).mean())
        modes = [pd.DataFrame(logits[:, :, index] > 0).astype(int).mode().max() for logits in (before, after)]
        assert row["num_pies"] == (modes[0] != modes[1]).sum()


def test_an_answer_is_an_attribute_of_an_example(results, analysis):
    summary = analysis.summary.set_index("variant_id")
    num_attributes = len(results.class_names)
    assert set(summary["num_examples"]) == {497} and set(summary["num_answers"]) == {497 * num_attributes}
    assert summary.loc[PRUNED, "num_pies"] == analysis.attributes.query("variant_id == @PRUNED")["num_pies"].sum()
    labels = read_examples(results.storage, "test").labels
    assert summary.loc[PRUNED, "top1_mean"] == pytest.approx(((logits_of(results, PRUNED) > 0) == labels).mean())
    pies = analysis.pies.query("variant_id == @PRUNED and is_pie")
    assert not pies.duplicated(["example_id", "attribute"]).any()


def test_adjusted_thresholds_predict_as_often_as_validation_says(results, analysis):
    table = analysis.countermeasures.query("variant_id == @PRUNED")
    assert set(table["countermeasure"]) == {"thresholds", "override"}
    validation = results.population("validation", PRUNED, ("logits",))
    tau = stats.adjusted_thresholds(validation.arrays["logits"], validation.labels)
    at_tau = (validation.arrays["logits"] > tau[:, None]).sum(axis=1)
    np.testing.assert_array_equal(at_tau, np.broadcast_to(validation.labels.sum(axis=0), at_tau.shape))
    after = logits_of(results, PRUNED) > tau[:, None]
    labels = read_examples(results.storage, "test").labels
    accuracy = table.query("countermeasure == 'thresholds'").drop_duplicates("attribute")["accuracy_after"]
    np.testing.assert_allclose(accuracy, (after == labels).mean(axis=(0, 1)))


def test_override_lets_the_reference_decide_where_it_doubts(results, analysis):
    table = analysis.countermeasures.query("variant_id == @PRUNED and countermeasure == 'override'")
    before = logits_of(results, "dense").astype(np.float64)
    doubted = (np.abs(1 / (1 + np.exp(-before)) - 0.5) < 0.4).mean(axis=0) > 0.5
    by_attribute = table.drop_duplicates("attribute").set_index("attribute")
    np.testing.assert_allclose(by_attribute["share_overridden"], doubted.mean(axis=0))
    assert by_attribute["accuracy_after"].mean() > by_attribute["accuracy_before"].mean()
    planted = table.set_index(["attribute", "category"]).loc[HARD, CATEGORY]
    assert planted["amplification_after"] < planted["amplification_before"]


def test_errors_are_told_by_attribute_and_group(results, analysis):
    rows = analysis.groups.query("variant_id == @PRUNED and rate == 'error'").set_index(["attribute", "group"])
    examples, index = read_examples(results.storage, "test"), results.class_names.index(HARD)
    unmarked = examples.groups[CATEGORY] == 0
    wrong = (logits_of(results, PRUNED)[:, :, index] > 0) != examples.labels[:, index]
    assert rows.loc[(HARD, f"not {CATEGORY}"), "variant"] == pytest.approx(wrong[:, unmarked].mean())
    assert not any(attribute in group.removeprefix("not ").split() for attribute, group in rows.index)


def test_groups_and_categories_can_be_named(results):
    evaluation = results.recipe.evaluation.model_copy(update={"groups": (CATEGORY, f"{CATEGORY} & Large")})
    named = replace(results, recipe=results.recipe.model_copy(update={"evaluation": evaluation}))
    tables = analyze_variant(Task(named, "test", named.variants[1], evidence={}))
    assert set(tables["amplification"]["category"]) == {CATEGORY}
    assert f"{CATEGORY} & not Large" in set(tables["groups"]["group"])


def test_the_report_tells_of_attributes_bias_and_countermeasures(analysis):
    html = render_report(
        title="celeba",
        tables={name: getattr(analysis, name) for name in TABLES},
        class_names=["no", "yes"],
        thumbnails={},
        notes=[],
        provenance={},
    )
    for heading in ("Attribute by attribute", "Whose bias grows", "Countermeasures", "The cost by group"):
        assert f"<h2>{heading}</h2>" in html
    assert "The cost by class" not in html
    assert f'"{HARD}"' in html
    assert " questions about 497 examples" in html
