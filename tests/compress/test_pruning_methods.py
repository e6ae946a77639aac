"""What holds of every pruning method in the registry: the share is exact, zeros stay, and bits follow from the seed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pie_ray.compress.fit import nothing_after
from pie_ray.compress.pruning import PRUNERS, prune
from pie_ray.compress.pruning.masks import MASKS, prunable_weights, random_scores, require_sparsity
from pie_ray.compress.pruning.n_m import n_of_m_mask
from pie_ray.compress.pruning.rewinding import Snapshot, round_sparsity
from pie_ray.compress.pruning.rigl import Exchange, exchange_fractions, exchanged, num_kept
from pie_ray.config import FineTuning, PruningGrid, PruningSchedule, SmallResNetModel
from pie_ray.errors import CompressionError
from pie_ray.models import build_network
from pie_ray.variants import (
    GradualPruning,
    NMPruning,
    OneShotPruning,
    Pruning,
    RewindingPruning,
    RiglPruning,
    StructuredPruning,
)

SCHEDULE = PruningSchedule(begin=0.1, end=0.7, num_updates=3)
TUNED = FineTuning(epochs=1)


def prunings(scope: str, sparsity: float = 0.9) -> dict[str, Pruning]:
    """One of every kind, which trains."""
    shared: dict[str, Any] = {"scope": scope, "sparsity": sparsity}
    return {
        "magnitude": GradualPruning(kind="magnitude", schedule=SCHEDULE, **shared),
        "random": GradualPruning(kind="random", schedule=SCHEDULE, **shared),
        "one_shot": OneShotPruning(kind="one_shot", fine_tuning=TUNED, **shared),
        "n_m": NMPruning(kind="n_m", scope="layer", sparsity=0.5, pattern="2:4", fine_tuning=TUNED),
        "structured": StructuredPruning(kind="structured", fine_tuning=TUNED, **shared),
        "rigl": RiglPruning(kind="rigl", num_updates=3, end=0.75, drop_fraction=0.3, **shared),
        "rewinding": RewindingPruning(kind="rewinding", num_rounds=2, rewind_epoch=1, **shared),
    }


MASKED = sorted(set(PRUNERS) - {"structured"})
"""Those that leave a network its shape."""
EXACT = sorted(set(MASKED) - {"n_m"})


def network(seed: int = 0) -> nn.Module:
    config = SmallResNetModel(kind="small_resnet", width=4)
    return build_network(config, num_classes=10, num_channels=1, image_size=8, seed=seed)


class Fit:
    """Three epochs of four steps on noise; tells `watch` of the network after every step and what follows it."""

    num_epochs, steps_per_epoch = 3, 4

    def __init__(self, optimizer: str = "sgd", watch=nothing_after) -> None:
        self.optimizer, self.watch = optimizer, watch
        self.generator = torch.Generator().manual_seed(1)
        self.first_epochs: list[int] = []

    def memories(self, weight):
        """What the optimizer remembers of a weight."""
        return self.state[weight].values()

    def __call__(self, network, *, after_step, first_epoch=0, keeps=None):
        self.first_epochs.append(first_epoch)
        network.train()
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)
        else:
            optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.01)
        self.state = optimizer.state
        for step in range(1, (self.num_epochs - first_epoch) * self.steps_per_epoch + 1):
            images = torch.randn(8, 1, 8, 8, generator=self.generator)
            labels = torch.randint(10, (8,), generator=self.generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            after_step(step)
            self.watch(step)
        network.eval()


def pruned(pruning: Pruning, fit: Fit | None = None, *, seed: int = 0, mask_seed: int = 0) -> nn.Module:
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(mask_seed)
    return prune(network(seed).eval(), pruning, fit or Fit(), images, generator)


def kept_by_tensor(net: nn.Module, scope: str) -> dict[str, int]:
    return {name: int(weight.count_nonzero()) for name, weight in prunable_weights(net, scope).items()}


# ------------------------------------------------------------------------------------------------------ the registry


def test_the_registry_has_the_kinds_of_the_config_and_of_single_prunings():
    def kinds(union):
        return {
            kind for config in get_args(get_args(union)[0]) for kind in get_args(config.model_fields["kind"].annotation)
        }

    assert set(PRUNERS) == kinds(PruningGrid) == kinds(Pruning) == set(prunings("layer"))


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("scope", sorted(MASKS))
@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_the_share_is_exact(kind, scope, sparsity):
    net = pruned(prunings(scope, sparsity)[kind])
    sizes = {name: weight.numel() for name, weight in prunable_weights(net, scope).items()}
    kept = kept_by_tensor(net, scope)
    assert sum(kept.values()) == pytest.approx(sum(sizes.values()) * (1 - sparsity), abs=len(sizes) / 2)
    if scope == "layer":
        assert kept == {name: round(size * (1 - sparsity)) for name, size in sizes.items()}
        assert torch.count_nonzero(net.classifier.weight) == net.classifier.weight.numel()
    else:
        assert sum(kept.values()) == round(sum(sizes.values()) * (1 - sparsity))


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_the_network_comes_back_in_eval_mode_and_finite(kind):
    net = pruned(prunings("layer")[kind])
    assert not net.training
    assert all(torch.isfinite(weight).all() for weight in net.parameters())


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_the_same_seeds_give_the_same_bits(kind):
    pruning = prunings("layer")[kind]
    first, again = (pruned(pruning).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = pruned(pruning, seed=5, mask_seed=5).state_dict()
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


@pytest.mark.parametrize("kind", sorted(PRUNERS))
def test_masks_come_from_the_member_s_generator_where_they_are_random_and_only_there(kind):
    pruning = prunings("layer")[kind]
    one, other = (pruned(pruning, mask_seed=seed).state_dict() for seed in (0, 1))
    same = all(torch.equal(one[name], other[name]) for name in one)
    assert same == (kind not in ("random", "rigl"))


@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_is_removed_stays_zero_until_the_end(kind, optimizer):
    """But for rigl, whose zeros move; there their number stays. A rewound network gets weights back, never a zero's."""
    nets: list[nn.Module] = []
    history: list[dict[str, torch.Tensor]] = []

    class Watching(Fit):
        def __call__(self, network, *, after_step, first_epoch=0, keeps=None):
            nets.append(network)
            super().__call__(network, after_step=after_step, first_epoch=first_epoch)

    def watch(step):
        weights = prunable_weights(nets[-1], "layer")
        history.append({name: weight.detach() == 0 for name, weight in weights.items()})

    pruned(prunings("layer")[kind], Watching(optimizer, watch))
    if kind == "rigl":
        counts = [{name: int(zeros.sum()) for name, zeros in found.items()} for found in history]
        # A weight that has just come is zero until its first step.
        assert all(count >= counts[-1][name] for found in counts for name, count in found.items())
        assert any(not torch.equal(history[0][name], history[-1][name]) for name in history[0])
    else:
        for before, after in pairwise(history):
            assert all((after[name] | ~before[name]).all() for name in before)
    assert sum(int(zeros.sum()) for zeros in history[-1].values()) > 0


