"""A member that two processes train together: real processes, and gradients over gloo."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pie_ray import teamwork
from pie_ray.checkpoint import Checkpoint
from pie_ray.errors import TeamError
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import MemorySink, paths, read_checkpoint
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.conftest import TINY

pytestmark = pytest.mark.long


def plain(num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    """Without batch norm: what a share of a batch gives does not depend on the other share."""
    return nn.Sequential(
        nn.Conv2d(num_channels, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )


def noisy(num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    """Batch norm sees a process's share, and dropout draws other numbers in each."""
    return nn.Sequential(
        nn.Conv2d(num_channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(32, num_classes),
    )


def begun(folder, num_processes, *overrides):
    given = (f"execution.storage={folder}", f"training.num_processes={num_processes}", "population.num_members=1")
    study = prepare(parse_recipe(TINY, [*given, *overrides]))
    return study, Workplace(study.recipe, study.splits, study.storage, MemorySink())


def made(study, place, variant_id):
    spec = next(spec for spec in study.plan.members if spec.variant_id == variant_id)
    record = run_member(spec, place)
    data = read_checkpoint(study.storage, spec.variant_id, spec.seed)
    return record, data, Checkpoint.from_bytes(data, source="it").state


PLAIN = ("model={kind: custom, factory: 'tests.test_teamwork:plain'}", "training.learning_rate=0.05")


def as_one(monkeypatch):
    """A member's random numbers come from its id, which num_processes is part of."""
    monkeypatch.setattr("pie_ray.identity.MemberSpec.generator_seed", 1)


def test_two_processes_train_as_one_does(tmp_path, monkeypatch):
    states = []
    for num_processes in (1, 2):
        study, place = begun(tmp_path / str(num_processes), num_processes, *PLAIN)
        monkeypatch.setattr(teamwork, "_help_here", _help_with_seed)
        as_one(monkeypatch)
        record, _, state = made(study, place, "magnitude-0.50")
        assert record.achieved_sparsity == pytest.approx(0.5, abs=0.01)
        states.append(state)
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=1e-3, atol=1e-5)
        assert torch.equal(states[1][name] == 0, weight == 0)


def _help_with_seed(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        as_one(patch)
        _HELP(*arguments)


_HELP = teamwork._help_here


def test_a_lost_process_costs_what_was_not_kept(tmp_path, monkeypatch):
    """Gradients decide what RigL exchanges; the loss weighs by all processes'."""
    loss = "{terms: [cross_entropy, distillation], weighting: {kind: softadapt}}"
    rigl = f"variants=[{{pruning: {{kind: rigl, sparsities: [0.5], num_updates: 3}}, losses: [{loss}]}}]"
    model = "model={kind: custom, factory: 'tests.test_teamwork:noisy'}"
    study, place = begun(tmp_path, 2, rigl, model, "execution.save_minutes=0")
    spec = next(spec for spec in study.plan.members if spec.variant.loss is not None)
    _, whole, _ = made(study, place, "dense")
    _, undisturbed, _ = made(study, place, spec.variant_id)
    for path in (paths.checkpoint(spec.variant_id, 0), paths.member(spec.variant_id, 0)):
        study.storage.delete(path)

    started = []
    start = teamwork.LocalHelpers.start

    def remember(helpers, spec, port):
        start(helpers, spec, port)
        started.append(helpers)

    def kill(epoch, loss):
        started[0]._processes[0].kill()

    monkeypatch.setattr(teamwork.LocalHelpers, "start", remember)
    with pytest.raises(TeamError, match="process 1 of 2 that trained the member died"):
        run_member(spec, place, on_epoch=kill)
    assert not torch.distributed.is_initialized()
    assert study.storage.exists(paths.training_state(spec.variant_id, 0))

    epochs = []
    record = run_member(spec, place, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [2]
    assert record.achieved_sparsity == pytest.approx(0.5, abs=0.01)
    assert read_checkpoint(study.storage, spec.variant_id, 0) == undisturbed
    assert not any(process.is_alive() for helpers in started for process in helpers._processes)
    assert whole != undisturbed
