"""`pie-ray plan`: what a study costs before it is made; or how many members the PIEs of one that was made need."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .analysis import RESULTS, open_folder
from .recipe_options import add_set_option

if TYPE_CHECKING:
    from rich.console import Console

    from ..config import Execution
    from ..costing import NodeOffer

JACCARD, SECONDS = 0.9, 10.0


def add_plan_command(commands: Any) -> None:
    text = (
        "what a recipe costs before it is run: members, hours, nodes, dollars, bytes; of results that were analysed, "
        "how many members a variant's PIEs need"
    )
    command = commands.add_parser("plan", help=text, description=text)
    command.add_argument(
        "what",
        nargs="?",
        metavar="RECIPE_OR_RESULTS",
        help=f"a recipe, a YAML file, or results that were analysed, {RESULTS}; without one, the embedded recipe",
    )
    add_set_option(command, "population.num_members=30")
    command.add_argument(
        "--cluster",
        metavar="FILE",
        help="a cluster launcher's file, such as cluster.yaml: how long and how dear on its nodes",
    )
    command.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="NODE_TYPE=DOLLARS_PER_HOUR",
        help="of a node type of --cluster; comes before the file's own label dollars-per-hour; may be repeated",
    )
    command.add_argument(
        "--like",
        metavar="RESULTS",
        help="take what a member costs from these results, in place of a measurement on this machine",
    )
    command.add_argument(
        "--seconds",
        type=float,
        help=f"that the measurement may take, about (default {SECONDS:g})",
    )
    command.add_argument(
        "--target-jaccard",
        type=float,
        metavar="J",
        help="of results: how alike the PIEs of two repetitions should be: shared PIEs / all PIEs of either (default "
        f"{JACCARD:g})",
    )
    command.set_defaults(command=_plan)


def _plan(options: argparse.Namespace, console: Console) -> None:
    if options.what is None or _is_recipe(options.what):
        _plan_recipe(options, console)
    else:
        _plan_members(options, console)


def _is_recipe(what: str) -> bool:
    return what.endswith((".yaml", ".yml")) or os.path.isfile(what)


def _refuse(options: argparse.Namespace, names: tuple[str, ...], accepted: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) not in (None, [])]
    if given:
        raise InputError(f"{', '.join(given)}: found with {options.what or 'the embedded recipe'}; {accepted}")


# ------------------------------------------------------------------------------------------------------- results


def _plan_members(options: argparse.Namespace, console: Console) -> None:
    _refuse(options, ("set", "cluster", "price", "like", "seconds"), "accepted only with a recipe, a YAML file")
    from ..analysis import load_tables, plan_members
    from ..console import members_table
    from ..store import Storage

    target = JACCARD if options.target_jaccard is None else options.target_jaccard
    if not 0 < target < 1:
        raise InputError(f"--target-jaccard: found {target:g}; accepted is a number above 0, below 1")
    needed = plan_members(load_tables(Storage(options.what)), target)
    if needed.empty:
        raise InputError(f"{options.what}: found fewer than four members a variant; accepted are four or more")
    console.print(members_table(needed, target))


# ------------------------------------------------------------------------------------------------------- a recipe


def _plan_recipe(options: argparse.Namespace, console: Console) -> None:
    _refuse(options, ("target_jaccard",), "accepted only with results that were analysed")
    if options.price and options.cluster is None:
        raise InputError("--price: found without --cluster; accepted only with it")
    if options.like is not None and options.seconds is not None:
        raise InputError("--seconds: found with --like, which measures nothing; accepted is one of the two")
    seconds = SECONDS if options.seconds is None else options.seconds
    if not 0 < seconds < float("inf"):
        raise InputError(f"--seconds: found {seconds:g}; accepted is a number above 0")
    from ..cluster_file import parse_prices, read_cluster
    from ..console import print_costs
    from ..costing import estimate, placements
    from ..identity import make_plan
    from ..planned import plans_of
    from ..probing import probe, this_machine
    from ..recipe import load_recipe

    recipe = load_recipe(options.what, options.set)
    prices = parse_prices(options.price)
    cluster = None if options.cluster is None else read_cluster(options.cluster, prices)
    whole = make_plan(recipe)
    if options.like is not None:
        from ..recorded_costs import costs_like

        costs = costs_like(open_folder(options.like), recipe, whole)
    else:
        with console.status("Measuring some steps of a member"):
            costs = probe(recipe, whole, seconds)
    plans = plans_of(recipe, whole)
    asked = _asked(recipe.execution)
    num_processes = recipe.training.num_processes
    nodes = (this_machine(),) if cluster is None else cluster.workers
    fitting = [node for node in nodes if _is_for(node, asked, num_processes)] if cluster is not None else list(nodes)
    head = None if cluster is None else cluster.head
    print_costs(
        console,
        recipe,
        plans,
        costs,
        [estimate(plan, costs) for plan in plans],
        [
            [placements(plan, costs, node, asked, head, num_processes=num_processes) for plan in plans]
            for node in fitting
        ],
        [(node, asked) for node in nodes if node not in fitting],
        has_head=head is not None,
    )


def _is_for(node: NodeOffer, asked: Mapping[str, float], num_processes: int) -> bool:
    """Whether members come to such nodes: Ray's autoscaler starts none with GPUs for those that ask for none."""
    has_idle_gpus = node.resources.get("GPU", 0) > 0 and not asked["GPU"]
    return node.num_slots(asked) * node.limit >= num_processes and not has_idle_gpus


def _asked(execution: Execution) -> dict[str, float]:
    """What one process of a member asks of its node."""
    return {"CPU": float(execution.cpus_per_member), "GPU": execution.gpus_per_member, **execution.resources_per_member}
