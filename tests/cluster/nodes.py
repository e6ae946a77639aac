"""A Ray cluster of several nodes, each from a `ray start` of its own, on this one machine.

Where we are root every node has a network namespace, and so an address, of its own; elsewhere the nodes are only
processes. All of it is taken down by pid: no other Ray is touched.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.processes import end_session

BIN = Path(sys.executable).parent
RAY = str(BIN / "ray")
START_SECONDS = 90


@dataclass
class Node:
    """One `ray start --block`: kill() is what a spot instance that vanishes looks like."""

    name: str
    process: subprocess.Popen[bytes]
    prefix: list[str]
    ip: str
    home: Path
    node_id: str = ""

    def kill(self) -> None:
        end_session(self.process)


@dataclass
class Cluster:
    """`run_on_head` runs what a person types on the head node; `job_address` is what they type elsewhere."""

    folder: Path
    environment: dict[str, str]
    network: Network | LocalNetwork
    nodes: list[Node] = field(default_factory=list)
    port: int = 0
    dashboard_port: int = 0

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def address(self) -> str:
        return f"{self.head.ip}:{self.port}"

    @property
    def job_address(self) -> str:
        return f"http://{self.head.ip}:{self.dashboard_port}"

    def popen(self, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """A process on the head node, in a session of its own."""
        options.setdefault("env", self.environment)
        return subprocess.Popen([*self.head.prefix, *command], start_new_session=True, **options)  # type: ignore[call-overload]

    def run_on_head(self, *command: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.head.prefix, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def add_node(self, *options: str, num_cpus: int = 1) -> Node:
        """Start a worker node; it has joined when this returns."""
        ip, prefix = self.network.next_host()
        node = self._start_at(ip, prefix, f"--address={self.address}", f"--num-cpus={num_cpus}", *options)
        self._wait_to_join(node)
        return node

    def start_head(self, *options: str, num_cpus: int = 0) -> None:
        ip, prefix = self.network.next_host()
        self.port, self.dashboard_port = self.network.free_port(), self.network.free_port()
        head = self._start_at(
            ip, prefix, "--head", f"--port={self.port}", f"--dashboard-port={self.dashboard_port}",
            "--include-dashboard=true", f"--dashboard-host={ip}", f"--temp-dir={self.folder}",
            f"--ray-client-server-port={self.network.free_port()}", f"--num-cpus={num_cpus}", *options,
        )  # fmt: skip
        self._wait(self._answers, head)
        self._wait_to_join(head)
        # Where several clusters share a machine, "auto" would take any of them.
        self.environment["RAY_ADDRESS"] = self.address

    def end(self) -> None:
        for node in reversed(self.nodes):
            node.kill()

    def _start_at(self, ip: str, prefix: list[str], *options: str) -> Node:
        name = f"node{len(self.nodes)}"
        # Ray's fixed default ports are for one node a machine.
        ports = ["--min-worker-port=0", "--max-worker-port=0"]
        ports.append(f"--dashboard-agent-listen-port={self.network.free_port()}")
        ports.append(f"--dashboard-agent-grpc-port={self.network.free_port()}")
        command = [*prefix, RAY, "start", "--block", f"--node-ip-address={ip}", *ports, *options]
        home = Path(self.environment["HOME"])
        if self.nodes:
            # Another machine has other files at home.
            home /= name
            home.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                env=self.environment | {"HOME": str(home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.nodes.append(Node(name, process, prefix, ip, home))
        return self.nodes[-1]

    def _wait(self, condition: Callable[[], bool], node: Node) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            log = (self.folder / f"{node.name}.log").read_text()
            assert node.process.poll() is None, f"{node.name} ended:\n{log}"
            assert time.monotonic() < deadline, f"{node.name} is not up after {START_SECONDS} s:\n{log}"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return self._get("/api/version") != ""
        except OSError:
            return False

    def listed(self, what: str) -> list[dict[str, Any]]:
        """Ray's list of "nodes", "actors" or "tasks", past ones too."""
        reply = json.loads(self._get(f"/api/v0/{what}?limit=1000&detail=1"))
        return list(reply["data"]["result"]["result"])

    def _wait_to_join(self, node: Node) -> None:
        known = {other.node_id for other in self.nodes}

        def has_joined() -> bool:
            alive = {found["node_id"] for found in self.listed("nodes") if found["state"] == "ALIVE"}
            node.node_id = next(iter(alive - known), "")
            return node.node_id != ""

        self._wait(has_joined, node)

    def _get(self, path: str) -> str:
        headers = {}
        if self.environment.get("RAY_AUTH_MODE") == "token":
            headers["Authorization"] = f"Bearer {self.environment['RAY_AUTH_TOKEN']}"
        with urllib.request.urlopen(
            urllib.request.Request(self.job_address + path, headers=headers), timeout=5
        ) as found:
            return str(found.read().decode())


