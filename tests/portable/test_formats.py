"""Every variant's member as every format: opened without pie_ray where that is promised, it predicts what is stored."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load

from pie_ray.compress.quantization import QUANTIZERS
from pie_ray.exporting import check, find_member, open_images, restore_member
from pie_ray.portable import FORMATS, load_safetensors
from tests.celeba import make_celeba
from tests.swept import sweep_here

VARIANTS = """variants=[
  {pruning: {kind: magnitude, sparsities: [0.5]}},
  {pruning: {kind: structured, sparsities: [0.5]}},
  {quantization: [static_int8, dynamic_int8, float16, bfloat16, weight_int8, weight_int4]},
  {pruning: {kind: magnitude, sparsities: [0.5]}, quantization: [static_int8]}]"""
IDS = (
    *("dense", "magnitude-0.50", "structured-0.50", "static_int8", "dynamic_int8", "float16", "bfloat16"),
    *("weight_int8", "weight_int4", "magnitude-0.50+static_int8"),
)
SAME_GRAPHS = ("magnitude-0.50", "static_int8")
"""As ONNX the same as `dense`, and as what is pruned and in int8."""
IN_INTEGERS = ("static_int8", "dynamic_int8", "magnitude-0.50+static_int8")
MODEL = "model={kind: custom, factory: 'tests.portable.network:build'}"
MORE_TRAINING = ("training.epochs=6", "training.learning_rate=0.05")


def test_every_scheme_is_tried():
    assert set(QUANTIZERS) <= set(IDS)


class Exported:
    """Files of a sweep's members, each made once."""

    def __init__(self, results):
        self.results, self.splits, self._files = results, open_images(results), {}

    def data(self, variant_id, file_format):
        if (variant_id, file_format) not in self._files:
            self._files[variant_id, file_format] = FORMATS[file_format].to_bytes(self.member(variant_id))
        return self._files[variant_id, file_format]

    def member(self, variant_id):
        return restore_member(self.results, find_member(self.results, variant_id), self.splits)

    def check(self, variant_id, file_format):
        asked = find_member(self.results, variant_id)
        return check(self.data(variant_id, file_format), file_format, self.results, asked, self.splits)

    def stored(self, variant_id, column="logits"):
        return self.results.population("test", variant_id, (column,)).arrays[column][0]

    @property
    def images(self):
        return self.splits.test.images.numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    return Exported(sweep_here(folder, VARIANTS, MODEL, *MORE_TRAINING, "population.num_members=1"))


def in_onnx_runtime(data):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]


