"""A real sweep of the tiny recipe, in this process and without Ray: checkpoints, predictions, records."""

from __future__ import annotations

from pathlib import Path

from pie_ray.analysis import Results, open_results
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import ParquetSink
from pie_ray.study import prepare
from pie_ray.workplace import Workplace

from .conftest import TINY


def sweep_here(folder: Path, *overrides: str) -> Results:
    """Results in `folder`/results/tiny; `overrides` are a recipe's, as on the command line."""
    study = prepare(parse_recipe(TINY, [f"execution.storage={folder / 'results'}", *overrides]))
    workplace = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    for spec in study.plan.members:
        run_member(spec, workplace)
    return open_results(study.storage)
