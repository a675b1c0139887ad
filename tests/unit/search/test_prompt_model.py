"""The model that an optimizer asks on its own account: paid for once, told apart by what is asked and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dspy
import pytest
from pydantic import BaseModel

from rollout_local.search.engine import ReflectionModel
from rollout_local.search.prompt_model import prompt_model
from tests.unit.search.conftest import Model, make_spec

ASKED = "What is it?"


class Memory:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], Any] = {}
        self.keys: list[tuple[str, int]] = []

    def __call__(self, key: str, occurrence: int, produce: Callable[[], Any]) -> Any:
        self.keys.append((key, occurrence))
        if (key, occurrence) not in self.kept:
            self.kept[key, occurrence] = produce()
        return self.kept[key, occurrence]


@pytest.fixture
def spec(model: Callable[..., Model]) -> Any:
    server = model(lambda n: f"reply {n}")
    reflection = ReflectionModel("openai/some", server.url, "x", {"temperature": 0.5})
    return make_spec(server.url, reflection=reflection), server


def test_a_request_is_asked_once_and_again_where_it_is_asked_again(spec: Any) -> None:
    given, server = spec
    memory = Memory()
    lm = prompt_model(given, memory)
    assert [lm(ASKED), lm(ASKED)] == [["reply 0"], ["reply 1"]]
    again = prompt_model(given, memory)
    assert [again(ASKED), again(ASKED)] == [["reply 0"], ["reply 1"]]
    assert len(server.bodies) == 2
    assert server.bodies[0]["temperature"] == 0.5


def test_copies_count_together_and_their_settings_tell_requests_apart(spec: Any) -> None:
    given, _ = spec
    memory = Memory()
    lm = prompt_model(given, memory)
    assert lm.copy(rollout_id=1)(ASKED) == ["reply 0"]
    assert lm.copy(rollout_id=2)(ASKED) == ["reply 1"]
    assert lm.copy(rollout_id=1)(ASKED) == ["reply 2"]
    assert [occurrence for _, occurrence in memory.keys] == [0, 0, 1]


def test_neither_a_key_nor_an_address_is_part_of_what_is_asked(spec: Any) -> None:
    given, _ = spec
    memory = Memory()
    prompt_model(given, memory)(ASKED)
    elsewhere = replace(given, reflection=replace(given.reflection, api_key="y", api_base="http://127.0.0.1:9"))
    assert prompt_model(elsewhere, memory)(ASKED) == ["reply 0"]


class Shape(BaseModel):
    answer: str


def test_a_request_with_a_schema_is_known_by_the_schema(spec: Any) -> None:
    given, _ = spec
    memory = Memory()
    key = []
    for shape in (Shape, Shape, None):
        prompt_model(given, memory)(ASKED, **({"response_format": shape} if shape else {}))
        key.append(memory.keys[-1][0])
    assert key[0] == key[1] != key[2]


def test_a_predictor_reads_its_replies(spec: Any) -> None:
    given, server = spec
    server.answer = lambda n: "[[ ## answer ## ]]\nBasel\n\n[[ ## completed ## ]]"
    with dspy.context(lm=prompt_model(given, Memory())):
        assert dspy.Predict("question -> answer")(question="Where?").answer == "Basel"
