"""Audits: networks that somebody has already, predicted with, so that their answers can be compared."""

from __future__ import annotations

from .asked import Asked, asked
from .evaluation import evaluate_networks, evaluation_sets
from .inputs import IMAGENET, Preprocessing
from .subject import Opened, open_subject, read_subject

__all__ = [
    "IMAGENET",
    "Asked",
    "Opened",
    "Preprocessing",
    "asked",
    "evaluate_networks",
    "evaluation_sets",
    "open_subject",
    "read_subject",
]
