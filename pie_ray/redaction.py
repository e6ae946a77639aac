"""Addresses without the credentials that they may carry: for everything that is written down or shown."""

from __future__ import annotations

import re

# Also a pasted secret key with a slash in it; a colon before digits and a slash is a port.
_USER = re.compile(r"(?<=://)(?:[^/@:\s'\"]*:(?!\d+/)[^@\s'\"]*|[^/@\s'\"]*)@")
_SECRET_OPTION = re.compile(r"([?&][^=&\s]*(?:key|secret|token|passw|signature|credential)[^=&\s]*=)[^&\s'\"]+", re.I)


def without_secrets(text: str) -> str:
    """The text with every `key:secret@` of an address left out and the values of secret options as `***`."""
    return _SECRET_OPTION.sub(r"\1***", _USER.sub("", text))
