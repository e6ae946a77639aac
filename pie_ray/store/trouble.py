"""What went wrong with a storage, in plain words, and whether it may pass by itself.

Local file systems tell by `errno`; pyarrow tells of an object store only in its message, as "AWS Error SLOW_DOWN during
PutObject operation: ..." or "google::cloud::Status(UNAVAILABLE: ...".
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """Why an operation failed; one that `passes` is worth another try later."""

    cause: str
    passes: bool


_LASTING = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left: the quota is used up",
    errno.EACCES: "access denied",
    errno.EPERM: "access denied",
    errno.EROFS: "the storage is read-only",
}
_PASSING = {
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.ENOTCONN, errno.ECONNREFUSED,
    errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ENETRESET, errno.EPIPE,
}  # fmt: skip

_AWS = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during \w+ operation(?:: (.*))?", re.S)
_AWS_LASTING = {
    "ACCESS_DENIED": "access denied",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "INVALID_ACCESS_KEY_ID": "access denied: the access key is not known",
    "INVALID_CLIENT_TOKEN_ID": "access denied: the access key is not known",
    "UNRECOGNIZED_CLIENT": "access denied: the access key is not known",
    "SIGNATURE_DOES_NOT_MATCH": "access denied: the secret key is not the access key's",
    "MISSING_AUTHENTICATION_TOKEN": "access denied: no credentials were found",
    "INVALID_ACCESS_KEY_ID_EXCEPTION": "access denied: the access key is not known",
}
_AWS_PASSING = {
    "NETWORK_CONNECTION", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING", "INTERNAL_FAILURE", "REQUEST_TIMEOUT",
    "BANDWIDTH_LIMIT_EXCEEDED",
}  # fmt: skip
_AWS_TOLD = {"NETWORK_CONNECTION": "it cannot be reached"}

_GOOGLE = re.compile(r"google::cloud::Status\((\w+): (.*)", re.S)
_GOOGLE_PASSING = {"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
_GOOGLE_LASTING = {
    "PERMISSION_DENIED": "access denied",
    "UNAUTHENTICATED": "access denied: no credentials were found, or they are not known",
    "NOT_FOUND": "there is no such bucket",
}

_NO_SPACE = "507"  # HTTP's "insufficient storage", the one server error that does not pass


def diagnose(error: Exception) -> Trouble | None:
    """None where the error is not the storage's: a parser's, on damaged bytes."""
    text = str(error)
    if match := _GOOGLE.search(text):
        return _google(match[1], match[2])
    if match := _AWS.search(text):
        return _aws(match[1], match[2] or "", match[3] or "")
    number = getattr(error, "errno", None)
    if number is None:
        return None
    reason = getattr(error, "strerror", None) or text
    return Trouble(_LASTING.get(number, _first_line(reason)), passes=number in _PASSING)


def _aws(code: str, status: str, reason: str) -> Trouble:
    if status == _NO_SPACE:
        return Trouble(_LASTING[errno.ENOSPC], passes=False)
    if code in _AWS_LASTING or status in ("401", "403"):
        return Trouble(_AWS_LASTING.get(code, "access denied"), passes=False)
    passes = code in _AWS_PASSING or status.startswith("5") or status == "429"
    told = f"HTTP status {status}" if status else _AWS_TOLD.get(code, code.replace("_", " ").lower())
    return Trouble(f"{told}: {_first_line(reason)}", passes)


def _google(code: str, reason: str) -> Trouble:
    if f"HTTP status code: {_NO_SPACE}" in reason:
        return Trouble(_LASTING[errno.ENOSPC], passes=False)
    reason = reason.rpartition("last message of ")[2].partition(" error_info=")[0]
    return Trouble(_GOOGLE_LASTING.get(code, _first_line(reason)), passes=code in _GOOGLE_PASSING)


def _first_line(text: str) -> str:
    """Without curl's number, and without the details and the request's id that follow."""
    line = (text.strip().splitlines() or ["no reason is given"])[0]
    return re.sub(r"^curlCode: \d+, |; Details: .*| \(Request ID: .*", "", line).rstrip(".")
