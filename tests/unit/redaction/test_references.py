"""Settings that are stored name a secret: what may be one is refused, and its value never repeated."""

from __future__ import annotations

from typing import Any

import pytest

from rollout_local.redaction.references import (
    RESERVED,
    filled,
    from_environment,
    problem_of_address,
    problem_of_parameters,
    variables_in,
)

VALUE = "made-up-9876543210"


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": VALUE},
        {"password": "short"},
        {"extra_headers": {"Helicone-Auth": f"Bearer {VALUE}"}},
        {"extra_headers": {"X-Auth": "word"}},
        {"extra_headers": {"X-Team": VALUE}},
        {"extra_body": {"provider": {"api_key": VALUE}}},
        {"list": [{"client_secret": VALUE}]},
        {"user": "sk-abcdefghijklmnop0123"},
        {"api_key": f"$TEAM_KEY{VALUE}"},
        {"aws_secret_access_key": VALUE},
        {"azure_ad_token": VALUE},
        {"proxy": "http://me:pass7word@proxy.example"},
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(given: dict[str, Any]) -> None:
    problem = problem_of_parameters(given)
    assert "put the value into an environment variable and write" in problem
    assert "$VARIABLE" in problem
    assert VALUE not in problem


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "$TEAM_KEY"},
        {"api_key": "not-needed"},
        {"extra_headers": {"Helicone-Auth": "Bearer $HELICONE_KEY", "X-Team": "blue"}},
        {"max_tokens": 32000, "temperature": 1.0, "top_p": 0.5, "seed": 7},
        {"stop": ["\n\nObservation:", "<|end|>"]},
        {"response_format": {"type": "json_object"}},
        {"prompt_cache_key": "facility-triage-2026-v1"},
        {"user": "a person whose name is long and ordinary"},
        {"tokenizer": "huggingface/some-tokenizer-v2"},
    ],
)
def test_what_is_no_secret_is_taken(given: dict[str, Any]) -> None:
    assert problem_of_parameters(given) == ""


@pytest.mark.parametrize("name", RESERVED)
def test_a_parameter_that_the_tool_sets_is_refused_with_the_reason(name: str) -> None:
    assert problem_of_parameters({name: 1}) == f"{name} cannot be given: {RESERVED[name]}; leave it out"


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1/v1?team_token=tok-1122334455667788", "http://h:1/v1?key=word", "http://me:word@h/v1",
        "http://me7and8and9:@h/v1", "http://h/sk-abcdefghijklmnop0123/v1",
    ],
)  # fmt: skip
def test_an_address_with_a_credential_is_refused(url: str) -> None:
    assert "$VARIABLE" in problem_of_address(url)


@pytest.mark.parametrize(
    "url", ["http://h:1/v1", "http://h/v1?team_token=$TOK", "http://me:$PASS@h/v1", "http://h/$TOK/v1?version=2024-10"]
)
def test_an_address_without_one_is_taken(url: str) -> None:
    assert problem_of_address(url) == ""


def test_a_reference_is_read_under_names_of_credentials_among_headers_and_alone() -> None:
    given = {
        "api_key": "a-$ONE", "extra_headers": {"X": "Word $TWO"}, "user": "$THREE", "stop": ["costs $FOUR", "$FIVE"],
        "temperature": 1,
    }  # fmt: skip
    assert variables_in(given) == ["ONE", "TWO", "THREE", "FIVE"]
    environ = {"ONE": "1", "TWO": "2", "THREE": "3", "FOUR": "4"}
    assert filled(given, from_environment(environ, "unset")) == {
        "api_key": "a-1", "extra_headers": {"X": "Word 2"}, "user": "3", "stop": ["costs $FOUR", "unset"],
        "temperature": 1,
    }  # fmt: skip
