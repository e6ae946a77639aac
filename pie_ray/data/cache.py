"""Decode once: a data set's images as .npy files that every later process maps instead of decoding.

An entry is a folder named by what its images depend on. It is written under another name and renamed, so an entry
that is there is complete. Nothing here is fatal: without a usable cache the images are decoded in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import PIL

from ..config import AbstractData
from .entry import read_entry, write_entry
from .image_set import Splits

FORMAT = 1
"""Raised when the same files and settings come to mean other pixels, or when the layout of an entry changes."""


def cached_splits(
    config: AbstractData, files: Sequence[Path], decode: Callable[[], Splits], cache: str | None
) -> Splits:
    """The entry for `config` and `files`; where there is none, what `decode` returns, which is then kept.

    `cache` is the folder of all entries (see `cache_folder`). Warns where an entry cannot be read or kept.
    """
    name = _entry_name(config, files)
    entry = cache_folder(cache) / name
    found = _read(entry)
    if found is not None:
        return found
    splits = decode()
    # Otherwise a file changed while it was read, or was only just downloaded: the pixels do not belong to `name`.
    if _entry_name(config, files) == name and _keep(splits, entry):
        # The kept copy is mapped, so that the decoded one can be freed.
        return _read(entry) or splits
    return splits


def cache_folder(cache: str | None) -> Path:
    """The folder that a recipe's `execution.cache` names; None is $XDG_CACHE_HOME/pie_ray, or ~/.cache/pie_ray."""
    if cache is not None:
        return Path(cache).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # expanduser leaves `~` where a container's user has no home: then a folder of that name would appear here.
    home = os.path.expanduser("~")
    fallback = Path(tempfile.gettempdir() if home == "~" else home, ".cache")
    return (Path(base) if os.path.isabs(base) else fallback) / "pie_ray"


def _entry_name(config: AbstractData, files: Sequence[Path]) -> str:
    """Reads like `parquet-0123456789abcdef`."""
    settings = config.model_dump(mode="json", exclude={"path", "download"})
    if not settings.get("streaming"):
        # As entries were named before there was the field.
        settings.pop("streaming", None)
    stats = [(str(path.absolute()), path.stat()) for path in files]
    depends_on = {
        "format": FORMAT,
        "pillow": PIL.__version__,
        "settings": settings,
        "files": [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats],
    }
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
    return f"{settings['kind']}-{digest}"


def _read(entry: Path) -> Splits | None:
    """None where the entry is not there; a damaged one is removed."""
    try:
        return read_entry(entry) if entry.is_dir() else None
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{entry} is damaged, its images are decoded anew: {error}", stacklevel=4)
        _discard(entry)
        return None


def _keep(splits: Splits, entry: Path) -> bool:
    """Write an entry beside its place and move it there; False where that is impossible."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _working_folder(entry) as folder:
            written = Path(folder, "written")
            written.mkdir()
            write_entry(written, splits)
            with contextlib.suppress(OSError):
                # Fails where another process came first; its entry is as good.
                written.rename(entry)
    except OSError as error:
        warnings.warn(f"decoded images cannot be kept in {entry.parent}: {error}", stacklevel=4)
        return False
    return entry.is_dir()


def _discard(entry: Path) -> None:
    """Move the entry away before it is deleted, so that nobody finds half of it."""
    with contextlib.suppress(OSError), _working_folder(entry) as folder:
        entry.rename(Path(folder, "discarded"))


def _working_folder(entry: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f".{entry.name}-", dir=entry.parent, ignore_cleanup_errors=True)
