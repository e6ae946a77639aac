"""Who drives a sweep: the process, as other processes on the same or another machine can tell whether it lives."""

from __future__ import annotations

import getpass
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import Field

from ..config import Config


class Driver(Config):
    """A process that drives a sweep, or is about to."""

    id: str = Field(default_factory=lambda: uuid4().hex)
    state: Literal["starting", "driving"] = "starting"
    host: str = Field(default_factory=socket.gethostname)
    user: str = Field(default_factory=lambda: _user())
    pid: int = Field(default_factory=os.getpid)
    machine: str | None = Field(default_factory=lambda: _machine())
    """The running system and its process ids; None where it does not tell."""
    process_started: str | None = Field(default_factory=lambda: _started(os.getpid()))
    """Processes get the ids of earlier ones; they do not start at the same tick."""
    submission_id: str | None = Field(default_factory=lambda: _submission_id())
    since: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    succeeds: tuple[str, ...] = ()
    """Ids of drivers that were taken for dead; one that was not stops when it finds itself here."""

    def __str__(self) -> str:
        return f"{self.who}, since {self.since}"

    @property
    def who(self) -> str:
        job = f", job {self.submission_id}" if self.submission_id else ""
        return f"{self.user} on {self.host}, process {self.pid}{job}"

    def is_alive(self) -> bool | None:
        """None where this machine cannot know."""
        if self.machine is None or self.process_started is None or self.machine != _machine():
            return None
        return self.process_started == _started(self.pid)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return str(os.getuid())


def _machine() -> str | None:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a living process started, in ticks since the system did; None where it is dead or nothing tells."""
    try:
        # After the name, which may hold anything: the state, and 19 fields later the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZXx" else fields[19]


def _submission_id() -> str | None:
    """The id that Ray's job server has told the entry point of a submitted job."""
    with suppress(ValueError, AttributeError):
        found = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "")).get("metadata", {})
        return found.get("job_submission_id")
    return None
