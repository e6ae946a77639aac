"""The tables of robustness from stores whose predictions are known, held against pandas, scipy and loops."""

from __future__ import annotations

import gc
import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pie_ray.analysis import analyze, load_tables, open_predictions, open_results
from pie_ray.analysis import robustness as robustness_module
from pie_ray.analysis.evaluation_sets import clean_set, kind_of
from pie_ray.analysis.shift import Shift
from pie_ray.errors import StoreError
from pie_ray.recipe import parse_recipe
from pie_ray.records import MemberRecord
from pie_ray.store import (
    ParquetSink,
    Population,
    Storage,
    paths,
    prediction_batch,
    read_manifest,
    write_examples,
    write_record,
)
from pie_ray.study import prepare

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

NUM_CLASSES = 10
NUM_MEMBERS = 5
VARIANTS = ("dense", "magnitude-0.50", "static_int8")
CORRUPTED = ("corruption/fog/1", "corruption/fog/3", "corruption/snow/3", "corruption/speckle_noise/5")
SUBSET = "corruption/speckle_noise/5"
NATURAL = "natural/other"
SUITES = {"clean": ("test",), "corrupted": CORRUPTED, "other": (NATURAL,)}
TABLES = ("robustness", "corruption_errors", "fragility")
ERROR = {
    "test": 0.15,
    "corruption/fog/1": 0.3,
    "corruption/fog/3": 0.4,
    "corruption/snow/3": 0.5,
    SUBSET: 0.6,
    NATURAL: 0.5,
}


@pytest.fixture
def study(tiny_text, tmp_path):
    options = [f"execution.storage={tmp_path}", f"population.num_members={NUM_MEMBERS}"]
    return prepare(parse_recipe(tiny_text, options))


def examples_of(study):
    """Ids and labels by set: one corrupted set has but some examples, the natural one other images of equal ids."""
    test = study.splits.test
    ids, labels = test.example_ids, test.labels.numpy()
    some, rng = slice(5, 90, 2), np.random.default_rng(9)
    own = {SUBSET: (ids[some], labels[some]), NATURAL: (np.arange(50), rng.integers(0, NUM_CLASSES, 50))}
    return {name: own.get(name, (ids, labels)) for name in ERROR}


def random_predictions(study, variants=VARIANTS, seeds=range(NUM_MEMBERS)):
    """By (variant, seed) and set; each example has a label that it is often taken for, and variants differ."""
    rng, examples = np.random.default_rng(1), examples_of(study)
    rivals = {
        name: (labels + 1 + rng.integers(0, 9, len(labels))) % NUM_CLASSES for name, (_, labels) in examples.items()
    }
    found = {}
    for place, variant in enumerate(variants):
        for seed in seeds:
            found[variant, seed] = {
                name: np.where(rng.random(len(labels)) < ERROR[name] + 0.08 * place, rivals[name], labels)
                for name, (_, labels) in examples.items()
            }
    return found


def write_suite(study, spec, suite, predictions):
    examples, rng = examples_of(study), np.random.default_rng(spec.seed)
    rows = sum(len(examples[name][0]) for name in SUITES[suite])
    with ParquetSink(study.storage).open(spec, suite, rows) as sink:
        for name in SUITES[suite]:
            ids, labels = examples[name]
            logits = rng.normal(size=(len(ids), NUM_CLASSES)).astype(np.float32)
            logits[np.arange(len(ids)), predictions[name]] = 10
            sink.write(prediction_batch(name, ids, labels, logits))
        sink.commit()


def complete(study, predictions, suites=SUITES):
    """Write members as if they had been trained and evaluated."""
    examples = examples_of(study)
    manifest = read_manifest(study.storage)
    sizes = {suite: {name: len(examples[name][0]) for name in SUITES[suite]} for suite in suites}
    study.storage.write_bytes(paths.MANIFEST, manifest.model_copy(update={"suites": sizes}).model_dump_json().encode())
    ids, labels = examples[NATURAL]
    write_examples(study.storage, NATURAL, ids, labels, list(map(str, ids)), {}, manifest.class_names)
    for spec in study.plan.members:
        if (spec.variant_id, spec.seed) not in predictions:
            continue
        for suite in suites:
            write_suite(study, spec, suite, predictions[spec.variant_id, spec.seed])
        record = MemberRecord(
            member_id=spec.member_id, variant_id=spec.variant_id, seed=spec.seed, num_parameters=10, num_prunable=8,
            num_nonzero=6, achieved_sparsity=spec.variant.sparsity, checkpoint_bytes=0,
        )  # fmt: skip
        write_record(study.storage, record)
    return open_results(study.storage)


def mode_of(rows):
    """The published rule, example by example."""
    table = pd.DataFrame(np.array(rows))
    return np.array([int(table[column].mode().max()) for column in table])


