"""Statistics of populations of networks: pure functions on arrays [members, examples]; numpy and scipy only.

From two files of predicted labels to the PIEs and their noise floor:

    reference, variant = np.load("dense.npy"), np.load("pruned.npy")
    pies = find_pies(reference, variant, num_classes=10)
    floor = noise_floor(reference, num_classes=10, rng=np.random.default_rng(0))
    print(pies.num_pies, pies.pie_fraction, floor.mean)
"""

from __future__ import annotations

from ._validation import PermutationMethod as PermutationMethod
from ._validation import Tie as Tie
from .amplification import AmplificationForetold as AmplificationForetold
from .amplification import BiasAmplification as BiasAmplification
from .amplification import TrainingRates as TrainingRates
from .amplification import amplification_criteria as amplification_criteria
from .amplification import bias_amplification as bias_amplification
from .amplification import foretell_amplification as foretell_amplification
from .amplification import training_rates as training_rates
from .attributes import AttributePies as AttributePies
from .attributes import AttributeRates as AttributeRates
from .attributes import SusceptibleExamples as SusceptibleExamples
from .attributes import attribute_auroc as attribute_auroc
from .attributes import attribute_calibration_error as attribute_calibration_error
from .attributes import attribute_pies as attribute_pies
from .attributes import attribute_rates as attribute_rates
from .attributes import interdependence as interdependence
from .attributes import is_uncertain as is_uncertain
from .attributes import predict_attributes as predict_attributes
from .attributes import rarer_values as rarer_values
from .attributes import susceptible_examples as susceptible_examples
from .attributes import threshold_calibration_bias as threshold_calibration_bias
from .attributes import uncertain_members as uncertain_members
from .attributes import uncertainty_share as uncertainty_share
from .calibration import Reliability as Reliability
from .calibration import expected_calibration_error as expected_calibration_error
from .calibration import reliability as reliability
from .classes import ClassAnova as ClassAnova
from .classes import ClassImpact as ClassImpact
from .classes import class_anova as class_anova
from .classes import class_impact as class_impact
from .classes import class_impacts as class_impacts
from .confidence import ValueChange as ValueChange
from .confidence import mean_change as mean_change
from .confidence import value_change as value_change
from .corruption_error import Resampled as Resampled
from .corruption_error import mean_corruption_error as mean_corruption_error
from .corruption_error import normalised_change as normalised_change
from .corruption_error import relative_mean_corruption_error as relative_mean_corruption_error
from .countermeasures import CountermeasureEffect as CountermeasureEffect
from .countermeasures import Override as Override
from .countermeasures import adjusted_thresholds as adjusted_thresholds
from .countermeasures import countermeasure_effect as countermeasure_effect
from .countermeasures import override as override
from .evidence import EvidenceDifference as EvidenceDifference
from .evidence import compare_evidence as compare_evidence
from .foretelling import Foretelling as Foretelling
from .foretelling import auroc as auroc
from .foretelling import average_precision as average_precision
from .foretelling import foretell as foretell
from .foretelling import recall_at_top as recall_at_top
from .groups import ErrorGap as ErrorGap
from .groups import GroupImpact as GroupImpact
from .groups import GroupRates as GroupRates
from .groups import binary_group_impact as binary_group_impact
from .groups import group_impact as group_impact
from .groups import intersections as intersections
from .map_similarity import cosine_similarity as cosine_similarity
from .map_similarity import dissimilarity_ratio as dissimilarity_ratio
from .map_similarity import mean_similarity as mean_similarity
from .map_similarity import rank_correlation as rank_correlation
from .modal import ModalVote as ModalVote
from .modal import label_counts as label_counts
from .modal import modal_labels as modal_labels
from .modal import modal_vote as modal_vote
from .multiplicity import benjamini_hochberg as benjamini_hochberg
from .pairs import NullCie as NullCie
from .pairs import Pairs as Pairs
from .pairs import compare_pairs as compare_pairs
from .pairs import null_cie as null_cie
from .pie import PieCorrectness as PieCorrectness
from .pie import Pies as Pies
from .pie import find_pies as find_pies
from .pie import find_pies_from_votes as find_pies_from_votes
from .pie import pie_correctness as pie_correctness
from .pie import taxicab as taxicab
from .preservation import LabelPreservation as LabelPreservation
from .preservation import Preserved as Preserved
from .preservation import label_preservation as label_preservation
from .reduced import Accuracy as Accuracy
from .reduced import ReducedAccuracy as ReducedAccuracy
from .reduced import reduced_accuracy as reduced_accuracy
from .reduced import reduced_accuracy_from_correct as reduced_accuracy_from_correct
from .resampling import HalfPies as HalfPies
from .resampling import half_pies as half_pies
from .resampling import noise_floor as noise_floor
from .robustness import BreakRates as BreakRates
from .robustness import ExcessDrop as ExcessDrop
from .robustness import MemberMean as MemberMean
from .robustness import accuracy_drop as accuracy_drop
from .robustness import break_rates as break_rates
from .robustness import excess_drop as excess_drop
from .robustness import member_mean as member_mean
from .significance import PermutationTest as PermutationTest
from .significance import paired_permutation_test as paired_permutation_test
from .significance import permutation_test as permutation_test
from .significance import smallest_p_value as smallest_p_value
from .stability import ExpectedJaccard as ExpectedJaccard
from .stability import MembersNeeded as MembersNeeded
from .stability import PieStability as PieStability
from .stability import expected_jaccard as expected_jaccard
from .stability import members_needed as members_needed
from .stability import pie_stability as pie_stability
from .uncertainty import Uncertainty as Uncertainty
from .uncertainty import uncertainty as uncertainty
from .uncertainty import vote_entropy as vote_entropy

