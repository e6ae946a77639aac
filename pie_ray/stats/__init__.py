"""Statistics of populations of networks: pure functions on arrays [members, examples]; numpy and scipy only.

From two files of predicted labels to the PIEs and their noise floor:

    reference, variant = np.load("dense.npy"), np.load("pruned.npy")
    pies = find_pies(reference, variant, num_classes=10)
    floor = noise_floor(reference, num_classes=10, rng=np.random.default_rng(0))
    print(pies.num_pies, pies.pie_fraction, floor.mean)
"""

from __future__ import annotations

from ._validation import Tie as Tie
from .classes import ClassImpact as ClassImpact
from .classes import class_impact as class_impact
from .modal import ModalVote as ModalVote
from .modal import label_counts as label_counts
from .modal import modal_labels as modal_labels
from .modal import modal_vote as modal_vote
from .multiplicity import benjamini_hochberg as benjamini_hochberg
from .pie import PieCorrectness as PieCorrectness
from .pie import Pies as Pies
from .pie import find_pies as find_pies
from .pie import pie_correctness as pie_correctness
from .pie import taxicab as taxicab
from .reduced import Accuracy as Accuracy
from .reduced import ReducedAccuracy as ReducedAccuracy
from .reduced import reduced_accuracy as reduced_accuracy
from .reduced import reduced_accuracy_from_correct as reduced_accuracy_from_correct
from .resampling import HalfPies as HalfPies
from .resampling import half_pies as half_pies
from .resampling import noise_floor as noise_floor

__all__ = [
    "Accuracy",
    "ClassImpact",
    "HalfPies",
    "ModalVote",
    "PieCorrectness",
    "Pies",
    "ReducedAccuracy",
    "Tie",
    "benjamini_hochberg",
    "class_impact",
    "find_pies",
    "half_pies",
    "label_counts",
    "modal_labels",
    "modal_vote",
    "noise_floor",
    "pie_correctness",
    "reduced_accuracy",
    "reduced_accuracy_from_correct",
    "taxicab",
]