class ByHand:
    """What the tables are made of, from the predictions themselves."""

    def __init__(self, study, predictions, variant):
        self.examples, self.predictions, self.variant = examples_of(study), predictions, variant
        self.clean_places = {name: np.isin(self.examples["test"][0], ids) for name, (ids, _) in self.examples.items()}

    def rows(self, name, variant):
        return np.array([self.predictions[key][name] for key in self.predictions if key[0] == variant])

    def correct(self, name, variant):
        return self.rows(name, variant) == self.examples[name][1]

    def clean_correct(self, name, variant):
        """[members, examples] on the clean images of a set; on all of them for the natural one."""
        correct = self.correct("test", variant)
        return correct if name == NATURAL else correct[:, self.clean_places[name]]

    def drops(self, name, variant):
        return self.clean_correct(name, variant).mean(axis=1) - self.correct(name, variant).mean(axis=1)

    def mode(self, name, variant):
        return mode_of(self.rows(name, variant))

    def is_pie(self, name):
        return self.mode(name, "dense") != self.mode(name, self.variant)

    def is_clean_pie(self, name):
        return self.is_pie("test")[self.clean_places[name]]

    def breaks(self, name, variant, chosen):
        labels = self.examples[name][1]
        right = chosen & (self.mode("test", variant)[self.clean_places[name]] == labels)
        return (self.mode(name, variant) != labels)[right].mean()


def row_of(table, name, variant):
    return table.set_index(["evaluation_set", "variant_id"]).loc[(name, variant)]


# ------------------------------------------------------------------------------------------------------- robustness


@pytest.mark.parametrize("variant", VARIANTS[1:])
@pytest.mark.parametrize("name", ["corruption/fog/3", SUBSET, NATURAL])
def test_a_row_agrees_with_pandas_and_scipy(study, variant, name):
    predictions = random_predictions(study)
    table = analyze(complete(study, predictions)).robustness
    row, hand = row_of(table, name, variant), ByHand(study, predictions, variant)
    top1, reference = (hand.correct(name, each).mean(axis=1) for each in (variant, "dense"))
    clean, reference_clean = (hand.clean_correct(name, each).mean() for each in (variant, "dense"))
    drop, reference_drop = hand.drops(name, variant), hand.drops(name, "dense")
    assert row["is_paired"] == (variant == "static_int8")
    test = (
        scipy.stats.ttest_rel(drop, reference_drop)
        if row["is_paired"]
        else scipy.stats.ttest_ind(drop, reference_drop, equal_var=False)
    )
    low, high = scipy.stats.ttest_1samp(top1, 0).confidence_interval()
    drop_low, drop_high = scipy.stats.ttest_1samp(drop, 0).confidence_interval()
    excess_low, excess_high = test.confidence_interval()
    is_pie = hand.is_pie(name)
    expected = {
        "num_members": NUM_MEMBERS, "num_examples": len(hand.examples[name][0]),
        "top1_mean": top1.mean(), "top1_std": top1.std(ddof=1), "top1_low": low, "top1_high": high,
        "reference_top1_mean": reference.mean(), "clean_top1_mean": clean, "reference_clean_top1_mean": reference_clean,
        "drop": clean - top1.mean(), "drop_low": drop_low, "drop_high": drop_high,
        "reference_drop": reference_clean - reference.mean(), "drop_ratio": drop.mean() / reference_drop.mean(),
        "excess_drop": drop.mean() - reference_drop.mean(), "excess_low": excess_low, "excess_high": excess_high,
        "change": (top1.mean() - reference.mean()) / reference.mean(),
        "clean_change": (clean - reference_clean) / reference_clean,
        "statistic": test.statistic, "p_value": test.pvalue,
        "num_pies": is_pie.sum(), "pie_fraction": is_pie.mean(),
        "top1_on_pies": hand.correct(name, variant)[:, is_pie].mean(),
        "top1_without_pies": hand.correct(name, variant)[:, ~is_pie].mean(),
        "reference_top1_on_pies": hand.correct(name, "dense")[:, is_pie].mean(),
        "reference_top1_without_pies": hand.correct(name, "dense")[:, ~is_pie].mean(),
    }  # fmt: skip
    assert is_pie.any() and not is_pie.all()
    pd.testing.assert_series_equal(
        row[list(expected)].astype(float), pd.Series(expected), check_names=False, check_dtype=False
    )
    assert row["change_low"] < row["change"] < row["change_high"]
    assert row["top1_mean"] < row["top5_mean"] <= 1
    assert 0 < row["half_pie_fraction"] < 1 and 0 < row["null_pie_fraction"] < 1 and row["null_pie_std"] >= 0


@pytest.mark.parametrize("name", ["corruption/fog/3", SUBSET])
def test_clean_pies_are_followed_into_a_corrupted_set(study, name):
    predictions = random_predictions(study)
    row = row_of(analyze(complete(study, predictions)).robustness, name, "magnitude-0.50")
    hand = ByHand(study, predictions, "magnitude-0.50")
    is_pie = hand.is_clean_pie(name)
    assert 1 < is_pie.sum() < len(is_pie)
    assert row["num_clean_pies"] == is_pie.sum()
    for owner, variant in (("", "magnitude-0.50"), ("reference_", "dense")):
        assert row[f"{owner}top1_on_clean_pies"] == pytest.approx(hand.correct(name, variant)[:, is_pie].mean())
        assert row[f"{owner}top1_without_clean_pies"] == pytest.approx(hand.correct(name, variant)[:, ~is_pie].mean())
        assert row[f"{owner}break_on_clean_pies"] == pytest.approx(hand.breaks(name, variant, is_pie), nan_ok=True)
        assert row[f"{owner}break_elsewhere"] == pytest.approx(hand.breaks(name, variant, ~is_pie))


