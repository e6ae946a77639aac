"""What the tests share: tiny recipes, and a Ray of their own for those that need one."""

from __future__ import annotations

import os
import signal
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

import pytest
import torch
from hypothesis import settings

from pie_ray.config import Recipe
from pie_ray.recipe import parse_recipe

torch.set_num_threads(1)
# The same examples every time: what fails on one machine fails on all.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
# Children inherit it ignored where the tests were started in the background, and some are stopped by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = """
name: tiny
data: {kind: digits, num_train: 200, num_test: 100}
model: {kind: small_resnet, width: 4}
training: {epochs: 2, batch_size: 50, precision: float32}
population: {num_members: 2}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}, measure_latency: false}
"""


@pytest.fixture
def tiny_text() -> str:
    """A recipe of 6 members that each take a fraction of a second."""
    return TINY


@pytest.fixture
def tiny_recipe(tmp_path) -> Recipe:
    """The tiny recipe with its results in a folder of the test's own."""
    return parse_recipe(TINY, [f"execution.storage={tmp_path / 'results'}"])


_exit_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_exit_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without the interpreter's end, in which a native library crashed once after every test had passed.

    Which one is not known. The commands themselves run in processes of their own, whose exit codes the tests look at.
    """
    # pytest-xdist's own processes have no end but the one that they are told of.
    if _exit_status in config.stash and not hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_exit_status])