# ------------------------------------------------------------------------------------------------------ one by one


@pytest.mark.parametrize("scope", sorted(MASKS))
def test_at_once_the_largest_weights_stay_as_they_are(scope):
    pruning = OneShotPruning(kind="one_shot", scope=scope, sparsity=0.7)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(network(), scope).items()}
    fit = Fit()
    net = pruned(pruning, fit)
    assert fit.first_epochs == []
    kept, cut = [], []
    for name, weight in prunable_weights(net, scope).items():
        assert torch.equal(weight[weight != 0], before[name][weight != 0])
        kept.append(before[name][weight != 0].abs().min())
        cut.append(before[name][weight == 0].abs().max() if (weight == 0).any() else torch.zeros(()))
    if scope == "layer":
        assert all(low >= high for low, high in zip(kept, cut, strict=True))
    else:
        assert min(kept) >= max(cut)


def test_random_masks_are_nested_and_drawn_once():
    weights = prunable_weights(network(), "global")
    scores = random_scores(weights, torch.Generator().manual_seed(3))
    looser, tighter = (MASKS["global"](scores, sparsity) for sparsity in (0.5, 0.8))
    assert all((looser[name] | ~mask).all() for name, mask in tighter.items())
    magnitudes = MASKS["global"](weights, 0.5)
    agreement = sum(int((looser[name] == magnitudes[name]).sum()) for name in weights)
    assert agreement / sum(weight.numel() for weight in weights.values()) == pytest.approx(0.5, abs=0.05)


