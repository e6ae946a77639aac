"""What the console says of a trial that failed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from pie_ray.cluster.sweep import _reason

TRACEBACK = "Traceback (most recent call last):\n  ...\nRuntimeError: this network refuses to train\n"


class TwoPartError(Exception):
    """Like many users' errors, it cannot be made again from its message."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def failed(folder, error: BaseException | None, text: str | None) -> SimpleNamespace:
    """A trial as Tune leaves it for its callbacks: what went wrong is in the driver's own files."""
    pickled, plain = folder / "error.pkl", folder / "error.txt"
    if error is not None:
        pickled.write_bytes(cloudpickle.dumps(error))
    if text is not None:
        plain.write_text(text)
    return SimpleNamespace(
        pickled_error_file=str(pickled) if error is not None else None, error_file=str(plain) if text else None
    )


@pytest.mark.parametrize(
    ("error", "text", "reason"),
    [
        (RayTaskError("train", TRACEBACK, RuntimeError("refuses")), TRACEBACK, "RuntimeError: refuses"),
        (RayTaskError("train", TRACEBACK, RuntimeError()), TRACEBACK, "RuntimeError"),
        (RayActorError(), "The actor died.", "its worker process or node died"),
        (TwoPartError("layer 3", "no weights"), TRACEBACK, "RuntimeError: this network refuses to train"),
        (None, TRACEBACK, "RuntimeError: this network refuses to train"),
        (None, None, "unknown error"),
    ],
)
def test_the_reason_is_the_last_error_in_one_line(tmp_path, error, text, reason):
    assert _reason(failed(tmp_path, error, text)) == reason
