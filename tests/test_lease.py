"""One driver a sweep, on local and on object storage, whatever became of the earlier one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pie_ray.errors import StoreError
from pie_ray.store import Storage, hold_lease, lease, paths, remove_leftovers
from pie_ray.store.driver import Driver
from pie_ray.store.publishing import TEMPORARY_SUFFIX
from tests.s3 import S3Server, s3_server

WAIT = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(params=["local folder", "object store"])
def storage(request, tmp_path, monkeypatch) -> Storage:
    if request.param == "local folder":
        return Storage(tmp_path / "results")
    server = request.getfixturevalue("server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return Storage(server.uri(f"{tmp_path.name}/results"))


@pytest.fixture
def folder(tmp_path) -> Storage:
    return Storage(tmp_path / "results")


@pytest.fixture
def quick(monkeypatch) -> None:
    """Seconds become tenths."""
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 1.5)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 4.0)


def write_lease(storage: Storage, **changes: object) -> Driver:
    """Of a driver on another machine, unless told."""
    driver = Driver(**{"state": "driving", "machine": "elsewhere", "host": "other", "pid": 7, **changes})
    storage.write_bytes(paths.driver(driver.id), driver.model_dump_json().encode())
    return driver


def hold(storage: Storage, say=lambda text: None, stop=None):
    return hold_lease(storage, say, stop)


def test_a_second_driver_is_refused_and_the_first_is_named(storage):
    with hold(storage):
        with pytest.raises(StoreError) as raised, hold(storage):
            pass
        (path,) = storage.list_files(paths.DRIVERS)
        first = json.loads(storage.read_bytes(path))
        assert first["pid"] == os.getpid() and first["state"] == "driving"
    assert f"{storage} has another driver: {first['user']} on {first['host']}, process {os.getpid()}" in str(
        raised.value
    )
    assert f"since {first['since']}; wait until it ends, or stop it" in str(raised.value)
    assert storage.list_files(paths.DRIVERS) == []


def test_a_submitted_driver_is_named_by_its_job(folder, monkeypatch):
    job = {"runtime_env": {}, "metadata": {"job_submission_id": "digits-1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    with hold(folder), pytest.raises(StoreError, match=f"process {os.getpid()}, job digits-1, since"), hold(folder):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_lease_ends_with_its_sweep_however_that_ends(folder, error):
    with pytest.raises(error), hold(folder):
        raise error
    assert folder.list_files() == []


def test_another_sweep_has_a_driver_of_its_own(folder):
    with hold(folder.child("a")), hold(folder.child("b")):
        pass


HOLD = """
import sys, time
from pie_ray.store import Storage, hold_lease
with hold_lease(Storage(sys.argv[1]), print):
    print("holding", flush=True)
    time.sleep(600)
