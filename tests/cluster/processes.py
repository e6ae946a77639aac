"""Processes of a test, found and ended by the session they were started in."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

import psutil


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """Take down a process and whatever of its session is left, by pid."""
    for process in session(leader.pid):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    leader.wait()


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def session(leader: int) -> list[psutil.Process]:
    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.Error):
            return False

    return [process for process in psutil.process_iter() if belongs(process)]
