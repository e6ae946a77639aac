"""Structured pruning: which channels go and how many, that what is left fits together, and the way of such members."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional as F

from pie_ray.analysis import Results, analyze
from pie_ray.checkpoint import Checkpoint
from pie_ray.compress.multiply_adds import multiply_adds
from pie_ray.compress.pruning.structured import remove_channels
from pie_ray.compress.structure import reshape, structure_of
from pie_ray.config import Model, Scope
from pie_ray.data import load_splits
from pie_ray.errors import CompressionError, StoreError
from pie_ray.identity import make_plan
from pie_ray.member import run_member
from pie_ray.models import build_network
from pie_ray.packaged import load_network, network_files
from pie_ray.store import MemorySink, paths, read_checkpoint
from pie_ray.training.folding import fold_batch_norms
from pie_ray.variants import StructuredPruning
from pie_ray.workplace import Workplace
from tests.swept import sweep_here

FAMILIES = {
    "small_resnet": {"kind": "small_resnet", "width": 4},
    "wide_resnet": {"kind": "wide_resnet", "depth": 10, "width": 1},
    "resnet18": {"kind": "resnet18", "stem": "small"},
    "resnet50": {"kind": "resnet50"},
}
SHAPE = (3, 16, 16)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0)).contiguous(
    memory_format=torch.channels_last
)


def pruning(sparsity: float, scope: Scope = "layer") -> StructuredPruning:
    return StructuredPruning(kind="structured", scope=scope, sparsity=sparsity)


def of_family(family: str, seed: int = 0) -> nn.Module:
    """With batch norms that do something, as after training."""
    config = TypeAdapter(Model).validate_python(FAMILIES[family])
    network = build_network(config, num_classes=10, num_channels=3, image_size=16, seed=seed)
    torch.manual_seed(seed)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
        nn.init.normal_(norm.running_mean, std=0.1)
    return network.eval()


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    return network(IMAGES.clone())


@torch.no_grad()
def with_idle_channels(network: nn.Module) -> nn.Module:
    """Every odd channel is zero and looked at by nobody: the network answers the same without them."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        is_last = len(layer.weight) == 10
        if not is_last:
            layer.weight[1::2] = 0
            if layer.bias is not None:
                layer.bias[1::2] = 0
        if layer.weight.shape[1] not in (1, 3):
            by_channel = layer.weight.view(len(layer.weight), -1, getattr(layer, "pixels", 1), *layer.weight.shape[2:])
            by_channel[:, 1::2] = 0
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.weight[1::2] = 0
        norm.bias[1::2] = 0
    return network


