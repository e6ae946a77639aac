"""`training.preset` stands for settings, which is what a recipe is known by."""

from __future__ import annotations

import pytest

from pie_ray.config import FineTuning, LinearSchedule, Training
from pie_ray.errors import RecipeError
from pie_ray.identity import make_plan
from pie_ray.recipe import dump_recipe, load_recipe, parse_recipe


def fast(*overrides: str):
    return load_recipe(None, ["training={preset: fast, epochs: 3}", *overrides])


def test_a_preset_brings_its_settings_and_what_is_named_counts():
    training = fast("training.learning_rate=0.05").training
    assert (training.optimizer, training.initialisation, training.augmentation.flip) == (
        "muon",
        "whitening",
        "alternating",
    )
    assert (training.epochs, training.learning_rate) == (3, 0.05)
    assert isinstance(training.schedule, LinearSchedule)
    assert training.preset is None


def test_weight_decay_is_of_the_optimizer_that_it_is_for():
    assert fast().training.weight_decay == 0.05
    assert FineTuning(epochs=5).of(fast().training).weight_decay == 5e-4
    assert FineTuning(epochs=5, optimizer="muon").of(fast().training).weight_decay == 0.05
    assert FineTuning(epochs=5).of(fast("training.optimizer=sgd").training).weight_decay == 5e-4
    assert fast("training.optimizer=sgd", "training.weight_decay=0.001").training.weight_decay == 0.001


def test_members_are_those_of_the_settings_spelled_out():
    spelled_out = fast().training.model_dump(mode="json")
    assert "preset" not in spelled_out
    other = load_recipe(None)
    other = other.model_copy(update={"training": Training.model_validate_json(fast().training.model_dump_json())})
    assert make_plan(other) == make_plan(fast()) != make_plan(load_recipe(None))


def test_the_resolved_recipe_has_the_settings_and_no_preset():
    recipe = fast()
    assert "optimizer: muon" in dump_recipe(recipe)
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_no_preset_is_as_if_it_were_not_named():
    assert load_recipe(None, ["training.preset=null"]) == load_recipe(None)


@pytest.mark.parametrize("preset", ["[fast]", "{name: fast}"])
def test_a_preset_that_is_no_name_is_refused(preset):
    with pytest.raises(RecipeError, match=r"training\.preset: found"):
        load_recipe(None, [f"training.preset={preset}"])


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"training\.preset: found 'quick'; accepted: 'fast'"):
        load_recipe(None, ["training.preset=quick"])
