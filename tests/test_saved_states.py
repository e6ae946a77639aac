"""A member that is killed in the middle of its training goes on from there, with the bits of one that was not."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from pie_ray.errors import NonFiniteLossError, StorageError
from pie_ray.identity import make_plan
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.saved_states import MemberStates
from pie_ray.store import MemorySink, Storage, paths, read_checkpoint, read_record
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.compress.test_pruned_members import GRIDS
from tests.conftest import TINY

# A training of 2 epochs of 4 steps; a fine-tuning of one.
ONE_SEED = "population.num_members=1"
LOSSES = (
    "{terms: [cross_entropy, distillation], weighting: {kind: softadapt}}",
    "{terms: [cross_entropy, logit_pairing], weighting: {kind: learned}}",
)
QUANTIZATION_AWARE = [
    f"{{quantization: [{scheme}], quantization_aware: {{epochs: 1}}}}" for scheme in ("static_int8", "weight_int8")
]
VARIANTS = [
    *(f"{{pruning: {{{grid}}}}}" for grid in GRIDS.values()),
    *(f"{{losses: [{loss}], pruning: {{kind: magnitude, sparsities: [0.5]}}}}" for loss in LOSSES),
    *QUANTIZATION_AWARE,
    "{pruning: {kind: one_shot, sparsities: [0.5]}, quantization: [dynamic_int8], quantization_aware: {epochs: 1}}",
]


class Killed(BaseException):
    """Nothing in the package catches it."""


def kill_after(monkeypatch, num_steps):
    """The state after so many steps, of all trainings together, is kept, and the process dies."""
    left = [num_steps]

    def is_due(states):
        left[0] -= 1
        return left[0] == 0

    def keep(states, state, keep=MemberStates.keep):
        keep(states, state)
        states.wait()
        raise Killed

    monkeypatch.setattr(MemberStates, "is_due", is_due)
    monkeypatch.setattr(MemberStates, "keep", keep)


def begun(folder, *overrides):
    study = prepare(parse_recipe(TINY, [f"execution.storage={folder}", ONE_SEED, *overrides]))
    return study, Workplace(study.recipe, study.splits, study.storage, MemorySink())


def forget(study, spec):
    study.storage.delete(paths.checkpoint(spec.variant_id, spec.seed))
    study.storage.delete(paths.member(spec.variant_id, spec.seed))


def trained(study):
    return [spec for spec in study.plan.members if spec.variant.trains]


def goes_on(study, place, spec, kills):
    """Kill the member after each of so many steps; returns the epochs that the last attempt told of."""
    for num_steps in kills:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_after(patch, num_steps)
            run_member(spec, place)
        assert study.storage.exists(paths.training_state(spec.variant_id, spec.seed))
        assert not study.storage.exists(paths.checkpoint(spec.variant_id, spec.seed))
    epochs = []
    run_member(spec, place, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert not study.storage.exists(paths.training_state(spec.variant_id, spec.seed))
    return epochs


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    study, place = begun(tmp_path_factory.mktemp("states"), f"variants=[{', '.join(VARIANTS)}]")
    for spec in study.plan.members:
        run_member(spec, place)
    return study, place


def variant_ids():
    recipe = parse_recipe(TINY, [ONE_SEED, f"variants=[{', '.join(VARIANTS)}]"])
    return [spec.variant_id for spec in make_plan(recipe).members if spec.variant.trains]


@pytest.mark.parametrize("variant_id", variant_ids())
def test_a_killed_member_goes_on_with_the_same_bits(sweep, variant_id):
    study, place = sweep
    spec = next(spec for spec in trained(study) if spec.variant_id == variant_id)
    data = read_checkpoint(study.storage, spec.variant_id, spec.seed)
    # Of rewinding in the second training, and once more in the third.
    kills_of = [[2], [9, 3]] if variant_id.startswith("rewinding") else [[1], [2, 1]]
    for kills in kills_of:
        forget(study, spec)
        goes_on(study, place, spec, kills)
        assert read_checkpoint(study.storage, spec.variant_id, spec.seed) == data


@pytest.mark.parametrize(
    "setting",
    [
        "training={epochs: 2, batch_size: 50, precision: float32, optimizer: adam, learning_rate: 0.001}",
        "training={epochs: 2, batch_size: 50, precision: float32, optimizer: muon, learning_rate: 0.01}",
        "training={epochs: 2, batch_size: 50, precision: bfloat16, augmentation: {crop_padding: 1, flip: alternating}}",
    ],
)
def test_whatever_the_optimizer_remembers_is_kept(tmp_path, setting):
    data = []
    for kills in ([], [4, 1]):
        study, place = begun(tmp_path / str(len(kills)), setting)
        spec = study.plan.members[0]
        epochs = goes_on(study, place, spec, kills)
        assert epochs == ([2] if kills else [1, 2])
        data.append(read_checkpoint(study.storage, spec.variant_id, spec.seed))
    assert data[0] == data[1]


def with_dropout(num_classes, num_channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(num_channels * image_size**2, num_classes))


def test_what_a_network_draws_follows_from_the_member_alone(tmp_path):
    data = {}
    for name, kills in {"once": [], "again": [], "killed": [4, 1]}.items():
        study, place = begun(tmp_path / name, f"model={{kind: custom, factory: '{__name__}:with_dropout'}}")
        torch.rand(len(data))
        before = torch.get_rng_state()
        goes_on(study, place, study.plan.members[0], kills)
        assert torch.equal(torch.get_rng_state(), before)
        data[name] = read_checkpoint(study.storage, "dense", study.plan.members[0].seed)
    assert data["once"] == data["again"] == data["killed"]


@pytest.fixture
def killed(tmp_path):
    """A study whose first member has a state after three steps; its checkpoint's bytes had it not been killed."""
    study, place = begun(tmp_path / "undisturbed")
    spec = study.plan.members[0]
    run_member(spec, place)
    undisturbed = read_checkpoint(study.storage, spec.variant_id, spec.seed)
    study, place = begun(tmp_path / "killed")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 3)
        run_member(spec, place)
    return study, place, spec, undisturbed


