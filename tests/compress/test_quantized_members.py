"""Members that are trained with the quantization's rounding: from recipe to checkpoint, predictions and record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pie_ray.checkpoint import Checkpoint
from pie_ray.compress.quantization.int8_kernels import kernels_are_exact
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.records import MemberRecord
from pie_ray.store import MemorySink, read_checkpoint
from pie_ray.study import Study, prepare
from pie_ray.workplace import Workplace
from tests.conftest import TINY

GRIDS = (
    "variants=["
    "{quantization: [static_int8, weight_int4], quantization_aware: {epochs: 1}},"
    "{pruning: {kind: magnitude, sparsities: [0.5]}, quantization: [static_int8],"
    " losses: [{terms: [cross_entropy, distillation]}], quantization_aware: {epochs: 1}}]"
)
VARIANTS = [
    "qat_static_int8",
    "qat_weight_int4",
    "magnitude-0.50+qat_static_int8",
    "magnitude-0.50+ce_kd4+qat_static_int8",
]


@dataclass
class Made:
    """One member of every variant, with nothing but a checkpoint on storage."""

    study: Study
    sink: MemorySink
    records: dict[str, MemberRecord]

    def checkpoint(self, variant_id: str) -> bytes:
        return read_checkpoint(self.study.storage, variant_id, 0)

    def predictions(self, variant_id: str) -> object:
        return self.sink.tables[self.records[variant_id].member_id, "clean"]


def make(folder: Path) -> Made:
    """Make every member of the sweep in `folder`, or go on from its checkpoint."""
    study = prepare(parse_recipe(TINY, [f"execution.storage={folder}", GRIDS, "population.num_members=1"]))
    sink = MemorySink()
    workplace = Workplace(study.recipe, study.splits, study.storage, sink)
    return Made(study, sink, {spec.variant_id: run_member(spec, workplace) for spec in study.plan.members})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("aware")


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return make(folder)


@pytest.mark.parametrize("variant_id", VARIANTS)
def test_a_member_is_trained_on_and_recorded(variant_id: str, made: Made) -> None:
    record = made.records[variant_id]
    assert record.train_loss is not None and record.parent_id is not None
    assert record.quantization == variant_id.split("qat_")[1]
    in_int8 = "int8" if kernels_are_exact() else "simulated"
    assert record.arithmetic == ("native" if "int4" in variant_id else in_int8)
    assert record.checkpoint_bytes < 0.6 * made.records["dense"].checkpoint_bytes


@pytest.mark.parametrize("variant_id", VARIANTS[2:])
def test_pruned_weights_stay_zero(variant_id: str, made: Made) -> None:
    pruned_id = variant_id.rpartition("+")[0]
    pruned, quantized = (Checkpoint.from_bytes(made.checkpoint(v), source=v).state for v in (pruned_id, variant_id))
    kernels = [name for name, tensor in pruned.items() if tensor.ndim == 4]
    assert all((quantized[name][pruned[name] == 0] == 0).all() for name in kernels)
    assert made.records[variant_id].achieved_sparsity == made.records[pruned_id].achieved_sparsity
    assert not torch.equal(quantized["classifier.bias"], pruned["classifier.bias"])  # but it was trained on


def test_record_and_checkpoint_say_what_was_rounded(made: Made) -> None:
    static, packed = (made.records[variant_id].quantization_facts for variant_id in VARIANTS[:2])
    assert static is not None and packed is not None
    dense = Checkpoint.from_bytes(made.checkpoint("dense"), source="dense").state
    weights = {name: tensor for name, tensor in dense.items() if tensor.ndim > 1}
    assert static.covered == packed.covered and set(static.covered) == {
        name.removesuffix(".weight") for name in weights
    }
    num_covered = sum(tensor.numel() for tensor in weights.values())
    assert static.covered_fraction == num_covered / made.records["dense"].num_parameters
    assert sum(static.not_covered.values()) + num_covered + len(dense["classifier.bias"]) == (
        made.records["dense"].num_parameters
    )
    assert set(static.not_covered) == {"BatchNorm2d"}
    assert (static.weight_bits, static.input_bits, static.calibration_images) == (8, 8, (0, 100))
    assert (packed.weight_bits, packed.input_bits, packed.calibration_images) == (4, 32, None)
    for variant_id, record in made.records.items():
        facts = Checkpoint.from_bytes(made.checkpoint(variant_id), source=variant_id).facts
        assert facts.quantization == record.quantization_facts
    assert made.records["dense"].quantization_facts is None


def test_the_same_recipe_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    other = make(tmp_path)
    assert all(made.checkpoint(variant_id) == other.checkpoint(variant_id) for variant_id in VARIANTS)
    assert len({made.checkpoint(variant_id) for variant_id in VARIANTS}) == len(VARIANTS)


def test_a_member_goes_on_from_its_checkpoint_to_the_same_predictions(made: Made, folder: Path) -> None:
    before = {variant_id: made.checkpoint(variant_id) for variant_id in VARIANTS}
    again = make(folder)
    for variant_id in VARIANTS:
        assert again.predictions(variant_id).equals(made.predictions(variant_id))
        assert again.checkpoint(variant_id) == before[variant_id]
