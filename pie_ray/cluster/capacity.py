"""What a cluster can offer a member: its nodes, and those that its autoscaler may start.

Ray has no public way to learn an autoscaler's node types. What is private to Ray in that is used here alone, and
where it does not answer nothing is refused.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..config import Execution
from ..errors import InputError
from ..progress import ClusterUse

HEAD = "node:__internal_head__"
"""The resource by which Ray marks the head node."""

ANSWER_SECONDS = 60
"""How long the head node may take to tell its autoscaler's node types."""

PATIENCE_SECONDS = 60
"""How long a sweep may be without a running member before it says what it waits for."""

SECONDS_BETWEEN_COUNTS = 10
"""How often a sweep asks how much of its cluster is taken."""

_UNSEEN = re.compile(r"node:|memory$|object_store_memory$|bundle|.*_group_")


@dataclass(frozen=True)
class NodeType:
    """A kind of node: what one such node has. `limit` is how many may be started, None where the node is there."""

    name: str
    resources: Mapping[str, float]
    limit: float | None = None

    def room(self, asked: Iterable[Request]) -> float:
        """How many that ask for this fit all nodes of the kind at once."""
        most = min(int(self.resources.get(request.kind, 0) // request.amount) for request in asked)
        return 0 if most == 0 else most * (1 if self.limit is None else self.limit)

    def offers(self, asked: Iterable[Request]) -> bool:
        return all(self.resources.get(request.kind, 0) >= request.amount for request in asked)

    def __str__(self) -> str:
        custom = sorted(kind for kind in self.resources if kind not in ("CPU", "GPU") and not _UNSEEN.match(kind))
        gpu = ["GPU"] if "GPU" in self.resources else []
        shown = {kind: self.resources.get(kind, 0) for kind in ("CPU", *gpu, *custom)}
        limit = ""
        if self.limit is not None:
            limit = "; any number of them" if self.limit == math.inf else f"; up to {self.limit} of them"
        return f"{self.name} ({', '.join(f'{n:g} {kind}' for kind, n in shown.items())}{limit})"


@dataclass(frozen=True)
class Request:
    """An amount of one resource that a member asks for, and the recipe's field that says so."""

    field: str
    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} {self.kind}"


def requests(execution: Execution) -> list[Request]:
    """All that one member asks of the node it runs on."""
    asked = [
        Request("execution.cpus_per_member", "CPU", execution.cpus_per_member),
        Request("execution.gpus_per_member", "GPU", execution.gpus_per_member),
    ]
    for kind, amount in execution.resources_per_member.items():
        asked.append(Request(f"execution.resources_per_member.{kind}", kind, amount))
    return [request for request in asked if request.amount > 0]


def num_slots(execution: Execution) -> int:
    """Members that the nodes there are now have room for at once, were nothing else on them."""
    asked = requests(execution)
    return int(sum(_node_type(node).room(asked) for node in ray.nodes() if node["Alive"]))


def check_fits(execution: Execution, *, is_private: bool, num_processes: int = 1) -> None:
    """Refuse a member that would wait for ever: one that fits no single node, present or to be started.

    Where `num_processes` train a member together each must fit a node, and all of them all nodes.

    Raises InputError saying what a member asks for, and what the nodes have.
    """
    asked = requests(execution)
    present = [_node_type(node) for node in ray.nodes() if node["Alive"]]
    room = sum(node.room(asked) for node in present)
    if room >= num_processes:
        return
    startable = [] if is_private else _startable()
    if startable is None:
        return
    room += sum(kind.room(asked) for kind in startable)
    if room >= num_processes:
        return
    if room > 0:
        raise InputError(_too_few_places(asked, num_processes, int(room)))
    if is_private:
        raise InputError(_too_much_for_this_machine(asked, present[0]))
    raise InputError(_too_much_for_each(asked, present, startable))


def _too_few_places(asked: list[Request], num_processes: int, room: int) -> str:
    return (
        f"training.num_processes: a member asks for {num_processes} times {_listed(asked)}, the nodes here and those "
        f"that may be started have room for {room} of them"
    )


def _too_much_for_this_machine(asked: list[Request], machine: NodeType) -> str:
    lacking = [request for request in asked if not machine.offers([request])]
    has = {request.kind: machine.resources.get(request.kind, 0) for request in lacking}
    smaller = " ".join(
        f"--set {request.field}={has[request.kind]:g}" for request in lacking if request.kind in ("CPU", "GPU")
    )
    return (
        f"{_fields(lacking)}: a member asks for {_listed(lacking)}, this machine has "
        f"{' and '.join(f'{amount:g} {kind}' for kind, amount in has.items())}; "
        f"{smaller + ', or ' if smaller else ''}run on a cluster with --address"
    )


def _too_much_for_each(asked: list[Request], present: list[NodeType], startable: list[NodeType]) -> str:
    names = {kind.name for kind in startable}
    others = sorted((HEAD not in node.resources, str(node)) for node in present if node.name not in names)
    types = [*dict.fromkeys(text for _, text in others), *map(str, startable)]
    lacking = [request for request in asked if not any(node.offers([request]) for node in [*present, *startable])]
    return (
        f"{_fields(lacking or asked)}: a member asks for {_listed(lacking or asked)}; "
        f"no {'' if lacking else 'single '}node offers that; node types here: {', '.join(types)}"
    )


def _fields(asked: list[Request]) -> str:
    return ", ".join(request.field for request in asked)


def _listed(asked: list[Request]) -> str:
    return " and ".join(map(str, asked))


def _node_type(node: dict[str, Any]) -> NodeType:
    usual = "head" if HEAD in node["Resources"] else "node"
    return NodeType(node.get("Labels", {}).get("ray.io/node-group") or usual, node["Resources"])


class WaitNotice(Callback):
    """Tells, once each time, what a sweep waits for when no member has run for a while."""

    def __init__(
        self, execution: Execution, tell: Callable[[str], None], patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.asked, self.tell, self.patience_seconds = requests(execution), tell, patience_seconds
        self.last_running: float | None = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks for a resume that never happens; a terminal's locks cannot be saved.
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        # Those that run came last; what ended may be thousands.
        if any(trial.status == "RUNNING" for trial in reversed(trials)):
            self.last_running = time.monotonic()
        elif self.last_running is not None and time.monotonic() - self.last_running >= self.patience_seconds:
            self.last_running = None
            self.tell(
                f"no member runs for {self.patience_seconds:g} s now, each needs a node with {_listed(self.asked)} "
                "free; `ray status` on the cluster says what its autoscaler does"
            )


class UseNotice(Callback):
    """Tells now and then how much of the cluster is taken."""

    def __init__(self, tell: Callable[[ClusterUse], None]) -> None:
        self.tell, self.last = tell, -math.inf

    def __getstate__(self) -> dict[str, Any]:
        # As above.
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self.last >= SECONDS_BETWEEN_COUNTS:
            self.tell(cluster_use())
            self.last = time.monotonic()


def cluster_use() -> ClusterUse:
    """What the cluster has now, and what tasks, actors and members waiting for their start have taken of it."""
    has, free = ray.cluster_resources(), ray.available_resources()
    return ClusterUse(
        num_nodes=sum(node["Alive"] for node in ray.nodes()),
        cpus=has.get("CPU", 0.0),
        cpus_used=has.get("CPU", 0.0) - free.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        gpus_used=has.get("GPU", 0.0) - free.get("GPU", 0.0),
    )


# --------------------------------------------------------------------------------------------- the autoscaler


def _startable() -> list[NodeType] | None:
    """Node types that the autoscaler may start: none without one; None where it does not tell."""
    try:
        from ray._private.state import state

        reported = state.get_cluster_config()
        if reported is not None and reported.node_group_configs:
            return _reported_types(reported)
        head = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"])
        on_head = NodeAffinitySchedulingStrategy(head, soft=False)
        ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on_head)(_types_on_head)
        return ray.get(ask.remote(ray.get_runtime_context().gcs_address), timeout=ANSWER_SECONDS)
    except Exception:  # another version of Ray keeps it elsewhere: then nothing is known
        return None


def _reported_types(reported: Any) -> list[NodeType]:
    """Types from Ray's own message, which some hosts of Ray fill; a count of -1 is no limit."""
    groups = [group for group in reported.node_group_configs if group.max_count]
    return [
        NodeType(group.name, dict(group.resources), group.max_count if group.max_count > 0 else math.inf)
        for group in groups
    ]


def _types_on_head(gcs_address: str) -> list[NodeType] | None:
    """Runs on the head node, where the autoscaler's process names its configuration file.

    Only the node types leave the head: the rest of the file may hold secrets.
    """
    arguments = _autoscaler_arguments(gcs_address)
    if arguments is None:
        return None if _other_autoscaler() else []
    option = "--autoscaling-config="
    paths = [argument.removeprefix(option) for argument in arguments if argument.startswith(option)]
    # Without a file it only watches: the nodes were started by hand.
    return configured_types(yaml.safe_load(Path(paths[0]).expanduser().read_text())) if paths else []


def _autoscaler_arguments(gcs_address: str) -> list[str] | None:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_text(errors="replace").split("\0")
        except OSError:
            continue
        if f"--gcs-address={gcs_address}" in arguments and any(part.endswith("/monitor.py") for part in arguments):
            return arguments
    return None


def _other_autoscaler() -> bool:
    """Whether an autoscaler that is no process of the head node (KubeRay's is in a container beside it) reports."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    return bool(_internal_kv_get("__autoscaling_status")) or is_autoscaler_v2()


def configured_types(config: Mapping[str, Any]) -> list[NodeType] | None:
    """Worker types of a cluster launcher's configuration that may be started; None where one's size is not given."""
    limit = config.get("max_workers", math.inf)
    types = []
    for name, kind in config.get("available_node_types", {}).items():
        usual = 0 if name == config.get("head_node_type") else limit
        count = min(kind.get("max_workers", usual), limit)
        if count > 0 and not kind.get("resources"):
            return None
        if count > 0:
            types.append(NodeType(name, kind["resources"], count))
    return types
