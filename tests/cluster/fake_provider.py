"""An autoscaler's provider whose nodes are processes of this machine, started once a test lets them.

Ray's own fake provider, with the address taken from the autoscaler's command line. Its nodes belong to the session of
the head node that they are started from, and end with it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

POLL_SECONDS = 0.1


class GatedProvider(FakeMultiNodeProvider):  # type: ignore[misc]
    """Starts nodes only once the file `provider.gate` of the configuration is there."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        addresses = [value for value in sys.argv if value.startswith("--gcs-address=")]
        address = addresses[0].partition("=")[2]
        super().__init__(provider_config | {"gcs_address": address, "launch_multiple": True}, cluster_name)
        self.gate = Path(provider_config["gate"])

    def create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        while not self.gate.exists():
            time.sleep(POLL_SECONDS)
        super().create_node_with_resources_and_labels(*arguments)
