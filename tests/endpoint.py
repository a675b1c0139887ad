"""A target behind a URL, on loopback: what it answers, what it was asked, and how it is stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SUPPORT = {"id": "support", "kind": "prompt", "baseline": "Answer the customer.", "description": "Answers customers."}
ROUTER = {"id": "router", "kind": "router_prompt", "baseline": "Pick a team."}
PHRASES = ("30 days", "tracking number", "reset link")


class Endpoint(ThreadingHTTPServer):
    """Answers with what `replies` gives for an op: JSON, bytes, `(status, …)`, or a function of the question."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/rollout"
        self.replies: dict[str, Any] = {"describe": {"targets": [SUPPORT]}, "run": helpful}
        self.asked: list[dict[str, Any]] = []
        self.headers_seen: list[Any] = []
        self.answer_headers: dict[str, str] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The questions that asked for an execution."""
        return [question for question in self.asked if question["op"] == "run"]

    def describe(self, **changes: str) -> None:
        """Let the target say something else of itself from now on."""
        self.replies["describe"] = {"targets": [{**SUPPORT, **changes}]}

    def stop(self) -> None:
        """Stop serving; the port refuses from then on."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Endpoint

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(question)
        self.server.headers_seen.append(self.headers)
        reply = self.server.replies[question["op"]]
        reply = reply(question) if callable(reply) else reply
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **self.server.answer_headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def helpful(question: Mapping[str, Any]) -> dict[str, Any]:
    """An agent that says of what customers need what its prompt tells it to."""
    told = [phrase for phrase in PHRASES if phrase in question["candidate"]["text"]]
    return {"output": ", ".join(["Thanks for your message", *told]), "metadata": {"trace": question["trace_id"]}}


def error(*, retryable: bool, message: str = "no such order") -> dict[str, Any]:
    """An error of the protocol."""
    return {"error": {"type": "ValueError", "message": message, "retryable": retryable}}