CLEAN_PIE_COLUMNS = [
    "num_clean_pies", "top1_on_clean_pies", "top1_without_clean_pies", "reference_top1_on_clean_pies",
    "reference_top1_without_clean_pies", "break_on_clean_pies", "break_elsewhere", "reference_break_on_clean_pies",
    "reference_break_elsewhere",
]  # fmt: skip


def test_natural_images_have_no_clean_pies_whatever_their_ids(study):
    table = analyze(complete(study, random_predictions(study))).robustness
    natural = table.query("kind == 'natural'")
    assert len(natural) == 3 and natural[CLEAN_PIE_COLUMNS].isna().all(axis=None)
    assert table.query("kind == 'corruption'")[["num_clean_pies", "break_elsewhere"]].notna().all(axis=None)


def test_a_row_says_what_its_set_is(study):
    table = analyze(complete(study, random_predictions(study))).robustness
    assert list(zip(table["evaluation_set"], table["variant_id"], strict=True)) == list(
        itertools.product([*CORRUPTED, NATURAL], VARIANTS)
    )
    named = table.drop_duplicates("evaluation_set").set_index("evaluation_set")
    assert named.loc[SUBSET, ["kind", "family", "corruption", "severity"]].tolist() == [
        "corruption",
        "extra",
        "speckle_noise",
        5,
    ]
    assert named.loc["corruption/snow/3", ["family", "corruption", "severity"]].tolist() == ["weather", "snow", 3]
    assert named.loc[NATURAL, ["kind", "family", "corruption"]].tolist() == ["natural", "", ""]
    assert math.isnan(named.loc[NATURAL, "severity"])
    assert table["sparsity"].tolist() == [0, 0.5, 0] * 5
    assert set(table.loc[table["variant_id"] == "static_int8", "quantization"]) == {"static_int8"}


def test_the_reference_is_held_against_itself(study):
    predictions = random_predictions(study)
    rows = analyze(complete(study, predictions)).robustness.query("variant_id == 'dense'").set_index("evaluation_set")
    hand = ByHand(study, predictions, "dense")
    for name, row in rows.iterrows():
        assert row["top1_mean"] == row["reference_top1_mean"] == pytest.approx(hand.correct(name, "dense").mean())
        assert (row["num_pies"], row["excess_drop"], row["change"], row["drop_ratio"]) == (0, 0, 0, 1)
        assert row["drop"] == row["reference_drop"] == pytest.approx(hand.drops(name, "dense").mean())
        assert row[["excess_low", "change_low", "p_value", "q_value", "half_pie_fraction"]].isna().all()
        assert not row["is_paired"] and not row["is_significant"]
    assert rows.loc[list(CORRUPTED), "num_clean_pies"].eq(0).all()


def test_q_values_are_over_all_sets_and_variants(study):
    table = analyze(complete(study, random_predictions(study))).robustness
    p_value = table["p_value"].to_numpy()
    known = ~np.isnan(p_value)
    assert known.sum() == 2 * 5
    np.testing.assert_allclose(table["q_value"][known], scipy.stats.false_discovery_control(p_value[known]))
    assert (table["is_significant"] == (table["q_value"] <= 0.05)).all()


def test_chance_is_the_same_for_all_variants_of_a_set(study):
    table = analyze(complete(study, random_predictions(study))).robustness
    assert table.groupby("evaluation_set")[["null_pie_fraction", "null_pie_std"]].nunique().eq(1).all(axis=None)
    assert table["null_pie_fraction"].nunique() == 5
    assert (table.query("variant_id == 'magnitude-0.50'")["half_pie_fraction"] > 0).all()


def test_a_variant_that_changes_nothing_is_as_robust(study):
    predictions = random_predictions(study)
    predictions |= {("static_int8", seed): predictions["dense", seed] for seed in range(NUM_MEMBERS)}
    analysis = analyze(complete(study, predictions))
    rows = analysis.robustness.query("variant_id == 'static_int8'")
    assert (rows[["num_pies", "excess_drop", "change"]] == 0).all(axis=None)
    assert rows[["p_value", "excess_low", "change_high"]].isna().all(axis=None) and not rows["is_significant"].any()
    # Of five members 20 halvings are all of one population's, and two thirds of those that tell two apart.
    np.testing.assert_allclose(rows["half_pie_fraction"], rows["null_pie_fraction"], atol=0.02)
    assert (analysis.corruption_errors.query("variant_id == 'static_int8'")["mce"] == 1).all()
    assert not (analysis.fragility["variant_id"] == "static_int8").any()


