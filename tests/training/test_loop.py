"""The loop learns, repeats itself bit for bit, and stops where the loss is no number."""

from __future__ import annotations

import shutil

import pytest
import torch

from pie_ray.config import Augmentation, DigitsData, SmallResNetModel, StepSchedule, Training
from pie_ray.data import load_splits
from pie_ray.errors import NonFiniteLossError
from pie_ray.models import build_network
from pie_ray.training import Batches, predict, resolve_precision, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return load_splits(DigitsData(kind="digits"))


def make(digits, seed=0):
    network = build_network(
        SmallResNetModel(kind="small_resnet", width=4), num_classes=10, num_channels=1, image_size=8, seed=seed
    )
    batches = Batches(
        digits.train.images,
        digits.train.labels,
        statistics=digits.train.channel_statistics,
        batch_size=50,
        augmentation=Augmentation(crop_padding=1),
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
    )
    return network, batches


def logits_of(network, digits):
    parts = predict(network, digits.test.images, statistics=digits.train.channel_statistics, batch_size=100, device=CPU)
    return torch.cat([logits for _, logits in parts])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_learns_and_the_same_seed_gives_the_same_bits(digits, precision):
    config = Training(epochs=4, precision=precision)
    outputs = []
    for seed in (0, 0, 1):
        network, batches = make(digits, seed)
        losses = []
        result = train(network, batches, config, on_epoch=lambda epoch, loss, losses=losses: losses.append(loss))
        assert (result.num_steps, result.precision, result.loss) == (80, precision, losses[-1])
        assert losses[-1] < losses[0] / 2
        assert not network.training
        outputs.append(logits_of(network, digits))
    accuracy = (outputs[0].argmax(1) == digits.test.labels).float().mean()
    assert accuracy > 0.75
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_building_and_training_leave_the_global_generator_alone(digits):
    before = torch.get_rng_state()
    train(*make(digits), Training(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_callbacks_hear_of_every_step_and_epoch(digits):
    network, batches = make(digits)
    steps, epochs = [], []
    train(
        network,
        batches,
        Training(epochs=2),
        after_step=steps.append,
        on_epoch=lambda epoch, loss: epochs.append(epoch),
    )
    assert steps == list(range(1, 41))
    assert epochs == [1, 2]


def test_a_loss_that_is_no_number_stops_before_the_update(digits):
    network, batches = make(digits)
    with torch.no_grad():
        network.classifier.bias[0] = torch.inf
    before = network.classifier.weight.clone()
    with pytest.raises(NonFiniteLossError, match=r"the training loss is (nan|inf) in epoch 1, step 1, at learning"):
        train(network, batches, Training(epochs=1))
    assert torch.equal(network.classifier.weight, before)


def test_weights_that_the_last_update_ruins_are_no_result(digits):
    network, batches = make(digits)

    def ruin(step):
        if step == len(batches):
            with torch.no_grad():
                network.classifier.weight[0, 0] = torch.nan

    with pytest.raises(NonFiniteLossError, match=r"weights are infinite or NaN after the last step, 20, at learning"):
        train(network, batches, Training(epochs=1), after_step=ruin)


def test_predictions_keep_the_order_and_the_ragged_end(digits):
    network, _ = make(digits)
    network.eval()
    parts = list(
        predict(network, digits.test.images, statistics=digits.train.channel_statistics, batch_size=300, device=CPU)
    )
    assert [(rows.start, rows.stop) for rows, _ in parts] == [(0, 300), (300, 600), (600, 797)]
    assert all(logits.dtype == torch.float32 for _, logits in parts)


def test_an_asked_for_precision_is_kept():
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bfloat16", CPU) == "bfloat16"
    assert resolve_precision("auto", CPU) in ("float32", "bfloat16")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_network_trains_to_the_same_figures(digits):
    losses = []
    for is_compiled in (False, True):
        network, batches = make(digits)
        losses.append(train(network, batches, Training(epochs=2, precision="float32", compile=is_compiled)).loss)
        assert set(network.state_dict()) == set(make(digits)[0].state_dict())
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_that_begins_later_has_the_later_rates_and_epochs(digits):
    rates = {0: [], 1: []}
    for first_epoch, seen in rates.items():
        network, batches = make(digits)
        before = network.classifier.weight.detach().clone()
        epochs = []
        result = train(
            network,
            batches,
            Training(epochs=2, schedule=StepSchedule(kind="step", milestones=(1,), factor=1e-9)),
            first_epoch=first_epoch,
            on_epoch=lambda epoch, loss, epochs=epochs: epochs.append(epoch),
        )
        seen += [result.num_steps, epochs, float((network.classifier.weight.detach() - before).abs().max())]
    assert (rates[0][:2], rates[1][:2]) == ([40, [1, 2]], [20, [2]])
    assert rates[0][2] > 0.01 and rates[1][2] < 1e-6
