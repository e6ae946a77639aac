"""A sweep whose results lie in an object store, as a person runs it; one driver at a time."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from pie_ray.analysis.tables import TABLES
from pie_ray.live.status import look
from pie_ray.store import paths
from tests.s3 import S3Server, s3_server

pytestmark = pytest.mark.long

SLOWER = "training.epochs=40"
"""Members of a second or two, so that there is a middle of the sweep."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name, value in S3Server.environment.items():
        monkeypatch.setenv(name, value)
    with s3_server(tmp_path) as found:
        yield found


FIGURES = ("accuracy_and_pies", "class_impact", "reduced_accuracy", "tradeoff", "uncertainty")
"""Those of so few members that the stability of the PIEs cannot be drawn."""


def test_a_sweep_runs_on_s3_and_goes_through_an_outage(start_sweep, server, tiny_text):
    sweep = start_sweep(tiny_text, server.uri(), "--set", SLOWER, command="run")
    sweep.wait_for(2)
    server.fail("error")
    num_requests = len(server.requests)
    # Members and the driver's lease knock meanwhile.
    sweep.wait_until(lambda: len(server.requests) >= num_requests + 8)
    server.fail(None)
    assert sweep.finish() == 0, sweep.output
    assert "failed" not in sweep.output and "tried again" not in sweep.output, sweep.output
    assert "What compression forgets (test, in %)" in sweep.output
    assert "report         s3://bucket/results/tiny?" in sweep.output or paths.REPORT in sweep.output

    stored = sweep.results.list_files()
    assert Counter(path.split("/")[0] for path in stored) == {
        "recipe.yaml": 1, "manifest.json": 1, "progress.json": 1, "examples": 1, "members": 6, "checkpoints": 6,
        "predictions": 6, "analysis": len(TABLES) + len(FIGURES), "report": 1,
    }  # fmt: skip

    again = start_sweep(tiny_text, server.uri(), "--set", SLOWER)
    num_drivers = sum("/drivers/" in path for _, path in server.requests)
    assert again.finish() == 0, again.output
    assert "All 6 members are complete: nothing to train." in again.output
    assert sum("/drivers/" in path for _, path in server.requests) == num_drivers


@pytest.mark.parametrize("where", ["local folder", "object store"])
def test_a_second_driver_refuses_and_names_the_first(start_sweep, server, tiny_text, tmp_path, where):
    storage = server.uri() if where == "object store" else tmp_path / "shared"
    first = start_sweep(tiny_text, storage, "--set", SLOWER)
    first.wait_for(1)
    (path,) = first.results.list_files(paths.DRIVERS)
    driver = json.loads(first.results.read_bytes(path))
    recipe = first.results.read_bytes(paths.RECIPE)
    assert driver["pid"] == first.process.pid
    # However slowly the others start, it is not done before them.
    first.process.send_signal(signal.SIGSTOP)
    seen = look(first.results)
    assert (seen.state, seen.progress.state, seen.driver.driver.pid) == ("running", "running", first.process.pid)
    assert seen.progress.num_members == 6 and seen.progress.driver == seen.driver.driver.who

    # Another population is the same sweep; it must not even touch the recipe.
    second = start_sweep(tiny_text, storage, "--set", SLOWER, "--set", "population.num_members=3")
    assert second.finish() == 2, second.output
    told = f"tiny has another driver: {driver['user']} on {driver['host']}, process {first.process.pid}, since"
    assert told in second.output.replace("?" + server.uri().partition("?")[2], "")
    assert "Traceback" not in second.output
    assert first.results.read_bytes(paths.RECIPE) == recipe
    # What is another sweep altogether is told so, with both values.
    other = start_sweep(tiny_text, storage, "--set", "training.epochs=3")
    assert other.finish() == 2, other.output
    assert "training.epochs: the results in" in other.output and "have 40, the recipe says 3" in other.output

    first.process.send_signal(signal.SIGINT)
    first.process.send_signal(signal.SIGCONT)
    assert first.finish() == 130, first.output
    assert first.results.list_files(paths.DRIVERS) == []
    seen = look(first.results)
    assert seen.state == "stopped" and seen.progress.num_done == first.num_complete
    third = start_sweep(tiny_text, storage, "--set", SLOWER)
    assert third.finish() == 0, third.output
    seen = look(first.results)
    assert (seen.state, seen.progress.state, seen.progress.num_done) == ("complete", "complete", 6)
    assert seen.progress.cluster is None and seen.progress.members_per_hour > 0


def test_a_driver_that_was_succeeded_stops_and_says_why(start_sweep, server, tiny_text):
    # Work for longer than until the lease's next renewal, which is when it notices.
    first = start_sweep(tiny_text, server.uri(), "--set", SLOWER, "--set", "population.num_members=200")
    first.wait_for(1)
    first.results.delete(*first.results.list_files(paths.DRIVERS))
    assert first.finish() == 2, first.output
    assert "error: stopped: drivers/" in first.output and "is gone from" in first.output
    assert "Traceback" not in first.output