@given(
    pattern=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 2**32),
)
def test_of_every_group_of_input_channels_the_largest_stay(pattern, shape, seed):
    count, size = pattern
    num_out, num_groups, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    # Of few values, so that there are ties.
    weight = torch.randint(-3, 4, (num_out, num_groups * size, height, width), generator=generator).float()
    mask = n_of_m_mask(weight, count, size)
    for group in range(num_groups):
        channels = slice(group * size, (group + 1) * size)
        magnitudes, kept = weight[:, channels].abs(), mask[:, channels]
        assert (kept.sum(1) == count).all()
        lowest = magnitudes.masked_fill(~kept, torch.inf).amin(1)
        highest = magnitudes.masked_fill(kept, -torch.inf).amax(1)
        assert (lowest >= highest).all()


def test_the_pattern_holds_after_fine_tuning_and_spares_stem_and_classifier():
    net = pruned(prunings("layer")["n_m"])
    convolutions = {name: weight for name, weight in net.named_parameters() if weight.ndim == 4}
    for name, weight in convolutions.items():
        if name == "stem.0.weight":
            assert (weight != 0).all()
        else:
            groups = weight.movedim(1, -1).unflatten(-1, (-1, 4))
            assert ((groups != 0).sum(-1) == 2).all()
    assert (net.classifier.weight != 0).all()


def test_a_pattern_that_no_layer_has_channels_for_is_refused():
    pruning = NMPruning(kind="n_m", scope="layer", sparsity=0.5, pattern="16:32")
    with pytest.raises(CompressionError, match=r"16:32: no convolution's input channels are a multiple of 32"):
        pruned(pruning)


@given(sparsity=st.floats(0.0, 0.999), width=st.integers(1, 6))
def test_erdos_renyi_kernel_counts_add_up_and_fit_their_layers(sparsity, width):
    shapes = {"stem": (4 * width, 1, 3, 3), "deep": (8 * width, 4 * width, 3, 3), "classifier": (10, 8 * width)}
    weights = {name: torch.empty(shape) for name, shape in shapes.items()}
    counts = num_kept(weights, sparsity, "global")
    assert sum(counts.values()) == round(sum(weight.numel() for weight in weights.values()) * (1 - sparsity))
    density = {}
    for name, weight in weights.items():
        assert 0 <= counts[name] <= weight.numel()
        density[name] = counts[name] / weight.numel()
    # Densities of layers that are not full are as the sums of their axes to the products.
    loose = [name for name in weights if counts[name] < weights[name].numel() - 1]
    scales = [density[name] * weights[name].numel() / sum(weights[name].shape) for name in loose]
    slack = [1.5 / sum(weights[name].shape) for name in loose]
    assert all(abs(scale - scales[0]) <= slack[0] + own for scale, own in zip(scales, slack, strict=True))


def test_rigl_exchanges_the_smallest_weights_for_the_largest_gradients():
    weight = torch.tensor([0.0, 0.1, -2.0, 3.0, 0.0, 0.0])
    mask = torch.tensor([False, True, True, True, False, False])
    gradient = torch.tensor([1.0, 9.0, 9.0, 9.0, 0.0, 2.0])
    assert exchanged(weight, gradient, mask, 1 / 3).tolist() == [False, False, True, True, False, True]
    # No more than there are zeros, and never one that has just gone.
    assert exchanged(weight, gradient, mask, 0.99).tolist() == [True, False, False, False, True, True]
    full = torch.ones(6, dtype=torch.bool)
    assert exchanged(weight, gradient, full, 0.5).tolist() == full.tolist()


def test_rigl_exchanges_evenly_and_less_and_less_before_its_end():
    pruning = RiglPruning(kind="rigl", scope="layer", sparsity=0.9, num_updates=3, end=0.8, drop_fraction=0.3)
    fractions = exchange_fractions(pruning, 100)
    assert list(fractions) == [20, 40, 60]
    assert fractions[40] == pytest.approx(0.15)
    assert 0.3 > fractions[20] > fractions[60] > 0
    with pytest.raises(CompressionError, match=r"before the first of 10 training steps"):
        exchange_fractions(pruning.model_copy(update={"end": 0.01}), 10)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_rigl_s_new_weights_start_from_zero_in_every_respect(optimizer):
    net = network()
    weights = prunable_weights(net, "layer")
    masks = {name: scores > 0.5 for name, scores in random_scores(weights, torch.Generator()).items()}
    exchange = Exchange(weights, masks, {4: 0.3, 8: 0.3})
    seen = [dict(exchange.masks)]

    def watch(step):
        before = seen[-1]
        for name, weight in weights.items():
            assert (weight[~exchange.masks[name] | ~before[name]] == 0).all()
            memories = [memory for memory in fit.memories(weight) if memory.shape == weight.shape]
            assert len(memories) == (1 if optimizer == "sgd" else 2)
            assert all((memory[~before[name]] == 0).all() for memory in memories)
            assert any((memory[before[name]] != 0).any() for memory in memories)
        seen.append(dict(exchange.masks))

    fit = Fit(optimizer, watch)
    with exchange.hooks():
        fit(net, after_step=exchange.after_step)
    moved = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in pairwise(seen)]
    assert [step for step, has_moved in enumerate(moved, 1) if has_moved] == [4, 8]
    # Another network's training would be masked, were a hook left behind.
    exchange.fractions, exchange.num_finished = {9: 0.3}, 8
    Fit(optimizer)(net, after_step=nothing_after)
    assert exchange.gradients == {}


