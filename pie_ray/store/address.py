"""Addresses of storages, and the file systems that they lead to."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from ..errors import StoreError
from ..redaction import without_secrets
from .trouble import diagnose

ACCEPTED = "a folder, file:///folder, s3://bucket/folder or gs://bucket/folder"

_S3_OPTIONS = {"region", "scheme", "endpoint_override", "tls_ca_file_path"}
_GOOGLE_OPTION = "retry_limit_seconds=5"  # pyarrow's own is 15 minutes, in which nothing is said


def canonical(uri: str) -> str:
    """The address with a local folder made absolute: a process elsewhere has another working directory."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", uri)
    if match is None:
        if not uri:
            raise StoreError(f"the storage is empty: expected {ACCEPTED}")
        return os.path.abspath(os.path.expanduser(uri))
    if match[1] not in ("file", "s3", "gs") or not uri.startswith(f"{match[1]}://"):
        raise StoreError(f"storage {without_secrets(uri)!r} is not understood: expected {ACCEPTED}")
    if match[1] == "file":
        return str(_from_uri(uri)[1])
    return uri


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a canonical address, and the path of its folder in it.

    Raises StoreError where it is not understood, OSError for a trouble of the storage itself.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    if uri.startswith("gs://"):
        filesystem, root = _open_google(uri)
    else:
        filesystem, root = _from_uri(uri)
        filesystem = _with_own_retries(uri, filesystem)
    if not root:
        raise StoreError(f"storage {without_secrets(uri)!r} names no bucket: expected {ACCEPTED}")
    return filesystem, root


def below(uri: str, path: str) -> str:
    """The canonical address of a folder below another; an object store's query is kept."""
    address, query = _without_query(uri)
    return f"{address.rstrip('/')}/{path}{query}"


def parent(uri: str) -> tuple[str, str]:
    """The canonical address of the folder that another lies in, and the other's name there: what `below` joins."""
    address, query = _without_query(uri)
    folder, _, name = address.rstrip("/").rpartition("/")
    return f"{folder or '/'}{query}", name


def _without_query(uri: str) -> tuple[str, str]:
    address, mark, query = uri.partition("?") if "://" in uri else (uri, "", "")
    return address, mark + query


def _open_google(uri: str) -> tuple[Any, Any]:
    if _GOOGLE_OPTION.partition("=")[0] not in uri:
        # An older pyarrow does not know the option; the address itself is judged below.
        with suppress(OSError, pa.ArrowException):
            return fs.FileSystem.from_uri(f"{uri}{'&' if '?' in uri else '?'}{_GOOGLE_OPTION}")
    return _from_uri(uri)


def _with_own_retries(uri: str, filesystem: Any) -> fs.FileSystem:
    """The same store, one request an object, with every failure told at once: `Storage` is the one that is patient.

    Opened from an address, pyarrow repeats a request for 6 s and more, and writes an object by three.
    """
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if not options.keys() <= _S3_OPTIONS:
        return filesystem
    credentials = {}
    if parts.username and parts.password:
        credentials = {"access_key": unquote(parts.username), "secret_key": unquote(parts.password)}
    return fs.S3FileSystem(
        **{**options, **credentials, "region": filesystem.region},
        allow_delayed_open=True,
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _from_uri(uri: str) -> tuple[Any, Any]:
    try:
        return fs.FileSystem.from_uri(uri)
    except (OSError, pa.ArrowException) as error:
        if diagnose(error) is not None:
            raise
        message = f"cannot open storage {uri!r}: {error}; expected {ACCEPTED}"
        raise StoreError(without_secrets(message)) from error
