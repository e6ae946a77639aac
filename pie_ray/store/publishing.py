"""Files and objects that are there whole or not at all, whatever happens to the one who writes them."""

from __future__ import annotations

import os
from contextlib import suppress
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

TEMPORARY_SUFFIX = ".pie_ray_tmp"
"""Of what is not published yet; a process that is killed leaves it behind (see `leftovers`)."""

ONE_REQUEST_BYTES = 8 * 1024**2
"""Objects up to here are one PUT; pyarrow uploads larger ones in parts, from 10 MiB on."""


def replace_file(path: str, data: bytes | pa.Buffer) -> None:
    """Write a local file under another name and rename it."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = _temporary(folder)
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


def put_object(filesystem: fs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    """Write an object in one request; a large one under another name, in parts, that the store then copies at once."""
    if len(data) <= ONE_REQUEST_BYTES:
        _upload(filesystem, path, data)
        return
    temporary = _temporary(os.path.dirname(path))
    try:
        _upload(filesystem, temporary, data)
        filesystem.copy_file(temporary, path)
    finally:
        with suppress(OSError, pa.ArrowException):
            filesystem.delete_file(temporary)


def _upload(filesystem: fs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    # Closing publishes, whatever was written so far: here, and not when the garbage collector comes to it. Only a
    # write that is uploaded in parts can fail.
    stream = filesystem.open_output_stream(path, compression=None)
    try:
        stream.write(data)
    finally:
        stream.close()


def _temporary(folder: str) -> str:
    return f"{folder}/.{uuid4().hex}{TEMPORARY_SUFFIX}"
