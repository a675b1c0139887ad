"""What a provider's failure is, and how long to wait before asking again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import httpx
import litellm
import openai
import pytest

from rollout_local.providers.failures import (
    KINDS,
    Health,
    Patience,
    ProviderFailure,
    Tries,
    failure_in,
    failure_of,
    failure_on_the_wire,
)
from rollout_local.recordings import Exchange

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def exchange(status: int | None = 200, *, question: str = "q", body: Any = None, error: str | None = None) -> Exchange:
    """One exchange as the recording tells it."""
    return Exchange(
        scope="s", key=question, question=question, method="POST", url="http://127.0.0.1/v1", request_body=None,
        status=status, response_body=body, error=error, retry_after=None, started=0.0, duration=0.1, replayed=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"message": "slow down"}}, "rate_limit"),
        (429, {"error": {"code": "insufficient_quota"}}, "quota"),
        (402, None, "quota"),
        (401, None, "auth"),
        (403, {"error": "forbidden"}, "auth"),
        (403, {"error": {"code": "content_filter"}}, "content_filter"),
        (404, {"error": {"code": "model_not_found"}}, "model_not_found"),
        (408, None, "timeout"),
        (400, {"error": {"code": "context_length_exceeded"}}, "context_length"),
        (400, {"error": {"message": "The prompt is too long for this model"}}, "context_length"),
        (413, None, "context_length"),
        (400, {"error": {"code": "content_filter"}}, "content_filter"),
        (400, {"error": "what?"}, "bad_request"),
        (500, None, "overload"),
        (503, "busy", "overload"),
        (529, None, "overload"),
        (504, None, "timeout"),
    ],
)
def test_the_status_and_the_body_say_what_kind_of_failure_it_is(status: int, body: Any, kind: str) -> None:
    failure = failure_of(exchange(status, body=body))
    assert failure is not None
    assert failure.kind == kind
    assert failure.kind in KINDS


def test_no_answer_is_a_timeout_or_a_lost_connection() -> None:
    timeout, lost = failure_of(exchange(None, error="timeout")), failure_of(exchange(None, error="connection"))
    assert timeout is not None
    assert lost is not None
    assert (timeout.kind, lost.kind) == ("timeout", "connection")


def test_an_answer_is_no_failure() -> None:
    assert failure_of(exchange(200)) is None
    assert failure_on_the_wire([]) is None


def test_a_retry_that_was_answered_makes_the_failure_good() -> None:
    assert failure_on_the_wire([exchange(429), exchange(500), exchange(200)]) is None


def test_another_model_that_answered_the_same_question_makes_it_good() -> None:
    assert failure_on_the_wire([exchange(503, question="same"), exchange(200, question="same")]) is None


def test_a_success_of_another_question_does_not_make_it_good() -> None:
    failure = failure_on_the_wire([exchange(429, question="draft"), exchange(200, question="polish")])
    assert failure is not None
    assert failure.kind == "rate_limit"


def test_a_failure_after_an_earlier_success_of_the_same_question_counts() -> None:
    assert failure_on_the_wire([exchange(200), exchange(500)]) is not None


def test_exceptions_of_clients_are_read_through_their_causes() -> None:
    limited = openai.RateLimitError("slow down", response=httpx.Response(429, request=REQUEST), body=None)
    wrapped = RuntimeError("the agent failed")
    wrapped.__cause__ = limited
    failure = failure_in(wrapped)
    assert failure is not None
    assert failure.kind == "rate_limit"
    timeout = failure_in(openai.APITimeoutError(REQUEST))
    assert timeout is not None
    assert timeout.kind == "timeout"
    lost = failure_in(openai.APIConnectionError(request=REQUEST))
    assert lost is not None
    assert lost.kind == "connection"


def test_an_exception_of_the_users_own_is_no_failure_of_a_provider() -> None:
    assert failure_in(ValueError("no such order")) is None
    assert failure_in(TimeoutError("their own")) is None


def test_an_exception_that_is_its_own_cause_ends() -> None:
    error = ValueError("loop")
    error.__context__ = RuntimeError("inner")
    error.__context__.__context__ = error
    assert failure_in(error) is None


def test_waits_grow_and_obey_the_provider() -> None:
    patience, dice = Patience(tries=4, first_wait=1.0, longest_wait=3.0), random.Random(0)
    overload = ProviderFailure("overload", "busy")
    waits = [patience.wait(tried, overload, dice) for tried in (1, 2, 3)]
    assert all(wait is not None for wait in waits)
    assert 0.5 <= waits[0] <= 1.0  # type: ignore[operator]
    assert 1.5 <= waits[2] <= 3.0  # type: ignore[operator]
    assert patience.wait(1, ProviderFailure("rate_limit", "", retry_after=10.0), dice) == 10.0


def test_there_is_an_end_to_patience() -> None:
    patience, dice = Patience(tries=3), random.Random(0)
    assert patience.wait(3, ProviderFailure("overload", ""), dice) is None
    assert patience.wait(1, ProviderFailure("auth", ""), dice) is None
    assert patience.wait(1, ProviderFailure("context_length", ""), dice) is None
    assert patience.wait(1, ProviderFailure("rate_limit", "", retry_after=3600.0), dice) is None


def test_patience_is_longer_with_a_provider_that_answers_others_and_its_waits_grow_no_further() -> None:
    patience, dice = Patience(tries=3, tries_while_it_answers=9, first_wait=1.0), random.Random(0)
    waits = [patience.wait(tried, ProviderFailure("rate_limit", ""), dice, answers=True) for tried in range(1, 10)]
    assert waits[8] is None
    assert all(wait is not None and wait <= 4.0 for wait in waits[:8])
    assert patience.wait(3, ProviderFailure("rate_limit", ""), dice) is None
    assert patience.wait(3, ProviderFailure("timeout", ""), dice, answers=True) is None
    assert patience.wait(1, ProviderFailure("auth", ""), dice, answers=True) is None


def test_a_provider_that_answered_before_is_waited_for_until_its_outage_has_lasted_long_enough() -> None:
    down = ProviderFailure("connection", "refused")

    def waits(answered: bool, failure: ProviderFailure = down, outage: float = 60.0) -> list[float]:
        health = Health()
        if answered:
            health.heard([exchange(status=200, body={"choices": []})])
        tries = Tries(Patience(outage=outage), health, random.Random(0))
        found = []
        while (pause := tries.ended(failure, [exchange(status=None, error="connection")])) is not None:
            found.append(pause)
        return found

    assert sum(waits(answered=False)) < 8 <= 60 <= sum(waits(answered=True)) < 75
    assert len(waits(answered=True, outage=0)) == len(waits(answered=False)) == 4
    assert sum(waits(answered=True, failure=ProviderFailure("timeout", ""))) < 8
    assert sum(waits(answered=False, failure=ProviderFailure("overload", "HTTP 503: Loading model"))) >= 60
    assert max(waits(answered=True)) <= 8, "a server that is back is noticed soon"


def test_a_person_is_told_which_server_was_asked_and_what_its_key_is_read_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = exchange(status=401, body={"error": {"message": "Invalid API Key"}})
    failure = failure_on_the_wire([replace(refused, url="http://user:secret@127.0.0.1:8080/v1/chat/completions")])
    assert failure is not None
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    assert failure.told("groq/llama") == (
        "the provider refused the key (HTTP 401: Invalid API Key); http://127.0.0.1:8080 was asked; the key of "
        "groq/llama is read from GROQ_API_KEY, which is not set"
    )
    assert failure.told(None).endswith("http://127.0.0.1:8080 was asked")
    assert "127.0.0.1" not in failure.words, "what is stored with a trial is the same whatever the address"


def test_a_provider_answers_while_one_of_its_last_answers_was_none_of_a_failure() -> None:
    health = Health(window=3)
    assert not health.answers
    health.heard([exchange(status=200, body={"choices": []}), exchange(status=429), exchange(status=429)])
    assert health.answers
    health.heard([exchange(status=429)])
    assert not health.answers
    health.heard([replace(exchange(status=200, body={"choices": []}), replayed=True)])
    assert not health.answers, "what the recording answers says nothing of the provider"


def test_a_try_that_got_further_is_not_fruitless() -> None:
    tries = Tries(Patience(tries=3, tries_while_it_answers=3), Health(), random.Random(0))
    good, bad = exchange(status=200, body={"choices": []}), exchange(status=429)
    given = ([bad], [bad], [good, bad], [good, bad], [good, good, bad], [good, good, bad], [good, good, bad])
    pauses = [tries.ended(ProviderFailure("rate_limit", ""), exchanges) for exchanges in given]
    assert [pause is None for pause in pauses] == [False] * 6 + [True]
    assert tries.ended(None, [good, good, good]) is None


def test_every_kind_is_retried_or_the_candidates_doing_or_stops_the_run() -> None:
    assert {name for name, kind in KINDS.items() if kind.candidates_doing} == {"context_length", "content_filter"}
    assert not any(kind.retried and kind.candidates_doing for kind in KINDS.values())
    assert all(kind.says for kind in KINDS.values())


def test_a_package_that_a_client_lacks_is_no_failed_connection() -> None:
    def through_litellm() -> None:
        try:
            import no_such_package  # noqa: F401
        except ImportError as error:
            raise litellm.APIConnectionError(f"OpenAIException - {error}", "openai", "m")  # noqa: B904 - as litellm does

    with pytest.raises(litellm.APIConnectionError) as raised:
        through_litellm()
    failure = failure_in(raised.value)
    assert failure is not None
    assert (failure.kind, failure.policy.retried) == ("missing_package", False)
    assert "a package that the client of the provider needs is not installed" in failure.words
    assert failure_in(ModuleNotFoundError("No module named 'x'")) is None, "the target's own"


@pytest.mark.parametrize(
    ("method", "url", "counts"),
    [
        ("POST", "http://localhost:11434/api/show", False),
        ("GET", "http://localhost:11434/api/tags", False),
        ("GET", "https://api.openai.com/v1/models", False),
        ("GET", "https://api.openai.com/v1/models/gpt-4.1", False),
        ("POST", "http://localhost:11434/api/chat", True),
        ("POST", "https://api.replicate.com/v1/models/meta/llama/predictions", True),
        ("POST", "https://x.googleapis.com/v1beta/models/gemini-2.0:generateContent", True),
        ("POST", "https://inference.example/models/org/name", True),
    ],
)
def test_what_a_client_asks_about_models_is_no_failure_of_one(method: str, url: str, *, counts: bool) -> None:
    beside = replace(exchange(None, error="connection", question="about"), method=method, url=url)
    assert (failure_on_the_wire([beside, exchange(), beside]) is not None) is counts


@pytest.mark.parametrize("body", [None, ""])
def test_an_empty_answer_is_named_as_one(body: Any) -> None:
    asked = replace(exchange(200, body=body), request_body={"model": "m", "messages": []})
    assert failure_of(asked) == ProviderFailure("malformed", "HTTP 200: an empty body")
