"""The training engine: one loop over batches of tensors. Knows neither store, tracking nor Ray."""

from .batches import Batches, BatchSource, Normalise
from .device import choose_device, random_numbers, resolve_precision
from .inference import images_per_pass, predict
from .loop import TrainingResult, compiles, train
from .objective import Objective, PlainLoss, PreservingLoss
from .packed import PackedBatches, PackedLoss, PackedNetwork, can_pack
from .routes import make_route
from .saving import Resumable, State
from .streamed import StreamedBatches, make_batches
from .team import ALONE, Alone, Team

__all__ = [
    "ALONE",
    "Alone",
    "BatchSource",
    "Batches",
    "Normalise",
    "Objective",
    "PackedBatches",
    "PackedLoss",
    "PackedNetwork",
    "PlainLoss",
    "PreservingLoss",
    "Resumable",
    "State",
    "StreamedBatches",
    "Team",
    "TrainingResult",
    "can_pack",
    "choose_device",
    "compiles",
    "images_per_pass",
    "make_batches",
    "make_route",
    "predict",
    "random_numbers",
    "resolve_precision",
    "train",
]
