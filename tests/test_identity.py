"""Names are computed from what determines the bits, and from nothing else."""

from __future__ import annotations

import pytest

from pie_ray.errors import RecipeError
from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe


def ids(text, *overrides):
    return [member.member_id for member in make_plan(parse_recipe(text, overrides)).members]


def test_literal_ids():
    """A change here means that old results are no longer found: a breaking change, for the CHANGELOG."""
    text = """
    name: pinned
    data: {kind: digits}
    model: {kind: small_resnet}
    training: {epochs: 2}
    population: {num_members: 1}
    variants: [{pruning: {kind: magnitude, sparsities: [0.9]}, quantization: [static_int8]}]
    """
    plan = make_plan(parse_recipe(text))
    assert plan.sweep_id == "afef9717a267a9cf"
    assert {m.variant_id: m.member_id for m in plan.members} == {
        "dense": "7adf7c22961b2834",
        "magnitude-0.90": "b8b5f298bfed8514",
        "magnitude-0.90+static_int8": "fc58be33a00c1c9b",
    }


def test_grids_expand_with_parents_before_children(tiny_text):
    recipe = parse_recipe(
        tiny_text,
        [
            "variants=[{pruning: {kind: magnitude, sparsities: [0.9, 0.995], scopes: [layer, global]}, "
            "quantization: [float16]}]",
            "population.base_seed=7",
        ],
    )
    plan = make_plan(recipe)
    assert [variant.variant_id for variant in plan.variants] == [
        "dense",
        "magnitude-0.90",
        "magnitude-0.995",
        "magnitude_global-0.90",
        "magnitude_global-0.995",
        "magnitude-0.90+float16",
        "magnitude-0.995+float16",
        "magnitude_global-0.90+float16",
        "magnitude_global-0.995+float16",
    ]
    by_id = {member.member_id: member for member in plan.members}
    assert len(by_id) == 18
    assert {member.seed for member in plan.members} == {7, 8}
    for member in plan.members:
        if member.parent_id is None:
            assert member.variant.quantization is None
        else:
            parent = by_id[member.parent_id]
            assert (parent.variant.pruning, parent.seed) == (member.variant.pruning, member.seed)


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "execution.storage=/elsewhere",
        "execution.cpus_per_member=4",
        "evaluation.batch_size=7",
        "population.num_members=1",
    ],
)
def test_where_and_how_many_moves_no_id(tiny_text, override):
    assert set(ids(tiny_text, override)) <= set(ids(tiny_text))


def test_where_the_data_lies_moves_no_id(tiny_text):
    here, there = (ids(tiny_text, f"data={{kind: parquet, path: {path}}}") for path in ("/a", "/b"))
    assert here == there


@pytest.mark.parametrize(
    "override",
    [
        "data={kind: digits, num_train: 200, num_test: 99}",
        "model.width=5",
        "training.epochs=3",
        "training.momentum=0.8",
        "training.augmentation={flip: true}",
    ],
)
def test_what_determines_the_bits_moves_every_id(tiny_text, override):
    assert not set(ids(tiny_text, override)) & set(ids(tiny_text))


def test_a_default_written_out_moves_no_id(tiny_text):
    assert ids(tiny_text, "training.momentum=0.9", "training.schedule={kind: cosine}") == ids(tiny_text)


def test_a_pruning_schedule_moves_the_pruned_variants_only(tiny_text):
    before, after = ids(tiny_text), ids(tiny_text, "variants.0.pruning.schedule={begin: 0.1}")
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False, True, True]


def test_populations_share_no_random_numbers(tiny_text):
    members = make_plan(parse_recipe(tiny_text)).members
    assert len({member.generator_seed for member in members}) == len(members)


def test_one_variant_cannot_have_two_schedules(tiny_text):
    grid = "{pruning: {kind: magnitude, sparsities: [0.5], schedule: {begin: 0.1}}}"
    with pytest.raises(RecipeError, match=r"variants.1: magnitude-0.50 is described twice"):
        make_plan(parse_recipe(tiny_text, [f"variants.1={grid}"]))
