"""Processes of a benchmark that begin to work at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""What `pie-ray` sets for its workers."""


class ProcessError(Exception):
    """One of the processes failed."""


def run_side_by_side(script: str, jobs: Sequence[Any], environment: Mapping[str, str] | None = None) -> list[Any]:
    """Start `script --job JSON` for each job, a dataclass; answers in the jobs' order.

    Each prints `ready` when it has loaded what it needs, and its answer as JSON once it has been told to go.
    `environment` is added to this process's. Raises ProcessError where one fails; the others are ended.
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
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise ProcessError("failed: a process did not start; its error is above")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise ProcessError("failed: a process ended; its error is above")
        return [json.loads(answer) for answer in answers]
    finally:
        for process in processes:
            process.kill()
