"""Members on further evaluation sets: in their trial, or later from their checkpoints; only what is missing is made."""

from __future__ import annotations

import numpy as np
import pytest

from pie_ray import member as member_room
from pie_ray.errors import StoreError
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink, PredictionStore, completeness, paths, read_examples, read_manifest
from pie_ray.study import begin, design, is_begun, prepare
from pie_ray.workplace import Workplace

FOG = "evaluation.suites.fog={kind: corruptions, corruptions: [fog], severities: [1, 5], num_examples: 30}"
OWN = "evaluation.suites.own={kind: natural, data: {kind: digits, num_test: 50}}"
SETS = ("corruption/fog/1", "corruption/fog/5")


@pytest.fixture
def recipe(tmp_path, tiny_text):
    """The tiny recipe with the suites that are asked for."""

    def make(*suites):
        return parse_recipe(tiny_text, [f"execution.storage={tmp_path}", *suites])

    return make


def workplace(study):
    return Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))


def run_all(study, num_seeds=1):
    """Runs dense and its int8 child."""
    place = workplace(study)
    wanted = [spec for spec in study.plan.members if spec.seed < num_seeds and spec.variant.pruning is None]
    return [run_member(spec, place) for spec in wanted]


def accuracy(study, suite, name, variant_id="dense"):
    found = PredictionStore(study.storage).read_population(suite, name, variant_id, [0])
    return (found.arrays["prediction"][0] == found.labels).mean()


def count_predictions(monkeypatch):
    counted = []

    def predict(forward, images, **options):
        counted.append(len(images))
        yield from original(forward, images, **options)

    original = member_room.predict
    monkeypatch.setattr(member_room, "predict", predict)
    return counted


def test_a_member_is_evaluated_on_every_suite_in_its_trial(recipe):
    study = prepare(recipe(FOG, OWN))
    for record in run_all(study):
        assert list(record.top1) == ["test", *SETS, "natural/own"]
        for suite, name in (("clean", "test"), ("fog", SETS[0]), ("fog", SETS[1]), ("own", "natural/own")):
            assert record.top1[name] == pytest.approx(accuracy(study, suite, name, record.variant_id))
    found = PredictionStore(study.storage).read_population("fog", SETS[0], "dense", [0], ("confidence",))
    examples = read_examples(study.storage, SETS[0])
    assert found.example_ids.tolist() == examples.example_ids.tolist()
    assert len(examples.example_ids) == 30
    assert set(examples.example_ids) <= set(study.splits.test.example_ids)
    assert read_manifest(study.storage).suites["fog"] == dict.fromkeys(SETS, 30)


def test_the_images_as_they_are_and_corrupted_ones_are_told_apart(recipe):
    study = prepare(recipe(FOG))
    run_all(study)
    clean, mild, severe = (
        PredictionStore(study.storage).read_population(suite, name, "dense", [0], ("confidence",))
        for suite, name in (("clean", "test"), ("fog", SETS[0]), ("fog", SETS[1]))
    )
    of_clean = clean.arrays["confidence"][0][np.searchsorted(clean.example_ids, mild.example_ids)]
    changes = [np.abs(found.arrays["confidence"][0] - of_clean).mean() for found in (mild, severe)]
    assert changes[1] > changes[0] > 0


def test_suites_added_later_are_predicted_from_the_checkpoints_and_nothing_else_is_done(recipe, monkeypatch):
    before = prepare(recipe())
    records = run_all(before)
    clean = before.storage.read_bytes(paths.predictions("clean", "dense", 0))
    study = prepare(recipe(FOG))
    missing = completeness(study.storage, study.plan, study.suites).missing
    assert {(spec.variant_id, spec.seed) for spec in missing} >= {("dense", 0), ("static_int8", 0)}
    counted = count_predictions(monkeypatch)
    monkeypatch.setattr(member_room, "make_network", None)
    later = run_all(study)
    assert counted == [30, 30] * 2
    assert study.storage.read_bytes(paths.predictions("clean", "dense", 0)) == clean
    for record, earlier in zip(later, records, strict=True):
        assert list(record.top1) == ["test", *SETS]
        assert record.top1["test"] == pytest.approx(earlier.top1["test"])
        assert (record.train_seconds, record.checkpoint_bytes) == (earlier.train_seconds, earlier.checkpoint_bytes)


def test_predictions_later_are_those_that_the_trial_would_have_made(recipe, tmp_path):
    together = prepare(recipe(FOG, f"execution.storage={tmp_path / 'together'}"))
    run_all(together)
    apart = prepare(recipe(f"execution.storage={tmp_path / 'apart'}"))
    run_all(apart)
    later = prepare(recipe(FOG, f"execution.storage={tmp_path / 'apart'}"))
    run_all(later)
    for variant_id in ("dense", "static_int8"):
        path = paths.predictions("fog", variant_id, 0)
        assert together.storage.read_bytes(path) == later.storage.read_bytes(path)


@pytest.mark.parametrize("spoil", ["truncated", "another member's", "other examples"])
def test_predictions_that_are_not_the_member_s_are_made_again(recipe, monkeypatch, spoil):
    study = prepare(recipe(FOG))
    run_all(study, num_seeds=2)
    path, other = paths.predictions("fog", "dense", 0), paths.predictions("fog", "dense", 1)
    whole = study.storage.read_bytes(path)
    clean = study.storage.read_bytes(paths.predictions("clean", "dense", 0))
    spoilt = {"truncated": whole[:-9], "another member's": study.storage.read_bytes(other), "other examples": clean}
    study.storage.write_bytes(path, spoilt[spoil])
    counted = count_predictions(monkeypatch)
    run_all(study)
    assert counted == [30, 30]
    assert study.storage.read_bytes(path) == whole


def test_a_recipe_without_them_forgets_no_suites(recipe):
    run_all(prepare(recipe(FOG)))
    study = design(recipe())
    assert list(study.recipe.evaluation.suites) == ["fog"]
    assert is_begun(study)


def test_another_suite_of_a_known_name_is_refused(recipe):
    prepare(recipe(FOG))
    with pytest.raises(StoreError, match=r"images of suite fog .* have .*, the recipe says"):
        begin(design(recipe(FOG.replace("num_examples", "seed: 1, num_examples"))))


def test_suites_of_few_examples_keep_no_logits_but_the_clean_ones_do(recipe):
    study = prepare(recipe(FOG))
    run_all(study)
    store = PredictionStore(study.storage)
    assert "logits" in store.stored_columns("clean", "dense", 0)
    assert "logits" not in store.stored_columns("fog", "dense", 0)


def test_answers_are_chosen_among_the_classes_that_a_set_has(recipe):
    import torch

    logits = torch.tensor([[5.0, 1.0, 2.0], [0.0, 3.0, 1.0]])
    among = member_room.restrict(logits, (1, 2))
    assert among.argmax(1).tolist() == [2, 1]
    assert torch.allclose(among.softmax(1)[:, 1:], logits[:, 1:].softmax(1))
    assert member_room.restrict(logits, None) is logits
