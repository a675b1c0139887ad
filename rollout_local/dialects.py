"""What bodies on the wire say of a call to a model, in the dialects of its providers.

Read are OpenAI's chat completions and responses and all that speak them (vLLM, llama.cpp, OpenRouter, gateways),
Anthropic's messages, Gemini's generateContent, Bedrock's converse, Ollama's own API and Cohere's: whole bodies, streams
of events (AWS's frames too), lines of JSON. A body in another dialect gives its text, without tokens. Nothing here
raises: bodies come from anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class ModelCall:
    """One request to a model. `messages` are JSON texts; token counts are None where no usage was given.

    `tokens_in` counts all that went in, what was read from a cache or written to one included: an upper bound where
    cached input is cheaper. `tokens_out` counts reasoning.
    """

    model: str | None
    messages: tuple[str, ...]
    output: str | None
    tokens_in: int | None
    tokens_out: int | None


@dataclass(frozen=True)
class Refusal:
    """What a body says in place of an answer. `code`: an HTTP status where it names one; `type`: the dialect's word."""

    code: int | None
    type: str
    message: str


def read_call(request: object, response: object, url: str = "") -> ModelCall:
    """What a pair of bodies (parsed JSON, or text for streams) and an address say about a call to a model."""
    body = _object(request)
    reply = _whole(response)
    tokens_in, tokens_out = _tokens(reply)
    named = _name(body.get("model")) or _name(body.get("modelId")) or _model_in(url) or _name(reply.get("model"))
    return ModelCall(
        model=named,
        messages=tuple(json.dumps(message, ensure_ascii=False, sort_keys=True) for message in _messages(body, request)),
        output=_output(reply, response),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )


def refusal_in(request: object, response: object, url: str = "") -> Refusal | None:
    """What stands in a body, or anywhere in a stream, in place of an answer; None where none does.

    An error whatever the status of the response says; a filter that let nothing through; an answer without an answer.
    """
    if not asks_model(request, url):
        return None
    events = _events_of(response)
    for event in events:
        found = _error_in(event)
        if found is not None:
            return found
    reply = _whole(response)
    ended = _ended(reply, events)
    if ended is not None and (ended.type == "error" or not _output(reply, None)):
        return ended
    if isinstance(response, Mapping) and _GENERATES.search(urlsplit(url).path) and not _has_answer(response):
        return Refusal(None, "no_answer", f"the body has no answer in it: {json.dumps(response)[:200]}")
    return None


_OLLAMA_ABOUT = re.compile(r"/api/(?:show|tags|ps|version)/?$")
_MODELS = re.compile(r"/models(?:/[^/:]+)*/?$")
_GENERATES = re.compile(r"(/completions?|/messages|/responses|:generateContent|/converse|/api/(chat|generate))/?$")
_IN_PATH = re.compile(r"/models/([^/:]+):|/model/([^/]+)/(?:converse|invoke)")
_ANSWERS = ("choices", "output", "content", "candidates", "message", "response", "completion", "generations", "text")


def _model_in(url: str) -> str | None:
    """The model that an address names: Gemini's `…/models/NAME:generateContent`, Bedrock's `/model/NAME/converse`."""
    found = _IN_PATH.search(urlsplit(url).path) if url else None
    return unquote(found.group(1) or found.group(2)) if found else None


def asks_model(request: object, url: str) -> bool:
    """Whether a request (parsed JSON) is one to a model, as its body or its address tell."""
    body = _object(request)
    asks = any(name in body for name in ("messages", "input", "prompt", "contents"))
    return asks and ("model" in body or _model_in(url) is not None or bool(_GENERATES.search(urlsplit(url).path)))


def asks_about_models(method: str, url: str) -> bool:
    """Whether a request asks what models there are, and none of them: a list, a version, Ollama's `/api/show`."""
    path = urlsplit(url).path
    return bool(_OLLAMA_ABOUT.search(path) or (method == "GET" and _MODELS.search(path)))


