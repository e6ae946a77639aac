"""The cluster files, as Ray's launcher, EC2's client and KubeRay's schema see them; nothing is started, no network."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pie_ray.recipe import parse_recipe

ROOT = Path(__file__).parent.parent
AWS, GCP = "cluster.yaml", "docs/cluster-gcp.yaml"
LAUNCHER_FILES = (AWS, GCP)
WORKERS = ("cpu", "gpu")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def check(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` checks first; returns the configuration with Ray's defaults."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def ray_version() -> str:
    return re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


# ------------------------------------------------------------------------------------------------- Ray's launcher


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_the_launcher_accepts_it(name):
    assert check(read(name))["max_workers"] > 0


@pytest.mark.parametrize("name", LAUNCHER_FILES)
@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(idle_timeout_minute=5),
        lambda config: config["available_node_types"]["cpu"].update(min_worker=1),
        lambda config: config["available_node_types"]["cpu"]["resources"].update(CPU=0.5),
        lambda config: config["docker"].update(images="rayproject/ray"),
        lambda config: config.update(head_node_type="haed"),
        lambda config: config["available_node_types"]["cpu"].update(min_workers=99),
    ],
    ids=["field", "field of a node type", "half a processor", "field of docker", "head", "more than the most"],
)
def test_the_launcher_refuses_a_mistake(name, change):
    config = read(name)
    change(config)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check(config)


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_head_trains_nothing_and_workers_come_when_needed(name):
    config = check(read(name))
    types = config["available_node_types"]
    assert set(types) == {config["head_node_type"], *WORKERS}
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    for worker in WORKERS:
        assert types[worker]["min_workers"] == 0 < types[worker]["max_workers"]
        assert types[worker]["resources"]["CPU"] > 0
    assert types["gpu"]["resources"]["GPU"] == 1
    assert "GPU" not in types["cpu"]["resources"]
    assert config["idle_timeout_minutes"] > 0


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_every_node_starts_with_the_token_and_the_dashboard_is_private(name):
    config = check(read(name))
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["head_setup_commands"]
    assert "chmod 600 ~/.ray/auth_token" in config["worker_setup_commands"]
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    for command in (head, worker):
        assert command.startswith("export RAY_AUTH_MODE=token;")
    assert "ray start --head" in head and "--dashboard-host=127.0.0.1" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "ray start --address=$RAY_HEAD_IP:6379" in worker
    assert "0.0.0.0" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_images_hold_the_ray_that_is_tested(name):
    config = read(name)
    images = [config["docker"]["image"], config["available_node_types"]["gpu"]["docker"]["worker_image"]]
    assert images == [f"rayproject/ray:{ray_version()}-py311-{kind}" for kind in ("cpu", "gpu")]


def test_machine_images_are_named():
    """Where none is, or `latest_dlami`, Ray takes an Ubuntu 18.04."""
    for node_type in read(AWS)["available_node_types"].values():
        assert node_type["node_config"]["ImageId"].startswith(("ami-", "resolve:ssm:"))
    for node_type in read(GCP)["available_node_types"].values():
        assert node_type["node_config"]["disks"][0]["initializeParams"]["sourceImage"]


def test_workers_are_spot_instances():
    for worker in WORKERS:
        node_config = read(AWS)["available_node_types"][worker]["node_config"]
        assert node_config["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert read(GCP)["available_node_types"][worker]["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
    assert "InstanceMarketOptions" not in read(AWS)["available_node_types"]["head"]["node_config"]
    assert "scheduling" not in read(GCP)["available_node_types"]["head"]["node_config"]


def test_both_clouds_do_the_same():
    aws, gcp = read(AWS), read(GCP)
    for field in ("file_mounts", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        assert aws[field] == gcp[field]


# ------------------------------------------------------------------------------------------------------------ EC2


LAUNCH = """
import sys, unittest.mock, boto3, moto, yaml
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config