def in_torch(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.jit.load(io.BytesIO(data))
    return lambda images: network(torch.from_numpy(images)).numpy()


OPEN = {"onnx": in_onnx_runtime, "torchscript": in_torch}


@pytest.mark.parametrize(
    ("variant_id", "file_format"),
    [(name, "torchscript") for name in IDS] + [(name, "onnx") for name in IDS if name not in SAME_GRAPHS],
)
def test_a_file_predicts_what_is_stored_in_batches_of_any_size(exported, variant_id, file_format):
    predict = OPEN[file_format](exported.data(variant_id, file_format))
    images = exported.images
    together = predict(images)
    assert together.dtype == np.float32 and together.shape == (100, 10)
    np.testing.assert_array_equal(together.argmax(axis=1), exported.stored(variant_id, "prediction"))
    stored = exported.stored(variant_id)
    # One level of 256 that an input falls on otherwise moves a logit by no more.
    tolerance = 2e-2 if variant_id in IN_INTEGERS and file_format == "onnx" else 1e-5
    np.testing.assert_allclose(together, stored, atol=tolerance * np.abs(stored).max())
    for size in (1, 7):
        np.testing.assert_allclose(predict(images[:size]), together[:size], atol=tolerance * np.abs(stored).max())


@pytest.mark.parametrize("variant_id", IDS)
def test_safetensors_restore_the_member_bit_for_bit(exported, variant_id, tmp_path):
    data = exported.data(variant_id, "safetensors")
    (tmp_path / "member.safetensors").write_bytes(data)
    network = load_safetensors(tmp_path / "member.safetensors")
    np.testing.assert_array_equal(network.predict(exported.images), exported.stored(variant_id))
    state = exported.member(variant_id).checkpoint.state
    assert {name: (t.dtype, t.shape) for name, t in load(data).items()} == {
        name: (t.dtype, t.shape) for name, t in state.items()
    }


@pytest.mark.parametrize("variant_id", IN_INTEGERS)
def test_integer_sums_are_exact_where_floats_have_no_say(exported, variant_id):
    """TorchScript adds the integers of the int8 kernels in float32: the same bits."""
    np.testing.assert_array_equal(
        in_torch(exported.data(variant_id, "torchscript"))(exported.images), exported.stored(variant_id)
    )


@pytest.mark.parametrize("variant_id", IDS)
def test_the_check_agrees(exported, variant_id):
    agreement = exported.check(variant_id, "torchscript")
    assert agreement.holds and agreement.num_equal == agreement.num_answers == agreement.num_examples == 100
    assert agreement.compared == "logit"


# -------------------------------------------------------------------------------------------------- what is inside


def graph(exported, variant_id):
    proto = onnx.load_model_from_string(exported.data(variant_id, "onnx"))
    onnx.checker.check_model(proto)
    return proto


def operators(proto):
    return [node.op_type for node in proto.graph.node]


def stored_types(proto):
    """Weights of more than one dimension that are more than a value a channel, by type."""
    arrays = [(tensor.data_type, int(np.prod(tensor.dims))) for tensor in proto.graph.initializer]
    large = {kind: 0 for kind, _ in arrays}
    for kind, size in arrays:
        large[kind] += size
    return {onnx.TensorProto.DataType.Name(kind): size for kind, size in large.items()}


@pytest.mark.parametrize("variant_id", ["dynamic_int8", "magnitude-0.50+static_int8"])
def test_int8_members_add_integers_in_onnx(exported, variant_id):
    found = operators(graph(exported, variant_id))
    assert found.count("ConvInteger") == 3 and found.count("MatMulInteger") == 2
    assert not {"Conv", "Gemm", "MatMul"} & set(found)
    assert found.count("QuantizeLinear") == (0 if variant_id == "dynamic_int8" else 5)


@pytest.mark.parametrize(
    ("variant_id", "kind"),
    [("dynamic_int8", "UINT8"), ("float16", "FLOAT16"), ("bfloat16", "BFLOAT16"), ("weight_int8", "INT8"),
     ("weight_int4", "INT4")],
)  # fmt: skip
def test_weights_are_stored_in_the_type_of_the_scheme(exported, variant_id, kind):
    layers = [m for m in exported.member("dense").network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    num_weights = sum(layer.weight.numel() for layer in layers)
    types = stored_types(graph(exported, variant_id))
    assert num_weights <= types[kind] <= num_weights + 100
    assert types["FLOAT"] < num_weights / 5


def test_four_bits_take_half_a_byte(exported):
    proto = graph(exported, "weight_int4")
    packed = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.INT4]
    assert len(packed) == 5
    assert all(len(t.raw_data) == (int(np.prod(t.dims)) + 1) // 2 for t in packed)


def test_pruned_weights_are_zeros_in_the_file(exported):
    proto = graph(exported, "magnitude-0.50+static_int8")
    (weight,) = (t for t in proto.graph.initializer if t.name == "network.mirrored.weight")
    assert (numpy_helper.to_array(weight) == 128).mean() >= 0.5
    assert any(t.name == "network.mirrored.weight_zero_point" for t in proto.graph.initializer)


def test_removed_channels_are_not_in_the_file(exported):
    sizes = {name: sum(stored_types(graph(exported, name)).values()) for name in ("dense", "structured-0.50")}
    assert sizes["structured-0.50"] < 0.6 * sizes["dense"]


def metadata(exported, variant_id, file_format):
    data = exported.data(variant_id, file_format)
    if file_format == "onnx":
        return {entry.key: entry.value for entry in onnx.load_model_from_string(data).metadata_props}
    if file_format == "safetensors":
        return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    texts = dict.fromkeys((f"pie_ray.{name}" for name in ("member_id", "variant_id", "class_names", "sparsity")), "")
    texts["pie_ray.quantization"] = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(io.BytesIO(data), _extra_files=texts)
    return {name: text.decode() if isinstance(text, bytes) else text for name, text in texts.items()}


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_says_what_it_is(exported, file_format):
    variant_id = "magnitude-0.50+static_int8"
    record = find_member(exported.results, variant_id).record
    found = metadata(exported, variant_id, file_format)
    assert found["pie_ray.member_id"] == record.member_id
    assert found["pie_ray.variant_id"] == variant_id
    assert found["pie_ray.quantization"] == "static_int8"
    assert float(found["pie_ray.sparsity"]) == pytest.approx(record.achieved_sparsity, rel=1e-5)
    assert json.loads(found["pie_ray.class_names"]) == list(exported.results.class_names)


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exported):
    folder = exported.results.storage.uri.encode()
    for variant_id, file_format in (("dense", "onnx"), ("dynamic_int8", "onnx"), ("dense", "safetensors")):
        data = exported.data(variant_id, file_format)
        assert folder not in data and b"site-packages" not in data and b"/portable/" not in data


def test_inputs_and_outputs_are_named(exported):
    proto = graph(exported, "dense")
    (images,), (logits,) = proto.graph.input, proto.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim] == ["n", 1, 8, 8]


# ---------------------------------------------------------------------------------------------------- other data


def test_attributes_learned_jointly(tmp_path):
    path = make_celeba(tmp_path / "images", num_train=120, num_validation=20, num_test=60)
    results = sweep_here(
        tmp_path, f"data={{kind: celeba, path: {path}}}", MODEL, "variants=[{quantization: [static_int8]}]",
        "population.num_members=1", f"execution.cache={tmp_path / 'cache'}",
    )  # fmt: skip
    files = Exported(results)
    for file_format in FORMATS:
        agreement = files.check("static_int8", file_format)
        assert agreement.holds and agreement.num_answers == 60 * len(results.class_names) > 60
        assert agreement.num_equal >= agreement.num_answers - 1


def test_where_no_logits_are_stored_confidences_are_compared(tmp_path):
    results = sweep_here(
        tmp_path, MODEL, "variants=[{quantization: [float16]}]", "population.num_members=1",
        "evaluation.store_logits=false",
    )  # fmt: skip
    agreement = Exported(results).check("float16", "torchscript")
    assert agreement.holds and agreement.compared == "confidence" and agreement.num_equal == 100
    assert agreement.largest_difference < 1e-5
