"""Money is set aside before a call and settled after it; the limit is never passed."""

from __future__ import annotations

from typing import Any

import pytest

from rollout_local.errors import Paused
from rollout_local.providers.cost import CHARACTERS_PER_TOKEN, FIRST_OUTPUT_TOKENS, Spend, cost_of
from rollout_local.recordings import Exchange

PRICES = {"m": (1_000_000.0, 1_000_000.0)}  # one dollar a token
REQUEST = {"model": "m", "messages": []}
FIRST = len(str(REQUEST)) // CHARACTERS_PER_TOKEN + FIRST_OUTPUT_TOKENS


def exchange(tokens_in: int | None = 1, tokens_out: int = 1, **changes: Any) -> Exchange:
    usage = {} if tokens_in is None else {"usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}}
    values = {
        "scope": "s", "key": "k", "question": "q", "method": "POST", "url": "http://127.0.0.1/v1", "status": 200,
        "request_body": REQUEST, "response_body": {"model": "m", "choices": [], **usage}, "error": None,
        "retry_after": None, "started": 0.0, "duration": 0.0, "replayed": False,
    }  # fmt: skip
    return Exchange(**{**values, **changes})


def test_the_first_call_sets_aside_its_input_and_4096_output_tokens() -> None:
    Spend(float(FIRST), 0.0, PRICES).reserve("s", REQUEST)
    with pytest.raises(Paused, match="may pass --max-cost") as stopped:
        Spend(FIRST - 0.5, 0.0, PRICES).reserve("s", REQUEST)
    assert stopped.value.reason == "cost_limit"


def test_later_calls_set_aside_the_most_that_one_has_cost() -> None:
    spend = Spend(FIRST + 10.0, 0.0, PRICES)
    for tokens in (2, 5, 3):
        spend.reserve("s", REQUEST)
        spend.settle(exchange(tokens, 0))
    assert spend.spent == 10
    spend.limit = 15.0
    spend.reserve("s", REQUEST)
    with pytest.raises(Paused, match=r"10.0000 spent, 5.0000 in flight, 5.0000 wanted"):
        spend.reserve("t", REQUEST)


def test_what_is_set_aside_counts_until_the_call_is_answered() -> None:
    spend = Spend(1.5 * FIRST, 0.0, PRICES)
    spend.reserve("a", REQUEST)
    with pytest.raises(Paused):
        spend.reserve("b", REQUEST)
    spend.settle(exchange(scope="a", status=429, response_body={"error": {}}))
    assert spend.spent == 0
    spend.reserve("b", REQUEST)


def test_what_was_spent_before_a_pause_counts() -> None:
    with pytest.raises(Paused):
        Spend(FIRST + 1.0, 1.5, PRICES).reserve("s", REQUEST)


def test_without_a_limit_it_only_counts() -> None:
    spend = Spend(None, 0.0, PRICES)
    for _ in range(3):
        spend.reserve("s", REQUEST)
        spend.settle(exchange())
    assert spend.spent == 6


def test_a_replayed_call_costs_nothing_now() -> None:
    spend = Spend(None, 0.0, PRICES)
    spend.settle(exchange(replayed=True))
    assert spend.spent == 0


def test_a_call_that_was_not_set_aside_is_counted_all_the_same() -> None:
    spend = Spend(None, 0.0, PRICES)
    spend.settle(exchange())
    assert spend.spent == 2


def test_a_request_that_asks_no_model_counts_nothing() -> None:
    spend = Spend(0.01, 0.0, PRICES)
    spend.reserve("s", {"query": "not a model"})
    spend.settle(exchange(request_body={}, response_body={"ok": True}))
    assert spend.spent == 0


def test_an_answer_without_usage_counts_by_its_characters_and_that_is_said_once() -> None:
    said: list[str] = []
    spend = Spend(1e9, 0.0, PRICES, on_estimated=said.append)
    answer = {"model": "m", "choices": [{"message": {"content": "word " * 60}}]}
    for _ in range(2):
        spend.settle(exchange(response_body=answer))
    assert spend.spent == 2 * (len(str(REQUEST)) // CHARACTERS_PER_TOKEN + 300 // CHARACTERS_PER_TOKEN)
    assert said == ["m"]


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {"content": "ab", "reasoning_content": "t" * 300}}]},
        {"choices": [{"message": {"content": "ab", "tool_calls": [{"function": {"arguments": "t" * 300}}]}}]},
        {"content": [{"type": "thinking", "thinking": "t" * 300}, {"type": "text", "text": "ab"}]},
        {"message": {"content": "ab", "thinking": "t" * 300}, "done": True},
        'data: {"choices":[{"delta":{"reasoning":"' + "t" * 300 + '"}}]}\n\n'
        'data: {"choices":[{"delta":{"content":"ab"},"finish_reason":"stop"}]}\n\n',
    ],
)
def test_what_a_model_thought_and_passed_to_tools_is_in_the_estimate(answer: Any) -> None:
    told = cost_of(exchange(response_body=answer), PRICES)
    words_in = len(str(REQUEST)) // CHARACTERS_PER_TOKEN
    assert told.usd is not None
    assert told.estimated
    assert words_in + 302 // CHARACTERS_PER_TOKEN <= told.usd <= words_in + 380 // CHARACTERS_PER_TOKEN


def test_a_report_counts_what_was_not_seen_of_the_calls() -> None:
    spend = Spend(100.0, 0.0, PRICES)
    spend.begin("s")
    spend.settle(exchange(3, 0))
    spend.report("s", 5.0)
    assert spend.spent == 5.0
    spend.begin("s")
    spend.settle(exchange(3, 0))
    spend.report("s", 2.0)
    assert spend.spent == 8.0


URL = "http://127.0.0.1/v1beta/models/m:generateContent"


@pytest.mark.parametrize(
    ("request_body", "body", "tokens"),
    [
        ({"contents": []}, {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5,
                                              "thoughtsTokenCount": 7}}, 22),
        ({"model": "m"}, {"usage": {"input_tokens": 1, "cache_creation_input_tokens": 100, "output_tokens": 2}}, 103),
        ({"model": "m"}, {"prompt_eval_count": 4, "eval_count": 6}, 10),
        ({"modelId": "m"}, {"usage": {"inputTokens": 3, "outputTokens": 4}}, 7),
        ({"model": "m"}, {"usage": {"tokens": {"input_tokens": 2, "output_tokens": 3}}}, 5),
        ({"model": "m"}, 'data: {"usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1}}\n\n', 3),
    ],
    ids=["gemini", "anthropic with a cache", "ollama", "bedrock", "cohere", "a stream of gemini"],
)  # fmt: skip
def test_every_dialect_is_counted(request_body: Any, body: Any, tokens: int) -> None:
    spend = Spend(1e9, 0.0, PRICES)
    spend.settle(exchange(request_body=request_body, response_body=body, url=URL))
    assert spend.spent == tokens


def test_a_model_that_only_the_address_names_is_held_against_the_limit() -> None:
    with pytest.raises(Paused, match="--max-cost"):
        Spend(0.01, 0.0, PRICES).reserve("s", {"contents": []}, URL)


def test_an_unknown_price_is_said_once_per_model_and_counts_nothing() -> None:
    said: list[str] = []
    spend = Spend(0.01, 0.0, {}, said.append)
    for model in ("sim-x", "sim-x", "sim-y"):
        request = {"model": model, "messages": []}
        spend.reserve("s", request)
        spend.settle(exchange(request_body=request, response_body={"usage": {"prompt_tokens": 9}}))
    assert said == ["sim-x", "sim-y"]
    assert spend.spent == 0
