"""Where results lie: a folder, local or in an object store, whose files are there whole or not at all.

Everything is addressed by relative paths with `/`. A file that is absent is FileNotFoundError; every other trouble
with the storage is one StorageError. Trouble that may pass is waited out for `PATIENCE_SECONDS`, once the storage has
answered: a mistyped address errs at once.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from typing import TypeVar, final

import pyarrow as pa
from pyarrow import fs

from ..errors import StorageError, StoreError
from ..redaction import without_secrets
from .address import below, canonical, open_filesystem, parent
from .publishing import TEMPORARY_SUFFIX, put_object, replace_file
from .trouble import diagnose

PATIENCE_SECONDS = 120.0
"""How long a storage may be away; the environment's `PIE_RAY_STORAGE_PATIENCE_SECONDS` says otherwise."""

_FIRST_DELAY, _LONGEST_DELAY = 0.25, 8.0
# The global generators belong to the members' random numbers.
_random = random.Random()

T = TypeVar("T")


@final
class Storage:
    """One folder of results. Only the address is pickled, so it travels to other processes and machines.

        storage = Storage("s3://bucket/results?endpoint_override=localhost:9000&scheme=http").child("demo")
        storage.write_bytes("manifest.json", b"{}")

    Credentials come from the environment as the cloud's own tools read them. Raises StoreError for an address or a
    patience that is not understood, and StorageError where the address leads nowhere.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self._open(canonical(os.fspath(uri)), _patience(), False)

    def _open(self, address: str, patience: float, has_answered: bool) -> Storage:
        self._address, self._root = address, ""
        self._patience, self._has_answered = patience, has_answered
        # A bucket whose region is not named is asked for it.
        self._filesystem, self._root = self._try("open", "", lambda: open_filesystem(address))
        self._has_answered = has_answered
        return self

    def __reduce__(self) -> tuple[Callable[[str, float, bool], Storage], tuple[str, float, bool]]:
        return _reopen, (self._address, self._patience, self._has_answered)

    @property
    def uri(self) -> str:
        """The address without the credentials that it may carry; of a local folder, its absolute path."""
        return without_secrets(self._address)

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    @property
    def is_local(self) -> bool:
        return isinstance(self._filesystem, fs.LocalFileSystem)

    @property
    def num_threads(self) -> int:
        """How many files to read at once: requests to an object store wait for the network, not for a processor."""
        return 4 if self.is_local else 32

    def child(self, path: str) -> Storage:
        """The storage `path` below this one; an address' query is kept."""
        _check(path)
        return _reopen(below(self._address, path), self._patience, self._has_answered)

    @property
    def place(self) -> tuple[str, str]:
        """The address of the folder that this one lies in, credentials and all, and this one's name there."""
        return parent(self._address)

    def with_patience(self, seconds: float) -> Storage:
        """The same storage, waiting this long for trouble to pass."""
        other = copy(self)
        other._patience = seconds
        return other

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        full = self._full(path)
        return self._try("look for", path, lambda: bool(self._filesystem.get_file_info(full).is_file))

    def read_bytes(self, path: str) -> bytes:
        return self.read_file(path, lambda file: bytes(file.read()))

    def read_file(self, path: str, read: Callable[[pa.NativeFile], T]) -> T:
        """What `read` makes of the open file, here and there as Parquet is read; called anew after a trouble."""
        full = self._full(path)

        def attempt() -> T:
            # Not an input *stream*, which asks an object store for 256 KiB at a time.
            with self._filesystem.open_input_file(full) as file:
                return read(file)

        try:
            return self._try("read", path, attempt)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is not in {self}") from error

    def write_bytes(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write a whole file, replacing one that is there; if this raises, `path` is as it was before.

        Where a store's answer got lost it may be written all the same, and whole.
        """
        full = self._full(path)
        if self.is_local:
            self._try("write", path, lambda: replace_file(full, data))
        else:
            self._try("write", path, lambda: put_object(self._filesystem, full, data))

    def list_files(self, folder: str = "") -> list[str]:
        """Sorted paths, relative to this storage, of all files below `folder`; empty where there is no such folder."""
        return sorted(path for path in self.list_times(folder) if not path.endswith(TEMPORARY_SUFFIX))

    def list_times(self, folder: str = "") -> dict[str, float]:
        """When each file below `folder` was written, in seconds by the storage's own clock; unfinished ones too."""
        selector = fs.FileSelector(self._full(folder), recursive=True, allow_not_found=True)
        found = self._try("list", folder or "the files", lambda: self._filesystem.get_file_info(selector))
        start = len(self._root.rstrip("/")) + 1
        return {info.path[start:]: info.mtime_ns / 1e9 for info in found if info.is_file}

    def delete(self, path: str) -> None:
        """Delete the file at `path`, if there is one."""
        full = self._full(path)

        def attempt() -> None:
            with suppress(FileNotFoundError):
                self._filesystem.delete_file(full)

        self._try("delete", path, attempt)

    def _full(self, path: str) -> str:
        if path:
            _check(path)
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    def _try(self, action: str, path: str, attempt: Callable[[], T]) -> T:
        """Repeat what fails by a trouble that may pass; FileNotFoundError is an answer where a file is read."""
        started = time.monotonic()
        deadline = started + (self._patience if self._has_answered else 0)
        for delay in _delays():
            try:
                result = attempt()
            except (OSError, pa.ArrowException) as error:
                if action == "read" and isinstance(error, FileNotFoundError):
                    self._has_answered = True
                    raise
                trouble = diagnose(error)
                now = time.monotonic()
                if trouble is None or not trouble.passes or now + delay > deadline:
                    cause = without_secrets(str(error)) if trouble is None else trouble.cause
                    tried = f" (tried for {now - started:.0f} s)" if now - started >= 1 else ""
                    what = f"{action} {path} in" if action != "open" else "open the storage"
                    raise StorageError(f"cannot {what} {self}: {cause}{tried}") from error
            else:
                self._has_answered = True
                return result
            time.sleep(delay)
        raise AssertionError("the delays never end")


def _patience() -> float:
    name = "PIE_RAY_STORAGE_PATIENCE_SECONDS"
    text = os.environ.get(name, "")
    try:
        seconds = float(text) if text else PATIENCE_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise StoreError(f"{name}: found {text!r}, accepted: a number of seconds, 0 or more")
    return seconds


def _reopen(address: str, patience: float, has_answered: bool) -> Storage:
    return Storage.__new__(Storage)._open(address, patience, has_answered)


def _delays() -> Iterator[float]:
    """Growing, and uneven: the members of a sweep need not all come back at the same moment."""
    delay = _FIRST_DELAY
    while True:
        yield delay * _random.uniform(0.7, 1)
        delay = min(2 * delay, _LONGEST_DELAY)


def _check(path: str) -> None:
    """Whatever a name is taken from, a path must stay below the storage on every kind of storage."""
    parts = path.split("/")
    if not all(parts) or {".", ".."}.intersection(parts) or "\\" in path or not path.isprintable():
        raise StoreError(f"{path!r} is no path of a results folder: expected names with / between them, without ..")