# Below the ports that systems hand out themselves and above those of Ray's workers; each pytest process has its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(20_000, 32_000)[_WORKER % 6 * 2_000 :][:2_000]
_next_ports = itertools.cycle(_PORTS)


def free_port(ip: str = "127.0.0.1") -> int:
    """A port that nobody listens on and that this process has not given before.

    One that the system picks (port 0) may be picked again as soon as it is let go of: by the next call, or by anybody's
    outgoing connection.
    """
    for port in itertools.islice(_next_ports, len(_PORTS)):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((ip, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {_PORTS[0]} to {_PORTS[-1]}")


class LocalNetwork:
    """All nodes on the loopback address."""

    ip = "127.0.0.1"

    def next_host(self) -> tuple[str, list[str]]:
        return self.ip, []

    def free_port(self) -> int:
        return free_port(self.ip)

    def end(self) -> None:
        """Nothing was made."""


class Network:
    """A bridge on this machine with a network namespace a node; this machine is `ip` on it."""

    def __init__(self) -> None:
        self.name = f"pr{secrets.token_hex(3)}"
        octet = 16 + secrets.randbelow(200)
        self.subnet = f"10.{octet}.{secrets.randbelow(250)}"
        self.ip = f"{self.subnet}.1"
        self.namespaces: list[str] = []
        _ip("link", "add", self.name, "type", "bridge")
        _ip("addr", "add", f"{self.ip}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")
        self.ports = itertools.count(20_001)

    def next_host(self) -> tuple[str, list[str]]:
        number = len(self.namespaces) + 2
        space, outside, inside = f"{self.name}-{number}", f"{self.name}o{number}", f"{self.name}i{number}"
        address = f"{self.subnet}.{number}"
        _ip("netns", "add", space)
        self.namespaces.append(space)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
        _ip("link", "set", outside, "master", self.name, "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", inside)
        _ip("-n", space, "link", "set", inside, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        return address, ["ip", "netns", "exec", space]

    def free_port(self) -> int:
        # Nobody else is in the namespaces.
        return next(self.ports)

    def end(self) -> None:
        for space in self.namespaces:
            subprocess.run(["ip", "netns", "del", space], check=False)
        subprocess.run(["ip", "link", "del", self.name], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@functools.cache
def namespaces_work() -> bool:
    """Whether this machine lets us make network namespaces; `PIE_RAY_TEST_NAMESPACES=0` says no."""
    if os.environ.get("PIE_RAY_TEST_NAMESPACES") == "0" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        network = Network()
    except subprocess.CalledProcessError:
        return False
    try:
        network.next_host()
    except subprocess.CalledProcessError:
        return False
    finally:
        network.end()
    return True


@contextmanager
def cluster(
    home: Path, *head_options: str, num_cpus: int = 0, token: bool = False, namespaces: bool = False
) -> Iterator[Cluster]:
    """A head node to add worker nodes to, with token authentication where asked, and a HOME of its own."""
    environment = os.environ | {
        "RAY_AUTH_MODE": "token" if token else "disabled",
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "COLUMNS": "200",
    }
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    if token:
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    with ExitStack() as stack:
        # Ray's sockets need a short path.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True))
        network = Network() if namespaces and namespaces_work() else LocalNetwork()
        stack.callback(network.end)
        made = Cluster(Path(folder), environment, network)
        stack.callback(made.end)
        made.start_head(*head_options, num_cpus=num_cpus)
        yield made
