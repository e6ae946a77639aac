"""The label-preserving losses, each term against the formula in numpy, and what they train."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from torch import nn

from pie_ray.config import LabelPreservingLoss, Training
from pie_ray.training import PlainLoss, PreservingLoss, train
from pie_ray.training.losses import training_loss
from pie_ray.training.objective import binary_distillation, distillation, logit_pairing

CPU = torch.device("cpu")
TERMS = ("cross_entropy", "logit_pairing", "distillation")
RNG = np.random.default_rng(0)
LOGITS, WANTED = RNG.normal(scale=3, size=(2, 6, 4))
CLASSES = np.array([0, 3, 2, 2, 1, 0])
FLAGS = RNG.random((6, 4)) < 0.4


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def objective(**config: object) -> PreservingLoss:
    """Of a reference that answers WANTED whatever it is shown."""
    return PreservingLoss(LabelPreservingLoss(**config), lambda images: tensor(WANTED), 0.0, CPU)


def cross_entropy_by_hand() -> float:
    return float(-log_softmax(LOGITS, axis=1)[np.arange(6), CLASSES].mean())


def distillation_by_hand(temperature: float) -> float:
    found, target = (log_softmax(values / temperature, axis=1) for values in (LOGITS, WANTED))
    return float(temperature**2 * (np.exp(target) * (target - found)).sum(axis=1).mean())


def binary_distillation_by_hand(temperature: float) -> float:
    found, target = (expit(values / temperature) for values in (LOGITS, WANTED))
    both = target * np.log(target / found) + (1 - target) * np.log((1 - target) / (1 - found))
    return float(temperature**2 * both.mean())


def test_logit_pairing_is_the_mean_squared_difference():
    assert float(logit_pairing(tensor(LOGITS), tensor(WANTED))) == pytest.approx(((LOGITS - WANTED) ** 2).mean())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_distillation_is_the_divergence_of_softened_answers(temperature):
    found = distillation(tensor(LOGITS), tensor(WANTED), temperature)
    assert float(found) == pytest.approx(distillation_by_hand(temperature), rel=1e-5)
    of_coins = binary_distillation(tensor(LOGITS), tensor(WANTED), temperature)
    assert float(of_coins) == pytest.approx(binary_distillation_by_hand(temperature), rel=1e-4)


def test_an_attribute_is_a_choice_of_two_classes():
    two = [torch.stack([torch.zeros(24), tensor(values).flatten()], dim=1) for values in (LOGITS, WANTED)]
    expected = distillation(*two, 4.0)
    torch.testing.assert_close(binary_distillation(tensor(LOGITS), tensor(WANTED), 4.0), expected)


def test_what_equals_the_reference_is_preserved_at_no_cost():
    for term in (logit_pairing, lambda *both: distillation(*both, 4.0), lambda *both: binary_distillation(*both, 4.0)):
        same = tensor(WANTED).requires_grad_()
        loss = term(same, tensor(WANTED))
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        assert float(same.grad.abs().max()) < 1e-6


def test_the_temperature_keeps_the_gradients_size():
    """At a high temperature distillation pulls as logit pairing of centred logits does (Hinton et al., 1503.02531)."""
    sizes = []
    for temperature in (50.0, 500.0):
        logits = tensor(LOGITS).requires_grad_()
        distillation(logits, tensor(WANTED), temperature).backward()
        sizes.append(logits.grad.norm())
    centred = [values - values.mean(axis=1, keepdims=True) for values in (LOGITS, WANTED)]
    expected = np.linalg.norm(centred[0] - centred[1]) / 4 / 6
    assert float(sizes[1]) == pytest.approx(expected, rel=0.01)
    assert float(sizes[0]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("labels", [torch.tensor(CLASSES), torch.tensor(FLAGS)], ids=["classes", "attributes"])
def test_the_terms_are_weighed_in_the_recipes_order(labels):
    weights = {"cross_entropy": 0.5, "logit_pairing": 2.0, "distillation": 0.25}
    logits = tensor(LOGITS)
    distil = distillation_by_hand(3.0) if labels.ndim == 1 else binary_distillation_by_hand(3.0)
    by_hand = {
        "cross_entropy": float(training_loss(logits, labels)),
        "logit_pairing": ((LOGITS - WANTED) ** 2).mean(),
        "distillation": distil,
    }
    for terms in (TERMS, TERMS[::-1], TERMS[1:]):
        loss = objective(
            terms=terms, temperature=3.0, weighting={"kind": "fixed", "weights": tuple(weights[term] for term in terms)}
        )
        expected = sum(weights[term] * by_hand[term] for term in terms)
        assert float(loss(logits, torch.zeros(6, 1), labels)) == pytest.approx(expected, rel=1e-5)
        uniform = objective(terms=terms, temperature=3.0)(logits, torch.zeros(6, 1), labels)
        assert float(uniform) == pytest.approx(np.mean([by_hand[term] for term in terms]), rel=1e-5)


def test_labels_are_smoothed_in_cross_entropy_alone():
    labels = torch.tensor(CLASSES)
    config = LabelPreservingLoss(terms=("cross_entropy", "logit_pairing"))
    loss = PreservingLoss(config, lambda images: tensor(WANTED), 0.2, CPU)(tensor(LOGITS), torch.zeros(6, 1), labels)
    expected = (training_loss(tensor(LOGITS), labels, 0.2) + logit_pairing(tensor(LOGITS), tensor(WANTED))) / 2
    torch.testing.assert_close(loss, expected)


# ------------------------------------------------------------------------------------------------------ what it trains


class Images:
    """Batches of a small problem that a linear network learns."""

    device = CPU

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(40, 5, generator=generator)
        self.labels = (self.images @ torch.randn(5, 4, generator=generator)).argmax(1)

    def __len__(self) -> int:
        return 4

    def epoch(self, first_step=0):
        return zip(self.images.split(10), self.labels.split(10), strict=True)


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))


def fit(precision: str, **config: object):
    """A network trained to preserve another's labels; the reference before and after, and the objective."""
    reference, network = linear(0).eval(), linear(1)
    before = {name: value.clone() for name, value in reference.state_dict().items()}
    loss = PreservingLoss(LabelPreservingLoss(**config), reference, 0.0, CPU)
    settings = Training(epochs=50, learning_rate=0.05, precision=precision)
    result = train(network, Images(), settings, objective=loss)
    return network, reference, before, loss, result


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_reference_stays_as_it_is_and_the_network_comes_to_agree_with_it(precision):
    images = Images()
    plain = linear(1)
    train(plain, images, Training(epochs=50, learning_rate=0.05, precision=precision), objective=PlainLoss(0.0))
    network, reference, before, _, _ = fit(precision, terms=("logit_pairing", "distillation"))
    assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())
    assert all(parameter.grad is None for parameter in reference.parameters())
    wanted = reference(images.images).argmax(1)
    agreement = [float((each(images.images).argmax(1) == wanted).float().mean()) for each in (plain, network)]
    assert agreement[1] > agreement[0] + 0.3


def test_terms_are_float32_under_autocast():
    loss = objective(terms=TERMS)
    found = []
    loss.weighting = lambda losses: found.append(losses) or losses.sum()
    for labels in (torch.tensor(CLASSES), torch.tensor(FLAGS)):
        with torch.autocast("cpu", torch.bfloat16):
            logits = nn.functional.linear(tensor(LOGITS), torch.eye(4))
            assert logits.dtype == torch.bfloat16
            loss(logits, torch.zeros(6, 1), labels)
        again = loss(logits.float(), torch.zeros(6, 1), labels)
        assert found[-2].dtype == torch.float32
        torch.testing.assert_close(found[-2], found[-1])
        assert again.dtype == torch.float32


def test_learned_weights_are_trained_with_the_network_and_do_not_decay():
    _, _, _, loss, _ = fit(
        "float32", terms=("cross_entropy", "logit_pairing", "distillation"), weighting={"kind": "learned"}
    )
    (learned,) = loss.parameters
    assert torch.isfinite(learned).all() and (learned != 0).all()


@pytest.mark.parametrize("kind", ["uniform", "learned", "softadapt"])
def test_the_same_training_gives_the_same_bits(kind):
    first, second = (fit("float32", terms=TERMS, weighting={"kind": kind})[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