def planted(study):
    """The pruned networks are worse everywhere by as much, and on snow by more."""
    predictions, rng = random_predictions(study), np.random.default_rng(4)
    for seed in range(NUM_MEMBERS):
        for name, (_, labels) in examples_of(study).items():
            wrong, share = (labels + 1) % NUM_CLASSES, rng.random(len(labels))
            dense = 0.1 + 0.02 * rng.normal() + 0.2 * (name != "test")
            pruned = dense + 0.1 + 0.3 * (name == "corruption/snow/3")
            predictions["dense", seed][name] = np.where(share < dense, wrong, labels)
            predictions["magnitude-0.50", seed][name] = np.where(rng.permutation(share) < pruned, wrong, labels)
    return predictions


def test_a_planted_loss_of_robustness_is_found_and_a_clean_loss_is_not_one(study):
    table = analyze(complete(study, planted(study))).robustness.query("variant_id == 'magnitude-0.50'")
    assert set(table.loc[table["is_significant"], "evaluation_set"]) == {"corruption/snow/3"}
    row = row_of(table, "corruption/snow/3", "magnitude-0.50")
    assert row["excess_low"] < 0.3 < row["excess_high"] and row["statistic"] > 0 and row["drop_ratio"] > 2


# ------------------------------------------------------------------------------------------------ corruption errors


def corruption_error(hand, variant, sets, relative=False):
    """Mean over corruptions of the ratio of sums over severities."""

    def of(name, which):
        return hand.drops(name, which).mean() if relative else 1 - hand.correct(name, which).mean()

    corruptions = dict.fromkeys(name.split("/")[1] for name in sets)
    own = [[name for name in sets if name.split("/")[1] == corruption] for corruption in corruptions]
    return np.mean([sum(of(n, variant) for n in names) / sum(of(n, "dense") for n in names) for names in own])


LEVELS = {
    ("all", ""): CORRUPTED,
    ("common", ""): CORRUPTED[:3],
    ("family", "weather"): CORRUPTED[:3],
    ("family", "extra"): CORRUPTED[3:],
    ("corruption", "snow"): CORRUPTED[2:3],
    ("corruption", "fog"): CORRUPTED[:2],
    ("corruption", "speckle_noise"): CORRUPTED[3:],
    ("severity", "1"): CORRUPTED[:1],
    ("severity", "3"): CORRUPTED[1:3],
    ("severity", "5"): CORRUPTED[3:],
}


def test_corruption_errors_agree_with_their_definition(study):
    predictions = planted(study)
    analysis = analyze(complete(study, predictions))
    significant = analysis.robustness.query("is_significant and kind == 'corruption'")
    assert len(significant)
    for variant in VARIANTS:
        table = analysis.corruption_errors.query("variant_id == @variant").set_index(["level", "name"])
        assert list(table.index) == list(LEVELS)
        hand = ByHand(study, predictions, variant)
        for key, sets in LEVELS.items():
            row = table.loc[key]
            errors = np.mean([1 - hand.correct(name, variant).mean(axis=1) for name in sets], axis=0)
            drops = np.mean([hand.drops(name, variant) for name in sets], axis=0)
            assert row["num_sets"] == len(sets) and row["evaluation_set"] == "corruption"
            for name, values in (("error", errors), ("drop", drops)):
                assert row[f"{name}_mean"] == pytest.approx(values.mean())
                interval = scipy.stats.ttest_1samp(values, 0).confidence_interval()
                np.testing.assert_allclose([row[f"{name}_low"], row[f"{name}_high"]], interval)
            reference = np.mean([1 - hand.correct(name, "dense").mean() for name in sets])
            assert row["reference_error_mean"] == pytest.approx(reference)
            assert row["mce"] == pytest.approx(corruption_error(hand, variant, sets))
            assert row["relative_mce"] == pytest.approx(corruption_error(hand, variant, sets, relative=True))
            found = significant.query("variant_id == @variant")["evaluation_set"].isin(sets).sum()
            assert row["num_significant"] == found
        if variant == "dense":
            assert (table["mce"] == 1).all() and table["mce_low"].isna().all()
        else:
            assert (table["mce_low"] < table["mce"]).all() and (table["mce"] < table["mce_high"]).all()


# -------------------------------------------------------------------------------------------------------- fragility


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_fragility_agrees_with_a_loop(study, variant):
    predictions = random_predictions(study)
    table = analyze(complete(study, predictions)).fragility.query("variant_id == @variant")
    hand = ByHand(study, predictions, variant)
    ids, labels = hand.examples["test"]
    modes = {(name, each): hand.mode(name, each) for name in ("test", *CORRUPTED) for each in (variant, "dense")}
    expected = []
    for place, example in enumerate(ids):
        where = {name: np.flatnonzero(hand.examples[name][0] == example) for name in CORRUPTED}
        sets = [name for name in CORRUPTED if where[name].size]
        moved = [name for name in sets if (modes[name, variant] != modes[name, "dense"])[where[name][0]]]
        if not moved:
            continue
        row = {"example_id": example, "label": labels[place], "num_sets": len(sets), "num_pie_sets": len(moved)}
        row |= {"pie_sets": moved, "key": study.splits.test.keys[place]}
        row["is_clean_pie"] = modes["test", variant][place] != modes["test", "dense"][place]
        for owner, each in (("", variant), ("reference_", "dense")):
            wrong = [name for name in sets if modes[name, each][where[name][0]] != labels[place]]
            was_right = modes["test", each][place] == labels[place]
            row[f"{owner}break_fraction"] = len(wrong) / len(sets) if was_right else math.nan
            severities = [int(name[-1]) for name in wrong]
            row[f"{owner}first_break"] = min(severities) if was_right and wrong else math.nan
        expected.append(row)
    expected = pd.DataFrame(expected).sort_values(["num_pie_sets", "example_id"], ascending=[False, True])
    assert len(expected) > 10 and expected["num_sets"].nunique() == 2 and expected["first_break"].nunique() > 1
    assert expected[["break_fraction", "reference_break_fraction"]].isna().any().all()
    found = table[list(expected.columns)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_dtype=False)
    assert set(table["evaluation_set"]) == {"test"}