def test_time_that_earlier_attempts_trained_for_counts(killed, monkeypatch):
    study, place, spec, _ = killed
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        clock = iter(range(0, 10**6, 1000))
        patch.setattr("pie_ray.saved_states.time.monotonic", lambda: float(next(clock)))
        kill_after(patch, 1)
        run_member(spec, place)
    assert 1000 < run_member(spec, place).train_seconds < 10_000
    assert read_record(study.storage, spec).train_seconds > 1000


def damage(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def of_another(name):
    return lambda data: data.replace(f'"{name}": "'.encode(), f'"{name}": "other '.encode(), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damage, "is damaged"),
        (lambda data: b"", "is no state of a training"),
        (lambda data: b"{}\n", "is no state of a training"),
        (of_another("member_id"), "has member_id other "),
        (of_another("torch"), "has torch other "),
        (of_another("pie_ray"), "has pie_ray other "),
        (of_another("device"), "has device other cpu, needed is cpu"),
        (of_another("precision"), "has precision other float32, needed is float32"),
    ],
)
def test_a_state_that_is_damaged_or_of_something_else_is_passed_over(killed, caplog, change, said):
    study, place, spec, undisturbed = killed
    path = paths.training_state(spec.variant_id, spec.seed)
    study.storage.write_bytes(path, change(study.storage.read_bytes(path)))
    epochs = []
    run_member(spec, place, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [1, 2]
    assert said in caplog.text and path in caplog.text
    assert read_checkpoint(study.storage, spec.variant_id, spec.seed) == undisturbed
    assert not study.storage.exists(path)


def test_a_storage_that_takes_no_state_costs_nothing(tmp_path, monkeypatch, caplog):
    study, place = begun(tmp_path, "execution.save_minutes=0")
    write_bytes = Storage.write_bytes

    def refuse(storage, path, data):
        if path.startswith(paths.TRAINING):
            raise StorageError("there is no space left")
        write_bytes(storage, path, data)

    monkeypatch.setattr(Storage, "write_bytes", refuse)
    run_member(study.plan.members[0], place)
    assert "the state of a training was not kept: there is no space left" in caplog.text


def test_a_member_that_diverges_leaves_no_state(tmp_path):
    study, place = begun(tmp_path, "execution.save_minutes=0", "training.learning_rate=1e30")
    with pytest.raises(NonFiniteLossError):
        run_member(study.plan.members[0], place)
    assert study.storage.list_files(paths.TRAINING) == []


def test_without_minutes_nothing_is_kept_or_looked_for(killed, monkeypatch, caplog):
    study, _, spec, undisturbed = killed
    recipe = study.recipe
    recipe = recipe.model_copy(update={"execution": recipe.execution.model_copy(update={"save_minutes": None})})
    epochs = []
    caplog.set_level(logging.INFO)
    run_member(
        spec,
        Workplace(recipe, study.splits, study.storage, MemorySink()),
        on_epoch=lambda epoch, _: epochs.append(epoch),
    )
    assert epochs == [1, 2] and "goes on" not in caplog.text
    assert read_checkpoint(study.storage, spec.variant_id, spec.seed) == undisturbed
