from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pie_ray.errors import RecipeError, StoreError
from pie_ray.recipe import parse_recipe
from pie_ray.store import Storage, read_examples, write_examples


def test_a_file_is_read_as_it_was_written(storage):
    storage.write_bytes("a/b.json", b"{}")

    assert storage.read_bytes("a/b.json") == b"{}"
    assert storage.read_file("a/b.json", lambda file: (file.seek(1), file.read(1))) == (1, b"}")


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
    with pytest.raises(FileNotFoundError, match=r"a/b is not in .*results"):
        storage.read_bytes("a/b")


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


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot write a in .*file/results: .*Not a directory"):
        Storage(tmp_path / "file" / "results").write_bytes("a", b"1")


# ---------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/../../b", "a/..", "./a", "a//b", "a/", "..\\a", "a\\..\\b", "a\0b", "a\nb"]
)
def test_no_path_leaves_the_storage(storage, path):
    outside = Storage(storage.uri.rpartition("/")[0]) if storage.is_local else storage
    for use in (storage.read_bytes, storage.exists, storage.delete, storage.list_files, storage.child):
        with pytest.raises(StoreError, match=r"is no path of a results folder"):
            use(path)
    with pytest.raises(StoreError, match=r"is no path of a results folder"):
        storage.write_bytes(path, b"1")
    assert outside.list_files() == []


@pytest.mark.parametrize("name", ["..", "a/../../../b", "/b"])
def test_an_evaluation_set_cannot_lead_outside(storage, name):
    with pytest.raises(StoreError, match=r"is no path of a results folder"):
        write_examples(storage, f"{name}/c", np.arange(1), np.zeros(1), ["k"], {}, ["zero"])
    assert storage.list_files() == []


def test_class_names_groups_and_keys_lead_nowhere(storage):
    write_examples(storage, "test", np.arange(1), np.zeros(1), ["../k"], {"../g": np.ones(1)}, ["..%2F", "../../c"])
    assert storage.list_files() == ["examples/test.parquet"]
    assert read_examples(storage, "test").class_names == ("..%2F", "../../c")


@pytest.mark.parametrize("name", ["..", "../a", "a/b", "/a", "a\\b", ".hidden", ""])
def test_a_recipe_cannot_be_called_what_leads_elsewhere(tiny_text, name):
    with pytest.raises(RecipeError, match="name: found"):
        parse_recipe(tiny_text, [f"name={name!r}"])


def test_a_name_may_look_escaped(storage):
    storage.write_bytes("..%2Fa/%2e%2e", b"1")
    assert storage.list_files() == ["..%2Fa/%2e%2e"]


def test_writing_replaces_a_link_and_not_what_it_leads_to(folder, tmp_path):
    (tmp_path / "target").write_bytes(b"mine")
    folder.write_bytes("a", b"1")
    Path(folder.uri, "b").symlink_to(tmp_path / "target")

    folder.write_bytes("b", b"2")

    assert (tmp_path / "target").read_bytes() == b"mine"
    assert folder.read_bytes("b") == b"2"


def test_a_linked_folder_is_followed(folder, tmp_path):
    """So that a person can keep checkpoints on another disk."""
    (tmp_path / "disk").mkdir()
    folder.write_bytes("a", b"1")
    Path(folder.uri, "checkpoints").symlink_to(tmp_path / "disk")

    folder.write_bytes("checkpoints/b", b"2")

    assert (tmp_path / "disk" / "b").read_bytes() == b"2"
    assert folder.list_files() == ["a", "checkpoints/b"]


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


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/data/results/demo", ("/data/results", "demo")),
        ("/demo", ("/", "demo")),
        ("s3://bucket/results/demo?region=eu-1", ("s3://bucket/results?region=eu-1", "demo")),
        ("s3://bucket/demo/?region=eu-1", ("s3://bucket?region=eu-1", "demo")),
    ],
)
def test_the_place_of_a_folder_is_its_parent_and_name(uri, place):
    storage = Storage(uri)
    assert storage.place == place
    assert Storage(place[0]).child(place[1]).uri == storage.uri.rstrip("/").replace("/?", "?")


def test_credentials_in_an_address_are_never_shown():
    storage = Storage("s3://key:secret@bucket/results?endpoint_override=localhost:9000&scheme=http&region=a")
    assert storage.uri == str(storage) == "s3://bucket/results?endpoint_override=localhost:9000&scheme=http&region=a"
    assert "secret" not in repr(storage)
    assert Storage("s3://bucket/a@b?region=a").uri == "s3://bucket/a@b?region=a"
    for uri in (
        "s3://key:secret@bucket/results?surprise=1",
        "s3://key:se/secret@bucket/a",
        "s3://bucket/a?token=secret",
    ):
        with pytest.raises(StoreError) as raised:
            Storage(uri)
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


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_a_patience_that_is_no_number_of_seconds_is_told(tmp_path, monkeypatch, text):
    monkeypatch.setenv("PIE_RAY_STORAGE_PATIENCE_SECONDS", text)
    with pytest.raises(StoreError, match=f"PIE_RAY_STORAGE_PATIENCE_SECONDS: found '{text}', accepted: a number"):
        Storage(tmp_path)
