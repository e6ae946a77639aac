"""A sweep on several machines: a head without processors to train on, and two workers, on one object storage."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any
from unittest import mock

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pie_ray.analysis import open_results
from pie_ray.store import Storage, paths
from tests.cluster.nodes import cluster
from tests.s3 import S3Server, s3_server

pytestmark = pytest.mark.long

RECIPE = """
name: tiny
data: {{kind: image_folder, path: '{images}'}}
model: {{kind: small_resnet, width: 4}}
training: {{epochs: 20, batch_size: 20, precision: float32}}
population: {{num_members: 4}}
variants:
  - pruning: {{kind: magnitude, sparsities: [0.5]}}
  - quantization: [static_int8]
execution: {{tracking: {{kind: none}}, num_writers: 2, measure_latency: false}}
"""
NUM_MEMBERS = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A tree of pictures, which every machine decodes and keeps for itself."""
    root = tmp_path_factory.mktemp("images")
    digits = load_digits()
    for row, (picture, label) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        folder = root / ("train" if row < 200 else "test") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15).astype("uint8")).save(folder / f"{row}.png")
    return root


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory):
    # The sweep's own process and those of all nodes inherit the credentials.
    with (
        mock.patch.dict(os.environ, S3Server.environment),
        cluster(tmp_path_factory.mktemp("home"), namespaces=True) as made,
    ):
        made.add_node(num_cpus=1)
        made.add_node(num_cpus=1)
        yield made


@pytest.fixture(scope="module")
def swept(three_nodes, images, tmp_path_factory):
    """The storage after `pie-ray run` on the head."""
    folder = tmp_path_factory.mktemp("s3")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(images=images))
    with s3_server(folder, three_nodes.network.ip) as server:
        command = ["python", "-m", "pie_ray", "run", str(recipe), "--storage", server.uri(), "--address", "auto"]
        done = three_nodes.run_on_head(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Storage(server.uri()).child("tiny")


@pytest.fixture(scope="module")
def places(three_nodes, swept):
    """Names of the nodes by what ran there: a counter for each kind of actor, and one for finished members."""
    by_id = {node.node_id: node.name for node in three_nodes.nodes}
    found: dict[str, Counter[str]] = {"members": Counter()}
    for actor in three_nodes.listed("actors"):
        found.setdefault(actor["class_name"], Counter())[by_id[actor["node_id"]]] += 1
    deadline = time.monotonic() + 60
    # Ray gathers what it tells of tasks in the background.
    while found["members"].total() < NUM_MEMBERS and time.monotonic() < deadline:
        time.sleep(0.5)
        found["members"] = Counter(by_id[task["node_id"]] for task in three_nodes.listed("tasks") if _is_done(task))
    return found


def _is_done(task: dict[str, Any]) -> bool:
    return bool(task["name"].endswith("Trainable.train") and task["state"] == "FINISHED")


def test_both_workers_bring_members_to_completion_and_the_head_none(places):
    assert places["members"].keys() == {"node1", "node2"}
    assert places["members"].total() == NUM_MEMBERS


def test_predictions_of_all_nodes_arrive_at_the_shared_storage(swept):
    results = open_results(swept)
    assert not results.missing
    for spec in results.plan.members:
        assert swept.exists(paths.predictions("clean", spec.variant_id, spec.seed))
    assert {f"analysis/{name}.parquet" for name in ("summary", "pies", "classes")} <= set(swept.list_files("analysis"))


def test_writers_live_on_the_head(places):
    assert places["Writer"] == {"node0": 2}


def test_each_node_without_decoded_images_decodes_them_once(three_nodes, swept):
    for node in three_nodes.nodes:
        assert len(list(node.home.glob(".cache/pie_ray/image_folder-*"))) == 1, node.name