config = prepare_config(yaml.safe_load(sys.stdin))
with moto.mock_aws(), unittest.mock.patch.object(aws.time, "sleep"):
    client = boto3.client("iam")
    for profile in ("pie-ray-head", "pie-ray-worker"):
        client.create_instance_profile(InstanceProfileName=profile)
    config = aws.bootstrap_aws(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    launched = {}
    for name, node_type in config["available_node_types"].items():
        tags = {"ray-node-kind": "worker", "ray-launch-config": "x", "ray-user-node-type": name}
        (instance,) = provider.create_node(node_type["node_config"], tags, 1).values()
        launched[name] = [
            instance.instance_type, instance.instance_lifecycle, instance.iam_instance_profile["Arn"].split("/")[-1],
            [group["GroupName"] for group in instance.security_groups],
        ]
    groups = boto3.client("ec2", region_name=config["provider"]["region"]).describe_security_groups()
    rules = [group["IpPermissions"] for group in groups["SecurityGroups"] if group["GroupName"] == "pie-ray"][0]
    outside = [rule["FromPort"] for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]]
print("LAUNCHED", __import__("json").dumps({"launched": launched, "outside": outside}))
"""


@pytest.fixture
def launch(tmp_path):
    """Let Ray's launcher configure the account and start a node of each type, in moto's EC2; returns its process.

    In a process of its own: it writes a key pair to the HOME, and Ray keeps clients and subnets for its lifetime.
    """

    def start(config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HOME": str(tmp_path),
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": config["provider"]["region"],
        }
        return subprocess.run(
            [sys.executable, "-c", LAUNCH],
            input=yaml.safe_dump(config),
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return start


def test_ec2_starts_every_node_type(launch):
    done = launch(read(AWS))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("LAUNCHED")[1])
    assert found["launched"] == {
        "head": ["m7i.large", None, "pie-ray-head", ["pie-ray"]],
        "cpu": ["c7i.4xlarge", "spot", "pie-ray-worker", ["pie-ray"]],
        "gpu": ["g6.xlarge", "spot", "pie-ray-worker", ["pie-ray"]],
    }
    assert found["outside"] == [22], "only SSH is open to the outside"


def test_ec2_refuses_a_mistaken_node_configuration(launch):
    config = read(AWS)
    config["available_node_types"]["cpu"]["node_config"]["InstanceMarketOption"] = {"MarketType": "spot"}
    done = launch(config)
    assert done.returncode != 0
    assert 'Unknown parameter in input: "InstanceMarketOption"' in done.stderr + done.stdout


# -------------------------------------------------------------------------------------------------------- KubeRay


def manifests() -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all((ROOT / "docs/rayjob.yaml").read_text())}


def check_rayjob(manifest: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/data/rayjob.schema.json").read_text())
    jsonschema.validate(manifest, schema, jsonschema.Draft7Validator)


def test_rayjob_follows_kuberays_schema():
    check_rayjob(manifests()["RayJob"])


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(shutdownAfterJobFinish=True),
        lambda spec: spec.update(submissionMode="K8sJob"),
        lambda spec: spec["rayClusterSpec"]["authOptions"].update(mode="tokens"),
        lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
        lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].update(minReplicas="0"),
        lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(serviceAccount="x"),
        lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["resources"][
            "limits"
        ].update(memory="16 GB"),
    ],
    ids=["field", "mode", "authentication", "missing", "text", "number", "field of a pod", "quantity"],
)
def test_kuberays_schema_refuses_a_mistake(change):
    manifest = manifests()["RayJob"]
    change(manifest["spec"])
    with pytest.raises(jsonschema.ValidationError):
        check_rayjob(manifest)


def test_rayjob_is_the_same_cluster():
    spec = manifests()["RayJob"]["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == ray_version()
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] and spec["shutdownAfterJobFinishes"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert set(groups) == set(WORKERS)
    for group in groups.values():
        assert group["minReplicas"] == 0 < group["maxReplicas"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *groups.values())]
    assert {pod["serviceAccountName"] for pod in pods} == {manifests()["ServiceAccount"]["metadata"]["name"]}
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    (gpu,) = groups["gpu"]["template"]["spec"]["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_rayjob_runs_the_recipe_that_it_carries():
    kinds = manifests()
    config_map, spec = kinds["ConfigMap"], kinds["RayJob"]["spec"]
    pod = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (mount,), (volume,) = pod["containers"][0]["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    ((file_name, text),) = config_map["data"].items()
    assert f"-m pie_ray run {mount['mountPath']}/{file_name} --address auto" in spec["entrypoint"]
    assert parse_recipe(text, []).execution.storage == "s3://YOUR-BUCKET/results"
