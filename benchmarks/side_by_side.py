"""Processes of a benchmark that begin to work at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any


def run_side_by_side(script: str, jobs: Sequence[Any], environment: Mapping[str, str] | None = None) -> list[Any]:
    """Start `script --job JSON` for each job, a dataclass; answers in the jobs' order.

    Each prints `ready` when it has loaded what it needs, and its answer as JSON once it has been told to go. Exits
    where one does not get ready. `environment` is added to this process's.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, script, "--job", json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        for job in jobs
    ]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("a training process failed to start")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in processes]
