"""Connect to a Ray cluster, or start a private one on this machine; keep both quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import InputError

OBJECT_STORE_BYTES = 256 * 1024**2
"""Batches of predictions are all that passes through it."""

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A busy actor that is told to stop gets this long before it is killed.
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
}


@contextlib.contextmanager
def ray_session(address: str | None, *, verbose: bool = False) -> Iterator[bool]:
    """Ray for the length of a `with` block: the cluster at `address`, or one on this machine that ends with it.

    Gives whether the cluster is private: started here, and not growing.

    Raises InputError where no cluster answers at `address`.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        _make_token()
    import ray

    if ray.is_initialized():
        yield False
        return
    options: dict[str, Any] = {"log_to_driver": verbose, "logging_level": logging.INFO if verbose else logging.ERROR}
    if address is None:
        # Workers inherit it: large tensors on huge pages train small networks about a tenth faster.
        os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        # Without an address Ray would join whatever cluster was last started on this machine.
        ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise InputError(f"address: no Ray cluster answers at {address!r} ({error})") from error
    # Ray replaces the handler with one that ends the process at once.
    signal.signal(signal.SIGTERM, on_sigterm)
    if not verbose:
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield address is None
    finally:
        ray.shutdown()


def _make_token() -> None:
    """Ray listens on the machine's own address, so even a private cluster wants a token.

    Made here and not by Ray, it leaves no token file in the user's home, which would change how `ray start` behaves.
    Ray reads its mode when it is first imported: later is too late.
    """
    if "ray" not in sys.modules and os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
