"""Headers for a target's endpoint: what may be secret comes from the environment, and nothing of it is stored."""

from __future__ import annotations

import pytest

from rollout_local.errors import InputError
from rollout_local.planning.target_headers import headers_of, variables_of

ENVIRON = {"AGENT_TOKEN": "tok-4f9a8b7c6d5e", "TEAM_KEY": " key-1a2b3c4d5e6f ", "TEAM": "blue", "ODD": "a\nb"}


def test_values_are_given_or_read_from_the_environment() -> None:
    given = [
        "X-Team: blue",
        "X-Api-Key:$TEAM_KEY ",
        "X-Version: 2024-06-01",
        "Authorization: Token $AGENT_TOKEN",
        "X-None:",
    ]
    found = headers_of(given, None, ENVIRON)
    assert found.sent == {
        "X-Team": "blue", "X-Api-Key": "key-1a2b3c4d5e6f", "X-Version": "2024-06-01",
        "Authorization": "Token tok-4f9a8b7c6d5e", "X-None": "",
    }  # fmt: skip
    assert found.secrets == ("key-1a2b3c4d5e6f", "tok-4f9a8b7c6d5e")
    assert variables_of(given, "MORE") == ["TEAM_KEY", "AGENT_TOKEN", "MORE"]


def test_a_bearer_token_is_a_header_of_its_own() -> None:
    found = headers_of([], "AGENT_TOKEN", ENVIRON)
    assert (found.sent, found.secrets) == ({"Authorization": "Bearer tok-4f9a8b7c6d5e"}, ("tok-4f9a8b7c6d5e",))


def test_an_ordinary_word_from_the_environment_is_no_secret() -> None:
    assert headers_of(["X-Team: $TEAM"], None, ENVIRON).secrets == ()


def test_every_piece_of_a_value_is_a_secret_too() -> None:
    found = headers_of(["Authorization: $BOTH"], None, {"BOTH": "Bearer tok-4f9a8b7c6d5e"})
    assert found.secrets == ("Bearer tok-4f9a8b7c6d5e", "tok-4f9a8b7c6d5e")


@pytest.mark.parametrize(
    ("given", "bearer", "says"),
    [
        (["X-Team"], None, 'takes "Name: value"'),
        (["X-Team: a\r\nX-Other: b"], None, 'takes "Name: value"'),
        (["Content-Type: text/plain"], None, "is set by the client itself"),
        (["Authorization: Bearer abc"], None, r"may be a secret, .* write 'Authorization: \$VARIABLE'"),
        (["X-Api-Key: abc"], None, r"may be a secret, .* write 'X-Api-Key: \$VARIABLE'"),
        (["X-Team: abc-4711-0815-abc"], None, "may be a secret"),
        (["X-Team: $TEAM-abc-4711-0815-abc"], None, "may be a secret"),
        (["X-Api-Key: $NOT_THERE"], None, "--target-header X-Api-Key reads the environment variable NOT_THERE"),
        ([], "NOT_THERE", "--target-bearer-env reads the environment variable NOT_THERE, which is not set; set it"),
        ([], "ODD", "whose value no HTTP header can hold"),
        ([], "tok-abc", "takes the name of an environment variable, such as AGENT_TOKEN, not the token itself"),
        ([], "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "not the token itself"),
        (["X-Team: a", "x-team: b"], None, "the header x-team is given twice"),
        (["Authorization: $TEAM"], "AGENT_TOKEN", "the header Authorization is given twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_or_would_be_stored_is_refused_and_not_repeated(
    given: list[str], bearer: str | None, says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        headers_of(given, bearer, ENVIRON)
    assert "abc" not in str(caught.value)


def test_a_replay_needs_no_variable() -> None:
    assert headers_of(["X-Api-Key: $NOT_THERE"], "NOT_THERE", {}, required=False).sent == {
        "X-Api-Key": "", "Authorization": "Bearer ",
    }  # fmt: skip


def test_a_secret_in_the_text_is_refused_in_a_replay_too() -> None:
    with pytest.raises(InputError, match="may be a secret"):
        headers_of(["X-Api-Key: abc"], None, {}, required=False)
