"""A contender in a process of its own: what it answers, and the memory that it took with its children."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.05


def run_watched(script: str, job: Any, environment: Mapping[str, str]) -> tuple[Any, float]:
    """The answer of `script --job JSON`, printed as JSON; and the most MB that it and its children held at once.

    Memory is the sum of what each has resident, several times a second: what they share counts in each. Leaves the
    benchmark where the process fails.
    """
    import psutil

    command = [sys.executable, script, "--job", json.dumps(job)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        try:
            for each in [root, *root.children(recursive=True)]:
                total += each.memory_info().rss
        except psutil.NoSuchProcess:
            pass
        peak = max(peak, total)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode != 0 or process.stdout is None:
        sys.exit(f"failed: {job}; its error is above")
    return json.loads(process.stdout.read()), peak / 2**20


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
