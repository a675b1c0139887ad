"""A secret in the pieces of a stream is taken out of every piece, and the stream replays as it came."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rollout_local.redaction import Redactor

SECRET = "Zr7W.vT5.xKp2.Lm9.odd"
LONG = f"the key is {SECRET}, keep it"
SHAPED = "use ghp_abcdefghijklmnopqrstuvwxyz0123456789 now"


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def openai(text: str, size: int) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in _pieces(text, size)]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def anthropic(text: str, size: int) -> bytes:
    events = [{"type": "content_block_delta", "index": 0, "delta": {"text": piece}} for piece in _pieces(text, size)]
    return b"".join(b"event: x\r\ndata: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)


def arguments(text: str, size: int) -> bytes:
    events = [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
        for piece in _pieces(text, size)
    ]
    return b"".join(b"data:" + json.dumps(event).encode() + b"\n\n" for event in events)


def ollama(text: str, size: int) -> bytes:
    return b"".join(json.dumps({"message": {"content": piece}}).encode() + b"\n" for piece in _pieces(text, size))


def choices(text: str, size: int) -> bytes:
    """Two choices that arrive in turns."""
    events = [
        {"choices": [{"index": number, "delta": {"content": piece}}]}
        for piece in _pieces(text, size)
        for number in (0, 1)
    ]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


STREAMS: dict[str, Callable[[str, int], bytes]] = {
    "OpenAI": openai, "Anthropic": anthropic, "arguments of a tool": arguments, "Ollama": ollama, "choices": choices,
}  # fmt: skip


def texts(stream: bytes) -> list[str]:
    """The text of each choice, as a client joins it."""
    joined: dict[Any, str] = {}
    for line in stream.decode().splitlines():
        bare = line.removeprefix("data:").strip()
        if bare.startswith("{"):
            event = json.loads(bare)
            choice = (event.get("choices") or [{}])[0]
            delta = choice.get("delta") or event.get("delta") or event.get("message")
            call = delta.get("tool_calls", [{}])[0].get("function", {})
            number = choice.get("index", 0)
            piece = delta.get("content", delta.get("text", call.get("arguments")))
            joined[number] = joined.get(number, "") + piece
    return list(joined.values())


@pytest.mark.parametrize("size", [1, 3, 6, 50])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("text", "secret"), [(LONG, SECRET), (SHAPED, SHAPED.split()[1])])
def test_a_value_in_pieces_is_found_and_the_rest_of_the_stream_stays(
    stream: str, size: int, text: str, secret: str
) -> None:
    raw = STREAMS[stream](text, size)
    cleaned = Redactor({"A_TOKEN": SECRET}).body(raw)
    assert set(texts(cleaned)) == {text.replace(secret, "[redacted]")}
    assert len(cleaned.splitlines()) == len(raw.splitlines())
    assert texts(raw) != texts(cleaned)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_without_a_secret_is_the_same_object(stream: str) -> None:
    raw = STREAMS[stream]("nothing to see in here, really nothing", 4)
    assert Redactor({"A_TOKEN": SECRET}).body(raw) is raw


def test_two_secrets_in_one_stream_are_two_marks() -> None:
    raw = openai(f"{SECRET}|{SECRET}", 4)
    assert texts(Redactor({"A_TOKEN": SECRET}).body(raw)) == ["[redacted]|[redacted]"]
