"""The real proposer of DSPy against the simulator: instructions get better from feedback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
Example = dict[str, Any]
Check = Callable[[str, Any], str | None]
MESSAGES = ["I want a refund for my shoes", "Where is my parcel", "The invoice has a wrong amount"]


def _proposer(url: str, model: str, **options: Any) -> Callable[[str, list[Example]], str]:
    import dspy
    from dspy.teleprompt.gepa.instruction_proposal import InstructionProposer

    lm = dspy.LM(f"openai/{model}", api_base=url, api_key="x", engine="litellm", cache=False, num_retries=0)
    propose = InstructionProposer(**options)

    def better(instruction: str, examples: list[Example]) -> str:
        with dspy.context(lm=lm):
            return str(propose({"system": instruction}, {"system": examples}, ["system"])["system"])

    return better


def _evolve(client: Any, start: str, check: Check, expected: list[Any], model: str = "sim-reflection") -> list[int]:
    """Passed messages per generation, until all pass or ten generations are over."""
    better, instruction, passed = _proposer(client.url, model), start, []
    for _ in range(10):
        answers = [client.say(message, instruction) for message in MESSAGES]
        feedback = [check(answer, want) for answer, want in zip(answers, expected, strict=True)]
        passed.append(feedback.count(None))
        if passed[-1] == len(MESSAGES):
            break
        rows = zip(MESSAGES, answers, feedback, strict=True)
        examples = [
            {"Inputs": {"input": {"message": m}}, "Generated Outputs": a, "Feedback": f or "All checks passed."}
            for m, a, f in rows
        ]
        instruction = better(instruction, examples)
    return passed


def _contains(answer: str, want: list[str]) -> str | None:
    missing = [f'contains: expected the output to contain "{w}"; it does not' for w in want if w not in answer]
    banned = [f'not_contains: the output must not contain "{w}", but it does' for w in ("AI", "sorry") if w in answer]
    return "\n".join(missing + banned) or None


def _keys(answer: str, want: list[str]) -> str | None:
    names = ", ".join(json.dumps(name) for name in want)
    try:
        found = json.loads(answer)
    except ValueError as problem:
        return f"json_keys: expected a JSON object with the keys {names}; the output is not valid JSON: {problem}"
    return None if set(want) <= set(found) else f"json_keys: the JSON object lacks the keys {names}"


def _path(answer: str, want: str) -> str | None:
    try:
        found = json.loads(answer).get("urgency")
    except ValueError as problem:
        return f"json_path_equals urgency: the output is not valid JSON: {problem}"
    return None if found == want else f'json_path_equals urgency: expected "{want}", found {json.dumps(found)}'


def _equals(answer: str, want: str) -> str | None:
    return None if answer == want else f'equals: expected "{want}", found {json.dumps(answer)} They part at character 0'


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (_contains, [["30 days", "Kind regards"]] * 3),
        (_keys, [["urgency", "sentiment"]] * 3),
        (_path, ["high", "low", "medium"]),
        (_equals, ["billing", "shipping", "billing"]),
    ],
)
def test_an_instruction_gets_better_in_a_few_generations(client: Any, check: Check, expected: list[Any]) -> None:
    passed = _evolve(client, "Answer the customer.", check, expected)
    assert passed[0] == 0
    assert passed[-1] == 3
    assert 2 <= len(passed) <= 8


def test_json_in_a_fence_is_as_good_as_json(client: Any) -> None:
    assert _evolve(client, "Answer.", _contains, [["30 days"]] * 3, "sim-reflection-fenced")[-1] == 3


def _example(text: str = 'expected the output to contain "30 days"') -> list[Example]:
    return [{"Inputs": {"message": "refund"}, "Generated Outputs": "x", "Feedback": text}]


@pytest.mark.parametrize("model", ["sim-reflection-plain", "sim-reflection-rubbish"])
def test_an_answer_that_is_no_json_is_refused_by_the_adapter(client: Any, model: str) -> None:
    from dspy.utils.exceptions import AdapterParseError

    with pytest.raises(AdapterParseError):
        _proposer(client.url, model)("Answer.", _example())


def test_plain_text_is_the_instruction_itself_and_rubbish_has_nothing_of_it(client: Any) -> None:
    prompt = (
        "[[ ## current_instruction ## ]]\nAnswer.\n\n[[ ## examples_with_feedback ## ]]\n"
        f"{json.dumps(_example())}\n\nRespond with a JSON object"
    )
    assert client.say(prompt, model="sim-reflection-plain") == 'Answer.\n\n## Lessons\n\n- Mention "30 days".'
    assert "Answer" not in client.say(prompt, model="sim-reflection-rubbish")
    assert json.loads(client.say(prompt, model="sim-reflection"))["new_instruction"].startswith("Answer.")


def test_the_limit_in_the_prompt_is_kept_and_a_long_draft_is_shortened(client: Any) -> None:
    better = _proposer(client.url, "sim-reflection", max_chars=60, additional_instructions="Be kind.")
    assert better("Answer.", _example()) == 'Answer.\n\n## Lessons\n\n- Mention "30 days".'
    assert (
        better("Answer.\n" + "Be good to everyone.\n" * 9, _example())
        == "Answer.\nBe good to everyone.\nBe good to everyone."
    )


def test_a_reflection_model_that_is_just_asked_answers_like_a_student(client: Any) -> None:
    assert "30 days" in client.say("My parcel", 'Mention "30 days".', "sim-reflection")
