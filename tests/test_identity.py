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


EVERY_KIND = """
name: pinned
data: {kind: digits}
model: {kind: small_resnet}
training: {epochs: 2}
population: {num_members: 1}
variants:
  - pruning: {kind: random, sparsities: [0.9], scopes: [global]}
  - pruning: {kind: magnitude, sparsities: [0.9], scopes: [global], fine_tuning: {epochs: 2, optimizer: adam}}
  - pruning: {kind: one_shot, sparsities: [0.9]}
  - pruning: {kind: one_shot, sparsities: [0.9], scopes: [global], fine_tuning: {epochs: 1}}
  - pruning: {kind: n_m, patterns: ["2:4"]}
  - pruning: {kind: structured, sparsities: [0.5], fine_tuning: {epochs: 1}}
  - pruning: {kind: rigl, sparsities: [0.9], scopes: [global]}
    losses: [{terms: [cross_entropy, distillation], weighting: {kind: softadapt}}]
    quantization: [weight_int4]
    quantization_aware: {epochs: 1}
  - pruning: {kind: rewinding, sparsities: [0.9], rewind_epoch: 1}
    losses: [{terms: [logit_pairing]}]
  - quantization: [bfloat16, weight_int8]
"""


def test_literal_ids_of_every_kind():
    """As above: pinned, so that a changed default or a moved field is seen."""
    plan = make_plan(parse_recipe(EVERY_KIND))
    assert {m.variant_id: m.member_id for m in plan.members} == {
        "dense": "7adf7c22961b2834",
        "random_global-0.90": "82678cf9517d76fe",
        "rigl_global-0.90": "098753a53007daff",
        "rewinding-0.90": "b3ff4548c6b17a31",
        "magnitude_global_pt-0.90": "544e3c9914a7ebb3",
        "one_shot-0.90": "452cbef9d7b4a96a",
        "one_shot_global_ft-0.90": "328a18ce31032838",
        "n_m-2of4": "ca3c9c06fd63ad54",
        "structured_ft-0.50": "3fa5ed75d0fe4099",
        "rigl_global-0.90+qat_weight_int4": "d7bb086f993e0612",
        "rigl_global-0.90+ce_kd4-softadapt": "6d07c169163e6581",
        "rewinding-0.90+lp": "8d0ef82cf5734cbd",
        "bfloat16": "6da2ff51443c20f5",
        "weight_int8": "4d26a41c9d40e879",
        "rigl_global-0.90+ce_kd4-softadapt+qat_weight_int4": "9f71aaef6de06c77",
    }


def test_every_variant_has_the_parent_whose_weights_or_labels_it_needs():
    """id: ancestors, nearest first; whether it is paired with the reference; whether it is trained."""
    plan = make_plan(parse_recipe(EVERY_KIND))
    rigl, loss = "rigl_global-0.90", "ce_kd4-softadapt"
    expected = {
        "dense": ([], False, True),
        "random_global-0.90": ([], False, True),
        "magnitude_global_pt-0.90": (["dense"], True, True),
        "one_shot-0.90": (["dense"], True, False),
        "one_shot_global_ft-0.90": (["dense"], True, True),
        "n_m-2of4": (["dense"], True, False),
        "structured_ft-0.50": (["dense"], True, True),
        rigl: ([], False, True),
        f"{rigl}+{loss}": (["dense"], True, True),
        f"{rigl}+qat_weight_int4": ([rigl], False, True),
        f"{rigl}+{loss}+qat_weight_int4": ([f"{rigl}+{loss}", "dense"], True, True),
        "rewinding-0.90": ([], False, True),
        "rewinding-0.90+lp": (["dense"], True, True),
        "bfloat16": (["dense"], True, False),
        "weight_int8": (["dense"], True, False),
    }
    found = {
        variant.variant_id: (
            [ancestor.variant_id for ancestor in variant.ancestors],
            variant.is_paired,
            variant.trains,
        )
        for variant in plan.variants
    }
    assert found == expected
    by_id = {member.member_id: member for member in plan.members}
    order = list(found)
    for member in plan.members:
        parent = member.variant.parent
        assert (member.parent_id is None) == (parent is None)
        if parent is not None:
            assert by_id[member.parent_id].variant == parent
            assert order.index(parent.variant_id) < order.index(member.variant_id)
        assert by_id[member.reference_id].variant_id == "dense"


def test_a_loss_without_training_of_its_own_is_told_by_the_conversion_alone():
    """Cut at once and not trained, a parent has no loss; its quantization-aware child has."""
    grid = (
        "{pruning: {kind: one_shot, sparsities: [0.5]}, losses: [{terms: [distillation]}], "
        "quantization: [static_int8], quantization_aware: {epochs: 1}}"
    )
    plan = make_plan(parse_recipe(EVERY_KIND, [f"variants=[{grid}]"]))
    assert [variant.variant_id for variant in plan.variants] == [
        "dense",
        "one_shot-0.50",
        "one_shot-0.50+qat_static_int8",
        "one_shot-0.50+kd4+qat_static_int8",
    ]


@pytest.mark.parametrize(
    ("preset", "ids"),
    [
        (
            "hooker, sparsities: [0.5, 0.995]",
            ["magnitude-0.50", "magnitude-0.995", "float16", "dynamic_int8", "static_int8"],
        ),
        ("gmp_ri, sparsities: [0.95]", ["magnitude_global-0.95"]),
        ("gmp_pt", [f"magnitude_global_pt-{s}" for s in ("0.80", "0.90", "0.95", "0.98", "0.99", "0.995")]),
    ],
)
def test_presets_are_the_grids_that_they_stand_for(preset, ids):
    plan = make_plan(parse_recipe(EVERY_KIND, [f"variants=[{{preset: {preset}}}]"]))
    assert sorted(variant.variant_id for variant in plan.variants) == sorted(["dense", *ids])


def test_literal_ids_of_presets():
    presets = ", ".join(f"{{preset: {name}, sparsities: [0.9]}}" for name in ("hooker", "gmp_ri", "gmp_pt"))
    plan = make_plan(parse_recipe(EVERY_KIND, [f"variants=[{presets}]"]))
    assert {m.variant_id: m.member_id for m in plan.members if m.variant.pruning} == {
        "magnitude-0.90": "924e97fab775beb4",
        "magnitude_global-0.90": "1c73c5513b68d8b8",
        "magnitude_global_pt-0.90": "cc67c28169d0d8ce",
    }


def test_masks_and_batches_share_no_random_numbers():
    members = make_plan(parse_recipe(EVERY_KIND)).members
    assert len({seed for member in members for seed in (member.generator_seed, member.mask_seed)}) == 2 * len(members)


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
