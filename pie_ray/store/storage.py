"""Where results lie: a folder, local or in an object store, whose files are there whole or not at all.

Everything is addressed by relative paths with `/`. A file that is absent is FileNotFoundError; every other trouble
with the storage is one StoreError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, final
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from ..errors import StoreError

_ACCEPTED = "a folder, file:///folder, s3://bucket/folder or gs://bucket/folder"
_TEMPORARY_SUFFIX = ".pie_ray_tmp"

_OPTIONS = {
    "s3": "allow_delayed_open=true",  # one PUT an object instead of the three requests of a multipart upload
    "gs": "retry_limit_seconds=60",  # pyarrow's own is 15 minutes, in which nothing is said
}


@final
class Storage:
    """One folder of results. Only the address is pickled, so it travels to other processes and machines.

        storage = Storage("s3://bucket/results?endpoint_override=localhost:9000&scheme=http").child("demo")
        storage.write_bytes("manifest.json", b"{}")

    Credentials come from the environment as the cloud's own tools read them. Raises StoreError for an address that
    is not understood.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self._address = _canonical(os.fspath(uri))
        self._filesystem, self._root = _open_filesystem(self._address)

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self._address,)

    @property
    def uri(self) -> str:
        """The address without the credentials that it may carry; of a local folder, its absolute path."""
        return _without_secrets(self._address)

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
        address, mark, query = (self._address, "", "") if self.is_local else self._address.partition("?")
        return Storage(f"{address.rstrip('/')}/{path}{mark}{query}")

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        with self._explaining("look for", path):
            return bool(self._filesystem.get_file_info(self._full(path)).is_file)

    def read_bytes(self, path: str) -> bytes:
        # Not an input *stream*, which asks an object store for 256 KiB at a time.
        with self._reading(path), self._filesystem.open_input_file(self._full(path)) as file:
            return bytes(file.read())

    def open_input(self, path: str) -> pa.NativeFile:
        """A file to read here and there, as Parquet is read; close it."""
        with self._reading(path):
            return self._filesystem.open_input_file(self._full(path))

    def write_bytes(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write a whole file, replacing one that is there; if this raises, `path` is as it was before."""
        with self._explaining("write", path):
            if self.is_local:
                _replace_file(self._full(path), data)
            else:
                self._put_object(self._full(path), data)

    def list_files(self, folder: str = "") -> list[str]:
        """Sorted paths, relative to this storage, of all files below `folder`; empty where there is no such folder."""
        selector = fs.FileSelector(self._full(folder), recursive=True, allow_not_found=True)
        with self._explaining("list", folder or "the files"):
            found = [info.path for info in self._filesystem.get_file_info(selector) if info.is_file]
        start = len(self._root.rstrip("/")) + 1
        return sorted(path[start:] for path in found if not path.endswith(_TEMPORARY_SUFFIX))

    def delete(self, path: str) -> None:
        """Delete the file at `path`, if there is one."""
        with self._explaining("delete", path), suppress(FileNotFoundError):
            self._filesystem.delete_file(self._full(path))

    def _full(self, path: str) -> str:
        assert not path.startswith("/") and ".." not in path.split("/"), f"not a relative path: {path!r}"
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    def _put_object(self, path: str, data: bytes | pa.Buffer) -> None:
        # Closing publishes, and so do leaving a `with` by an exception and the garbage collector. All data goes
        # into one write, so that nothing of ours can fail between the first byte and the last.
        stream = self._filesystem.open_output_stream(path, compression=None)
        stream.write(data)
        stream.close()

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is not in {self}") from error
        except (OSError, pa.ArrowException) as error:
            raise self._trouble("read", path, error) from error

    @contextmanager
    def _explaining(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise self._trouble(action, path, error) from error

    def _trouble(self, action: str, path: str, error: Exception) -> StoreError:
        return StoreError(_without_secrets(f"cannot {action} {path} in {self}: {error}"))


def _canonical(uri: str) -> str:
    """The address with a local folder made absolute: a process elsewhere has another working directory."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", uri)
    if match is None:
        if not uri:
            raise StoreError(f"the storage is empty: expected {_ACCEPTED}")
        return os.path.abspath(os.path.expanduser(uri))
    if match[1] not in ("file", "s3", "gs") or not uri.startswith(f"{match[1]}://"):
        raise StoreError(f"storage {_without_secrets(uri)!r} is not understood: expected {_ACCEPTED}")
    if match[1] == "file":
        return str(_from_uri(uri)[1])
    return uri


def _open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a canonical address, and the path of its folder in it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    filesystem, root = _from_uri(uri)
    if not root:
        raise StoreError(f"storage {_without_secrets(uri)!r} names no bucket: expected {_ACCEPTED}")
    return filesystem, root


def _from_uri(uri: str) -> tuple[Any, Any]:
    option = _OPTIONS.get(uri.partition("://")[0])
    if option is not None and option.partition("=")[0] not in uri:
        # An older pyarrow does not know the option; the address itself is judged below.
        with suppress(OSError, pa.ArrowException):
            return fs.FileSystem.from_uri(f"{uri}{'&' if '?' in uri else '?'}{option}")
    try:
        return fs.FileSystem.from_uri(uri)
    except (OSError, pa.ArrowException) as error:
        message = f"cannot open storage {uri!r}: {error}; expected {_ACCEPTED}"
        raise StoreError(_without_secrets(message)) from error


def _without_secrets(text: str) -> str:
    """The text without the `key:secret@` that an address may carry."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _replace_file(path: str, data: bytes | pa.Buffer) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{uuid4().hex}{_TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
