"""The simulator on loopback: HTTP/1.1 with keep-alive around `Provider`.

Every answer is one write of head and body, so that a client never waits for a delayed packet. `stop` also closes the
connections that clients keep open: nothing answers after it.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from rollout_local.errors import InputError
from rollout_local.simulator import chat
from rollout_local.simulator.provider import Provider, Reply, Settings
from rollout_local.simulator.script import Script

HOST = "127.0.0.1"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}
_CHAT = ("/v1/chat/completions", "/chat/completions")
_NO_LINGER = struct.pack("ii", 1, 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, provider: Provider) -> None:
        self.provider = provider
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def process_request(self, request: Any, client_address: object) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event; anything else is a bug of the simulator, and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Models, counters, health."""
        provider = self.server.provider
        if self.path in ("/v1/models", "/models"):
            models = [_model(name) for name in provider.models()]
            self._send(Reply(200, (chat.encode({"object": "list", "data": models}),)))
        elif self.path == "/-/calls":
            self._send(Reply(200, (chat.encode(provider.calls()),)))
        elif self.path == "/-/health":
            self._send(Reply(200, (chat.encode({"ok": True}),)))
        else:
            self._not_found()

    def do_POST(self) -> None:
        """A completion, or a reset of the counters."""
        length = self.headers.get("Content-Length") or ""
        raw = self.rfile.read(int(length)) if length.isdigit() else b""
        if self.path in _CHAT:
            self._chat(raw)
        elif self.path == "/-/reset":
            self.server.provider.reset()
            self._send(Reply(200, (chat.encode({"ok": True}),)))
        else:
            self._not_found()

    def _not_found(self) -> None:
        message = f"Invalid URL ({self.command} {self.path}). Use /v1/chat/completions."
        self._send(Reply(404, (chat.error(message, "invalid_request_error", None),)))

    def _chat(self, raw: bytes) -> None:
        provider = self.server.provider
        provider.enter()
        try:
            reply = provider.respond(raw)
            if reply.status == 200:
                self.server.stopping.wait(provider.settings.latency_ms / 1000)
            slow = reply.manner in ("hang", "drip")
            if slow:
                self._send(reply)
        finally:
            provider.leave()
        if not slow:  # after leaving: a client that asks again at once is not counted twice
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        data = _head(reply) + _body(reply)
        if reply.manner == "whole":
            self.wfile.write(data)
        elif reply.manner == "reset":
            self._reset(data)
        elif reply.manner == "drip":
            self._drip(reply)
        else:
            self._hang(reply.seconds)

    def _reset(self, data: bytes) -> None:
        self.wfile.write(data[: len(data) - max(len(data) // 3, 1)])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.close_connection = True
        self.connection.close()

    def _drip(self, reply: Reply) -> None:
        self.wfile.write(_head(reply))
        data = _body(reply)
        parts = min(len(data), 100)
        for number in range(parts):
            self.wfile.write(data[len(data) * number // parts : len(data) * (number + 1) // parts])
            self.server.stopping.wait(reply.seconds / parts)

    def _hang(self, seconds: float) -> None:
        """Say nothing until the time is over, the client goes away, or the simulator stops."""
        self.close_connection = True
        waited = 0.0
        while waited < seconds and not self.server.stopping.is_set():
            if select.select([self.connection], [], [], 0.05)[0]:
                return
            waited += 0.05


class Simulator:
    """A scripted provider of OpenAI's chat completions on 127.0.0.1; a context manager.

    `port` 0 takes a free one. Raises InputError where the port cannot be bound or the faults cannot be read.
    """

    def __init__(self, script: Script, settings: Settings | None = None, port: int = 0) -> None:
        self._provider = Provider(script, settings or Settings())
        try:
            self._server = _Server(port, self._provider)
        except (OSError, OverflowError) as problem:
            why = str(getattr(problem, "strerror", None) or problem).rstrip(".")
            msg = f"port {port} on {HOST} cannot be used: {why}; choose another, or 0 for any free one"
            raise InputError(msg) from problem
        self._thread: threading.Thread | None = None
        self._served = False

    @property
    def url(self) -> str:
        """The base URL for clients, with `/v1`."""
        return f"http://{HOST}:{self._server.server_address[1]}/v1"

    def calls(self) -> dict[str, object]:
        """The counters, as `GET /-/calls` has them."""
        return self._provider.calls()

    def reset(self) -> None:
        """Set the counters back, as `POST /-/reset` does."""
        self._provider.reset()

    def start(self) -> Simulator:
        """Serve in a thread of its own; returns itself. Connections are accepted from now on."""
        self._served = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name="simulator")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection. May be called again."""
        self._server.stopping.set()
        if self._served:
            self._server.shutdown()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.hang_up()

    def serve_forever(self) -> None:
        """Serve in this thread until it is interrupted; KeyboardInterrupt passes through."""
        self._served = True
        try:
            self._server.serve_forever(0.1)
        finally:
            self.stop()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": chat.CREATED, "owned_by": "simulator"}


def _head(reply: Reply) -> bytes:
    kind = "text/event-stream" if reply.streamed else "application/json"
    length = "Transfer-Encoding: chunked" if reply.streamed else f"Content-Length: {sum(map(len, reply.pieces))}"
    wait = "" if reply.retry_after is None else f"Retry-After: {reply.retry_after:g}\r\n"
    reason = _REASONS.get(reply.status, "Error")
    return f"HTTP/1.1 {reply.status} {reason}\r\nContent-Type: {kind}\r\n{length}\r\n{wait}\r\n".encode()


def _body(reply: Reply) -> bytes:
    if not reply.streamed:
        return reply.pieces[0]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in reply.pieces) + b"0\r\n\r\n"
