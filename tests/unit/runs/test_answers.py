"""What answers say of themselves: that a limit cut them, and that another model or build gives them now."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout_local.dialects import served_by, was_cut
from rollout_local.recordings import Exchange
from rollout_local.runs.answers import Answers


def chat(finish: str = "stop", model: str = "qwen", **more: Any) -> dict[str, Any]:
    return {"model": model, "choices": [{"finish_reason": finish, "message": {"content": "x"}}], **more}


def stream(*events: object) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


CUT = {
    "chat": chat("length", "m"),
    "a stream of chat": stream({"model": "m", "choices": [{"delta": {"content": "x"}}]},
                               {"model": "m", "choices": [{"delta": {}, "finish_reason": "length"}]}),
    "a response": {"model": "m", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    "a stream of a response": stream({"type": "response.incomplete", "response": {
        "model": "m", "incomplete_details": {"reason": "max_output_tokens"}}}),
    "Anthropic": {"model": "m", "stop_reason": "max_tokens", "content": [{"type": "text", "text": "x"}]},
    "a stream of Anthropic": stream({"type": "message_start", "message": {"model": "m"}},
                                    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}),
    "Gemini": {"modelVersion": "m", "candidates": [{"finishReason": "MAX_TOKENS"}]},
    "Bedrock": {"stopReason": "max_tokens", "output": {}},
    "Ollama": {"model": "m", "done": True, "done_reason": "length"},
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_an_answer_that_a_limit_cut_is_known_in_every_dialect(name: str) -> None:
    assert was_cut(CUT[name])
    assert name == "Bedrock" or served_by(CUT[name]).model == "m"


@pytest.mark.parametrize("body", [chat(), chat("tool_calls"), None, "no JSON", [], {"choices": None}, stream()])
def test_one_that_came_to_its_end_is_not(body: object) -> None:
    assert not was_cut(body)
    assert served_by(body).model in ("qwen", "")


def exchange(body: object, scope: str = "trial/1", url: str = "http://127.0.0.1:8080/v1/chat/completions") -> Exchange:
    request = {"model": "alias", "messages": [{"role": "user", "content": "Hi"}]}
    return Exchange(scope, "k", "q", "POST", url, request, 200, body, None, None, 0.0, 0.1, False)


def test_each_thing_is_told_once() -> None:
    told: list[str] = []
    answers = Answers(told.append)
    for _ in range(3):
        answers.heard(exchange(chat("length")))
        answers.heard(exchange(chat("length"), "reflection/1/0"))
    answers.heard(exchange(chat(system_fingerprint="b1")))
    answers.heard(exchange(chat(model="llama", system_fingerprint="b2")))
    answers.heard(exchange(chat(model="llama"), url="http://127.0.0.1:9/v1/chat/completions"))
    answers.heard(exchange({"data": []}, url="http://127.0.0.1:8080/v1/models"))
    changed = "alias at 127.0.0.1:8080 answered as qwen and then as qwen (b1): more than one model or build"
    assert told == [
        "an answer of alias was cut at its limit of tokens: what came was used",
        "a reflection of alias was cut at its limit of tokens: what came was used",
        f"{changed} gives its answers",
    ]