# ------------------------------------------------------------------------------------------------------- the tables


def test_corrupted_sets_have_no_other_tables_and_natural_ones_do(study):
    analysis = analyze(complete(study, random_predictions(study)))
    for name in ("summary", "classes", "pairs"):
        assert set(analysis.tables[name]["evaluation_set"]) == {"test", NATURAL}
    assert set(analysis.pies["evaluation_set"]) == {"test", NATURAL}


def test_each_member_is_told_once_on_every_set(study):
    results = complete(study, random_predictions(study))
    accuracy = analyze(results).accuracy.set_index(["evaluation_set", "variant_id", "seed"])
    assert (
        set(accuracy.index) == set(itertools.product(ERROR, VARIANTS, range(NUM_MEMBERS))) and accuracy.index.is_unique
    )
    stored = pd.concat(
        pd.read_parquet(f"{results.storage.uri}/{paths.predictions(suite, variant, seed)}").assign(
            variant_id=variant, seed=seed
        )
        for suite, variant, seed in itertools.product(SUITES, VARIANTS, range(NUM_MEMBERS))
    )
    stored = stored.astype({"evaluation_set": str}).assign(
        top1=stored["prediction"] == stored["label"], top5=stored["label_rank"] < 5
    )
    expected = stored.groupby(["evaluation_set", "variant_id", "seed"])[["top1", "top5"]].mean()
    pd.testing.assert_frame_equal(accuracy.sort_index(), expected.sort_index())


def test_without_such_sets_the_tables_are_empty(study):
    results = complete(study, random_predictions(study), suites=["clean"])
    analysis = analyze(results)
    assert all(analysis.tables[name].empty for name in TABLES) and len(analysis.summary) == 3
    assert all(load_tables(results.storage)[name].empty for name in TABLES)


def test_the_tables_are_stored_and_repeatable_wherever_they_are_made(study, monkeypatch):
    results = complete(study, random_predictions(study))
    first = analyze(results)
    stored = load_tables(results.storage)
    monkeypatch.setattr(robustness_module, "PREDICTIONS_AT_ONCE", 1)
    one_by_one = analyze(
        results,
        mapper=lambda f, tasks: [
            pickle.loads(pickle.dumps(f(pickle.loads(pickle.dumps(task))))) for task in reversed(list(tasks))
        ][::-1],
    )
    for name in TABLES:
        pd.testing.assert_frame_equal(first.tables[name], one_by_one.tables[name])
        assert list(stored[name].columns) == list(first.tables[name].columns) and len(stored[name]) == len(
            first.tables[name]
        )
    assert [list(sets) for sets in stored["fragility"]["pie_sets"]] == first.fragility["pie_sets"].tolist()
    pd.testing.assert_frame_equal(
        stored["corruption_errors"], first.corruption_errors, check_dtype=False, check_column_type=False
    )


def found_in(results):
    """The tables before all variants are put together, task by task."""
    tasks = robustness_module.robustness_tasks(results)
    findings = [finding for task in tasks for finding in robustness_module.analyze_robustness(task)]
    parts = [robustness_module.summarise(task) for task in robustness_module.summary_tasks(results, findings)]
    return {name: pd.concat([part[name] for part in parts]) for name in TABLES}


@pytest.mark.parametrize(("predictions_at_once", "num_tasks"), [(1 << 24, 1), (2 * 100 * NUM_MEMBERS, 2), (1, 5)])
def test_a_task_reads_all_variants_and_opens_their_files_once(study, monkeypatch, predictions_at_once, num_tasks):
    results = complete(study, random_predictions(study))
    assert results.num_predictions("corruption/fog/1") == 100 * NUM_MEMBERS * len(VARIANTS)
    monkeypatch.setattr(robustness_module, "PREDICTIONS_AT_ONCE", predictions_at_once)
    tasks = robustness_module.robustness_tasks(results)
    assert len(tasks) == num_tasks
    assert [name for task in tasks for name in task.evaluation_sets] == [*CORRUPTED, NATURAL]
    opened = []
    read_file = Storage.read_file
    monkeypatch.setattr(
        Storage, "read_file", lambda self, path, read: opened.append(path) or read_file(self, path, read)
    )
    for task in tasks:
        opened.clear()
        robustness_module.analyze_robustness(task)
        counts = pd.Series([path for path in opened if path.startswith("predictions/")]).value_counts()
        suites = {path.split("/")[1] for path in counts.index}
        assert len(counts) == len(suites) * len(VARIANTS) * NUM_MEMBERS
        # Of each population, the first member tells twice more of what is stored: its columns, and the examples.
        num_populations = len(suites) * len(VARIANTS)
        assert sorted(counts) == [1] * (len(counts) - num_populations) + [3] * num_populations


