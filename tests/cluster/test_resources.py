"""What a member asks of its node: GPUs in parts or several, processors, custom resources; and what fits nowhere.

The nodes only declare GPUs: Ray hands them out as it would real ones, the arithmetic runs on the processor.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pie_ray.cluster.capacity import NodeType, WaitNotice, check_fits, requests
from pie_ray.config import Execution
from pie_ray.errors import InputError, RecipeError
from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe
from tests.cluster.asking import ask
from tests.cluster.nodes import Cluster, cluster
from tests.cluster.witnesses import Account, accounts, most_at_once, witness
from tests.conftest import TINY

pytestmark = pytest.mark.long

RECIPE = """
name: tiny
data: {kind: digits, num_train: 100, num_test: 50}
model: {kind: custom, factory: "%(factory)s", arguments: {folder: "%(folder)s", num_together: %(num_together)d}}
training: {epochs: 2, batch_size: 50, precision: float32}
population: {num_members: %(num_together)d}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5]}
execution: {tracking: {kind: none}, measure_latency: false}
"""

# What an autoscaler beside the head (KubeRay's) leaves behind, and what some hosts of Ray report.
STATUS = """
import ray
from ray.experimental.internal_kv import _internal_kv_put
ray.init(logging_level="ERROR", log_to_driver=False)
_internal_kv_put("__autoscaling_status", "{}")
"""
REPORT = """
import ray, ray._raylet
from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig
ray.init(logging_level="ERROR", log_to_driver=False)
groups = [
    NodeGroupConfig(name="large", max_count=-1, resources={"CPU": 8}),
    NodeGroupConfig(name="switched_off", max_count=0, resources={"CPU": 64}),
]
ray._private.worker.global_worker.gcs_client.internal_kv_put(
    ray._raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(),
    ClusterConfig(node_group_configs=groups).SerializeToString(),
    True,
    ray._raylet.GCS_AUTOSCALER_STATE_NAMESPACE.encode(),
)
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Iterator[Cluster]:
    """A head without processors; `gpus` adds nodes to it."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def on_head_alone(head, tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """How a sweep ends while the head is the only node."""
    recipe = tmp_path_factory.mktemp("alone") / "recipe.yaml"
    recipe.write_text(TINY)
    return sweep(head, recipe)


@pytest.fixture(scope="module")
def gpus(head, on_head_alone) -> Cluster:
    """The head, a node with one GPU and two nodes with two."""
    head.add_node("--num-gpus=1", '--resources={"single": 4}', num_cpus=4)
    for _ in range(2):
        head.add_node("--num-gpus=2", '--resources={"double": 4}', num_cpus=4)
    return head


def sweep(made: Cluster, recipe: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    options = [part for override in overrides for part in ("--set", override)]
    storage = recipe.parent / "results"
    command = [sys.executable, "-m", "pie_ray", "sweep", str(recipe), "--address", made.address]
    return made.run_on_head(*command, "--storage", str(storage), *options)


@pytest.mark.parametrize(
    ("gpus_per_member", "cpus_per_member", "nodes", "num_together", "devices"),
    [
        (0.25, 1, "single", 4, ["0"] * 4),
        (0.5, 1, "single", 2, ["0"] * 2),
        (1.0, 1, "double", 4, ["0", "0", "1", "1"]),
        (2.0, 2, "double", 2, ["0,1", "0,1"]),
    ],
)
def test_members_share_gpus_as_the_recipe_says(
    gpus, tmp_path, gpus_per_member, cpus_per_member, nodes, num_together, devices
):
    folder, recipe = tmp_path / "told", tmp_path / "recipe.yaml"
    folder.mkdir()
    factory = f"{witness.__module__}:{witness.__name__}"
    recipe.write_text(RECIPE % {"factory": factory, "folder": folder, "num_together": num_together})
    done = sweep(
        gpus,
        recipe,
        f"execution.gpus_per_member={gpus_per_member}",
        f"execution.cpus_per_member={cpus_per_member}",
        f"execution.resources_per_member={{{nodes}: 0.5}}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = accounts(folder)
    assert len(told) == 2 * num_together
    # They waited for each other, so this many were at it at once.
    assert most_at_once(told) == num_together
    assert {account.num_threads for account in told} == {cpus_per_member}
    by_gpu = defaultdict(list)
    for account in told:
        for device in account.devices.split(","):
            by_gpu[account.node, device].append(account)
    assert max(map(most_at_once, by_gpu.values())) == max(1, 1 / gpus_per_member)
    first = sorted(told, key=lambda account: account.begin)[:num_together]
    assert sorted(account.devices for account in first) == devices
    assert len({account.node for account in told}) == {"single": 1, "double": 2}[nodes]


def test_a_member_must_fit_one_node_and_not_the_sum_of_them(gpus):
    fits, more_gpus, more_cpus, apart, unknown = ask(
        gpus,
        {"cpus_per_member": 4, "gpus_per_member": 2.0, "resources_per_member": {"double": 4.0}},
        {"gpus_per_member": 4.0},
        {"cpus_per_member": 6},
        {"gpus_per_member": 2.0, "resources_per_member": {"single": 1.0}},
        {"resources_per_member": {"doubel": 1.0}},
    )
    types = "node types here: head (0 CPU), node (4 CPU, 1 GPU, 4 single), node (4 CPU, 2 GPU, 4 double)"
    assert fits == "fits"
    assert more_gpus == f"execution.gpus_per_member: a member asks for 4 GPU; no node offers that; {types}"
    assert more_cpus == f"execution.cpus_per_member: a member asks for 6 CPU; no node offers that; {types}"
    assert apart == (
        "execution.cpus_per_member, execution.gpus_per_member, execution.resources_per_member.single: "
        f"a member asks for 1 CPU and 2 GPU and 1 single; no single node offers that; {types}"
    )
    assert unknown == (
        f"execution.resources_per_member.doubel: a member asks for 1 doubel; no node offers that; {types}"
    )


def test_a_sweep_on_a_head_without_processors_ends_at_once(on_head_alone):
    output = on_head_alone.stdout + on_head_alone.stderr
    assert on_head_alone.returncode == 2, output
    said = "execution.cpus_per_member: a member asks for 1 CPU; no node offers that; node types here: head (0 CPU)"
    assert said in output
    assert "Traceback" not in output


def test_only_an_autoscaler_that_tells_its_node_types_can_refuse(tmp_path):
    with cluster(tmp_path, "--no-monitor") as made:
        (none,) = ask(made, {"cpus_per_member": 64})
        assert none.endswith("node types here: head (0 CPU)")
        assert made.run_on_head(sys.executable, "-c", STATUS).returncode == 0
        assert ask(made, {"cpus_per_member": 64}) == ["fits"]
        assert made.run_on_head(sys.executable, "-c", REPORT).returncode == 0
        fits, refused = ask(made, {"cpus_per_member": 8}, {"cpus_per_member": 64})
        assert fits == "fits"
        assert refused.endswith("node types here: head (0 CPU), large (8 CPU; any number of them)")


def test_a_private_cluster_says_what_this_machine_has(start_sweep, tiny_text):
    sizes = {"gpus_per_member": "1000", "resources_per_member": "{worker: 1}"}
    options = [part for name, size in sizes.items() for part in ("--set", f"execution.{name}={size}")]
    started = start_sweep(tiny_text, None, *options)
    assert started.finish() == 2, started.output
    assert "a member asks for 1000 GPU and 1 worker, this machine has 0 GPU and 0 worker; " in started.output
    assert "--set execution.gpus_per_member=0, or run on a cluster with --address" in started.output


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ("{GPU: 1}", "execution: resources_per_member.GPU: not a custom resource; set gpus_per_member"),
        ("{cpu: 1}", "execution: resources_per_member.cpu: not a custom resource; set cpus_per_member"),
        ("{memory: 1}", "resources_per_member.memory: not a custom resource; members are not placed by memory"),
        ("{worker: 0}", "execution.resources_per_member.worker: found 0; accepted: greater than"),
    ],
)
def test_custom_resources_are_no_processors_and_gpus(tiny_text, resources, said):
    with pytest.raises(RecipeError) as raised:
        parse_recipe(tiny_text, [f"execution.resources_per_member={resources}"])
    assert said in str(raised.value)


def test_custom_resources_do_not_change_a_member(tiny_text):
    elsewhere = parse_recipe(tiny_text, ["execution.resources_per_member={'accelerator_type:A100': 0.001}"])
    assert elsewhere.execution.resources_per_member == {"accelerator_type:A100": 0.001}
    assert make_plan(elsewhere) == make_plan(parse_recipe(tiny_text))


def test_a_sweep_says_once_what_it_waits_for():
    said: list[str] = []
    notice = WaitNotice(Execution(gpus_per_member=0.5), said.append, patience_seconds=0)
    pending, running = [SimpleNamespace(status="PENDING")], [SimpleNamespace(status="RUNNING")]
    notice.on_step_end(1, running)
    assert said == []
    for trials in (pending, pending, running, pending):
        notice.on_step_end(2, trials)
    assert len(said) == 2
    assert "each needs a node with 1 CPU and 0.5 GPU free" in said[0]


def test_processes_of_one_member_may_lie_on_several_nodes(monkeypatch):
    asked = requests(Execution(cpus_per_member=2, gpus_per_member=1))
    resources = {"CPU": 8, "GPU": 2}
    assert [NodeType("a", resources, limit).room(asked) for limit in (None, 3, float("inf"))] == [2, 6, float("inf")]
    assert NodeType("b", {"CPU": 64}, float("inf")).room(asked) == 0

    node = {"Alive": True, "Resources": resources}
    monkeypatch.setattr("pie_ray.cluster.capacity.ray.nodes", lambda: [node, node])
    monkeypatch.setattr("pie_ray.cluster.capacity._startable", list)
    execution = Execution(cpus_per_member=2, gpus_per_member=1)
    check_fits(execution, is_private=False, num_processes=4)
    with pytest.raises(InputError, match=r"asks for 5 times 2 CPU and 1 GPU, .* have room for 4 of them"):
        check_fits(execution, is_private=False, num_processes=5)


def test_accounts_that_overlap_are_counted():
    told = [Account("a", 1, "0", 1, begin, end) for begin, end in ((0, 3), (1, 2), (2.5, 5), (4, 6))]
    assert most_at_once(told) == 2
