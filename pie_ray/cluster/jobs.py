"""Jobs on a Ray cluster over its dashboard's address: submit, list, read and follow their logs, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, final

from .. import __version__
from ..errors import InputError, PieRayError
from ..tracking.connection import root_cause
from .submission import has_credentials

ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where Ray's own tools look for the address of a job server, the first that is set."""

_ACCEPTED = "the address of its dashboard, http://HOST:8265"
_SECONDS_TO_ANSWER = 10
_SECONDS_BETWEEN_LOOKS = 0.5
_NUM_ID_ATTEMPTS = 20
_NUM_SHOWN = 10

_JOB_ENVIRONMENT = {
    # Ray's own 3 seconds are not enough to stop trials and to close the log in.
    "RAY_JOB_STOP_WAIT_TIME_S": "120",
}


@dataclass(frozen=True)
class Job:
    """A job that pie_ray submitted; `state` is pending, running, succeeded, failed or stopped."""

    submission_id: str
    sweep: str
    results: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    reason: str
    """Of a failed job, why, in one line."""

    @property
    def is_live(self) -> bool:
        return self.state in ("pending", "running")

    @property
    def seconds(self) -> float:
        """From its submission to its end, or until now."""
        return ((self.ended_at or datetime.now().astimezone()) - self.started_at).total_seconds()


@final
class JobServer:
    """The job server of the cluster at `address`, or at the one that the environment names.

    Raises InputError where nothing answers there, where it is no Ray dashboard or one of another Ray version, and
    where it wants another token.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = _find_address(address)
        token, source = find_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        _check_server(self.address, headers, source)
        self._client = _connect(self.address, headers)

    def submit(self, sweep: str, results: str, command: str, working_dir: Path) -> str:
        """Start `command` on the cluster's head in a copy of `working_dir`; returns `<sweep>-<n>`."""
        for _ in range(_NUM_ID_ATTEMPTS):
            try:
                with self._answering():
                    return str(
                        self._client.submit_job(
                            entrypoint=command,
                            submission_id=self._next_id(sweep),
                            runtime_env={"working_dir": str(working_dir), "env_vars": _JOB_ENVIRONMENT},
                            metadata={"pie_ray": __version__, "sweep": sweep, "results": results},
                        )
                    )
            except _IdTakenError:
                continue
        raise PieRayError(f"the cluster at {self.address} finds every submission id of {sweep!r} taken")

    def jobs(self) -> list[Job]:
        """All jobs that pie_ray submitted, the oldest first."""
        with self._answering():
            found = [_job(details) for details in self._client.list_jobs() if "pie_ray" in (details.metadata or {})]
        return sorted(found, key=lambda job: job.started_at)

    def unfinished(self, sweep: str, results: str) -> Job | None:
        """A job that is writing the same results, or will."""
        return next((job for job in self.jobs() if job.is_live and (job.sweep, job.results) == (sweep, results)), None)

    def named(self, name: str) -> list[Job]:
        """The job with this submission id, else all jobs of the sweep of this name, the oldest first.

        Raises InputError naming jobs that there are.
        """
        jobs = self.jobs()
        found = [job for job in jobs if job.submission_id == name] or [job for job in jobs if job.sweep == name]
        if not found:
            there = ", ".join(job.submission_id for job in jobs[-_NUM_SHOWN:]) or "none"
            raise InputError(f"found no job or sweep {name!r} on {self.address}; its latest jobs: {there}")
        return found

    def find(self, name: str) -> Job:
        """Of the jobs that `name` names the one that has not ended, else the latest."""
        return max(self.named(name), key=lambda job: (job.is_live, job.started_at))

    def logs(self, submission_id: str) -> str:
        """What the job has printed."""
        with self._answering():
            return str(self._client.get_job_logs(submission_id))

    def follow(self, submission_id: str, write: Callable[[str], object]) -> Job:
        """Hand over what the job has printed, and what it prints, until it ends."""

        async def tail() -> None:
            async for lines in self._client.tail_job_logs(submission_id):
                write(lines)

        with self._answering():
            asyncio.run(tail())
        job = self.find(submission_id)
        if job.is_live:
            raise PieRayError(f"the log of {submission_id} broke off; the job goes on")
        return job

    def stop(self, submission_id: str) -> Job:
        """Ask the job to stop and wait until it has: members in flight are lost, what is complete is kept."""
        with self._answering():
            self._client.stop_job(submission_id)
        while (job := self.find(submission_id)).is_live:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return job

    def _next_id(self, sweep: str) -> str:
        own = re.compile(re.escape(sweep) + r"-(\d+)")
        found = [own.fullmatch(details.submission_id or "") for details in self._client.list_jobs()]
        return f"{sweep}-{max((int(match[1]) for match in found if match), default=0) + 1}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Ray's client raises RuntimeError for all that a server says, and lets its libraries' errors through."""
        import aiohttp
        import requests

        try:
            yield
        except (requests.RequestException, aiohttp.ClientError, ConnectionError) as error:
            raise PieRayError(f"lost the connection to {self.address} ({root_cause(error)})") from error
        except (RuntimeError, ValueError) as error:
            message = str(error).strip() or type(error).__name__
            if "already exists" in message:
                raise _IdTakenError(message) from error
            if "status code 413" in message:
                raise InputError(
                    "--working-dir: the cluster takes 100 MB; name what it does not need in the folder's .rayignore"
                ) from error
            raise PieRayError(f"the cluster at {self.address} refuses: {message.splitlines()[-1]}") from error