def test_a_task_keeps_the_reference_and_one_variant(study, monkeypatch):
    results = complete(study, random_predictions(study))
    alive, columns = [], Shift.columns

    def count(shift):
        alive.append(sum(type(thing) is Population for thing in gc.get_objects()))
        return columns(shift)

    gc.collect()
    before = sum(type(thing) is Population for thing in gc.get_objects())
    monkeypatch.setattr(Shift, "columns", count)
    found_in(results)
    # Five sets and the clean one, of two populations.
    assert len(alive) == 5 * len(VARIANTS) and max(alive) - before == 2 * 6


def test_what_a_task_finds_is_small(study):
    results = complete(study, random_predictions(study))
    (task,) = robustness_module.robustness_tasks(results)
    found = robustness_module.analyze_robustness(task)
    assert len(found) == 5 * len(VARIANTS)
    assert max(len(pickle.dumps(finding)) for finding in found) < 10_000


# ---------------------------------------------------------------------------------------------------- what is missing


def test_members_that_lack_a_suite_serve_on_the_others(study):
    predictions = random_predictions(study)
    complete(study, predictions)
    study.storage.delete(paths.predictions("corrupted", "magnitude-0.50", 2))
    study.storage.delete(paths.predictions("clean", "static_int8", 1))
    results = open_results(study.storage)
    assert results.missing == ("magnitude-0.50 seed 2 on corrupted", "static_int8 seed 1 on clean")
    assert results.notes == ("2 members were not evaluated on every suite.",)
    analysis = analyze(results)
    counts = analysis.summary.set_index(["evaluation_set", "variant_id"])["num_members"]
    assert counts["test", "magnitude-0.50"] == 5 and counts["test", "static_int8"] == 4
    hand = ByHand(study, predictions, "")
    for variant, lacking in (("magnitude-0.50", 2), ("static_int8", 1)):
        row = row_of(analysis.robustness, "corruption/fog/3", variant)
        on_both = [seed for seed in range(NUM_MEMBERS) if seed != lacking]
        drop, reference = (hand.drops("corruption/fog/3", each) for each in (variant, "dense"))
        assert row["num_members"] == (4 if variant == "magnitude-0.50" else 5)
        assert row["drop"] == pytest.approx(drop[on_both].mean())
        assert row["clean_top1_mean"] == pytest.approx(hand.correct("test", variant)[on_both].mean())
        if row["is_paired"]:
            test = scipy.stats.ttest_rel(drop[on_both], reference[on_both])
            assert row["excess_drop"] == pytest.approx((drop - reference)[on_both].mean())
        else:
            test = scipy.stats.ttest_ind(drop[on_both], reference, equal_var=False)
        assert row["p_value"] == pytest.approx(test.pvalue)
    errors = analysis.corruption_errors.set_index(["variant_id", "level", "name"])
    fog = [1 - hand.correct(name, "static_int8").mean(axis=1) for name in CORRUPTED[:2]]
    assert errors.loc[("static_int8", "corruption", "fog"), "error_mean"] == pytest.approx(np.mean(fog))
    drops = [hand.drops(name, "static_int8")[[0, 2, 3, 4]] for name in CORRUPTED[:2]]
    assert errors.loc[("static_int8", "corruption", "fog"), "drop_mean"] == pytest.approx(np.mean(drops))


def test_a_variant_that_is_not_there_has_no_rows(study):
    analysis = analyze(complete(study, random_predictions(study, variants=VARIANTS[:2])))
    for name in ("robustness", "corruption_errors"):
        assert set(analysis.tables[name]["variant_id"]) == {"dense", "magnitude-0.50"}


def test_one_member_has_figures_and_no_intervals(study):
    analysis = analyze(complete(study, random_predictions(study, seeds=[0])))
    table = analysis.robustness
    assert table[["top1_mean", "drop", "change", "excess_drop", "pie_fraction"]].notna().all(axis=None)
    unknown = [
        "top1_std",
        "top1_low",
        "drop_high",
        "excess_low",
        "change_low",
        "p_value",
        "q_value",
        "null_pie_fraction",
    ]
    assert table[unknown].isna().all(axis=None)
    errors = analysis.corruption_errors
    assert errors["mce"].notna().all() and errors[["mce_low", "relative_mce_high", "error_low"]].isna().all(axis=None)


def test_without_a_reference_there_is_nothing_to_compare_with(study):
    with pytest.raises(StoreError, match="no member of the dense reference is complete"):
        analyze(complete(study, random_predictions(study, variants=VARIANTS[1:])))


# --------------------------------------------------------------------------------------- predictions from elsewhere


