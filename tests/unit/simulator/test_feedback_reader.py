from __future__ import annotations

import json
from typing import Any

import pytest

from rollout_local.simulator import load_script
from rollout_local.simulator.dspy_prompts import Example, Proposal, proposal, shortening
from rollout_local.simulator.reflection import propose
from rollout_local.simulator.script import Reflection
from rollout_local.simulator.seeded_choice import Chance

REFUND = "I want a refund for my order"
PARCEL = "Where is the parcel of my order"


def _rules(**changes: Any) -> Reflection:
    rules = load_script().find("sim-reflection")
    assert isinstance(rules, Reflection)
    return Reflection.model_validate({**dict(rules), **changes})


def _learn(
    instruction: str, *examples: tuple[str, str], twist: int = 0, limit: int | None = None, **changes: Any
) -> str:
    prompt = Proposal(instruction, tuple(Example(*example) for example in examples), limit)
    return propose(_rules(**changes), prompt, Chance(0, "key", twist))


def _lines(text: str) -> list[str]:
    return [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(
    ("feedback", "lines"),
    [
        ('contains: expected the output to contain "30 days"; it does not', ['Mention "30 days".']),
        ('not_contains: the output must not contain "gua", but it does: "… gua …"', ['Never say "gua".']),
        (
            'equals: expected "yes", found "Yes, sure." They part at character 1: "y"',
            ['Answer with exactly one of: "yes".', 'When the message mentions "refund": answer with exactly "yes".'],
        ),
        (r"regex: nothing in the output matches /\d{4}/", [r"Write something that matches the pattern `\d{4}`."]),
        (
            'json_valid: the output is not valid JSON: Expecting value at line 1 column 1; it starts with "Sure!"',
            ["Reply with JSON only: no code fence, no other text."],
        ),
        (
            'json_keys: the JSON object lacks the keys "urgency", "mood" (it has "priority")',
            ['Reply in JSON with the keys "urgency", "mood".'],
        ),
        (
            'json_keys: expected a JSON object with the keys "a", "b"; the output is not valid JSON',
            ['Reply in JSON with the keys "a", "b".', "Reply with JSON only: no code fence, no other text."],
        ),
        (
            'json_path_equals urgency: expected "high", found "urgent"',
            ['Reply in JSON with the keys "urgency".', '`urgency` must be one of: "high".'],
        ),
        (
            'json_path_equals tags: expected ["a", "b"] (in any order), found ["c"]; missing "a", "b"',
            ['Reply in JSON with the keys "tags".', '`tags` is a list with values from: "a", "b".'],
        ),
        (
            "json_path_equals n: expected 3, found 4",
            ['Reply in JSON with the keys "n".', 'When the message mentions "refund": `n` is 3.'],
        ),
        ('expected_output_schema: the JSON object lacks the required keys "x"', ['Reply in JSON with the keys "x".']),
        ("min_length: the output has 12 characters, at least 40 are needed", ["Write at least 40 characters."]),
        ("max_length: the output has 900 characters, at most 200 are allowed", ["Write at most 200 characters."]),
        (
            'task_expectations: missing: the 30 day window (expected one of "30 days", "thirty days")',
            ['When the message mentions "refund": mention "30 days".'],
        ),
        ('task_expectations: must not mention: "final sale"', ['Never say "final sale".']),
        ('The reply should greet with "hello"', ['When the message mentions "refund": mention "hello".']),
        ('You must not say "foo"', ['Never say "foo".']),
    ],
)
def test_every_wording_of_our_checks_teaches_a_line(feedback: str, lines: list[str]) -> None:
    assert _lines(_learn("Do it.", (REFUND, feedback), (PARCEL, "All is well."))) == lines


def test_the_given_instruction_stays_and_the_lessons_stand_below() -> None:
    text = _learn("Do it.\n\nWell.", (REFUND, 'expected the output to contain "a1"'))
    assert text == 'Do it.\n\nWell.\n\n## Lessons\n\n- Mention "a1".'
    again = _learn(text, (REFUND, 'expected the output to contain "b2"'))
    assert again == f'{text}\n- Mention "b2".'
    assert _learn("", (REFUND, 'expected the output to contain "a1"')) == '## Lessons\n\n- Mention "a1".'


def test_a_line_that_is_there_is_extended_and_never_repeated() -> None:
    text = '`urgency` must be one of: "low", \'mid\'.\nReply in JSON with the keys "urgency".'
    wrong = 'json_path_equals urgency: expected "high", found "urgent"'
    better = _learn(text, (REFUND, wrong), max_new=1)
    assert better.splitlines()[0] == '`urgency` must be one of: "low", "mid", "high".'
    done = _learn(better, (REFUND, wrong), max_new=9)
    assert done.count("urgency") == 3
    assert _learn(done, (REFUND, wrong), advice=()) == done


def test_words_of_a_condition_are_collected_and_dropped_when_there_are_enough() -> None:
    wrong = 'missing: the window (expected one of "30 days")'
    text = 'When the message mentions "return": mention "30 days".'
    text = _learn(text, (REFUND, wrong), (PARCEL, ""))
    assert text == 'When the message mentions "return" or "refund": mention "30 days".'
    text = _learn(text, ("It was broken", wrong), (PARCEL, ""))
    assert text.count(" or ") == 2
    assert _learn(text, ("It was dirty", wrong), (PARCEL, "")) == 'Mention "30 days".'


def test_a_condition_is_left_out_where_all_examples_agree() -> None:
    wrong = 'missing: the window (expected one of "30 days")'
    assert _lines(_learn("Do it.", (REFUND, wrong), (PARCEL, wrong))) == ['Mention "30 days".']
    conditional = 'When the message mentions "return": mention "30 days".'
    assert _learn(conditional, (REFUND, wrong), (PARCEL, wrong)) == 'Mention "30 days".'
    other = 'missing: the address (expected one of "Hamburg")'
    lines = _lines(_learn("Do it.", (REFUND, wrong), (PARCEL, other)))
    assert lines == [
        'When the message mentions "refund": mention "30 days".',
        'When the message mentions "parcel": mention "Hamburg".',
    ]
    assert _lines(_learn("Do it.", ("?", wrong))) == ['Mention "30 days".']


def test_the_word_of_a_condition_is_rare_near_to_the_feedback_and_no_name() -> None:
    wrong = 'missing: the returns desk (expected one of "desk 4")'
    text = "Yesterday Alexandra wanted returning shoes for 99123 cents"
    assert 'mentions "returning"' in _learn("Do it.", (text, wrong), (PARCEL, ""))
    plain = 'missing: it (expected one of "zz9")'
    assert 'mentions "elephants"' in _learn("Do it.", ("Today Wolfeschlegel has elephants", plain), (PARCEL, ""))


def test_a_proposal_adds_a_few_lessons_and_stays_below_its_limits() -> None:
    wrong = "\n".join(f'expected the output to contain "a{i}"' for i in range(5))
    assert len(_lines(_learn("Do it.", (REFUND, wrong)))) == 2
    assert len(_lines(_learn("Do it.", (REFUND, wrong), max_new=4))) == 4
    assert _learn("Do it.", (REFUND, wrong), limit=20) == "Do it."
    assert len(_learn("Do it.", (REFUND, wrong), max_new=9, max_chars=70)) <= 70


def test_without_a_lesson_the_wording_changes_until_no_advice_is_left() -> None:
    text = "Do it."
    for count in range(1, 5):
        text = _learn(text, (REFUND, "Well done."))
        assert len(_lines(text)) == count
    assert _learn(text, (REFUND, "Well done.")) == text


def test_a_lesson_may_ask_for_an_input_and_for_what_is_or_is_not_known() -> None:
    lesson = {"pattern": "wrong", "template": "Floods are urgent."}
    asks = {"lessons": [{**lesson, "input": "flood", "needs": "urgency", "unless": "expert"}], "advice": ()}
    assert "Floods" in _learn("urgency", ("a flood", "wrong"), **asks)
    assert "Floods" not in _learn("urgency", ("a fire", "wrong"), **asks)
    assert "Floods" not in _learn("Do it.", ("a flood", "wrong"), **asks)
    assert "Floods" not in _learn("urgency, expert", ("a flood", "wrong"), **asks)


def test_a_reflection_model_may_overlook_lessons() -> None:
    wrong = "\n".join(f'expected the output to contain "a{i}"' for i in range(40))
    assert 5 < len(_lines(_learn("Do it.", (REFUND, wrong), miss=0.5, max_new=99))) < 35


def test_a_further_sample_learns_in_another_order() -> None:
    wrong = "\n".join(f'expected the output to contain "a{i}"' for i in range(20))
    samples = {_learn("Do it.", (REFUND, wrong), twist=twist) for twist in range(6)}
    assert len(samples) > 3


def test_a_merged_group_may_stand_first_in_its_line() -> None:
    lessons = [{"pattern": "use <quoted:x>", "template": "{x} are fine", "merge": "x"}]
    text = _learn("Do it.", (REFUND, 'use "a"'), lessons=lessons)
    assert _lines(_learn(text, (REFUND, 'use "b"'), lessons=lessons)) == ['"a", "b" are fine']


def _prompt(instruction: str, examples: str) -> str:
    return (
        f"[[ ## length_limit ## ]]\nThe new instruction must be at most 800 characters.\n\n"
        f"[[ ## current_instruction ## ]]\n{instruction}\n\n[[ ## examples_with_feedback ## ]]\n{examples}\n\n"
        "Respond with a JSON object in the following order of fields: `new_instruction`."
    )


def test_a_prompt_is_read_though_its_texts_look_like_headers() -> None:
    trap = "Be good.\n\n[[ ## examples_with_feedback ## ]]\n[1, 2]\nThe end."
    inputs = {"a": ["[[ ## examples_with_feedback ## ]]", 3, None], "b": {"c": "deep"}}
    examples = json.dumps([{"Inputs": inputs, "Generated Outputs": "x", "Feedback": "F"}])
    found = proposal(_prompt(trap, examples))
    assert found == Proposal(trap, (Example("[[ ## examples_with_feedback ## ]]\n3\ndeep", "F"),), 800)


def test_examples_that_are_no_json_are_read_as_one_feedback() -> None:
    found = proposal(_prompt("Be good.", 'Feedback: expected the output to contain "a1"'))
    assert found is not None
    assert found.instruction == "Be good."
    assert [example.feedback.strip() for example in found.examples] == ['Feedback: expected the output to contain "a1"']


def test_any_other_message_is_no_proposal() -> None:
    assert proposal("Hello") is None
    assert proposal("[[ ## current_instruction ## ]]\nBe good.") is None
    assert shortening("Hello") is None
    assert shortening("[[ ## instruction ## ]]\nA\n\n[[ ## length_limit ## ]]\nshort") is None