@pytest.mark.parametrize(
    ("family", "scope"),
    [("small_resnet", "layer"), ("wide_resnet", "layer"), ("resnet18", "global"), ("resnet50", "layer")],
)
def test_every_family_gets_smaller_and_cheaper_and_is_rebuilt_bit_for_bit(family, scope):
    dense = of_family(family)
    pruned = remove_channels(copy.deepcopy(dense), pruning(0.5, scope), IMAGES)
    answers = logits(pruned)
    assert answers.shape == (len(IMAGES), 10) and not torch.equal(answers, logits(dense))
    # Layers of half as many channels that read half as many have a quarter of the weights and of the work.
    assert num_parameters(pruned) < 0.5 * num_parameters(dense)
    assert multiply_adds(pruned, SHAPE)[0] < 0.6 * multiply_adds(dense, SHAPE)[0]
    structure = json.loads(json.dumps(structure_of(pruned, dense)))
    rebuilt = reshape(of_family(family, seed=1), structure)
    rebuilt.load_state_dict(pruned.state_dict())
    assert torch.equal(logits(rebuilt), answers)
    assert str(rebuilt) == str(pruned)
    assert torch.equal(logits(copy.deepcopy(pruned)), answers)
    weights = [weight for weight in rebuilt.parameters() if weight.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_channels_that_do_nothing_go_first_and_nothing_changes(family):
    network = with_idle_channels(of_family(family))
    answers = logits(network)
    pruned = remove_channels(network, pruning(0.5), IMAGES)
    torch.testing.assert_close(logits(pruned), answers, rtol=1e-4, atol=1e-4 * float(answers.abs().max()))
    widths = [layer.out_channels for layer in pruned.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [layer.out_channels // 2 for layer in of_family(family).modules() if isinstance(layer, nn.Conv2d)]


def plain(*widths: int) -> nn.Sequential:
    """Layers without connections between them; a channel goes by itself."""
    layers: list[nn.Module] = []
    for num_in, num_out in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


def widths_of(network: nn.Module) -> list[int]:
    return [len(layer.weight) for layer in network.modules() if isinstance(layer, nn.Conv2d)]


@given(st.lists(st.integers(1, 24), min_size=1, max_size=3), st.floats(0.02, 0.99))
@settings(max_examples=20)
def test_the_number_of_channels_is_exact(widths, sparsity):
    torch.manual_seed(0)
    network = plain(*widths)
    kept = [max(1, round(width * (1 - sparsity))) for width in widths]
    total = max(len(widths), round(sum(widths) * (1 - sparsity)))
    for scope, expected in (("layer", sum(kept)), ("global", total)):
        if expected == sum(widths):
            with pytest.raises(CompressionError, match="removes nothing"):
                remove_channels(copy.deepcopy(network), pruning(sparsity, scope), IMAGES)
            continue
        found = widths_of(remove_channels(copy.deepcopy(network), pruning(sparsity, scope), IMAGES))
        assert sum(found) == expected and min(found) >= 1
        assert scope == "global" or found == kept


def test_the_weakest_channels_go_and_by_layer_or_over_all():
    network = plain(8, 8)
    with torch.no_grad():
        for index in (0, 3):
            network[index].weight.fill_(1)
            network[index].weight[2:] = 1e-3
        network[3].weight[2:6] = 1
    in_layers = remove_channels(copy.deepcopy(network), pruning(0.5), IMAGES)
    over_all = remove_channels(copy.deepcopy(network), pruning(0.5, "global"), IMAGES)
    assert widths_of(in_layers) == [4, 4]
    assert widths_of(over_all) == [2, 6]
    torch.testing.assert_close(over_all[0].weight, torch.ones(2, 3, 3, 3))


def test_the_same_network_twice_gives_the_same_bits():
    first, second = (remove_channels(of_family("wide_resnet"), pruning(0.7, "global"), IMAGES) for _ in range(2))
    assert {name: tensor.numpy().tobytes() for name, tensor in first.state_dict().items()} == {
        name: tensor.numpy().tobytes() for name, tensor in second.state_dict().items()
    }


def test_batch_norms_fold_into_what_is_left():
    pruned = remove_channels(of_family("resnet18"), pruning(0.5), IMAGES)
    folded = fold_batch_norms(pruned, SHAPE)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(logits(folded), logits(pruned), rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------------------------------- networks of one's own


class Own(nn.Module):
    """A network whose forward is a plain function of its layers."""

    def __init__(self, function: Callable[[Own, Tensor], Tensor], /, **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self, images)


def pooled(features: Tensor) -> Tensor:
    return torch.mean(F.relu(features), dim=(2, 3))


def shuffled(features: Tensor) -> Tensor:
    """Channels of two blocks, dealt alternately."""
    n, c, h, w = features.shape
    return features.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 16, 3, groups=16, bias=False),
        nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 24, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 10),
    )  # fmt: skip


def grouped() -> nn.Module:
    return Own(
        lambda own, x: own.classifier(pooled(own.third(F.relu(own.second(F.relu(own.first(x))))))),
        first=nn.Conv2d(3, 16, 3),
        second=nn.Conv2d(16, 32, 3, groups=4),
        third=nn.Conv2d(32, 16, 1),
        classifier=nn.Linear(16, 10),
    )


def concatenated() -> nn.Module:
    def forward(own: Own, x: Tensor) -> Tensor:
        first = F.relu(own.first(x))
        both = torch.cat([first, F.relu(own.second(first))], dim=1)
        return own.classifier(pooled(torch.cat([own.third(both), both], dim=1)))

    return Own(
        forward,
        first=nn.Conv2d(3, 16, 3, padding=1),
        second=nn.Conv2d(16, 8, 3, padding=1),
        third=nn.Conv2d(24, 8, 3, padding=1),
        classifier=nn.Linear(32, 10),
    )


def gated() -> nn.Module:
    def forward(own: Own, x: Tensor) -> Tensor:
        x = F.relu(own.first(x))
        gate = torch.sigmoid(own.widen(F.relu(own.squeeze(torch.mean(x, (2, 3), keepdim=True)))))
        return own.classifier(pooled(own.second(x * gate)))

    return Own(
        forward,
        first=nn.Conv2d(3, 16, 3),
        squeeze=nn.Conv2d(16, 4, 1),
        widen=nn.Conv2d(4, 16, 1),
        second=nn.Conv2d(16, 8, 3),
        classifier=nn.Linear(8, 10),
    )


def flattened() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 20), nn.ReLU(), nn.Linear(20, 10)
    )
    network[3].pixels = 16
    return network