def exported(study, predictions, sets=tuple(ERROR), change=lambda name, ids, labels: (ids, labels)):
    """The same predictions as a user's table."""
    examples = examples_of(study)
    frames = []
    for (variant, seed), by_set in predictions.items():
        for name in sets:
            ids, labels = change(name, *examples[name])
            rows = {"variant": variant, "member": seed, "evaluation_set": name, "example_id": ids, "label": labels}
            frames.append(pd.DataFrame({**rows, "prediction": by_set[name]}))
    return pd.concat(frames)


def imported(tmp_path, frame, paired=("static_int8",)):
    path = tmp_path / "mine.parquet"
    frame.to_parquet(path)
    return open_predictions(str(path), storage=Storage(str(tmp_path / "own")), paired=paired)


def test_predictions_brought_along_give_the_sweeps_tables(study, tmp_path):
    predictions = random_predictions(study)
    ours = analyze(complete(study, predictions))
    theirs = analyze(imported(tmp_path, exported(study, predictions)))
    drawn = ["change_low", "change_high", "half_pie_fraction", "null_pie_fraction", "null_pie_std", "top5_mean"]
    for name, keys in (
        ("robustness", ["evaluation_set", "variant_id"]),
        ("corruption_errors", ["variant_id", "level", "name"]),
    ):
        own, other = (each.tables[name].set_index(keys).sort_index() for each in (ours, theirs))
        columns = [column for column in own.columns if column not in drawn and "mce_" not in column]
        pd.testing.assert_frame_equal(
            other[columns].replace({None: ""}), own[columns].replace({None: ""}), check_dtype=False
        )
    assert theirs.robustness["top5_mean"].isna().all()
    columns = ["variant_id", "example_id", "num_pie_sets", "break_fraction", "first_break"]
    pd.testing.assert_frame_equal(theirs.fragility[columns], ours.fragility[columns], check_dtype=False)


def test_sets_of_other_images_have_no_clean_pies(study, tmp_path):
    """One corrupted set has an id that the clean set has not, another the clean set's ids with other labels."""
    predictions = random_predictions(study)

    def change(name, ids, labels):
        ids = np.where(ids == ids[-1], 10**6, ids) if name == "corruption/fog/1" else ids
        return ids, (labels + 1) % NUM_CLASSES if name == "corruption/snow/3" else labels

    analysis = analyze(imported(tmp_path, exported(study, predictions, change=change)))
    foreign = analysis.robustness.query("evaluation_set in ('corruption/fog/1', 'corruption/snow/3')")
    assert foreign[CLEAN_PIE_COLUMNS].isna().all(axis=None)
    hand = ByHand(study, predictions, "magnitude-0.50")
    row = row_of(foreign, "corruption/fog/1", "magnitude-0.50")
    assert row["clean_top1_mean"] == pytest.approx(hand.correct("test", "magnitude-0.50").mean())
    assert row["drop"] == pytest.approx(hand.drops("corruption/fog/1", "magnitude-0.50").mean())
    assert analysis.fragility["num_sets"].max() == 2
    named = set(itertools.chain.from_iterable(analysis.fragility["pie_sets"]))
    assert named == {"corruption/fog/3", SUBSET}


def test_without_a_clean_set_drops_are_unknown(study, tmp_path):
    analysis = analyze(imported(tmp_path, exported(study, random_predictions(study), sets=CORRUPTED)))
    table = analysis.robustness
    unknown = [
        "drop",
        "drop_low",
        "excess_drop",
        "p_value",
        "q_value",
        "clean_top1_mean",
        "clean_change",
        *CLEAN_PIE_COLUMNS,
    ]
    assert table[unknown].isna().all(axis=None) and not table["is_significant"].any()
    assert table[["top1_mean", "change", "num_pies"]].notna().all(axis=None)
    errors = analysis.corruption_errors
    assert errors["mce"].notna().all() and errors[["relative_mce", "drop_mean"]].isna().all(axis=None)
    assert (errors["num_significant"] == 0).all() and analysis.fragility.empty
    # Nothing else is there to be told in full.
    assert set(analysis.summary["evaluation_set"]) == set(CORRUPTED)


def test_members_missing_on_one_set_of_a_users_table(study, tmp_path):
    predictions = random_predictions(study)
    frame = exported(study, predictions)
    lacks = (
        (frame["variant"] == "static_int8") & (frame["member"] == 3) & (frame["evaluation_set"] == "corruption/fog/3")
    )
    never = (frame["variant"] == "magnitude-0.50") & (frame["evaluation_set"] == SUBSET)
    analysis = analyze(imported(tmp_path, frame[~lacks & ~never]))
    hand = ByHand(study, predictions, "static_int8")
    errors = analysis.corruption_errors.set_index(["variant_id", "level", "name"])
    whole = [0, 1, 2, 4]
    fog = [1 - hand.correct(name, "static_int8")[whole].mean(axis=1) for name in CORRUPTED[:2]]
    assert errors.loc[("static_int8", "corruption", "fog"), "error_mean"] == pytest.approx(np.mean(fog))
    snow = 1 - hand.correct("corruption/snow/3", "static_int8").mean()
    assert errors.loc[("static_int8", "corruption", "snow"), "error_mean"] == pytest.approx(snow)
    assert errors.loc[("magnitude-0.50", "all", ""), "num_sets"] == 3
    assert ("magnitude-0.50", "family", "extra") not in errors.index
    assert math.isnan(row_of(analysis.robustness, "corruption/fog/3", "static_int8")["half_pie_fraction"])


