"""A body in its parts: the objects of a list, the events of a stream, and a stream put together again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence


def as_object(value: object) -> Mapping[str, object]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_objects(value: object) -> list[Mapping[str, object]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def whole(response: object) -> Mapping[str, object]:
    """The reply as one object; the events of a stream are put together."""
    if isinstance(response, Mapping):
        return response
    return _of_stream(events_of(response))


def events_of(response: object) -> list[Mapping[str, object]]:
    """The objects that a body is made of: itself, the items of a list, the events or lines of a stream."""
    if isinstance(response, Mapping):
        return [response]
    if isinstance(response, list):
        return as_objects(response)
    if not isinstance(response, str):
        return []
    return list(_framed(response) if _FRAME.search(response) else _parsed(response))


_FRAME = re.compile(r":(?:event|exception)-type[^A-Za-z]+([A-Za-z]+)")
"""A header of a message in AWS's event stream, whose frames are binary and whose names and payloads are text."""


def _framed(stream: str) -> Iterator[Mapping[str, object]]:
    """The payloads of AWS's event stream; that of an exception under its name."""
    for found in _FRAME.finditer(stream):
        start = stream.find("{", found.end())
        try:
            event, _ = json.JSONDecoder().raw_decode(stream, start) if start >= 0 else (None, 0)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, Mapping):
            yield {"__type": found[1], **event} if found[0].startswith(":exception") else event


def _parsed(stream: str) -> Iterator[Mapping[str, object]]:
    """The events of a stream of server-sent events or lines of JSON; what is called an error is one, JSON or not."""
    named = ""
    for line in stream.splitlines():
        if line.startswith("event:"):
            named = line[6:].strip()
        is_error = line.startswith("error:")  # llama.cpp's
        text = line.removeprefix("error:").removeprefix("data:").strip()
        event = _json(text)
        if isinstance(event, Mapping):
            yield {"error": event} if is_error else {"type": named, **event} if named == "error" else event
        elif is_error or (named == "error" and line.startswith("data:")):
            yield {"error": text or "error"}


def _json(text: str) -> object:
    if not text.startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_stream(events: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    text: list[str] = []
    usage: dict[str, object] = {}
    counts: dict[str, object] = {}
    model = None
    for event in events:
        message = as_object(event.get("message")) or as_object(event.get("response"))
        model = model or event.get("model") or message.get("model")
        usage.update(
            as_object(event.get("usage")) or as_object(message.get("usage")) or as_object(event.get("usageMetadata"))
        )
        counts |= {name: event[name] for name in ("prompt_eval_count", "eval_count") if name in event}
        text.append(_delta(event))
        if event.get("type") == "response.completed":
            return message
    said = {"choices": [{"message": {"content": "".join(text)}}]} if any(text) else {}
    return {"model": model, "usage": usage, **counts, **said}


def _delta(event: Mapping[str, object]) -> str:
    for choice in as_objects(event.get("choices"))[:1]:
        said = as_object(choice.get("delta")).get("content", choice.get("text"))
        return said if isinstance(said, str) else ""
    for candidate in as_objects(event.get("candidates"))[:1]:
        parts = as_objects(as_object(candidate.get("content")).get("parts"))
        return "".join(text for part in parts if isinstance(text := part.get("text"), str))
    delta = as_object(event.get("delta"))
    message = as_object(event.get("message")) or as_object(delta.get("message"))  # Ollama's; Cohere's
    content = message.get("content", event.get("response"))
    said = delta.get("text", as_object(content).get("text", content))
    if event.get("type") == "response.output_text.delta":
        said = event.get("delta")
    return said if isinstance(said, str) else ""
