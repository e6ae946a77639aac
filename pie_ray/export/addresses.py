"""Where a tool finds an example's picture: a root that the user names, and the example's key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from ..errors import InputError

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files below its LOCAL_FILES_DOCUMENT_ROOT."""

_ROW = re.compile(r"[^/]*\[\d+\]")


def image_address(root: str, key: str) -> str:
    """The root with the key below it; in web addresses, Label Studio's own among them, with escaped characters.

    Those of object stores hold their keys as they are.
    """
    between = "" if root.endswith(("/", "=")) else "/"
    is_web = root.startswith(("http://", "https://", "/data/"))
    return f"{root}{between}{quote(key) if is_web else key}"


def check_file_keys(keys: Iterable[str]) -> None:
    """Raises InputError where a key names a row of a data set, such as `digits[17]`, and no file."""
    row = next((key for key in keys if _ROW.fullmatch(key)), None)
    if row is not None:
        raise InputError(
            f"--image-root: found the key {row!r}, which names no file; accepted with images in files of their own. "
            "Without it the pictures are written"
        )
