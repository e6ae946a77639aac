from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from pie_ray.errors import StoreError
from pie_ray.store import Storage


def test_a_file_is_read_as_it_was_written(storage):
    storage.write_bytes("a/b.json", b"{}")

    assert storage.read_bytes("a/b.json") == b"{}"
    with storage.open_input("a/b.json") as file:
        file.seek(1)
        assert file.read(1) == b"}"


def test_a_buffer_is_written_as_bytes_are(storage):
    storage.write_bytes("a.bin", pa.py_buffer(b"123"))
    assert storage.read_bytes("a.bin") == b"123"


def test_a_name_that_ends_in_gz_is_not_compressed(storage):
    storage.write_bytes("a.gz", b"plain")
    assert storage.read_bytes("a.gz") == b"plain"


def test_writing_again_replaces(storage):
    storage.write_bytes("a", b"long content")
    storage.write_bytes("a", b"short")
    assert storage.read_bytes("a") == b"short"


def test_an_absent_file_is_file_not_found(storage):
    assert not storage.exists("a")
    for read in (storage.read_bytes, storage.open_input):
        with pytest.raises(FileNotFoundError, match=r"a/b is not in .*results"):
            read("a/b")


def test_files_are_listed_below_a_folder(storage):
    for path in ("a/c.txt", "a/b/d.txt", "ab/e.txt"):
        storage.write_bytes(path, b"1")

    assert storage.list_files("a") == ["a/b/d.txt", "a/c.txt"]
    assert storage.list_files() == ["a/b/d.txt", "a/c.txt", "ab/e.txt"]
    assert storage.list_files("absent") == []
    assert storage.exists("a/c.txt") and not storage.exists("a")


def test_deleting_an_absent_file_is_nothing(storage):
    storage.write_bytes("a", b"1")
    storage.delete("a")
    storage.delete("a")
    assert storage.list_files() == []


def test_a_child_is_a_folder_below(storage):
    storage.child("demo").write_bytes("a", b"1")
    assert storage.list_files() == ["demo/a"]


def test_only_the_address_is_pickled(storage):
    storage.write_bytes("a", b"1")
    data = pickle.dumps(storage)
    assert len(data) < 300
    assert pickle.loads(data).read_bytes("a") == b"1"


def test_an_object_takes_one_write(object_store):
    Storage("s3://bucket/results").write_bytes("a", b"1" * 20_000_000)
    assert object_store.num_writes == 1


# ------------------------------------------------------------------------------------------- finish or be absent


def test_a_local_write_that_fails_leaves_what_was_there(folder, monkeypatch):
    folder.write_bytes("a", b"old")

    def fail(source: str, target: str) -> None:
        assert Path(source).read_bytes() == b"new"
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StoreError, match=r"cannot write a in .*: the disk is full"):
        folder.write_bytes("a", b"new")
    assert folder.read_bytes("a") == b"old"
    assert os.listdir(folder.uri) == ["a"]


def test_an_interrupt_leaves_nothing(folder, monkeypatch):
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.write_bytes("a", b"new")
    assert os.listdir(folder.uri) == []


def test_a_killed_process_leaves_nothing_visible(folder, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda source, target: None)
    folder.write_bytes("a/b", b"half")
    assert len(os.listdir(Path(folder.uri, "a"))) == 1
    assert folder.list_files() == []


def test_an_upload_that_fails_leaves_nothing(object_store):
    object_store.fail_write = True
    with pytest.raises(StoreError, match=r"cannot write a in s3://bucket/results: .*the network is down"):
        Storage("s3://bucket/results").write_bytes("a", b"1")
    assert object_store.objects == {}


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot write a in .*file/results: .*Not a directory"):
        Storage(tmp_path / "file" / "results").write_bytes("a", b"1")


# ------------------------------------------------------------------------------------------------------ addresses


def test_a_relative_folder_is_kept_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage("results").uri == str(tmp_path / "results")
    assert Storage("results").is_local


def test_a_file_address_is_a_folder(tmp_path):
    storage = Storage(f"file://{tmp_path}/a%20b")
    storage.write_bytes("c", b"1")
    assert (tmp_path / "a b" / "c").exists()
    assert storage.uri == str(tmp_path / "a b")


def test_an_objects_address_keeps_its_query():
    storage = Storage("s3://bucket/results/?endpoint_override=localhost:9000&scheme=http").child("demo")
    assert storage.uri == "s3://bucket/results/demo?endpoint_override=localhost:9000&scheme=http"
    assert not storage.is_local


def test_credentials_in_an_address_are_never_shown():
    storage = Storage("s3://key:secret@bucket/results?endpoint_override=localhost:9000&scheme=http&region=a")
    assert storage.uri == str(storage) == "s3://bucket/results?endpoint_override=localhost:9000&scheme=http&region=a"
    assert "secret" not in repr(storage)
    with pytest.raises(StoreError) as raised:
        Storage("s3://key:secret@bucket/results?surprise=1")
    assert "secret" not in str(raised.value)


ACCEPTED = "expected a folder, file:///folder, s3://bucket/folder or gs://bucket/folder"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", f"the storage is empty: {ACCEPTED}"),
        ("http://host/results", f"storage 'http://host/results' is not understood: {ACCEPTED}"),
        ("s3:/bucket/results", f"storage 's3:/bucket/results' is not understood: {ACCEPTED}"),
        ("s3://", f"storage 's3://' names no bucket: {ACCEPTED}"),
        ("s3://bucket/a?b=1&region=c", f"cannot open storage 's3://bucket/a?b=1&region=c': .*'b'; {ACCEPTED}"),
    ],
)
def test_an_address_that_is_not_understood(uri, message):
    with pytest.raises(StoreError, match=message.replace("?", r"\?")):
        Storage(uri)
