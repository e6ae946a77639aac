"""A local S3 that can fail: moto's server in a process of its own, behind an HTTP proxy in the test's process."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "bucket"

# It ends with its standard input, and so with the test however that ends.
_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

_REPLIES = {
    "error": (503, "ServiceUnavailable", "Please try again."),
    "slow down": (503, "SlowDown", "Please reduce your request rate."),
    "full": (507, "InsufficientStorage", "No space is left."),
    "denied": (403, "AccessDenied", "Access Denied"),
}
MODES = ("refuse", "cut", "stall", *_REPLIES)


class S3Server:
    """`uri()` leads through the proxy, which sees all `requests` and does as `fail` says.

    The modes: "refuse" cuts every connection; "error" and "slow down" answer 503, "denied" 403; "full" answers
    whatever writes with 507; "cut" takes half of a written body and cuts the connection; "stall" takes half of one
    and waits for another mode.
    """

    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def __init__(self, backend_port: int, host: str) -> None:
        self.requests: list[tuple[str, str]] = []
        """Method and path, with its query, of each request in the order they came; failed ones too."""
        self.mode: str | None = None
        self.stalled = threading.Event()
        """Whether a writer waits in the middle of its body."""
        self._backend_port = backend_port
        handler = type("Handler", (_Handler,), {"s3": self})
        self._proxy = ThreadingHTTPServer((host, 0), handler)
        self._proxy.daemon_threads = True
        self.endpoint = f"{host}:{self._proxy.server_address[1]}"
        self._thread = threading.Thread(target=self._proxy.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def uri(self, path: str = "results", *, bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{path}?endpoint_override={self.endpoint}&scheme=http"

    def fail(self, mode: str | None) -> None:
        """From now on; None: all works again."""
        assert mode is None or mode in MODES, mode
        self.stalled.clear()
        self.mode = mode

    def writes(self) -> list[tuple[str, str]]:
        """Those of `requests` that change something."""
        return [request for request in self.requests if request[0] in ("PUT", "POST", "DELETE")]

    def backend(self) -> http.client.HTTPConnection:
        """Past the proxy: what is really there, whatever the mode."""
        return http.client.HTTPConnection("127.0.0.1", self._backend_port, timeout=60)

    def end(self) -> None:
        self.mode = "refuse"
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: S3Server

    def handle_one_request(self) -> None:
        # A client may be killed in the middle, which is nothing to print a traceback for.
        try:
            super().handle_one_request()
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    def _answer(self) -> None:
        self.s3.requests.append((self.command, self.path))
        mode, writes = self.s3.mode, self.command in ("PUT", "POST")
        if mode == "refuse":
            self.close_connection = True
        elif mode in ("cut", "stall") and writes:
            self._pass_half(stall=mode == "stall")
        elif mode in _REPLIES and (writes or mode != "full"):
            self._body()
            self._refuse(*_REPLIES[mode])
        else:
            self._pass_on()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _forwarded(self, length: int) -> dict[str, str]:
        left_out = {"transfer-encoding", "content-length", "expect", "connection"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        return headers | {"Content-Length": str(length)}

    def _pass_on(self) -> None:
        body = self._body()
        connection = self.s3.backend()
        try:
            connection.request(self.command, self.path, body, self._forwarded(len(body)))
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def _pass_half(self, *, stall: bool) -> None:
        """The store behind us sees the beginning of a body whose end never comes."""
        body = self._body()
        connection = self.s3.backend()
        with suppress(OSError):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._forwarded(len(body)).items():
                connection.putheader(name, value)
            connection.endheaders(body[: len(body) // 2])
            if stall:
                self.s3.stalled.set()
                while self.s3.mode == "stall":
                    time.sleep(0.02)
        connection.close()
        self.close_connection = True

    def _refuse(self, status: int, code: str, message: str) -> None:
        content = (
            b""
            if self.command == "HEAD"
            else f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        )
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def s3_server(folder: Path, host: str = "127.0.0.1") -> Iterator[S3Server]:
    """An empty bucket on a server whose log lies in `folder`; `host` is where processes elsewhere reach the proxy."""
    with (folder / "s3.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port, f"the S3 server did not start:\n{(folder / 's3.log').read_text()}"
        server = S3Server(int(port), host)
        try:
            connection = server.backend()
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == 200
            connection.close()
            yield server
        finally:
            server.end()
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
