"""What a person sees in the terminal: the plan, live progress, the tables by variant."""

from .costs import print_costs
from .live import ConsoleObserver, images_progress, maps_progress, predictions_progress
from .printing import print_decisions, print_plan, print_results, print_tables
from .tables import (
    cost_table,
    members_table,
    natural_table,
    population_table,
    preservation_table,
    robustness_table,
    summary_table,
)

__all__ = [
    "ConsoleObserver",
    "cost_table",
    "images_progress",
    "maps_progress",
    "members_table",
    "natural_table",
    "population_table",
    "predictions_progress",
    "preservation_table",
    "print_costs",
    "print_decisions",
    "print_plan",
    "print_results",
    "print_tables",
    "robustness_table",
    "summary_table",
]
