"""The request of OpenAI's chat completions, and the bodies that answer it.

Every body is a function of the request and the text: `id` is the request's hash, `created` a constant, tokens are
`len(text) // 4 + 1`. Format: platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

CREATED = 1_700_000_000
_PIECE = 24
_MARKER = re.compile(
    r"^[#*\s]*(?:input|message|task|question|request|user|email|ticket|text|query)\b[^:\n]{0,40}:",
    re.IGNORECASE | re.MULTILINE,
)


class BadRequest(ValueError):
    """The body is not a chat completion request; the message says why."""


@dataclass(frozen=True)
class ChatRequest:
    """One request, as the models see it.

    `key` is the hash of everything that can change the answer; `system` and `message` are the instructions and
    the input; `json_wanted` and `schema_keys` come from `response_format`.
    """

    model: str
    key: str
    system: str
    message: str
    prompt_tokens: int
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    json_wanted: bool = False
    schema_keys: tuple[str, ...] = ()


def tokens(text: str) -> int:
    """A deterministic stand-in for a tokenizer."""
    return len(text) // 4 + 1


def read(raw: bytes) -> ChatRequest:
    """Parse a request body. Raises BadRequest."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        msg = f"We could not parse the JSON body of your request: {problem}"
        raise BadRequest(msg) from problem
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        msg = "you must provide a model parameter"
        raise BadRequest(msg)
    texts = [(message.get("role"), _text(message.get("content"))) for message in _messages(body)]
    system, message = _parts(texts)
    options = body.get("stream_options")
    return ChatRequest(
        model=body["model"],
        key=_key(body),
        system=system,
        message=message,
        prompt_tokens=tokens("\n".join(text for _, text in texts)),
        n=_choices(body),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        **_format(body.get("response_format")),
    )


def _messages(body: dict[str, object]) -> list[dict[str, object]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        msg = "'messages' must be a non-empty list of objects with a role"
        raise BadRequest(msg)
    return messages


def _choices(body: dict[str, object]) -> int:
    n = body.get("n") or 1
    if not isinstance(n, int) or not 1 <= n <= 128:
        msg = "'n' must be a whole number from 1 to 128"
        raise BadRequest(msg)
    return n


def _key(body: dict[str, object]) -> str:
    what = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    try:
        text = orjson.dumps(what, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as problem:
        msg = f"the request cannot be read: {problem}"
        raise BadRequest(msg) from problem
    return blake2b(text, digest_size=12).hexdigest()


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)


def _parts(texts: list[tuple[object, str]]) -> tuple[str, str]:
    system = "\n\n".join(text for role, text in texts if role in ("system", "developer"))
    users = [text for role, text in texts if role == "user"]
    message = users[-1] if users else texts[-1][1]
    return (system, message) if system else (message, _input_of(message))


def _input_of(text: str) -> str:
    """Where instructions and input share one message: what follows the last `Input:`, or else the last paragraph."""
    marks = list(_MARKER.finditer(text))
    if marks and text[marks[-1].end() :].strip():
        return text[marks[-1].end() :].strip()
    return text.strip().rpartition("\n\n")[2]


def _format(wanted: object) -> dict[str, Any]:
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return {}
    schema = wanted.get("json_schema")
    inner = schema.get("schema") if isinstance(schema, dict) else None
    keys = inner.get("properties") if isinstance(inner, dict) else None
    return {"json_wanted": True, "schema_keys": tuple(keys) if isinstance(keys, dict) else ()}


def usage(ask: ChatRequest, texts: list[str]) -> dict[str, int]:
    """The `usage` object of an answer with these choices."""
    completion = sum(map(tokens, texts))
    total = ask.prompt_tokens + completion
    return {"prompt_tokens": ask.prompt_tokens, "completion_tokens": completion, "total_tokens": total}


def completion(ask: ChatRequest, texts: list[str]) -> bytes:
    """The body of an answer in one piece, one choice per text."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": "stop"}
        for i, text in enumerate(texts)
    ]
    return encode({**_head(ask, "chat.completion"), "choices": choices, "usage": usage(ask, texts)})


def events(ask: ChatRequest, texts: list[str]) -> list[bytes]:
    """The server-sent events of a streamed answer, each with its blank line."""
    bodies = [_chunk(ask, i, delta, end) for i, text in enumerate(texts) for delta, end in _deltas(text)]
    if ask.include_usage:
        bodies.append({**_head(ask, "chat.completion.chunk"), "choices": [], "usage": usage(ask, texts)})
    return [b"data: " + encode(body) + b"\n\n" for body in bodies] + [b"data: [DONE]\n\n"]


def _deltas(text: str) -> list[tuple[dict[str, str], str | None]]:
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    opened: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    return [*opened, *(({"content": piece}, None) for piece in pieces), ({}, "stop")]


def _chunk(ask: ChatRequest, index: int, delta: dict[str, str], end: str | None) -> dict[str, object]:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": end}
    return {**_head(ask, "chat.completion.chunk"), "choices": [choice]}


def _head(ask: ChatRequest, kind: str) -> dict[str, object]:
    head = {"id": f"chatcmpl-{ask.key}", "object": kind, "created": CREATED, "model": ask.model}
    return {**head, "system_fingerprint": "simulated"}


def error(message: str, kind: str, code: str | None) -> bytes:
    """The body of a refusal."""
    return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def encode(body: dict[str, object]) -> bytes:
    """JSON bytes; lone surrogates, which orjson refuses, are escaped."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body).encode("ascii")
