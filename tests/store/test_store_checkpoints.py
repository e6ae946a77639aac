from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from pie_ray.errors import StoreError
from pie_ray.store import read_checkpoint, read_checkpoint_metadata, write_checkpoint

DATA = save({"weight": np.arange(3, dtype=np.float32)}, metadata={"member_id": "abcd", "epochs": "4"})


def test_a_checkpoint_comes_back(storage):
    write_checkpoint(storage, "dense", 3, DATA)
    assert storage.list_files() == ["checkpoints/dense/3.safetensors"]
    assert load(read_checkpoint(storage, "dense", 3))["weight"].tolist() == [0, 1, 2]
    assert read_checkpoint(storage, "dense", 3, member_id="abcd") == DATA
    assert read_checkpoint_metadata(storage, "dense", 3) == {"member_id": "abcd", "epochs": "4"}


def test_another_members_checkpoint_is_refused_with_both_ids(storage):
    write_checkpoint(storage, "dense", 3, DATA)
    with pytest.raises(StoreError, match=r"dense/3\.safetensors in .* is of member abcd, the recipe's is ffff"):
        read_checkpoint(storage, "dense", 3, member_id="ffff")


def test_a_checkpoint_without_metadata_is_nobodys(storage):
    write_checkpoint(storage, "dense", 3, save({"weight": np.zeros(1)}))
    assert read_checkpoint_metadata(storage, "dense", 3) == {}
    with pytest.raises(StoreError, match="is of member None"):
        read_checkpoint(storage, "dense", 3, member_id="ffff")


def test_an_absent_checkpoint_is_named(storage):
    for read in (read_checkpoint, read_checkpoint_metadata):
        with pytest.raises(StoreError, match=r"dense/3\.safetensors is not in .*: its member is not trained yet"):
            read(storage, "dense", 3)


@pytest.mark.parametrize("data", [b"", b"1234", DATA[:20], b"\xff" * 100, DATA.replace(b"{", b"[")])
def test_a_damaged_checkpoint_is_one_message(storage, data):
    write_checkpoint(storage, "dense", 3, data)
    for read in (read_checkpoint, read_checkpoint_metadata):
        with pytest.raises(StoreError, match=r"dense/3\.safetensors in .* is no safetensors file; delete it"):
            read(storage, "dense", 3)
