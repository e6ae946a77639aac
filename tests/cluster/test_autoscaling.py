"""Ray's autoscaler sees what a sweep asks for, starts nodes for it, and stops them when it is done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pie_ray.cluster.capacity import configured_types
from tests.cluster.asking import ask
from tests.cluster.nodes import Cluster, cluster

pytestmark = pytest.mark.long

FAKE_HEAD = "f" * 51 + "00000"
"""The head's node id that Ray's fake provider takes for granted."""

MAX_WORKERS = 2

UNUSED = {name: {} for name in ("auth", "docker", "file_mounts")} | {
    f"{name}_commands": []
    for name in ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
}
UNUSED |= {"cluster_synced_files": [], "file_mounts_sync_continuously": False}
"""Ray's autoscaler wants these to be there."""


def configuration(gate: Path) -> dict[str, Any]:
    """A cluster launcher's file: two types of workers, and one that may never be started."""
    return {
        "cluster_name": "test",
        "max_workers": MAX_WORKERS,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": "tests.cluster.fake_provider.GatedProvider",
            "gate": str(gate),
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu_worker": {"resources": {"CPU": 2, "worker": 1}, "node_config": {}, "max_workers": 8},
            "gpu_worker": {"resources": {"CPU": 8, "GPU": 1}, "node_config": {}, "max_workers": 1},
            "switched_off": {"resources": {"CPU": 64}, "node_config": {}, "max_workers": 0},
        },
    }


@contextmanager
def autoscaling_cluster(folder: Path, gate: Path, *, version: int = 1) -> Iterator[Cluster]:
    """A head without processors, and an autoscaler that starts nodes once the file `gate` is there."""
    path = folder / "autoscaling.json"
    path.write_text(json.dumps(configuration(gate) | UNUSED))
    identity = {
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD,
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD,
        "RAY_NODE_TYPE_NAME": "ray.head.default",
    }
    settings = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": str(version - 1),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (identity | settings).items():
            patch.setenv(name, value)
        with cluster(folder, f"--autoscaling-config={path}") as made:
            for name in identity:
                del made.environment[name]
            yield made


def get(made: Cluster, path: str) -> Any:
    with urllib.request.urlopen(made.job_address + path, timeout=30) as answer:
        return json.load(answer)["data"]


def num_workers(made: Cluster) -> int:
    nodes = get(made, "/api/v0/nodes?limit=100")["result"]["result"]
    return sum(node["state"] == "ALIVE" and not node["is_head_node"] for node in nodes)


def demand(made: Cluster) -> list[dict[str, float]]:
    """The bundles that the autoscaler sees waiting, one a member."""
    status = get(made, "/api/cluster_status")["clusterStatus"] or {}
    bundles = []
    for group, count in status.get("loadMetricsReport", {}).get("pgDemand", []):
        for resources, times in group["bundles"]:
            bundles += [resources] * times * count
    return bundles


def wait_until(condition: Callable[[], bool], told: Callable[[], str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


@pytest.fixture
def gate(tmp_path) -> Path:
    return tmp_path / "gate"


def test_workers_come_for_a_sweep_and_go_after_it(tmp_path, tiny_text, gate):
    recipe, log, storage = tmp_path / "recipe.yaml", tmp_path / "sweep.log", tmp_path / "results"
    recipe.write_text(tiny_text)
    asked = {"CPU": 1.0, "worker": 1.0}
    with autoscaling_cluster(tmp_path, gate) as made, log.open("w") as out:
        command = [sys.executable, "-m", "pie_ray", "sweep", str(recipe), "--address", made.address]
        command += ["--storage", str(storage), "--set", "execution.resources_per_member={worker: 1}"]
        # Long enough that the second node is there before the first has done it all.
        command += ["--set", "training.epochs=100"]
        sweep = made.popen(command, stdout=out, stderr=subprocess.STDOUT)

        def waits_for(condition: Callable[[], bool]) -> None:
            wait_until(lambda: condition() or sweep.poll() is not None, log.read_text)

        # All four members that train are seen to wait before there is a single worker.
        waits_for(lambda: len(demand(made)) >= 4)
        assert demand(made) == [asked] * 4, log.read_text()
        assert num_workers(made) == 0
        gate.touch()
        waits_for(lambda: num_workers(made) == MAX_WORKERS)
        assert sweep.poll() is None, log.read_text()
        assert sweep.wait(300) == 0, log.read_text()
        assert len(list(storage.glob("tiny/members/*/*.json"))) == 6
        wait_until(lambda: num_workers(made) == 0, lambda: f"{num_workers(made)} workers are still there")


@pytest.mark.parametrize("version", [1, 2], ids=["autoscaler-v1", "autoscaler-v2"])
def test_a_member_must_fit_a_node_that_the_autoscaler_may_start(tmp_path, gate, version):
    with autoscaling_cluster(tmp_path, gate, version=version) as made:
        fits, gpus, processors, together = ask(
            made,
            {"cpus_per_member": 8, "gpus_per_member": 0.5},
            {"gpus_per_member": 4.0},
            {"cpus_per_member": 64},
            {"gpus_per_member": 1.0, "resources_per_member": {"worker": 1.0}},
        )
    types = (
        "node types here: ray.head.default (0 CPU), cpu_worker (2 CPU, 1 worker; up to 2 of them), "
        "gpu_worker (8 CPU, 1 GPU; up to 1 of them)"
    )
    assert fits == "fits"
    assert gpus == f"execution.gpus_per_member: a member asks for 4 GPU; no node offers that; {types}"
    assert processors == f"execution.cpus_per_member: a member asks for 64 CPU; no node offers that; {types}"
    assert together == (
        "execution.cpus_per_member, execution.gpus_per_member, execution.resources_per_member.worker: "
        f"a member asks for 1 CPU and 1 GPU and 1 worker; no single node offers that; {types}"
    )


def test_a_node_type_of_unknown_size_leaves_the_answer_open(gate):
    config = configuration(gate)
    del config["available_node_types"]["gpu_worker"]["resources"]
    assert configured_types(config) is None
    config["available_node_types"]["gpu_worker"]["max_workers"] = 0
    assert [str(kind) for kind in configured_types(config) or []] == ["cpu_worker (2 CPU, 1 worker; up to 2 of them)"]


def test_a_cluster_that_may_start_no_workers_offers_none(gate):
    assert configured_types(configuration(gate) | {"max_workers": 0}) == []
