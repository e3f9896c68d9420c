"""A W&B server on this machine, as far as the real client 0.31 and its reports need one.

    def test_something(server: Server) -> None:      # the fixture is in conftest.py
        run = wandb.init(project="p", id="abc")      # the environment points to the server
        run.log({"bpc": 2.0}, step=1)
        run.finish()
        assert server.runs["abc"].steps == [1]

What it received lies open in `runs`, `artifacts`, `reports` and `projects`. A request that it does
not know is answered with 400 and noted in `unknown`, and the fixture fails the test for it.
`server.trouble = 500` makes it answer nothing but that, `server.trouble = "silence"` makes it
answer nothing at all, `server.trouble = None` heals it. `requests` counts what came, by operation,
and `sent()` is all of it.

`server.py` is HTTP, `operations.py` the answers, `received.py` what is kept.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests.tracking.operations import OPERATIONS, stream, upload
from tests.tracking.received import ENTITY, Artifact, Conflict, Received, Report, Run

__all__ = ["ENTITY", "KEY", "Artifact", "Report", "Run", "Server"]

KEY = "0123456789abcdef0123456789abcdef01234567"
_AUTHORIZATION = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
_POLL_SECONDS = 0.02


class UnknownRequest(Exception):
    """What the server has no answer to."""


class Server(Received):
    """The server, from `start` to `stop`; see the module."""

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._http.block_on_close = False  # the client keeps connections open
        super().__init__(f"http://127.0.0.1:{self._http.server_port}")
        self.trouble: Literal["silence"] | int | None = None
        self.requests: Counter[str] = Counter()
        self.unknown: list[str] = []
        self._bodies: list[bytes] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def sent(self) -> str:
        """Everything that was sent to the server, as it was sent."""
        return b"\n".join(self._bodies).decode(errors="replace")

    def answer(
        self, method: str, path: str, authorization: str, body: bytes
    ) -> tuple[int, bytes] | None:
        """Status and content of the answer to one request; None: it gets none."""
        operation = _operation_of(method, path, body)
        with self._lock:
            self.requests[operation] += 1
            self._bodies.append(body)
        if isinstance(self.trouble, int):
            return self.trouble, b"{}"
        if self.trouble == "silence":
            while self.trouble and not self._stopped.wait(_POLL_SECONDS):
                pass
            return None
        try:
            with self._lock:
                return self._answer(operation, path, authorization, body)
        except Conflict as conflict:
            return 409, json.dumps({"errors": [{"message": str(conflict)}]}).encode()
        except Exception as error:  # whatever it is, it must show in the test
            self.unknown.append(f"{operation}: {error!r} {body[:2000]!r}")
            return 400, json.dumps({"errors": [{"message": f"unknown: {operation}"}]}).encode()

    def _answer(
        self, operation: str, path: str, authorization: str, body: bytes
    ) -> tuple[int, bytes]:
        if operation == "upload":  # as in real life, such an address needs no key
            upload(self, path, body)
            return 200, b""
        if operation not in (*OPERATIONS, "file_stream"):
            raise UnknownRequest(operation)
        if authorization != _AUTHORIZATION:
            return 401, b"{}"
        if operation == "file_stream":
            stream(self.runs[path.split("/")[-2]], json.loads(body))
            return 200, b"{}"
        data = OPERATIONS[operation](self, json.loads(body).get("variables") or {})
        return 200, json.dumps({"data": data}).encode()


def _operation_of(method: str, path: str, body: bytes) -> str:
    """`file_stream`, `upload`, the name of a GraphQL operation, or else the request itself."""
    if method == "POST" and re.fullmatch(r"/files/[^/]+/[^/]+/[^/]+/file_stream", path):
        return "file_stream"
    if method == "PUT" and path.startswith("/upload/"):
        return "upload"
    if path == "/graphql":
        match = re.search(r"\b(?:query|mutation)\s+(\w+)", json.loads(body)["query"])
        return match[1] if match else body.decode()
    return f"{method} {path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *connection: Any) -> None:
        self._owner = server
        super().__init__(*connection)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        self._reply()

    def do_PUT(self) -> None:
        self._reply()

    def do_GET(self) -> None:
        self._reply()

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        authorization = self.headers.get("Authorization", "")
        answer = self._owner.answer(self.command, self.path, authorization, body)
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        with suppress(OSError):  # the client has given up
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