def all_convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("make", [depthwise, grouped, concatenated, gated, flattened, all_convolutions])
def test_networks_of_one_s_own_lose_the_channels_that_do_nothing(make):
    torch.manual_seed(0)
    dense = with_idle_channels(make().to(memory_format=torch.channels_last)).eval()
    pruned = remove_channels(copy.deepcopy(dense), pruning(0.5), IMAGES)
    torch.testing.assert_close(logits(pruned), logits(dense), rtol=1e-4, atol=1e-5)
    halves = [max(1, len(layer.weight) // 2) for layer in dense.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    found = [len(layer.weight) for layer in pruned.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert found[:-1] == halves[:-1] and found[-1] == 10
    torch.manual_seed(1)
    rebuilt = reshape(make().to(memory_format=torch.channels_last).eval(), structure_of(pruned, dense))
    rebuilt.load_state_dict(pruned.state_dict())
    assert torch.equal(logits(rebuilt), logits(pruned))


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(4, 16), lambda: nn.InstanceNorm2d(16, affine=True)])
def test_other_normalisations_lose_channels_too(norm):
    dense = nn.Sequential(nn.Conv2d(3, 16, 3), norm(), nn.PReLU(16), nn.Conv2d(16, 10, 14), nn.Flatten()).eval()
    pruned = remove_channels(copy.deepcopy(dense), pruning(0.5), IMAGES)
    rebuilt = reshape(copy.deepcopy(dense), structure_of(pruned, dense))
    rebuilt.load_state_dict(pruned.state_dict())
    assert torch.equal(logits(rebuilt), logits(pruned))
    assert str(rebuilt) == str(pruned) and "16" not in str(pruned[:3])


def detached(own: Own, x: Tensor) -> Tensor:
    with torch.no_grad():
        return own.classifier(pooled(own.first(x)))


