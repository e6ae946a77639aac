"""One function a kind of network: from where it lies to what predicts with it.

To add a kind of file: a function here, its line in `OPENERS`, and its suffix in `asked.ACCEPTED`.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .. import onnx_runtime
from ..analysis import Results, open_results
from ..checkpoint import Checkpoint
from ..data import load_splits
from ..errors import InputError, ModelError, StoreError
from ..identity import MemberSpec
from ..making import restore_network
from ..models import imported_module
from ..store import MemorySink, Storage, read_checkpoint
from ..training import choose_device, make_route, predict
from ..workplace import Workplace
from .asked import ACCEPTED, MemberAddress, is_function, member_address
from .inputs import Foreign, Images, Preprocessing

_ONNX_TYPES = {
    "tensor(uint8)": torch.uint8,
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_LOGITS = "logits"
_BLOCK = 1 << 20


class Network(Protocol):
    def predict(self, pixels: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows and float32 logits [n, classes] of uint8 `pixels` [examples, channels, height, width], in order."""


@dataclass(frozen=True)
class Opened:
    """A network, and what the report says of it."""

    network: Network
    kind: str
    sha256: str | None = None
    """Of its file, 64 hexadecimal digits; None of code."""
    num_bytes: int | None = None


@dataclass(frozen=True)
class Setting:
    """What networks are opened for."""

    images: Images
    preprocessing: Preprocessing
    num_threads: int


def open_network(what: str, setting: Setting) -> Opened:
    """Raises InputError (ModelError, StoreError) for what is absent, damaged, of no known kind, or does not fit."""
    address = member_address(what)
    if address is not None:
        return _open_member(address, setting)
    path = Path(what).expanduser()
    opener = OPENERS.get(path.suffix)
    if opener is not None:
        if not path.is_file():
            raise InputError(f"{what}: found no such file (seen from {Path.cwd()}); accepted is {ACCEPTED}")
        return opener(path, setting)
    if is_function(what):
        return _open_function(what, setting)
    raise InputError(f"{what}: found nothing that networks are opened from; accepted is {ACCEPTED}")


# ------------------------------------------------------------------------------------------------------ files of others


def _open_onnx(path: Path, setting: Setting) -> Opened:
    session = onnx_runtime.open_session(str(path), source=str(path), num_threads=setting.num_threads)
    given = session.get_inputs()
    if len(given) != 1 or given[0].type not in _ONNX_TYPES:
        found = ", ".join(f"{one.name} {one.type}" for one in given)
        raise ModelError(f"{path}: found the inputs {found}; accepted is one of images, uint8 or floating point")
    names = [output.name for output in session.get_outputs()]
    name = _LOGITS if _LOGITS in names else names[0]
    if name != _LOGITS and len(names) > 1:
        raise ModelError(f"{path}: found the outputs {', '.join(names)}; accepted is one, or one called {_LOGITS}")

    def call(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([name], {given[0].name: images.numpy()})[0])

    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in given[0].shape)
    network = Foreign(
        str(path),
        call,
        setting.images,
        setting.preprocessing,
        dtype=_ONNX_TYPES[given[0].type],
        # A graph may leave its input's shape open altogether.
        input_shape=shape or None,
    )
    return _of_files(network, "ONNX", path)


def _open_torchscript(path: Path, setting: Setting) -> Opened:
    with warnings.catch_warnings():
        # That TorchScript is deprecated does not help who has such a file.
        warnings.simplefilter("ignore", FutureWarning)
        network = _loaded(path, lambda: torch.jit.load(str(path), map_location=choose_device()), "TorchScript")
    return _of_files(_torch_network(str(path), network.eval(), setting), "TorchScript", path)


def _open_program(path: Path, setting: Setting) -> Opened:
    program = _loaded(path, lambda: torch.export.load(path), "torch.export")
    declared = _declared(program)
    network = program.module().to(choose_device())
    return _of_files(_torch_network(str(path), network, setting, declared), "torch.export", path)


def _declared(program: torch.export.ExportedProgram) -> Tensor | None:
    """The fake tensor of the only input that a user gives; None where there are several."""
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return values[0] if len(values) == 1 and isinstance(values[0], Tensor) else None


def _loaded(path: Path, load: Callable[[], Any], kind: str) -> Any:
    # Each of torch's readers has errors of its own for damage.
    try:
        return load()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path}: torch cannot open it as {kind}: {reason}; accepted is a whole program (weights alone, as "
            "torch.save writes them, need their code: module:function)"
        ) from error