__all__ = [
    "Accuracy",
    "AmplificationForetold",
    "AttributePies",
    "AttributeRates",
    "BiasAmplification",
    "BreakRates",
    "ClassAnova",
    "ClassImpact",
    "CountermeasureEffect",
    "ErrorGap",
    "EvidenceDifference",
    "ExcessDrop",
    "ExpectedJaccard",
    "Foretelling",
    "GroupImpact",
    "GroupRates",
    "HalfPies",
    "LabelPreservation",
    "MemberMean",
    "MembersNeeded",
    "ModalVote",
    "NullCie",
    "Override",
    "Pairs",
    "PermutationMethod",
    "PermutationTest",
    "PieCorrectness",
    "PieStability",
    "Pies",
    "Preserved",
    "ReducedAccuracy",
    "Reliability",
    "Resampled",
    "SusceptibleExamples",
    "Tie",
    "TrainingRates",
    "Uncertainty",
    "ValueChange",
    "accuracy_drop",
    "adjusted_thresholds",
    "amplification_criteria",
    "attribute_auroc",
    "attribute_calibration_error",
    "attribute_pies",
    "attribute_rates",
    "auroc",
    "average_precision",
    "benjamini_hochberg",
    "bias_amplification",
    "binary_group_impact",
    "break_rates",
    "class_anova",
    "class_impact",
    "class_impacts",
    "compare_evidence",
    "compare_pairs",
    "countermeasure_effect",
    "excess_drop",
    "expected_calibration_error",
    "expected_jaccard",
    "find_pies",
    "find_pies_from_votes",
    "foretell",
    "foretell_amplification",
    "group_impact",
    "half_pies",
    "interdependence",
    "intersections",
    "is_uncertain",
    "label_counts",
    "label_preservation",
    "mean_change",
    "mean_corruption_error",
    "member_mean",
    "members_needed",
    "modal_labels",
    "modal_vote",
    "noise_floor",
    "normalised_change",
    "null_cie",
    "override",
    "paired_permutation_test",
    "permutation_test",
    "pie_correctness",
    "pie_stability",
    "predict_attributes",
    "rarer_values",
    "recall_at_top",
    "reduced_accuracy",
    "reduced_accuracy_from_correct",
    "relative_mean_corruption_error",
    "reliability",
    "smallest_p_value",
    "susceptible_examples",
    "taxicab",
    "threshold_calibration_bias",
    "training_rates",
    "uncertain_members",
    "uncertainty",
    "uncertainty_share",
    "value_change",
    "vote_entropy",
]
