"""The training engine: one loop over tensors in memory. Knows neither store, tracking nor Ray."""

from .batches import Batches, Normalise
from .device import choose_device, resolve_precision
from .inference import images_per_pass, predict
from .loop import TrainingResult, train
from .objective import Objective, PlainLoss, PreservingLoss
from .routes import make_route

__all__ = [
    "Batches",
    "Normalise",
    "Objective",
    "PlainLoss",
    "PreservingLoss",
    "TrainingResult",
    "choose_device",
    "images_per_pass",
    "make_route",
    "predict",
    "resolve_precision",
    "train",
]