def cut(own: Own, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = own.first(x)
    return own.classifier(pooled(own.second(x)))


CONVOLUTIONS = {"first": (3, 16, 3), "second": (16, 16, 3)}
REFUSED: dict[str, tuple[Callable[[Own, Tensor], Tensor], str]] = {
    "without gradients": (detached, "cuts them off"),
    "first part without gradients": (cut, "no way from the images to the logits through first"),
    "a layer unused": (lambda own, x: own.classifier(pooled(own.first(x))), "through second"),
    "channels shuffled": (
        lambda own, x: own.classifier(pooled(own.second(shuffled(F.relu(own.first(x)))))),
        "takes the wrong channels",
    ),
    "a number of channels written out": (
        lambda own, x: own.classifier(own.second(own.first(x)).reshape(len(x), 16, -1).mean(2)),
        "torch-pruning stopped at RuntimeError",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_network_that_cannot_be_followed_is_refused_with_the_reason(what):
    forward, reason = REFUSED[what]
    layers = {name: nn.Conv2d(*sizes) for name, sizes in CONVOLUTIONS.items()}
    network = Own(forward, **layers, classifier=nn.Linear(16, 10))
    with pytest.raises(CompressionError, match=reason) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        remove_channels(network, pruning(0.5), IMAGES)
    assert "\n" not in str(caught.value)


def test_a_network_of_a_classifier_alone_is_refused():
    with pytest.raises(CompressionError, match="no layer but the classifier"):
        remove_channels(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), pruning(0.5), IMAGES)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        ({"stem.0.weight": (99, 3, 3, 3)}, r"\(99, 3, 3, 3\).*\(4, 3, 3, 3\)"),
        ({"stem.0.weight": (2, 3)}, "channels can only be missing"),
        ({"stem.7.weight": (2, 3, 3, 3)}, "which the network has not"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(structure, reason):
    with pytest.raises(StoreError, match=reason):
        reshape(of_family("small_resnet"), structure)


# ----------------------------------------------------------------------------------------------------------- members

SCHEMES = "[float16, bfloat16, dynamic_int8, static_int8, weight_int8, weight_int4]"
VARIANTS = (
    "variants=["
    f"{{pruning: {{kind: structured, sparsities: [0.5]}}, quantization: {SCHEMES}}},"
    "{pruning: {kind: structured, sparsities: [0.5], scopes: [global], fine_tuning: {epochs: 1}},"
    " quantization: [static_int8, weight_int4], quantization_aware: {epochs: 1}}]"
)
SMALL = "data={kind: digits, num_train: 100, num_test: 60}"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return sweep_here(tmp_path_factory.mktemp("structured"), VARIANTS, SMALL)


def records(results: Results, variant_id: str):
    return [record for record in results.records if record.variant_id == variant_id]


def test_members_say_how_much_smaller_they_are(swept):
    dense, pruned = records(swept, "dense")[0], records(swept, "structured-0.50")[0]
    assert pruned.sparsity == 0.5
    checkpoint = Checkpoint.from_bytes(read_checkpoint(swept.storage, "structured-0.50", pruned.seed), source="test")
    sizes = {name: tensor.numel() for name, tensor in checkpoint.state.items()}
    dense_checkpoint = Checkpoint.from_bytes(read_checkpoint(swept.storage, "dense", 0), source="test")
    of_dense = dense_checkpoint.state
    weights = [name for name, tensor in of_dense.items() if tensor.dim() > 1]
    left = sum(sizes[name] for name in weights) / sum(of_dense[name].numel() for name in weights)
    assert pruned.achieved_sparsity == pytest.approx(1 - left) and 0.6 < 1 - left < 0.8
    assert pruned.num_parameters < 0.35 * dense.num_parameters
    assert pruned.multiply_adds < 0.35 * dense.multiply_adds
    assert pruned.checkpoint_bytes < dense.checkpoint_bytes
    assert checkpoint.facts.structure["stem.0.weight"] == (2, 1, 3, 3)
    child_bytes = read_checkpoint(swept.storage, "structured-0.50+weight_int4", pruned.seed)
    assert Checkpoint.from_bytes(child_bytes, source="test").facts.structure == checkpoint.facts.structure
    assert not dense_checkpoint.facts.structure
    for child in records(swept, "structured-0.50+weight_int4"):
        assert child.achieved_sparsity == pruned.achieved_sparsity
        assert child.num_parameters == pruned.num_parameters and child.checkpoint_bytes < pruned.checkpoint_bytes


def test_every_member_is_paired_and_analysed(swept):
    specs = make_plan(swept.recipe).members
    assert all(spec.variant.is_paired for spec in specs if spec.variant_id != "dense")
    tables = analyze(swept)
    summary = tables.summary.set_index("variant_id").drop("dense")
    assert set(summary.index) == {spec.variant_id for spec in specs} - {"dense"}
    assert summary["is_paired"].all() and (summary["num_members"] == 2).all()
    assert (summary["achieved_sparsity_mean"] > 0.4).all()


def test_every_member_is_restored_bit_for_bit(swept):
    """A later attempt finds the checkpoint alone, and predicts again."""
    splits = load_splits(swept.recipe.data)
    specs = [spec for spec in make_plan(swept.recipe).members if spec.variant_id != "dense"]
    assert len(specs) == 2 * 10
    for spec in specs:
        root = Path(swept.storage.uri)
        checkpoint = root / paths.checkpoint(spec.variant_id, spec.seed)
        made = checkpoint.stat().st_mtime_ns
        stored = swept.population("test", spec.variant_id, ("logits",))
        (prediction,) = root.glob(f"predictions/*/{spec.variant_id}/{spec.seed}.parquet")
        hidden = prediction.rename(prediction.with_suffix(".hidden"))
        sink = MemorySink()
        try:
            run_member(spec, Workplace(swept.recipe, splits, swept.storage, sink))
        finally:
            hidden.rename(prediction)
        again = np.stack(sink.tables[spec.member_id, "clean"].to_pandas()["logits"])
        np.testing.assert_array_equal(again, stored.arrays["logits"][list(stored.seeds).index(spec.seed)])
        assert checkpoint.stat().st_mtime_ns == made


def test_another_sweep_gives_the_same_bytes(swept, tmp_path):
    again = sweep_here(tmp_path, VARIANTS, SMALL, "population.num_members=1")
    for record in again.records:
        data = [read_checkpoint(results.storage, record.variant_id, record.seed) for results in (swept, again)]
        assert data[0] == data[1], record.variant_id


@pytest.mark.parametrize("variant_id", ["structured-0.50", "structured-0.50+weight_int4"])
def test_a_packed_member_answers_as_it_did(swept, variant_id, tmp_path):
    splits = load_splits(swept.recipe.data)
    record = records(swept, variant_id)[0]
    for name, content in network_files(swept.storage, swept.recipe, record, splits).files.items():
        (tmp_path / name).write_bytes(content)
    stored = swept.population("test", variant_id, ("logits",))
    answers = load_network(str(tmp_path)).predict(splits.test.images.numpy())
    np.testing.assert_array_equal(answers, stored.arrays["logits"][list(stored.seeds).index(record.seed)])