def _has_answer(reply: Mapping[str, object]) -> bool:
    said = {name: reply[name] for name in _ANSWERS if reply.get(name) not in (None, [], "")}
    if isinstance(said.get("message"), str):  # Bedrock's and gateways' words for an error; Ollama's answer is an object
        del said["message"]
    return bool(said)


def _error_in(event: Mapping[str, object]) -> Refusal | None:
    """The error that a body or an event tells, in any dialect."""
    inner = _object(event.get("response")) if event.get("type") == "response.failed" else {}
    for holder in (event, inner, *_objects(event.get("choices"))):
        error = holder.get("error")
        if error:
            words = _object(error)
            code = words.get("code", words.get("status_code", event.get("code")))
            kind = words.get("type") or words.get("status") or (code if isinstance(code, str) else "") or "error"
            return Refusal(_number(code), str(kind), str(words.get("message") or error)[:300])
    if isinstance(named := event.get("__type"), str):  # AWS's
        return Refusal(None, named, str(event.get("message"))[:300])
    if event.get("type") == "error" or event.get("object") == "error":  # vLLM's, and OpenAI's responses in a stream
        code = event.get("code")
        return Refusal(
            _number(code), str(event.get("type") if isinstance(code, int) else code), str(event.get("message"))[:300]
        )
    return None


def _number(code: object) -> int | None:
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None


_FILTERED = frozenset({
    "content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "recitation", "blocklist",
    "prohibited_content", "spii", "image_safety",
})  # fmt: skip


_BROKEN_OFF = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons of an answer that is none, whatever words it has (OpenRouter, vLLM, Zhipu, DeepSeek)."""
_UNSAID = frozenset({"other", "language", "malformed_function_call", "unexpected_tool_call"})
"""Gemini's, where there is no text."""


def _ended(reply: Mapping[str, object], events: Sequence[Mapping[str, object]]) -> Refusal | None:
    """What the end of a reply says in place of "done": filtered, broken off, nothing to say."""
    for event in (reply, *events):
        feedback = _object(event.get("promptFeedback")).get("blockReason")
        if feedback:
            return Refusal(None, "content_filter", f"the prompt was blocked ({feedback})")
        for part in (event, *_objects(event.get("choices")), *_objects(event.get("candidates"))):
            reason = str(part.get("finish_reason") or part.get("finishReason") or part.get("stopReason")
                         or part.get("stop_reason") or "").lower()  # fmt: skip
            if reason in _FILTERED:
                return Refusal(None, "content_filter", f"nothing was said (finish reason {reason})")
            if reason in _BROKEN_OFF:
                return Refusal(None, "error", f"the answer was broken off (finish reason {reason})")
            if reason in _UNSAID:
                return Refusal(None, "unsaid", f"nothing was said (finish reason {reason})")
    return None