# ---------------------------------------------------------------------------------------------- several attributes


def test_answers_are_counted_where_an_example_has_several(tiny_text, tmp_path):
    study = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}", "population.num_members=3"]))
    rng = np.random.default_rng(0)
    ids, names = np.arange(40) * 2, ("Smiling", "Hat")
    labels = rng.random((40, 2)) < 0.5
    rows = {"test": np.arange(40), "corruption/fog/2": np.arange(3, 30)}
    suites = {"clean": {"test": 40}, "corrupted": {"corruption/fog/2": 27}}
    update = {"suites": suites, "class_names": names, "is_multilabel": True, "num_classes": 2}
    manifest = read_manifest(study.storage).model_copy(update=update)
    study.storage.write_bytes(paths.MANIFEST, manifest.model_dump_json().encode())
    for name in ("test", "train"):
        write_examples(study.storage, name, ids, labels, list(map(str, ids)), {}, names)
    logits = {}
    for spec in study.plan.members:
        for (suite, sets), error in zip(suites.items(), (0.2, 0.4), strict=True):
            (name,) = sets
            right = np.where(labels[rows[name]], 1.0, -1.0)
            wrong = rng.random(right.shape) < error + 0.1 * (spec.variant_id != "dense")
            logits[spec.variant_id, spec.seed, name] = np.where(wrong, -right, right) * rng.random(right.shape)
            with ParquetSink(study.storage).open(spec, suite, len(rows[name])) as sink:
                values = logits[spec.variant_id, spec.seed, name]
                sink.write(prediction_batch(name, ids[rows[name]], labels[rows[name]], values))
                sink.commit()
        record = MemberRecord(
            member_id=spec.member_id, variant_id=spec.variant_id, seed=spec.seed, num_parameters=10, num_prunable=8,
            num_nonzero=6, achieved_sparsity=0, checkpoint_bytes=0,
        )  # fmt: skip
        write_record(study.storage, record)
    results = open_results(study.storage)
    tables = found_in(results)
    table = robustness_module.finish(tables, results.evaluation_sets)["robustness"]

    def answers(variant, name):
        return np.array([logits[variant, seed, name] > 0 for seed in range(3)])

    row, variant = row_of(table, "corruption/fog/2", "magnitude-0.50"), "magnitude-0.50"
    correct = answers(variant, "corruption/fog/2") == labels[3:30]
    clean = answers(variant, "test")[:, 3:30] == labels[3:30]
    assert row["num_examples"] == 27
    assert row["top1_mean"] == pytest.approx(correct.mean())
    assert row["clean_top1_mean"] == pytest.approx(clean.mean())
    assert row["drop"] == pytest.approx(clean.mean() - correct.mean())
    assert math.isnan(row["top5_mean"])
    majority = {each: answers(each, "corruption/fog/2").sum(axis=0) >= 2 for each in ("dense", variant)}
    assert row["num_pies"] == (majority["dense"] != majority[variant]).sum() > 0
    fragile = tables["fragility"].query("variant_id == @variant")
    moved = {(ids[3:30][e], names[a]) for e, a in np.argwhere(majority["dense"] != majority[variant])}
    assert set(zip(fragile["example_id"], fragile["attribute"], strict=True)) == moved
    assert (fragile["num_sets"] == 1).all()


# ----------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test", ("", "", "", math.nan)),
        ("fog", ("", "", "", math.nan)),
        ("natural", ("", "", "", math.nan)),
        ("corruption", ("", "", "", math.nan)),
        ("corruption/gaussian_noise/1", ("corruption", "noise", "gaussian_noise", 1)),
        ("corruption/zoom_blur/5", ("corruption", "blur", "zoom_blur", 5)),
        ("corruption/brightness/2", ("corruption", "weather", "brightness", 2)),
        ("corruption/jpeg_compression/2", ("corruption", "digital", "jpeg_compression", 2)),
        ("corruption/saturate/4", ("corruption", "extra", "saturate", 4)),
        ("corruption/moire/1.5", ("corruption", "extra", "moire", 1.5)),
        ("corruption/fog", ("corruption", "weather", "fog", math.nan)),
        ("corruption/fog/heavy", ("corruption", "weather", "fog", math.nan)),
        ("natural/imagenet_a", ("natural", "", "", math.nan)),
        ("natural/a/b", ("natural", "", "", math.nan)),
    ],
)
def test_a_name_says_what_a_set_is(name, expected):
    found = kind_of(name)
    np.testing.assert_equal((found.kind, found.family, found.corruption, found.severity), expected)
    assert found.is_shifted == bool(expected[0])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b", "test", "a"], "test"),
        (["corruption/fog/1", "b", "a"], "b"),
        (["corruption/fog/1", "natural/a"], None),
        ([], None),
    ],
)
def test_the_clean_set_is_test_or_the_first_plain_one(names, expected):
    assert clean_set(names) == expected
