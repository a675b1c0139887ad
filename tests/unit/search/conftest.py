"""A reflection model that says what a test tells it to, specs, and signals that keep what they were told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.search.engine import (
    Event,
    Graded,
    ReflectionModel,
    SearchSpec,
    Signals,
    Ticket,
)

Answer = Callable[[int], str | None]


class Model:
    """An OpenAI-compatible server on loopback. `answer(n)` is the n-th reply; `bodies` are the requests it got."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.finish_reason = "stop"
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                model.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                message = {"role": "assistant", "content": model.answer(len(model.bodies) - 1)}
                reply = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "model",
                    "choices": [{"index": 0, "message": message, "finish_reason": model.finish_reason}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
                data = json.dumps(reply).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def prompt(self, number: int) -> str:
        """Everything that one request said."""
        return "\n".join(str(message["content"]) for message in self.bodies[number]["messages"])

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def as_json(text: str | None) -> str:
    return json.dumps({"new_instruction": text})


@pytest.fixture
def model() -> Iterator[Callable[[Answer], Model]]:
    """`model(answer)` starts a reflection model; it ends with the test."""
    started: list[Model] = []

    def start(answer: Answer) -> Model:
        started.append(Model(answer))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def length_counts(candidate: Candidate, ticket: Ticket) -> Graded:
    """The more `better` a text has, the better it is."""
    score = min(1.0, sum(text.count("better") for text in candidate.components.values()) / 20)
    return Graded(f"output for {ticket.task.name}", score, f"feedback on {ticket.task.name}")


@dataclass
class Heard:
    """Signals that keep what they were told. Replace an attribute to have them act differently."""

    evaluate: Callable[[Candidate, Ticket], Graded] = length_counts
    reflect: Callable[[str, int, Callable[[], Any]], Any] = field(default=lambda key, occurrence, produce: produce())
    should_stop: Callable[[], None] = field(default=lambda: None)
    emit: Callable[[Event], None] = field(default=lambda event: None)
    asked: list[tuple[Candidate, Ticket]] = field(default_factory=list)
    reflected: list[tuple[str, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def signals(self) -> Signals:
        return Signals(self._evaluate, self._reflect, self._emit, lambda: self.should_stop())

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def _evaluate(self, candidate: Candidate, ticket: Ticket) -> Graded:
        self.asked.append((candidate, ticket))
        return self.evaluate(candidate, ticket)

    def _reflect(self, key: str, occurrence: int, produce: Callable[[], Any]) -> Any:
        self.reflected.append((key, occurrence))
        return self.reflect(key, occurrence, produce)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.emit(event)


def tasks(split: str, size: int) -> list[Task]:
    secret = {"metadata": {"secret": "metadata"}, "expected_output": "secret answer"}
    return [Task(name=f"{split}-{n}", instruction=f"Question {n}", **secret) for n in range(size)]


def make_spec(url: str, **changes: Any) -> SearchSpec:
    """A search over 6 train and 4 val tasks."""
    fields: dict[str, Any] = {
        "kind": TargetKind.PROMPT,
        "description": "Answers questions about boats.",
        "objective": "Be as brief as a sailor.",
        "baseline": Candidate(text="Answer the question."),
        "train": tasks("train", 6),
        "val": tasks("val", 4),
        "budget": 40,
        "seed": 0,
        "concurrency": 1,
        "reflection": ReflectionModel("openai/model", url, "x"),
        "first_occurrence": {"train": 1, "val": 0},
    }
    return SearchSpec(**fields | changes)
