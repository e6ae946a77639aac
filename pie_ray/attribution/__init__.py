"""Attribution maps: whether compressed networks look where their reference looks. The only home of captum."""

from .checks import check_attribution
from .maps import explain, last_feature_map, predicted_classes
from .members import SIMILARITIES, explain_pairs, explained_rows, settings_text

__all__ = [
    "SIMILARITIES",
    "check_attribution",
    "explain",
    "explain_pairs",
    "explained_rows",
    "last_feature_map",
    "predicted_classes",
    "settings_text",
]