"""


def test_a_killed_driver_is_succeeded_at_once(storage, monkeypatch):
    monkeypatch.setattr(lease, "_watch", None)
    with subprocess.Popen([sys.executable, "-c", HOLD, storage.uri], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "holding\n"
        (left,) = storage.list_files(paths.DRIVERS)
        with pytest.raises(StoreError, match=f"process {process.pid}"), hold(storage):
            pass
        process.kill()
        # Not yet waited for: a zombie is dead.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with hold(storage):
            (path,) = storage.list_files(paths.DRIVERS)
            assert path != left
    assert storage.list_files(paths.DRIVERS) == []


def test_a_process_of_the_same_id_is_not_the_driver(folder):
    write_lease(folder, **Driver().model_dump(include={"pid", "machine", "host"}), process_started="1")
    with hold(folder):
        assert len(folder.list_files(paths.DRIVERS)) == 1


def test_of_several_that_start_at_once_one_drives(storage):
    """In processes, as the same random numbers would be drawn in threads."""
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, storage.uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    with ExitStack() as stack:
        for process in starting:
            stack.callback(process.communicate)
            stack.callback(process.kill)
        deadline = time.monotonic() + 120
        while sum(process.poll() is not None for process in starting) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (driver,) = [process for process in starting if process.poll() is None]
        for process in starting:
            if process is not driver:
                assert "has another driver: " in process.communicate()[1]
        assert driver.stdout is not None and driver.stdout.readline() == "holding\n"
        (path,) = storage.list_files(paths.DRIVERS)
        assert json.loads(storage.read_bytes(path))["pid"] == driver.pid


# ------------------------------------------------------------------------------------------------- on another machine


def test_a_driver_elsewhere_that_renews_its_lease_is_let_alone(storage, quick):
    driver = write_lease(storage)
    is_over, said = threading.Event(), []

    def renew() -> None:
        while not is_over.wait(0.2):
            storage.write_bytes(paths.driver(driver.id), driver.model_dump_json().encode())

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        named = f"has another driver: {driver.user} on other, process 7"
        with pytest.raises(StoreError, match=named), hold(storage, said.append):
            pass
    finally:
        is_over.set()
        renewing.join()
    assert len(said) == 1
    assert "Another driver was last seen" in said[0] and "on other, process 7" in said[0]


def test_a_driver_elsewhere_that_went_silent_is_succeeded(storage, quick):
    driver = write_lease(storage)
    said: list[str] = []
    with hold(storage, said.append):
        (path,) = storage.list_files(paths.DRIVERS)
        assert json.loads(storage.read_bytes(path))["succeeds"] == [driver.id]
    assert len(said) == 1 and "on other, process 7" in said[0]


def test_a_driver_elsewhere_that_is_long_dead_is_not_waited_for(folder, monkeypatch):
    monkeypatch.setattr(lease, "_watch", None)
    driver = write_lease(folder)
    old = time.time() - 2 * lease.LONG_DEAD_SECONDS
    os.utime(Path(folder.uri, paths.driver(driver.id)), (old, old))
    with hold(folder):
        assert len(folder.list_files(paths.DRIVERS)) == 1


def test_a_lease_that_is_none_is_one_message(folder):
    folder.write_bytes("drivers/a.json", b"{")
    with pytest.raises(StoreError, match=r"drivers/a.json in .* is no driver's: delete it"), hold(folder):
        pass
    assert folder.list_files() == ["drivers/a.json"]


# ------------------------------------------------------------------------------------------------------------ keeping


def test_a_lease_is_renewed(folder, quick):
    with hold(folder):
        first = folder.list_times(paths.DRIVERS)
        deadline = time.monotonic() + WAIT
        while folder.list_times(paths.DRIVERS) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_driver_that_was_succeeded_stops(folder, quick):
    stopped = threading.Event()
    message = r"stopped: another driver took .* over .*: .* on other, process 7"
    with pytest.raises(StoreError, match=message), hold(folder, stop=stopped.set):
        (own,) = folder.list_files(paths.DRIVERS)
        write_lease(folder, succeeds=(Path(own).stem,))
        assert stopped.wait(WAIT)


def test_a_driver_whose_lease_is_gone_is_interrupted(folder, quick):
    with pytest.raises(StoreError, match=r"stopped: drivers/\w+.json is gone from"), hold(folder):
        folder.delete(*folder.list_files(paths.DRIVERS))
        signal.sigtimedwait([], WAIT)


def test_a_lease_outlives_an_outage(server, tmp_path, monkeypatch, quick):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    storage = Storage(server.uri(f"{tmp_path.name}/outage"))
    stopped = threading.Event()
    with hold(storage, stop=stopped.set):
        (path,) = storage.list_files(paths.DRIVERS)
        before = storage.list_times()[path]
        server.fail("refuse")
        num_tries = len(server.requests)
        deadline = time.monotonic() + WAIT
        while len(server.requests) < num_tries + 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.fail(None)
        while storage.list_times()[path] == before:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert not stopped.is_set()


# ---------------------------------------------------------------------------------------------------------- leftovers


def test_what_a_killed_writer_left_is_removed_once_it_is_old(folder):
    old, young = f"members/dense/.a{TEMPORARY_SUFFIX}", f"members/dense/.b{TEMPORARY_SUFFIX}"
    for path in (old, young, "members/dense/0.json"):
        folder.write_bytes(path, b"1")
    long_ago = time.time() - 3600
    for path in (old, "members/dense/0.json"):
        os.utime(Path(folder.uri, path), (long_ago, long_ago))
    assert remove_leftovers(folder) == 1
    assert sorted(folder.list_times()) == [young, "members/dense/0.json"]


def test_leftovers_of_other_sweeps_are_let_alone(folder):
    old = f".a{TEMPORARY_SUFFIX}"
    folder.child("other").write_bytes(old, b"1")
    os.utime(Path(folder.uri, "other", old), (1, 1))
    folder.child("own").write_bytes("a", b"1")
    assert remove_leftovers(folder.child("own")) == 0
    assert folder.child("other").list_times() == {old: 1.0}