def test_rigl_leaves_the_masks_of_frozen_and_unused_layers():
    net = network()
    net.stem[0].weight.requires_grad_(False)
    net.spare = nn.Conv2d(4, 4, 3)
    weights = prunable_weights(net, "layer")
    masks = {name: scores > 0.5 for name, scores in random_scores(weights, torch.Generator()).items()}
    exchange = Exchange(weights, masks, {4: 0.3})
    with exchange.hooks():
        Fit()(net, after_step=exchange.after_step)
    moved = {name for name, mask in masks.items() if not torch.equal(mask, exchange.masks[name])}
    assert set(weights) - moved == {"stem.0.weight", "spare.weight"}


def test_rounds_remove_the_same_share_of_what_is_left():
    left = [1 - round_sparsity(0.875, finished, 3) for finished in (1, 2, 3)]
    assert left == pytest.approx([0.5, 0.25, 0.125])
    assert round_sparsity(0.9, 3, 3) == 0.9


def test_every_round_goes_back_to_the_early_weights():
    starts: list[dict[str, torch.Tensor]] = []
    ends: list[dict[str, torch.Tensor]] = []

    class Watching(Fit):
        def __call__(self, network, *, after_step, first_epoch=0, keeps=None):
            starts.append(Snapshot(network, 0).state)
            super().__call__(network, after_step=after_step, first_epoch=first_epoch)
            ends.append(Snapshot(network, 0).state)

    early = []

    def watch(step):
        if len(starts) == 1 and step == 4:
            early.append(Snapshot(fit_network, 0).state)

    fit = Watching(watch=watch)
    fit_network = network().eval()
    pruning = RewindingPruning(kind="rewinding", scope="layer", sparsity=0.9, num_rounds=2, rewind_epoch=1)
    prune(fit_network, pruning, fit, torch.zeros(1, 1, 8, 8), torch.Generator())
    assert fit.first_epochs == [0, 1, 1]
    for finished, (start, trained) in enumerate(zip(starts[1:], ends, strict=False), 1):
        for name, tensor in start.items():
            kept = tensor != 0 if f"{name}".endswith("weight") and tensor.ndim == 4 else torch.ones_like(tensor).bool()
            assert torch.equal(tensor[kept], early[0][name][kept])
            if tensor.ndim == 4:
                assert int(kept.sum()) == round(tensor.numel() * (1 - round_sparsity(0.9, finished, 2)))
                assert trained[name].abs()[kept].min() >= trained[name].abs()[~kept].max()


def test_rewinding_to_the_beginning_goes_back_to_the_initial_weights():
    early = network().state_dict()
    nets = []

    class Untrained(Fit):
        def __call__(self, network, *, after_step, first_epoch=0, keeps=None):
            nets.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            super().__call__(network, after_step=after_step, first_epoch=first_epoch)

    pruned(prunings("layer")["rewinding"].model_copy(update={"rewind_epoch": 0}), Untrained())
    for name, tensor in nets[-1].items():
        kept = tensor != 0
        assert torch.equal(tensor[kept], early[name][kept])


def test_a_network_that_is_not_sparse_enough_or_whose_zeros_came_back_is_refused():
    weights = {"a": torch.ones(10), "b": torch.zeros(10)}
    assert require_sparsity(weights, 0.5, "global") == 0.5
    with pytest.raises(CompressionError, match=r"pruned to sparsity 0.500000, the variant asks for 0.5"):
        require_sparsity(weights, 0.5, "layer")