def _torch_network(
    source: str, call: Callable[[Tensor], Tensor], setting: Setting, declared: Tensor | None = None
) -> Foreign:
    device = choose_device()
    dtype, shape = torch.float32, None
    if declared is not None:
        dtype = declared.dtype
        shape = tuple(size if type(size) is int else None for size in declared.shape)
    elif setting.preprocessing.kind == "uint8":
        dtype = torch.uint8

    def on_device(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return call(images.to(device))

    return Foreign(source, on_device, setting.images, setting.preprocessing, dtype=dtype, input_shape=shape)


def _of_files(network: Network, kind: str, path: Path) -> Opened:
    """With the size and digest of the file, and of the weights that ONNX keeps beside it."""
    files = [path, *filter(Path.is_file, [path.with_name(path.name + ".data")])]
    sha256 = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            while block := content.read(_BLOCK):
                sha256.update(block)
    return Opened(network, kind, sha256.hexdigest(), sum(file.stat().st_size for file in files))


OPENERS: dict[str, Callable[[Path, Setting], Opened]] = {
    ".onnx": _open_onnx,
    ".pt": _open_torchscript,
    ".ts": _open_torchscript,
    ".torchscript": _open_torchscript,
    ".pt2": _open_program,
}


# --------------------------------------------------------------------------------------------------------------- code


def _open_function(what: str, setting: Setting) -> Opened:
    """`module:function`: a network; what makes one, called as `model.factory` is or with nothing; or what predicts."""
    module_name, _, name = what.partition(":")
    try:
        found = getattr(imported_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{what}: cannot be imported ({error}); accepted is 'module:function' of a module that Python finds (run "
            "from its folder, or install it)"
        ) from error
    call = found if isinstance(found, nn.Module) else _made(what, found, setting.images)
    if isinstance(call, nn.Module):
        call = call.eval().to(choose_device())
    return Opened(_torch_network(what, call, setting), "Python")


def _made(what: str, function: Any, images: Images) -> Callable[[Tensor], Tensor]:
    channels, height, _ = images.shape
    sizes = {"num_classes": images.num_classes, "num_channels": channels, "image_size": height}
    if _accepts(function, **sizes):
        made = _call_seeded(partial(function, **sizes))
    elif _accepts(function):
        made = _call_seeded(function)
    elif _accepts(function, None):
        return partial(_as_tensor, function)
    else:
        raise ModelError(
            f"{what}: found {type(function).__name__} that cannot be called so; accepted is a function of num_classes, "
            "num_channels and image_size, or of nothing, that returns a network; or one of images that returns logits"
        )
    if not callable(made):
        raise ModelError(f"{what}: found a function that returned {type(made).__name__}; accepted is an nn.Module")
    return made if isinstance(made, nn.Module) else partial(_as_tensor, made)


def _call_seeded(function: Callable[[], Any]) -> Any:
    """Weights that code draws are the same in every audit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function()


def _as_tensor(function: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    return torch.as_tensor(function(images))


def _accepts(function: Any, *positional: Any, **named: Any) -> bool:
    try:
        inspect.signature(function).bind(*positional, **named)
    except (TypeError, ValueError):
        return False
    return True


# --------------------------------------------------------------------------------------------------- members of sweeps


@dataclass(frozen=True)
class _Member:
    """Predicts as its trial did, bit for bit."""

    forward: Callable[[Tensor], Tensor]
    workplace: Workplace

    def predict(self, pixels: Tensor) -> Iterator[tuple[slice, Tensor]]:
        return predict(
            self.forward,
            pixels,
            statistics=self.workplace.splits.train.channel_statistics,
            batch_size=self.workplace.recipe.evaluation.batch_size,
            device=choose_device(),
        )


def _open_member(address: MemberAddress, setting: Setting) -> Opened:
    results = open_results(Storage(address.results))
    spec = _spec(results, address)
    data = read_checkpoint(results.storage, spec.variant_id, spec.seed, member_id=spec.member_id)
    checkpoint = Checkpoint.from_bytes(data, source=_told(address))
    recipe = results.recipe
    splits = load_splits(recipe.data, recipe.execution.cache)
    train = splits.train
    own = Images((train.num_channels, train.image_size, train.image_size), train.num_classes)
    if own != setting.images:
        raise ModelError(
            f"{_told(address)}: trained on {_images_text(own)}, and the data to audit it on has "
            f"{_images_text(setting.images)}; accepted is data of the same, which data.image_size may make it"
        )
    workplace = Workplace(recipe, splits, results.storage, MemorySink())
    network = restore_network(
        workplace.skeleton(spec.generator_seed), spec.variant.quantization, checkpoint, choose_device()
    )
    forward = make_route(
        network.eval(),
        arithmetic=checkpoint.facts.arithmetic,
        precision=recipe.evaluation.precision,
        image_shape=own.shape,
    )
    return Opened(_Member(forward, workplace), "pie_ray", hashlib.sha256(data).hexdigest(), len(data))


def _spec(results: Results, address: MemberAddress) -> MemberSpec:
    for spec in results.plan.members:
        if (spec.variant_id, spec.seed) == (address.variant_id, address.seed):
            return spec
    there = ", ".join(variant.variant_id for variant in results.variants)
    seeds = sorted({spec.seed for spec in results.plan.members})
    raise StoreError(
        f"{_told(address)}: the results have no such member; accepted are the variants {there}, and the seeds "
        f"{seeds[0]} to {seeds[-1]}"
    )


def _told(address: MemberAddress) -> str:
    return f"{address.results}:{address.variant_id}/{address.seed}"


def _images_text(images: Images) -> str:
    channels, height, width = images.shape
    return f"{height} x {width} pixels, {channels} channel{'s' * (channels > 1)} and {images.num_classes} classes"
