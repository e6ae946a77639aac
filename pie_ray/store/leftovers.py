"""What writers that were killed left behind: never visible to a reader, and only in the way."""

from __future__ import annotations

from .publishing import TEMPORARY_SUFFIX
from .storage import Storage

OLD_SECONDS = 600.0
"""A write takes seconds: after this long nobody is at it, not even a worker of a Ray that is still going down."""


def remove_leftovers(storage: Storage) -> int:
    """Delete unpublished files of old; returns their number. For who holds the lease.

    Parts of a large object that were uploaded and never put together are beyond pyarrow's reach: a bucket's lifecycle
    rule (abort incomplete multipart uploads) removes them.
    """
    times = storage.list_times()
    # Whoever holds the lease has just written to the storage, so its clock is near the newest file.
    now = max(times.values(), default=0)
    old = [path for path, time in times.items() if path.endswith(TEMPORARY_SUFFIX) and now - time > OLD_SECONDS]
    for path in old:
        storage.delete(path)
    return len(old)
