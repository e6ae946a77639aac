"""Object storage, and storages that fail, are full, or are written to by processes that die."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from pie_ray.errors import StorageError
from pie_ray.records import MemberRecord
from pie_ray.store import (
    Manifest,
    Storage,
    claim,
    read_checkpoint,
    read_table,
    write_checkpoint,
    write_examples,
    write_record,
    write_table,
)
from pie_ray.store import (
    storage as storage_module,
)
from pie_ray.store.publishing import ONE_REQUEST_BYTES

LARGE = 2 * ONE_REQUEST_BYTES


@pytest.fixture
def known(object_storage):
    """A storage that has answered, and so is waited for; it gives up soon."""
    object_storage.write_bytes("before", b"1")
    return object_storage.with_patience(3)


# ------------------------------------------------------------------------------------------------- one request


def test_everything_small_is_published_in_one_request(object_storage, s3, write_member, make_spec):
    storage = object_storage
    spec = make_spec()
    claim(storage, Manifest(name="a", sweep_id="b", base={}, fingerprint="c", num_classes=2, suites={}), "name: a")
    write_examples(storage, "test", np.arange(3), np.zeros(3), ["a", "b", "c"], {}, ["zero"])
    write_checkpoint(storage, spec.variant_id, spec.seed, b"1" * ONE_REQUEST_BYTES)
    write_table(storage, "summary", {"a": [1]})
    assert [method for method, _ in s3.writes()] == ["PUT"] * 5
    published = [path.rpartition("/results/")[2] for _, path in s3.writes()]
    assert published == sorted(storage.list_files(), key=published.index)


@pytest.mark.parametrize("storage", ["object store"], indirect=True)
def test_predictions_and_records_are_published_in_one_request(storage, s3, write_member, make_spec):
    write_member(0, [0, 1, 2])
    write_record(storage, make_record(make_spec()))
    assert [(method, path.rpartition("/results/")[2]) for method, path in s3.writes()] == [
        ("PUT", "predictions/clean/dense/0.parquet"),
        ("PUT", "members/dense/0.json"),
    ]


def make_record(spec):
    return MemberRecord(
        member_id=spec.member_id, variant_id=spec.variant_id, seed=spec.seed, parent_id=None, sparsity=0.0,
        quantization=None, arithmetic="native", num_parameters=1, num_prunable=1, num_nonzero=1,
        achieved_sparsity=0.0, checkpoint_bytes=1, train_loss=None, top1={}, train_seconds=None, evaluate_seconds=0.0,
        device="cpu", precision="float32", versions={},
    )  # fmt: skip


def test_a_large_object_takes_its_name_in_one_request(object_storage, s3):
    data = os.urandom(LARGE)
    object_storage.write_bytes("a/large", data)

    named = [method for method, path in s3.writes() if path.partition("?")[0].endswith("/results/a/large")]
    assert named == ["PUT"]
    assert object_storage.read_bytes("a/large") == data
    assert list(object_storage.list_times()) == ["a/large"]


# ------------------------------------------------------------------------------------------- finish or be absent


@pytest.mark.parametrize("size", [1000, LARGE], ids=["one request", "in parts"])
@pytest.mark.parametrize("mode", ["cut", "refuse", "error", "full", "denied"])
def test_a_write_that_fails_leaves_what_was_there(object_storage, s3, size, mode):
    object_storage.write_bytes("a", b"old")
    s3.fail(mode)
    with pytest.raises(StorageError, match="cannot write"):
        object_storage.with_patience(0).write_bytes("a", b"1" * size)
    with pytest.raises(StorageError, match="cannot write"):
        object_storage.with_patience(0).write_bytes("b", b"1" * size)
    s3.fail(None)
    assert object_storage.list_files() == ["a"]
    assert object_storage.read_bytes("a") == b"old"


def test_no_reader_sees_half_an_object_while_connections_are_cut(object_storage, s3):
    contents = {bytes([value]) * 100_000 for value in range(20)}
    seen: list[bytes] = []
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.is_set():
            seen.append(object_storage.read_bytes("a"))

    object_storage.write_bytes("a", min(contents))
    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for content in contents:
            s3.fail("cut")
            with pytest.raises(StorageError):
                object_storage.with_patience(0).write_bytes("a", content)
            s3.fail(None)
            object_storage.write_bytes("a", content)
    finally:
        is_over.set()
        reader.join()
    assert len(set(seen)) > 1 and set(seen) <= contents


WRITE = """
import sys
from pie_ray.store import Storage
Storage(sys.argv[1]).write_bytes("a", b"1" * int(sys.argv[2]))
"""


@pytest.mark.parametrize("size", [1000, LARGE], ids=["one request", "in parts"])
def test_a_writer_killed_in_the_middle_leaves_nothing_visible(object_storage, s3, size):
    s3.fail("stall")
    address = object_storage.uri
    with subprocess.Popen([sys.executable, "-c", WRITE, address, str(size)], env=os.environ.copy()) as writer:
        assert s3.stalled.wait(120)
        writer.kill()
    assert writer.returncode == -9
    s3.fail(None)
    assert object_storage.list_times() == {}


# --------------------------------------------------------------------------------------------------- patience


@pytest.mark.parametrize("mode", ["refuse", "error", "slow down"])
def test_trouble_that_passes_is_waited_out(object_storage, s3, mode):
    object_storage.write_bytes("before", b"1")
    write_table(object_storage, "summary", {"a": [1, 2]})
    s3.fail(mode)
    heal = threading.Timer(1.5, s3.fail, [None])
    heal.start()
    uses = [
        lambda: object_storage.write_bytes("a", b"1"),
        lambda: object_storage.write_bytes("large", b"1" * LARGE),
        lambda: object_storage.read_bytes("before"),
        lambda: object_storage.list_files("nothing"),
        lambda: object_storage.exists("before"),
        lambda: object_storage.delete("absent"),
        lambda: read_table(object_storage, "summary").to_pydict(),
    ]
    results: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda number=number, use=use: results.update({number: use()}))
        for number, use in enumerate(uses)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heal.join()
    assert results == {0: None, 1: None, 2: b"1", 3: [], 4: True, 5: None, 6: {"a": [1, 2]}}
    assert object_storage.list_files() == ["a", "analysis/summary.parquet", "before", "large"]


def test_patience_ends(known, s3):
    s3.fail("error")
    with pytest.raises(StorageError, match=r"cannot write a in s3://.*: service unavailable: .*\(tried for \d s\)"):
        known.write_bytes("a", b"1")
    assert len(s3.writes()) > 2


def test_a_storage_that_never_answered_errs_at_once(s3):
    s3.fail("refuse")
    storage = Storage(s3.uri())
    with pytest.raises(
        StorageError, match=r"^cannot read a in s3://[^ ]*: it cannot be reached: Server returned nothing"
    ):
        storage.read_bytes("a")
    assert len(s3.requests) == 1


def test_a_storage_that_answered_is_waited_for_in_other_processes_too(object_storage, s3):
    object_storage.write_bytes("a", b"1")
    copied = pickle.loads(pickle.dumps(object_storage))
    s3.fail("error")
    heal = threading.Timer(1, s3.fail, [None])
    heal.start()
    assert copied.read_bytes("a") == b"1"
    heal.join()


@pytest.mark.parametrize(
    ("mode", "cause"), [("full", "no space left"), ("denied", "access denied")], ids=["full", "denied"]
)
def test_what_will_not_pass_is_not_tried_again(known, s3, mode, cause):
    s3.requests.clear()
    s3.fail(mode)
    with pytest.raises(StorageError, match=f"^cannot write a in s3://[^ ]*: {cause}$"):
        known.write_bytes("a", b"1")
    assert len(s3.requests) == 1


def test_a_bucket_that_is_not_there_is_one_message(s3):
    storage = Storage(s3.uri(bucket="nobodys"))
    assert storage.list_files() == []
    with pytest.raises(StorageError, match=r"^cannot write a in s3://nobodys/[^ ]*: there is no such bucket$"):
        storage.write_bytes("a", b"1")


def test_a_disk_that_is_full_is_not_tried_again(folder, monkeypatch):
    folder.write_bytes("a", b"1")
    tries = []

    def fail(descriptor: int) -> None:
        tries.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"cannot write a in .*: no space left$"):
        folder.write_bytes("a", b"2")
    assert len(tries) == 1 and folder.read_bytes("a") == b"1"


def test_a_network_disk_that_comes_back_is_waited_for(folder, monkeypatch):
    folder.write_bytes("a", b"1")
    fsync, troubles = os.fsync, [errno.EIO, errno.ESTALE]

    def fail(descriptor: int) -> None:
        if troubles:
            raise OSError(troubles.pop(), "it is away")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    folder.write_bytes("a", b"2")
    assert folder.read_bytes("a") == b"2"


def test_waiting_draws_no_number_from_the_members_generators(folder, monkeypatch):
    import random

    state = random.getstate()
    list(zip(range(5), storage_module._delays(), strict=False))
    assert random.getstate() == state


def test_trouble_in_the_middle_of_reading_is_not_damage(known, s3):
    write_table(known, "summary", {"a": np.arange(100_000)})
    s3.fail("error")
    with pytest.raises(StorageError, match=r"cannot read analysis/summary.parquet"):
        read_table(known, "summary")


def test_a_checkpoint_survives_an_outage(object_storage, s3):
    header = json.dumps({"__metadata__": {"member_id": "m"}}).encode()
    data = len(header).to_bytes(8, "little") + header + b"0" * LARGE
    write_checkpoint(object_storage, "dense", 0, data)
    s3.fail("refuse")
    heal = threading.Timer(1, s3.fail, [None])
    heal.start()
    assert read_checkpoint(object_storage, "dense", 0, member_id="m") == data
    heal.join()


# ------------------------------------------------------------------------------------------------------- Google


def test_an_address_of_google_is_understood():
    storage = Storage("gs://anonymous@bucket/results?endpoint_override=127.0.0.1:9&scheme=http").child("demo")
    assert storage.uri == "gs://bucket/results/demo?endpoint_override=127.0.0.1:9&scheme=http"
    assert not storage.is_local


@pytest.mark.parametrize("action", ["write", "read", "list"])
def test_trouble_with_google_is_one_message(action):
    address = "gs://anonymous@bucket/a?endpoint_override=127.0.0.1:9&scheme=http&retry_limit_seconds=1"
    storage = Storage(address)
    uses = {"write": lambda: storage.write_bytes("b", b"1"), "read": lambda: storage.read_bytes("b"),
            "list": lambda: storage.list_files()}  # fmt: skip
    with pytest.raises(StorageError, match=rf"^cannot {action} .* in gs://bucket/a\?.*Could not connect to server"):
        uses[action]()