def _tokens(reply: Mapping[str, object]) -> tuple[int | None, int | None]:
    """All tokens in and out, as the usage of any dialect gives them."""
    usage = next((_object(reply.get(name)) for name in ("usage", "usageMetadata", "meta") if reply.get(name)), {})
    usage = _object(usage.get("tokens")) or _object(usage.get("billed_units")) or usage
    tokens_in = _count(usage, "prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens")
    tokens_out = _count(usage, "completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens")
    if tokens_in is None and tokens_out is None:  # Ollama's own
        return _count(reply, "prompt_eval_count"), _count(reply, "eval_count")
    beside = ("cache_creation_input_tokens", "cache_read_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    cached = sum(_count(usage, name) or 0 for name in beside)  # not part of the input, as OpenAI's and Gemini's are
    thoughts = _count(usage, "thoughtsTokenCount")
    return (
        None if tokens_in is None else tokens_in + cached,
        thoughts if tokens_out is None else tokens_out + (thoughts or 0),
    )


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _messages(body: Mapping[str, object], request: object) -> list[object]:
    if "messages" in body:
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        return [*system, *(body["messages"] if isinstance(body["messages"], list) else [body["messages"]])]
    if "input" in body:
        head = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
        return [*head, *(body["input"] if isinstance(body["input"], list) else [body["input"]])]
    if "contents" in body:
        told = body.get("systemInstruction") or body.get("system_instruction")
        head = [{"role": "system", "content": told}] if told else []
        return [*head, *(body["contents"] if isinstance(body["contents"], list) else [body["contents"]])]
    return [] if request in (None, "") else [request]


def _count(usage: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        if isinstance(counted := usage.get(name), int | float) and counted >= 0:
            return int(counted)
    return None


def _output(reply: Mapping[str, object], response: object) -> str | None:
    for choice in _objects(reply.get("choices"))[:1]:
        message = _object(choice.get("message"))
        return _said(message.get("content", choice.get("text")), message.get("tool_calls"))
    if parts := _objects(reply.get("content")):
        return _said(parts, [part for part in parts if part.get("type") == "tool_use"])
    if items := _objects(reply.get("output")):
        parts = [part for item in items for part in _objects(item.get("content"))]
        return _said(parts, [item for item in items if item.get("type") == "function_call"])
    for candidate in _objects(reply.get("candidates"))[:1]:
        parts = _objects(_object(candidate.get("content")).get("parts"))
        return _said(parts, [part for part in parts if "functionCall" in part]) or None
    message = _object(_object(reply.get("output")).get("message")) or _object(reply.get("message"))
    if message:
        return _said(message.get("content"), message.get("tool_calls"))
    if isinstance(reply.get("response"), str):
        return str(reply["response"])
    if response is None:
        return None
    return response if isinstance(response, str) else json.dumps(response, ensure_ascii=False)


def _said(content: object, tool_calls: object) -> str | None:
    if isinstance(content, list):
        content = "".join(text for part in _objects(content) if isinstance(text := part.get("text"), str))
    if tool_calls:
        calls = json.dumps(tool_calls, ensure_ascii=False)
        return f"{content}\n{calls}" if content else calls
    return content if content is None or isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _whole(response: object) -> Mapping[str, object]:
    """The reply as one object; the events of a stream are put together."""
    if isinstance(response, Mapping):
        return response
    return _of_stream(_events_of(response))


def _events_of(response: object) -> list[Mapping[str, object]]:
    """The objects that a body is made of: itself, the items of a list, the events or lines of a stream."""
    if isinstance(response, Mapping):
        return [response]
    if isinstance(response, list):
        return _objects(response)
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
    named = ""
    for line in stream.splitlines():
        if line.startswith("event:"):
            named = line[6:].strip()
        is_error = line.startswith("error:")  # llama.cpp's
        text = line.removeprefix("error:").removeprefix("data:").strip()
        if not text.startswith("{"):
            continue
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, Mapping):
            yield {"error": event} if is_error else {"type": named, **event} if named == "error" else event


def _of_stream(events: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    text: list[str] = []
    usage: dict[str, object] = {}
    counts: dict[str, object] = {}
    model = None
    for event in events:
        message = _object(event.get("message")) or _object(event.get("response"))
        model = model or event.get("model") or message.get("model")
        usage.update(
            _object(event.get("usage")) or _object(message.get("usage")) or _object(event.get("usageMetadata"))
        )
        counts |= {name: event[name] for name in ("prompt_eval_count", "eval_count") if name in event}
        text.append(_delta(event))
        if event.get("type") == "response.completed":
            return message
    said = {"choices": [{"message": {"content": "".join(text)}}]} if any(text) else {}
    return {"model": model, "usage": usage, **counts, **said}


def _delta(event: Mapping[str, object]) -> str:
    for choice in _objects(event.get("choices"))[:1]:
        said = _object(choice.get("delta")).get("content", choice.get("text"))
        return said if isinstance(said, str) else ""
    for candidate in _objects(event.get("candidates"))[:1]:
        parts = _objects(_object(candidate.get("content")).get("parts"))
        return "".join(text for part in parts if isinstance(text := part.get("text"), str))
    said = _object(event.get("delta")).get("text", _object(event.get("message")).get("content", event.get("response")))
    if event.get("type") == "response.output_text.delta":
        said = event.get("delta")
    return said if isinstance(said, str) else ""
