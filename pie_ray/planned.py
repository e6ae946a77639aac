"""The plans that a recipe may come to: one, or of an adaptive population the smallest and the largest."""

from __future__ import annotations

from . import adaptive
from .analysis import kin_of, rule_of
from .config import Recipe
from .identity import Plan


def plans_of(recipe: Recipe, whole: Plan) -> tuple[Plan, ...]:
    """`whole` alone; of an adaptive population first that of all variants stopping at once, then the whole budget.

    The budget is `num_members` a variant, however it is spread.
    """
    if recipe.population.adaptive is None:
        return (whole,)
    rule, kin = rule_of(recipe), kin_of(whole)
    most = {each.variant_id: rule.num_members for each in kin}
    return whole.of_sizes(adaptive.first_sizes(kin, rule)), whole.of_sizes(most)
