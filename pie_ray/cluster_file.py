"""The nodes of a Ray cluster launcher's file, and what an hour of each costs where somebody says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from .costing import NodeOffer
from .errors import InputError

PRICE_LABEL = "dollars-per-hour"
"""A node type's label for its price: Ray's launcher takes labels of any name, and no fields of others."""

MAX_WORKERS = 2
"""Of a file that does not say: Ray's own default on the clouds."""


@dataclass(frozen=True)
class ClusterFile:
    """The head, and the kinds of workers that may be started."""

    head: NodeOffer
    workers: tuple[NodeOffer, ...]


def read_cluster(path: str, prices: Mapping[str, float]) -> ClusterFile:
    """The nodes of a file such as `cluster.yaml`; `prices`, dollars an hour by node type, come before the file's.

    Raises InputError for a file that cannot be read, is no cluster's or lacks a node type's resources, and for a price
    of a node type that it does not have.
    """
    config = _mapping(path)
    types = config.get("available_node_types")
    head_name = config.get("head_node_type")
    if not isinstance(types, dict) or not isinstance(head_name, str) or head_name not in types:
        raise InputError(
            f"{path}: found no available_node_types with a head_node_type; accepted is a file for `ray up`"
        )
    unknown = sorted(prices.keys() - types.keys())
    if unknown:
        raise InputError(f"--price: found node type {unknown[0]}; accepted are those of {path}: {', '.join(types)}")
    most = _count(f"{path}: max_workers", config.get("max_workers", MAX_WORKERS))
    offers = {name: _offer(path, name, kind, prices, most) for name, kind in types.items()}
    # One node of the head's type is the head; more of it work only where the file says how many.
    limit = _count(f"{path}: available_node_types.{head_name}.max_workers", types[head_name].get("max_workers", 0))
    head = replace(offers[head_name], limit=min(limit, most))
    workers = tuple(offer for offer in (*(o for n, o in offers.items() if n != head_name), head) if offer.limit > 0)
    return ClusterFile(head, workers)


def parse_prices(texts: Sequence[str]) -> dict[str, float]:
    """`NODE_TYPE=DOLLARS_PER_HOUR`, each. Raises InputError for anything else."""
    return dict(_price(text) for text in texts)


def _price(text: str) -> tuple[str, float]:
    name, _, amount = text.rpartition("=")
    price = _number(amount)
    if not name or price is None:
        raise InputError(f"--price: found {text!r}; accepted is NODE_TYPE=DOLLARS_PER_HOUR, such as cpu=0.714")
    return name, price


def _mapping(path: str) -> dict[str, Any]:
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the cluster's file {path}: {reason}; expected a file for `ray up`") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: found {type(config).__name__}; accepted is a file for `ray up`, a mapping")
    return config


def _offer(path: str, name: str, kind: Any, prices: Mapping[str, float], most: int) -> NodeOffer:
    where = f"{path}: available_node_types.{name}"
    if not isinstance(kind, dict) or not isinstance(kind.get("resources"), dict):
        raise InputError(f"{where}.resources: found none; accepted is what a node has, such as {{CPU: 16}}")
    labels = kind.get("labels") or {}
    told = labels.get(PRICE_LABEL) if isinstance(labels, dict) else None
    price = None if told is None else _amount(f"{where}.labels.{PRICE_LABEL}", told, "a number in quotes")
    return NodeOffer(
        name=name,
        resources={
            resource: _amount(f"{where}.resources.{resource}", amount, "a number")
            for resource, amount in kind["resources"].items()
        },
        limit=min(_count(f"{where}.max_workers", kind.get("max_workers", most)), most),
        fewest=_count(f"{where}.min_workers", kind.get("min_workers", 0)),
        dollars_per_hour=prices.get(name, price),
    )


def _amount(where: str, found: Any, accepted: str) -> float:
    amount = _number(found)
    if amount is None:
        raise InputError(f"{where}: found {found!r}; accepted is {accepted}, 0 or more")
    return amount


def _number(found: Any) -> float | None:
    """A finite number of 0 or more; None for anything else."""
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def _count(where: str, found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise InputError(f"{where}: found {found!r}; accepted is a whole number, 0 or more")
    return found
