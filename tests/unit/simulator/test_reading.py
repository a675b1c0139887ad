from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.errors import InputError
from rollout_local.simulator import load_script

YEAR = r"\b(?P<value>1\d{3})\b"
STUDENT: dict[str, Any] = {
    "role": "student",
    "leads": ["I read it."],
    "fields": [
        {
            "key": "year",
            "default": "I found no year about {words}.",
            "extract": [
                {"pattern": rf"second: [^\n]*{YEAR}", "needs": r"\bsecond\b", "unless": r"\bfirst\b"},
                {"pattern": YEAR},
            ],
            "wordings": [
                {"say": "{value}", "needs": r"\bshort\b", "when": "wreck"},
                {"say": ["I think that it is {value}."]},
            ],
        },
        {"key": "name", "extract": [{"pattern": r"(?P<value>(?-i:[A-Z][a-z]+) Hall)"}]},
    ],
}
MESSAGE = "Which year was the wreck?\nfirst: 1804 at Hobday Hall\nsecond: 1869"


@pytest.fixture
def say(simulate: Callable[..., Any]) -> Callable[..., str]:
    client = simulate({"reader": STUDENT})
    return lambda instructions, message=MESSAGE: str(client.say(message, instructions, "reader"))


def test_a_field_is_read_off_the_message_by_the_first_pattern_that_finds_something(say: Callable[..., str]) -> None:
    assert say("Answer.") == "I read it. year is I think that it is 1804.; name is Hobday Hall."


@pytest.mark.parametrize(
    ("instructions", "year"), [("Read the second.", "1869"), ("Read the second, then the first.", "1804")]
)
def test_instructions_decide_which_patterns_are_tried(say: Callable[..., str], instructions: str, year: str) -> None:
    assert f"it is {year}." in say(instructions)


def test_the_wording_depends_on_instructions_and_message(say: Callable[..., str]) -> None:
    assert "year is 1804;" in say("Be short.")
    assert "year is I think that it is 1804." in say("Be short.", "Built 1804")


def test_where_nothing_is_found_the_default_is_said_and_a_field_without_one_is_left_out(
    say: Callable[..., str],
) -> None:
    assert say("Answer.", "The pier and the tram?") == "I read it. year is I found no year about pier, tram.."
    assert "about this." in say("Answer.", "???")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_dspy_prompt_is_answered_with_the_fields_that_it_asks_for(simulate: Callable[..., Any]) -> None:
    import dspy

    client = simulate({"reader": STUDENT})
    lm = dspy.LM("openai/reader", api_base=client.url, api_key="x", engine="litellm", cache=False)
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        with dspy.context(lm=lm, adapter=adapter):
            assert dspy.Predict(dspy.Signature("text -> name", "Name it."))(text=MESSAGE).name == "Hobday Hall"
            both = dspy.Predict(dspy.Signature("text -> year, name", "Be short."))(text=MESSAGE)
            assert (both.year, both.name) == ("1804", "Hobday Hall")
            told = dspy.Predict(dspy.Signature("text -> year", 'Be short. `year` is "none".'))(text=MESSAGE)
            assert told.year == "none"
            other = dspy.Predict(dspy.Signature("text -> colour", "Be short."))(text=MESSAGE)
            assert "name is Hobday Hall" in other.colour


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({}, "needs either labels or extract"),
        ({"labels": [{"name": "a"}], "extract": [{"pattern": "(?P<value>a)"}]}, "needs either labels or extract"),
        ({"labels": [{"name": "a"}], "wordings": [{"say": "x"}]}, "need no wordings"),
        ({"extract": [{"pattern": "a"}]}, "has no group"),
        ({"extract": [{"pattern": "(?P<value>a)"}], "set": True}, "do not apply"),
        ({"extract": [{"pattern": "(?P<value>a)"}], "default": ["a"]}, "do not apply"),
        ({"extract": [{"pattern": "(?P<value>a)"}], "wordings": [{"say": []}]}, "at least 1 item"),
    ],
)
def test_a_field_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, field: Any, why: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"models": {"reader": {"role": "student", "fields": [{"key": "k", **field}]}}}))
    with pytest.raises(InputError, match=why):
        load_script(path)
