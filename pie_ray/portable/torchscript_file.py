"""A member as TorchScript, which torch loads without pie_ray: `torch.jit.load("network.pt")(images)`.

Integers are added in float32, which below 2**24 gives the same bits: the int8 kernels' packed weights cannot be stored.
"""

from __future__ import annotations

import io
import warnings

import torch

from ..errors import ModelError
from .layers import add_as_floats
from .member import PortableMember
from .predicting import Predict


def torchscript_bytes(member: PortableMember) -> bytes:
    """The file's bytes. Raises ModelError for a network that cannot be traced."""
    network = member.stored_network()
    add_as_floats(network)
    file = io.BytesIO()
    try:
        # TorchScript is deprecated in favour of torch.export, whose archives need a torch like the one that wrote them.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(member.from_pixels(network), member.example(), check_trace=False)
            torch.jit.save(traced, file, _extra_files=dict(member.metadata))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"--format torchscript: torch.jit cannot follow the network ({reason})") from error
    return file.getvalue()


def open_torchscript(data: bytes, *, source: str) -> Predict:
    """Raises ModelError where the bytes are no TorchScript."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except RuntimeError as error:
        raise ModelError(f"{source}: torch.jit cannot load it: {str(error).splitlines()[0]}") from error

    def predict(images):  # type: ignore[no-untyped-def]
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return predict
