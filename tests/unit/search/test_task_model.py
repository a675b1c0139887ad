"""`--task-model` for targets that call models through DSPy."""

from __future__ import annotations

from collections.abc import Callable

import dspy
import pytest
from dspy.utils import DummyLM

from rollout_local.search.task_model import as_settings_lm, configured
from tests.unit.search.conftest import Answer, Model, as_json


def test_the_task_model_is_dspys_model_inside_the_block_only(model: Callable[[Answer], Model]) -> None:
    server = model(lambda _: '{"output": "7 m"}')
    before = dspy.settings.lm
    with (
        as_settings_lm("openai/small", server.url, {"temperature": 0.5}),
        dspy.context(adapter=dspy.JSONAdapter()),
    ):
        answers = [dspy.Predict("task -> output")(task="How long?").output for _ in range(2)]
    assert answers == ["7 m", "7 m"]
    assert [(body["model"], body["temperature"]) for body in server.bodies] == [("small", 0.5)] * 2
    assert dspy.settings.lm is before


def test_a_key_of_the_environment_goes_to_the_server(
    model: Callable[[Answer], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    with as_settings_lm("openai/small", model(lambda _: as_json("x")).url, {}):
        assert dspy.settings.lm.kwargs["api_key"] == "sk-of-mine"
    monkeypatch.delenv("OPENAI_API_KEY")
    with as_settings_lm("openai/small", "http://127.0.0.1:9/v1", {}):
        assert dspy.settings.lm.kwargs["api_key"] == "not-a-key"


def test_without_an_address_the_provider_of_the_name_is_asked() -> None:
    with as_settings_lm("openai/small", None, {}):
        assert "api_base" not in dspy.settings.lm.kwargs


def test_the_configured_model_is_stored_where_another_process_would_do_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    local = {"api_base": "http://127.0.0.1:9/v1", "api_key": "x", "temperature": 0.5}
    stored = {"task_model": "openai/small", "task_params": {"temperature": 0.5}, "task_api_base": local["api_base"]}
    cases = [
        (dspy.LM("openai/small", **local), stored),
        (dspy.LM("openai/small"), {"task_model": "openai/small", "task_params": {}}),
        (dspy.LM("openai/small", api_key="sk-of-mine"), {"task_model": "openai/small", "task_params": {}}),
        (dspy.LM("openai/small", api_key="sk-another"), {}),
        (dspy.LM("openai/small", seed=1), {}),
        (dspy.LM("openai/small", model_type="responses"), {}),
        (DummyLM([{"answer": "x"}]), {}),
        (None, {}),
    ]
    for lm, settings in cases:
        with dspy.context(lm=lm):
            assert configured() == settings
