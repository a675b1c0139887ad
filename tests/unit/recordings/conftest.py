"""A provider on loopback, and a folder's recording."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout_local.recordings import identity, vcr_formats
from rollout_local.recordings.closest import parts_of
from rollout_local.recordings.exchange import Answer
from rollout_local.recordings.identity import Reader
from rollout_local.recordings.lines import Interaction
from rollout_local.redaction import Redactor


class Provider:
    """Answers every POST with its body's echo and a running number; `script` says what a path does instead.

    A script is a list of (status, headers, body) or of callables taking the handler; the last one stays.
    """

    def __init__(self) -> None:
        self.hits: list[tuple[str, bytes, dict[str, str]]] = []
        self.script: dict[str, list[Any]] = {}
        self.go_on = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        with self._lock:
            self.hits.append((path, body, headers))
            steps = self.script.get(path.partition("?")[0])
            step = (steps.pop(0) if len(steps) > 1 else steps[0]) if steps else None
            return len(self.hits), step

    @property
    def count(self) -> int:
        return len(self.hits)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = self._dechunked()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        number, step = self.provider.take(self.path, body, {k.lower(): v for k, v in self.headers.items()})
        if callable(step):
            step(self)
        elif step is not None:
            self.send(*step)
        else:
            self.send(200, {}, json.dumps({"n": number, "echo": body.decode("utf-8", "replace")}).encode())

    def _dechunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, *chunks: bytes) -> None:
        """Send SSE chunks; the first at once, the rest when the test says `go_on`."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for place, chunk in enumerate(chunks):
            if place == 1:
                assert self.provider.go_on.wait(10)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def hang(self) -> None:
        """Answer nothing until the test says `go_on`."""
        self.provider.go_on.wait(10)
        self.close_connection = True

    def drop(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True
        self.connection.close()

    def half(self) -> None:
        """Promise a hundred bytes, send seven, close."""
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"half an")
        self.wfile.flush()
        time.sleep(0.05)
        self.close_connection = True

    def zipped(self) -> None:
        self.send(200, {"content-encoding": "gzip"}, gzip.compress(b'{"zipped":true}'))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Clients that go away are what is tested."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    handler = type("Bound", (Handler,), {"provider": made})
    server = _Server(("127.0.0.1", 0), handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.yaml"


class Asker:
    """Asks a provider things with httpx, and tells what it got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(trust_env=False, timeout=5)

    def post(self, body: Any, path: str = "/v1/chat", **more: Any) -> httpx.Response:
        return self.client.post(self.url + path, json=body, **more)

    def __call__(self, body: Any, path: str = "/v1/chat", **more: Any) -> Any:
        return self.post(body, path, **more).json()


@pytest.fixture
def ask(provider: Provider) -> Iterator[Asker]:
    asker = Asker(provider.url)
    yield asker
    asker.client.close()


class Maker:
    """Writes recordings without a provider."""

    def __init__(self) -> None:
        self.reader = Reader(Redactor({}))

    def item(self, body: Any, answer: Any = "ok", *, scope: str = "", attempt: int = 1, **more: Any) -> Interaction:
        raw = json.dumps(body).encode()
        url = more.pop("url", "http://127.0.0.1:1/v1/chat")
        asked = self.reader.read("POST", url, [("content-type", "application/json")], raw)
        if not isinstance(answer, Answer):
            answer = Answer(more.pop("status", 200), "OK", (), json.dumps(answer).encode())
        return Interaction(
            key=asked.key, scope=scope, attempt=attempt, parts=parts_of(asked.canonical), recorded_at=0.0, seconds=0.5,
            lease=None, method="POST", url=url, headers=asked.headers, body=raw, answer=answer,
        )  # fmt: skip

    def write(self, path: Path, *items: Interaction, **manifest: Any) -> None:
        told = {"engine": "litellm", "versions": {}, "key": identity.VERSION, "ignore": [], **manifest}
        vcr_formats.write(items, told, path)


@pytest.fixture
def make() -> Maker:
    return Maker()
