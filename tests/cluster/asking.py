"""Asks a cluster whether members fit it, as a sweep does before it starts."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.cluster.nodes import Cluster

SCRIPT = """
import json, sys, ray
from pie_ray.cluster.capacity import check_fits
from pie_ray.config import Execution
from pie_ray.errors import InputError
ray.init(logging_level="ERROR", log_to_driver=False)
for settings in json.loads(sys.argv[1]):
    try:
        check_fits(Execution(**settings), is_private=False)
        print("fits")
    except InputError as error:
        print(error)
"""


def ask(cluster: Cluster, *settings: dict[str, Any]) -> list[str]:
    """What is said of each of these settings of `execution`: "fits", or the error."""
    done = cluster.run_on_head(sys.executable, "-c", SCRIPT, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
