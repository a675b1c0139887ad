"""What stands in a body in place of an answer: an error, a filter, an end before the end, nothing.

Invariant: what no client could take for an answer is none, whatever the status says. An answer that is empty in
its own form (a message without content) is one: the model said nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rollout_local.dialects.bodies import as_object, as_objects, events_of, whole
from rollout_local.dialects.calls import asks_model, output_of, wants_text

Event = Mapping[str, object]


@dataclass(frozen=True)
class Refusal:
    """What a body says in place of an answer. `code`: an HTTP status where it names one; `type`: the dialect's word."""

    code: int | None
    type: str
    message: str


def refusal_in(request: object, response: object, url: str = "", *, cut: bool = False) -> Refusal | None:
    """What stands in a body, or anywhere in a stream, in place of an answer; None where none does.

    An error whatever the status of the response says; a filter that let nothing through; an answer without an answer;
    a stream that ends before its end, unless its reader `cut` it.
    """
    if not asks_model(request, url):
        return None
    events = events_of(response)
    for event in events:
        found = _error_in(event)
        if found is not None:
            return found
    reply = whole(response)
    ended = _ended(reply, events)
    if ended is not None and (ended.type == "error" or not output_of(reply, None)):
        return ended
    if wants_text(url) and not any(map(_has_answer, events)):
        return Refusal(None, "no_answer", f"the body has no answer in it: {_shown(response)}")
    is_stream = not isinstance(response, Mapping) or response.get("done") is False  # Ollama's, broken off at once
    return _cut_off(events, response) if is_stream and not cut else None


def _shown(response: object) -> str:
    return (response if isinstance(response, str) else json.dumps(response))[:200]


_ANSWERS = ("output", "content", "response", "completion", "generations", "generation", "generated_text", "text",
            "results", "outputs", "completions", "delta", "item", "part")  # fmt: skip
"""Names under which an answer, or a piece of one, stands."""
_HELD_ANSWERS = ("choices", "candidates")
"""Names of lists of answers, whose items hold more than the answer."""
_IN_A_CHOICE = ("message", "delta", "text", "content", "finishReason")


def _has_answer(event: Event) -> bool:
    for name in _HELD_ANSWERS:
        if any(choice.get(part) not in (None, {}) for choice in as_objects(event.get(name)) for part in _IN_A_CHOICE):
            return True
    if as_object(event.get("message")):  # a string is Bedrock's and gateways' word for an error; Ollama's is an object
        return True
    return any(event.get(name) not in (None, [], "") for name in _ANSWERS)


def _error_in(event: Event) -> Refusal | None:
    """The error that a body or an event tells, in any dialect."""
    for holder in _holders(event):
        error = holder.get("error")
        if error:
            words = as_object(error)
            code = words.get("code", words.get("status_code", event.get("code")))
            kind = words.get("type") or words.get("status") or (code if isinstance(code, str) else "") or "error"
            return Refusal(_number(code), str(kind), str(words.get("message") or error)[:300])
        if isinstance(named := holder.get("__type"), str):  # AWS's
            return Refusal(None, named.rpartition("#")[2], str(holder.get("message"))[:300])
    if event.get("type") == "error" or event.get("object") == "error":  # vLLM's, and OpenAI's responses in a stream
        code = event.get("code")
        return Refusal(
            _number(code), str(event.get("type") if isinstance(code, int) else code), str(event.get("message"))[:300]
        )
    return _unsuccessful(event)


def _holders(event: Event) -> Iterator[Event]:
    yield event
    if event.get("type") == "response.failed":
        yield as_object(event.get("response"))
    yield as_object(event.get("Output"))  # AWS's, around an internal failure
    yield from as_objects(event.get("choices"))


def _unsuccessful(event: Event) -> Refusal | None:
    """A body with a word of its own on whether it went well: Cloudflare's, MiniMax's."""
    if event.get("success") is False:
        errors = as_objects(event.get("errors"))
        words = "; ".join(str(error.get("message") or error) for error in errors) or str(event.get("message"))
        return Refusal(None, "error", words[:300])
    status = as_object(event.get("base_resp"))
    if status.get("status_code"):
        return Refusal(None, f"status {status['status_code']}", str(status.get("status_msg"))[:300])
    return None


def _number(code: object) -> int | None:
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None


_FILTERED = frozenset({
    "content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "recitation", "blocklist",
    "prohibited_content", "spii", "image_safety", "error_toxic",
})  # fmt: skip
_BROKEN_OFF = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons of an answer that is none, whatever words it has (OpenRouter, vLLM, Zhipu, DeepSeek, Cohere)."""
_UNSAID = frozenset({"other", "language", "malformed_function_call", "unexpected_tool_call"})
"""Gemini's, where there is no text."""


def _reasons(event: Event) -> Iterator[str]:
    """Every reason for its end that an event gives."""
    delta = as_object(event.get("delta"))
    for part in (event, delta, *as_objects(event.get("choices")), *as_objects(event.get("candidates"))):
        for name in ("finish_reason", "finishReason", "stopReason", "stop_reason"):
            if part.get(name):
                yield str(part[name]).lower()


def _ended(reply: Event, events: Sequence[Event]) -> Refusal | None:
    """What the end of a reply says in place of "done": filtered, broken off, nothing to say."""
    for event in (reply, *events):
        feedback = as_object(event.get("promptFeedback")).get("blockReason")
        if feedback:
            return Refusal(None, "content_filter", f"the prompt was blocked ({feedback})")
        for reason in _reasons(event):
            if reason in _FILTERED:
                return Refusal(None, "content_filter", f"nothing was said (finish reason {reason})")
            if reason in _BROKEN_OFF:
                return Refusal(None, "error", f"the answer was broken off (finish reason {reason})")
            if reason in _UNSAID:
                return Refusal(None, "unsaid", f"nothing was said (finish reason {reason})")
    return None


def _has_reason(event: Event) -> bool:
    return any(_reasons(event))


_ENDS: tuple[tuple[Callable[[Event], bool], Callable[[Event], bool], str], ...] = (
    (lambda e: "choices" in e, _has_reason, "a finish_reason or [DONE]"),
    (lambda e: "candidates" in e, _has_reason, "a finishReason"),
    (lambda e: str(e.get("type")).startswith("response."),
     lambda e: e.get("type") in ("response.completed", "response.incomplete", "response.failed"), "response.completed"),
    (lambda e: e.get("type") in ("message_start", "content_block_delta"), lambda e: e.get("type") == "message_stop",
     "message_stop"),
    (lambda e: "contentBlockIndex" in e, _has_reason, "messageStop"),
    (lambda e: "done" in e, lambda e: bool(e.get("done")), '"done": true'),
    (lambda e: e.get("type") in ("message-start", "content-delta"), lambda e: e.get("type") == "message-end",
     "message-end"),
)  # fmt: skip
"""How streams begin and end, a row per dialect: an event of it, its last event, and what that is called."""


def _cut_off(events: Sequence[Event], response: object) -> Refusal | None:
    """A stream that ends before its last event: who sent it broke down, and whoever passed it on ended it in order."""
    if isinstance(response, str) and "[DONE]" in response:
        return None
    for belongs, ends, last in _ENDS:
        if any(map(belongs, events)):
            if any(map(ends, events)):
                return None
            return Refusal(None, "cut_off", f"the stream ended without {last}")
    return None
