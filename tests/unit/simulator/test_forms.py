"""Forms of DSPy's optimizers: advice for each of some names, and an instruction made better."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from rollout_local.simulator import Simulator

FEEDBACK = json.dumps({"feedback": 'expected the output to contain "30 days"'}, indent=2)


class Advise(dspy.Signature):
    """Say what to do better."""

    info: str = dspy.InputField()
    names: list[str] = dspy.InputField()
    discussion: str = dspy.OutputField()
    advice: dict[str, str] = dspy.OutputField()


class Better(dspy.Signature):
    """Write a better one."""

    info: str = dspy.InputField()
    basic_instruction: str = dspy.InputField()
    proposed_instruction: str = dspy.OutputField()


@pytest.fixture(params=["chat", "json"])
def answered(request: pytest.FixtureRequest, simulate: Callable[..., Simulator]) -> Any:
    adapter = dspy.ChatAdapter() if request.param == "chat" else dspy.JSONAdapter()
    lm = dspy.LM("openai/sim-reflection", api_base=simulate().url, api_key="x", engine="litellm", cache=False)
    with dspy.context(lm=lm, adapter=adapter):
        yield lambda signature, **given: dspy.Predict(signature)(**given)


def test_each_name_gets_the_advice_that_the_feedback_teaches(answered: Any) -> None:
    advice = answered(Advise, info=FEEDBACK, names=["draft", "answer.predict"]).advice
    assert set(advice) == {"draft", "answer.predict"}
    assert all('"30 days"' in text for text in advice.values())


def test_without_feedback_there_is_advice_all_the_same(answered: Any) -> None:
    advice = answered(Advise, info="nothing", names=["draft"]).advice
    assert list(advice) == ["draft"]
    assert advice["draft"]


def test_an_instruction_is_kept_and_extended(answered: Any) -> None:
    better = answered(Better, info=FEEDBACK, basic_instruction="Answer.").proposed_instruction
    assert better.startswith("Answer.")
    assert '"30 days"' in better
