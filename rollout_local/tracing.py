"""Spans of one rollout: what a model was asked and said, read from the requests that crossed the wire.

A trace knows no database: who collects it decides where it goes. It stands below `targets`, since a program tells
the collector of its predictors. Bodies are read in the dialects of OpenAI
(chat completions, responses), Anthropic (messages) and whatever else has `model` and `usage`; a body in
another dialect gives a span with its text and without tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelCall:
    """One request to a model. `messages` are JSON texts; token counts are None where no usage was given."""

    model: str | None
    messages: tuple[str, ...]
    output: str | None
    tokens_in: int | None
    tokens_out: int | None


@dataclass
class Span:
    """A step that user code marked with `rollout.trace(name)`. `started` in Unix seconds, `duration` in seconds."""

    name: str
    type: str
    started: float
    duration: float = 0.0
    input: Any = None
    output: Any = None
    error: str | None = None

    def record_input(self, value: Any) -> None:
        """Keep what went in."""
        self.input = value

    def record_output(self, value: Any) -> None:
        """Keep what came out."""
        self.output = value


@dataclass
class Collector:
    """Receives the spans of the code that runs while it is the current one."""

    spans: list[Span] = field(default_factory=list)


_current: ContextVar[Collector | None] = ContextVar("rollout_trace_collector", default=None)


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    """Make `collector` the one that spans of this context go to."""
    token = _current.set(collector)
    try:
        yield collector
    finally:
        _current.reset(token)


def current_collector() -> Collector | None:
    """The collector of this context, or None outside any rollout."""
    return _current.get()


def read_call(request: Any, response: Any) -> ModelCall:
    """What a pair of bodies (parsed JSON, or text for streams) says about a call to a model."""
    body = _object(request)
    reply = _whole(response)
    usage = _object(reply.get("usage"))
    return ModelCall(
        model=_name(body.get("model")) or _name(reply.get("model")),
        messages=tuple(json.dumps(message, ensure_ascii=False, sort_keys=True) for message in _messages(body, request)),
        output=_output(reply, response),
        tokens_in=_count(usage, "prompt_tokens", "input_tokens"),
        tokens_out=_count(usage, "completion_tokens", "output_tokens"),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _messages(body: Mapping[str, Any], request: Any) -> list[Any]:
    if "messages" in body:
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        return [*system, *(body["messages"] if isinstance(body["messages"], list) else [body["messages"]])]
    if "input" in body:
        head = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
        return [*head, *(body["input"] if isinstance(body["input"], list) else [body["input"]])]
    return [] if request in (None, "") else [request]


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if isinstance(usage.get(name), int):
            return int(usage[name])
    return None


def _output(reply: Mapping[str, Any], response: Any) -> str | None:
    for choice in _objects(reply.get("choices"))[:1]:
        message = _object(choice.get("message"))
        return _said(message.get("content", choice.get("text")), message.get("tool_calls"))
    if parts := _objects(reply.get("content")):
        return _said(parts, [part for part in parts if part.get("type") == "tool_use"])
    if items := _objects(reply.get("output")):
        parts = [part for item in items for part in _objects(item.get("content"))]
        return _said(parts, [item for item in items if item.get("type") == "function_call"])
    if response is None:
        return None
    return response if isinstance(response, str) else json.dumps(response, ensure_ascii=False)


def _said(content: Any, tool_calls: Any) -> str | None:
    if isinstance(content, list):
        content = "".join(part["text"] for part in _objects(content) if isinstance(part.get("text"), str))
    if tool_calls:
        calls = json.dumps(tool_calls, ensure_ascii=False)
        return f"{content}\n{calls}" if content else calls
    return content if content is None or isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _whole(response: Any) -> Mapping[str, Any]:
    """The reply as one object; the events of a stream are put together."""
    if isinstance(response, Mapping):
        return response
    return _of_stream(_events(response)) if isinstance(response, str) else {}


def _events(stream: str) -> list[Mapping[str, Any]]:
    found = []
    for line in stream.splitlines():
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            try:
                event = json.loads(line[5:])
            except json.JSONDecodeError:
                continue
            if isinstance(event, Mapping):
                found.append(event)
    return found


def _of_stream(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    text: list[str] = []
    usage: dict[str, Any] = {}
    model = None
    for event in events:
        message = _object(event.get("message")) or _object(event.get("response"))
        model = model or event.get("model") or message.get("model")
        usage.update(_object(event.get("usage")) or _object(message.get("usage")))
        text.append(_delta(event))
        if event.get("type") == "response.completed":
            return message
    said = {"choices": [{"message": {"content": "".join(text)}}]} if any(text) else {}
    return {"model": model, "usage": usage, **said}


def _delta(event: Mapping[str, Any]) -> str:
    for choice in _objects(event.get("choices"))[:1]:
        said = _object(choice.get("delta")).get("content", choice.get("text"))
        return said if isinstance(said, str) else ""
    said = _object(event.get("delta")).get("text")
    if event.get("type") == "response.output_text.delta":
        said = event.get("delta")
    return said if isinstance(said, str) else ""
