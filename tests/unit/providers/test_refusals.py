"""A failure is not a zero, whatever its dress: every dialect, in a body, a stream, or a status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout_local.providers.failures import failure_of
from tests.unit.providers.test_cost import exchange

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
GEMINI = {"contents": [{"parts": [{"text": "hi"}]}]}
CHAT_URL, GEMINI_URL = "http://127.0.0.1/v1/chat/completions", "http://127.0.0.1/v1beta/models/m:generateContent"


def sse(*events: Any, name: str = "") -> str:
    return "".join((f"event: {name}\n" if name else "") + f"data: {json.dumps(event)}\n\n" for event in events)


DELTA = {"choices": [{"delta": {"content": "Hel"}}]}

UNDER_200 = {
    "openrouter": ("overload", {"error": {"code": 502, "message": "Provider returned error"}}),
    "a gateway's rate limit": ("rate_limit", {"error": {"code": "429", "message": "Too many"}}),
    "a gateway's words": ("overload", {"error": "upstream connect error"}),
    "a litellm proxy": ("auth", {"error": {"message": "bad", "type": "authentication_error", "code": "401"}}),
    "no choices": ("malformed", {"id": "x", "choices": []}),
    "null choices": ("malformed", {"id": "x", "choices": None}),
    "nothing of an answer": ("malformed", {"id": "x", "object": "chat.completion"}),
    "finish reason error": ("overload", {"choices": [{"finish_reason": "error", "message": {"content": ""}}]}),
    "an error in a choice": (
        "overload", {"choices": [{"error": {"code": 502, "message": "x"}, "message": {"content": ""}}]}),
    "azure's filter": ("content_filter", {"choices": [{"finish_reason": "content_filter", "message": {}}]}),
    "vllm": ("bad_request", {"object": "error", "message": "no", "type": "BadRequestError", "code": 400}),
    "a context in the body": (
        "context_length", {"error": {"code": 400, "message": "the request exceeds the available context size"}}),
    "an error in a stream": ("overload", sse(DELTA, {"error": {"message": "Overloaded", "code": 529}})),
    "anthropic's event": (
        "overload", sse({"error": {"type": "overloaded_error", "message": "Overloaded"}}, name="error")),
    "a response that failed": (
        "overload", sse({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}})),
    "a response's error event": ("rate_limit", sse({"type": "error", "code": "rate_limit_exceeded", "message": "x"})),
    "ollama's line": ("overload", '{"message": {"content": "He"}}\n{"error": "model runner has stopped"}\n'),
}  # fmt: skip

GEMINIS_UNDER_200 = {
    "no candidates": ("malformed", {"usageMetadata": {"promptTokenCount": 3}}),
    "a blocked prompt": ("content_filter", {"promptFeedback": {"blockReason": "SAFETY"}}),
    "a blocked answer": ("content_filter", {"candidates": [{"finishReason": "SAFETY"}]}),
    "an error in a list": ("overload", [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "body"), UNDER_200.values(), ids=UNDER_200)
def test_an_error_under_200_is_a_failure(kind: str, body: Any) -> None:
    failure = failure_of(exchange(status=200, request_body=CHAT, response_body=body, url=CHAT_URL))
    assert failure is not None
    assert failure.kind == kind, failure


@pytest.mark.parametrize(("kind", "body"), GEMINIS_UNDER_200.values(), ids=GEMINIS_UNDER_200)
def test_so_is_one_of_geminis(kind: str, body: Any) -> None:
    failure = failure_of(exchange(status=200, request_body=GEMINI, response_body=body, url=GEMINI_URL))
    assert failure is not None
    assert failure.kind == kind, failure


ANSWERED = {
    "a chat": {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
    "an empty text": {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]},
    "a tool call": {"choices": [{"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}]},
    "a filtered answer with words": {"choices": [{"message": {"content": "I may not."},
                                                  "finish_reason": "content_filter"}]},
    "a null error": {"error": None, "choices": [{"message": {"content": "hi"}}]},
    "a message": {"type": "message", "content": [{"type": "text", "text": "hi"}]},
    "a response": {"object": "response", "error": None, "output": [{"content": [{"text": "hi"}]}]},
    "a stream": sse(DELTA) + "data: [DONE]\n\n",
    "a stream that speaks of errors": sse(
        {"choices": [{"delta": {"content": '{"error": "x"}'}, "finish_reason": "stop"}]}
    ),
    "ollama": {"message": {"content": "hi"}, "done": True},
    "a candidate": {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
}  # fmt: skip


@pytest.mark.parametrize("body", ANSWERED.values(), ids=ANSWERED)
def test_an_answer_is_none(body: Any) -> None:
    assert failure_of(exchange(status=200, request_body=CHAT, response_body=body, url=CHAT_URL)) is None


def test_what_asks_no_model_may_answer_as_it_likes() -> None:
    for request, url in (({"q": 1}, "http://127.0.0.1/search"), ({"model": "m"}, "http://127.0.0.1/api/show")):
        assert failure_of(exchange(status=200, request_body=request, response_body={"error": "x"}, url=url)) is None


WITH_A_STATUS = [
    (429, {"error": {"message": "You exceeded your current quota. Please retry in 1.2s", "details":
                     [{"@type": "RetryInfo", "retryDelay": "1s"}]}}, "rate_limit"),
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, "quota"),
    (402, {"error": {"message": "Insufficient credits"}}, "quota"),
    (400, "The input token count (140000) exceeds the maximum number of tokens allowed (131072).", "context_length"),
    (400, "request (5000 tokens) exceeds the available context size (4096 tokens)", "context_length"),
    (400, "Input is too long for requested model.", "context_length"),
    (400, "This model's maximum prompt length is 131072 but the request contains 140000 tokens.", "context_length"),
    (400, "too many tokens: total number of tokens in the prompt exceeds the limit", "context_length"),
    (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", "context_length"),
    (400, "Trying to keep the first 5000 tokens when context the overflows.", "context_length"),
    (500, "Context size has been exceeded.", "context_length"),
    (400, {"error": {"message": "No connected db.", "type": "no_db_connection", "param": None, "code": "400"}}, "auth"),
    (400, {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status":
                     "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}, "auth"),
    (400, {"error": {"message": "Invalid model name passed in model=studnt. Call `/v1/models` to view available models "
                     "for your key.", "type": "None", "param": "None", "code": "400"}}, "model_not_found"),
    (400, {"error": {"message": "invalid temperature: the model wants 0 to 1", "type": "invalid_request_error"}},
     "bad_request"),
    (400, {"error": {"code": "invalid_prompt", "message": "Invalid prompt"}}, "content_filter"),
    (403, {"error": {"message": "Your input was flagged by moderation"}}, "content_filter"),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."},
     "content_filter"),
    (400, {"error": {"message": "Content Exists Risk"}}, "content_filter"),
    (400, {"error": {"message": "unknown field"}}, "bad_request"),
    (401, "", "auth"),
    (503, "Loading model", "overload"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), WITH_A_STATUS, ids=lambda given: str(given)[:40])
def test_the_words_of_every_server_are_known(status: int, body: Any, kind: str) -> None:
    failure = failure_of(exchange(status=status, request_body=CHAT, response_body=body, url=CHAT_URL))
    assert failure is not None
    assert failure.kind == kind


def test_a_wait_that_stands_in_the_body_is_obeyed() -> None:
    failure = failure_of(exchange(status=429, request_body=GEMINI, response_body=WITH_A_STATUS[0][1], url=GEMINI_URL))
    assert failure is not None
    assert failure.retry_after == 1.2