class _IdTakenError(PieRayError):
    """Somebody else took the submission id since we looked."""


def find_token() -> tuple[str | None, str]:
    """The token as Ray finds it, and where it came from; None where there is none, or is to be none.

    Read here because Ray looks at RAY_AUTH_MODE once, when it is first imported, and not at all where it is unset.

    Raises InputError where RAY_AUTH_TOKEN_PATH names no file with a token.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None, f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}"
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token, "RAY_AUTH_TOKEN"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if named and not token:
        raise InputError(f"RAY_AUTH_TOKEN_PATH: found no token in {named!r}; accepted: a file that holds one")
    return token or None, str(path)


def _find_address(address: str | None) -> str:
    if address is None:
        named = [os.environ.get(name, "") for name in ADDRESS_VARIABLES]
        address = next((value for value in named if value.startswith(("http://", "https://"))), None)
    if address is None:
        raise InputError(f"--address: missing; accepted: {_ACCEPTED}, here or in {ADDRESS_VARIABLES[0]}")
    if has_credentials(address):
        raise InputError(f"--address: found one with a password in it; accepted: {_ACCEPTED}, and RAY_AUTH_TOKEN")
    if not re.match(r"https?://[^/]", address):
        raise InputError(f"--address: found {address!r}; accepted: {_ACCEPTED}")
    return address.rstrip("/")


def _check_server(address: str, headers: dict[str, str], source: str) -> None:
    import requests

    try:
        answer = requests.get(f"{address}/api/version", headers=headers, timeout=_SECONDS_TO_ANSWER)
    except requests.Timeout as error:
        raise InputError(
            f"--address: {address} does not answer within {_SECONDS_TO_ANSWER} s; accepted: {_ACCEPTED}"
        ) from error
    except (requests.RequestException, UnicodeError) as error:
        raise InputError(
            f"--address: nothing answers at {address} ({root_cause(error)}); accepted: {_ACCEPTED}"
        ) from error
    if answer.status_code in (401, 403):
        raise InputError(_token_trouble(address, has_token=bool(headers), source=source))
    try:
        version = str(answer.json()["ray_version"]) if answer.ok else None
    except (ValueError, KeyError, TypeError):
        version = None
    if version is None:
        raise InputError(
            f"--address: what answers at {address} is no Ray dashboard (HTTP {answer.status_code} for /api/version); "
            f"accepted: {_ACCEPTED}"
        )
    ours = metadata.version("ray")
    if version != ours:
        raise InputError(
            f"--address: the cluster at {address} runs Ray {version}, here is Ray {ours}: "
            f"pip install 'ray[default,tune]=={version}'"
        )


def _token_trouble(address: str, *, has_token: bool, source: str) -> str:
    how = (
        "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it, or copy the file ~/.ray/auth_token of "
        "the cluster's head; `ray get-auth-token` prints it there"
    )
    if has_token:
        return f"token: the cluster at {address} refuses the one from {source}; {how}"
    if source.startswith("RAY_AUTH_MODE"):
        return f"token: the cluster at {address} wants one, and {source} sends none; unset it"
    return f"token: the cluster at {address} wants one and none was found; {how}"


def _connect(address: str, headers: dict[str, str]) -> Any:
    """Ray's own client, without its chatter."""
    from ray.job_submission import JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Ray prefers this variable to the argument, and RAY_ADDRESS too where this one is not set.
    before = os.environ.get("RAY_API_SERVER_ADDRESS")
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    try:
        return JobSubmissionClient(address, headers=headers)
    finally:
        if before is None:
            del os.environ["RAY_API_SERVER_ADDRESS"]
        else:
            os.environ["RAY_API_SERVER_ADDRESS"] = before


def _job(details: Any) -> Job:
    state = str(details.status).lower()
    return Job(
        submission_id=str(details.submission_id),
        sweep=details.metadata.get("sweep", ""),
        results=details.metadata.get("results", ""),
        state=state,
        started_at=_moment(details.start_time),
        ended_at=_moment(details.end_time) if details.end_time else None,
        reason=_reason(details.message or "") if state == "failed" else "",
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone()


def _reason(message: str) -> str:
    """Ray's message ends with the last lines of the log; ours begin with one of two words there."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(("failed:", "error:"))]
    return (ours or lines or ["no reason is known"])[-1]
