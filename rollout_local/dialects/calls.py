"""A call to a model, as its request, its answer and its address tell: model, messages, text, tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from rollout_local.dialects.bodies import as_object, as_objects, events_of, whole


@dataclass(frozen=True)
class ModelCall:
    """One request to a model. `messages` are JSON texts; token counts are None where no usage was given.

    `tokens_in` counts all that went in, what was read from a cache or written to one included: an upper bound where
    cached input is cheaper. `tokens_out` counts reasoning. `written` are the characters of all that the model wrote,
    its reasoning and the arguments of its tool calls included; some of what stands around them, too.
    """

    model: str | None
    messages: tuple[str, ...]
    output: str | None
    tokens_in: int | None
    tokens_out: int | None
    written: int


def read_call(request: object, response: object, url: str = "") -> ModelCall:
    """What a pair of bodies (parsed JSON, or text for streams) and an address say about a call to a model."""
    body = as_object(request)
    reply = whole(response)
    tokens_in, tokens_out = _tokens(reply)
    named = _name(body.get("model")) or _name(body.get("modelId")) or _model_in(url) or _name(reply.get("model"))
    return ModelCall(
        model=named,
        messages=tuple(json.dumps(message, ensure_ascii=False, sort_keys=True) for message in _messages(body, request)),
        output=output_of(reply, response),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        written=sum(map(_written, [reply] if reply.get("output") else events_of(response))),
    )


_OLLAMA_ABOUT = re.compile(r"/api/(?:show|tags|ps|version)/?$")
_MODELS = re.compile(r"/models(?:/[^/:]+)*/?$")
_GENERATES = re.compile(
    r"(/completions?|/messages|/responses|:(?:g|streamG)enerateContent|/converse(?:-stream)?|/api/(chat|generate)"
    r"|/v\d/chat)/?$"
)
"""Addresses of calls whose answer is a text; an agent of a user's may be asked in the same words elsewhere."""
_IN_PATH = re.compile(r"/models/([^/:]+):|/model/([^/]+)/(?:converse|invoke)")


def _model_in(url: str) -> str | None:
    """The model that an address names: Gemini's `…/models/NAME:generateContent`, Bedrock's `/model/NAME/converse`."""
    found = _IN_PATH.search(urlsplit(url).path) if url else None
    return unquote(found.group(1) or found.group(2)) if found else None


def asks_model(request: object, url: str) -> bool:
    """Whether a request (parsed JSON) is one to a model, as its body or its address tell."""
    body = as_object(request)
    asks = any(name in body for name in ("messages", "input", "prompt", "contents"))
    return asks and ("model" in body or _model_in(url) is not None or wants_text(url))


def wants_text(url: str) -> bool:
    """Whether what is asked for at an address is a text: a chat or a completion, and no embedding or ranking."""
    return bool(_GENERATES.search(urlsplit(url).path))


def asks_about_models(method: str, url: str) -> bool:
    """Whether a request asks what models there are, and none of them: a list, a version, Ollama's `/api/show`."""
    path = urlsplit(url).path
    return bool(_OLLAMA_ABOUT.search(path) or (method == "GET" and _MODELS.search(path)))


def _tokens(reply: Mapping[str, object]) -> tuple[int | None, int | None]:
    """All tokens in and out, as the usage of any dialect gives them."""
    usage = next((as_object(reply.get(name)) for name in ("usage", "usageMetadata", "meta") if reply.get(name)), {})
    usage = as_object(usage.get("tokens")) or as_object(usage.get("billed_units")) or usage
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


_AROUND = frozenset({
    "id", "object", "model", "role", "type", "finish_reason", "finishReason", "stop_reason", "stopReason", "created",
    "created_at", "system_fingerprint", "service_tier", "signature", "thoughtSignature", "encrypted_content", "item_id",
    "response_id", "logprobs", "responseId", "modelVersion", "obfuscation", "provider", "status",
})  # fmt: skip
"""What stands around what a model wrote."""


def _written(value: object) -> int:
    """The characters in a value that a model may have written."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_written(inner) for name, inner in value.items() if name not in _AROUND)
    return sum(map(_written, value)) if isinstance(value, list) else 0


def output_of(reply: Mapping[str, object], response: object) -> str | None:
    """The text of a reply, tool calls after it; the response as it is where it is in no dialect."""
    for choice in as_objects(reply.get("choices"))[:1]:
        message = as_object(choice.get("message"))
        return _said(message.get("content", choice.get("text")), message.get("tool_calls"))
    if parts := as_objects(reply.get("content")):
        return _said(parts, [part for part in parts if part.get("type") == "tool_use"])
    if items := as_objects(reply.get("output")):
        parts = [part for item in items for part in as_objects(item.get("content"))]
        return _said(parts, [item for item in items if item.get("type") == "function_call"])
    for candidate in as_objects(reply.get("candidates"))[:1]:
        parts = as_objects(as_object(candidate.get("content")).get("parts"))
        return _said(parts, [part for part in parts if "functionCall" in part]) or None
    message = as_object(as_object(reply.get("output")).get("message")) or as_object(reply.get("message"))
    if message:
        return _said(message.get("content"), message.get("tool_calls"))
    if isinstance(reply.get("response"), str):
        return str(reply["response"])
    if response is None:
        return None
    return response if isinstance(response, str) else json.dumps(response, ensure_ascii=False)


def _said(content: object, tool_calls: object) -> str | None:
    if isinstance(content, list):
        content = "".join(text for part in as_objects(content) if isinstance(text := part.get("text"), str))
    if tool_calls:
        calls = json.dumps(tool_calls, ensure_ascii=False)
        return f"{content}\n{calls}" if content else calls
    return content if content is None or isinstance(content, str) else json.dumps(content, ensure_ascii=False)
