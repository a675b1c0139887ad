"""Whether an optimizer can work on a target: said with the reason, before a run is created."""

from __future__ import annotations

import importlib.util
from typing import Any

import dspy
import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.errors import InputError
from rollout_local.runs.fingerprint import NEEDED, versions
from rollout_local.runs.fitness import require_fit
from rollout_local.search.engines import ENGINES, arguments_of
from rollout_local.search.optimizer_arguments import OF_STAGES, PLAIN_STAGES, read_strategy
from rollout_local.search.together import STAGES
from rollout_local.targets.program import ProgramTarget

PROGRAM = ProgramTarget(lambda: dspy.ChainOfThought("question -> answer"), id="qa")


def config(optimizer: str, **settings: Any) -> RunConfig:
    return RunConfig(optimizer=optimizer, **{"task_model": "openai/some", **settings})


@pytest.mark.parametrize("optimizer", ENGINES)
def test_a_program_with_a_model_fits_every_optimizer(optimizer: str) -> None:
    require_fit(config(optimizer), PROGRAM)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [("mipro", {}), ("bettertogether", {"strategy": "bootstrap -> mipro"}), ("simba", {})],
)
def test_without_its_packages_an_optimizer_is_refused_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"`pip install 'rollout-local\[optimizers\]'`"):
        require_fit(config(optimizer, **settings), PROGRAM)


def test_stages_that_need_no_package_run_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_fit(config("bettertogether", strategy="bootstrap -> gepa"), PROGRAM)


def test_predictors_with_models_of_their_own_cannot_be_sampled() -> None:
    def build() -> Any:
        program = dspy.Module()
        program.first, program.second = dspy.Predict("question -> notes"), dspy.Predict("notes -> answer")
        program.first.lm = dspy.LM("openai/one", api_key="x")
        return program

    with pytest.raises(InputError, match="its predictors have models of their own"):
        require_fit(config("simba"), ProgramTarget(build, id="many"))


def test_a_model_of_the_programs_own_is_enough() -> None:
    def build() -> Any:
        program = dspy.Predict("question -> answer")
        program.lm = dspy.LM("openai/own", api_key="x")
        return program

    require_fit(config("mipro", task_model=None), ProgramTarget(build, id="own"))


def test_every_stage_that_may_be_named_can_run() -> None:
    assert set(STAGES) == set(OF_STAGES) > set(PLAIN_STAGES)
    assert read_strategy(" -> ".join(OF_STAGES)) == list(OF_STAGES)
    assert read_strategy("bootstrap->gepa") == ["bootstrap", "gepa"]
    assert read_strategy(None) == ["random_search", "gepa"]


@pytest.mark.parametrize("optimizer", [name for name in ENGINES if name != "gepa"])
def test_every_argument_is_typed_or_refused_with_a_reason(optimizer: str) -> None:
    table = arguments_of(optimizer)
    for name in table.signature.parameters:
        assert name in table.types or table.refused.get(name), name
    for stage, inner in table.inner.items():
        if stage != "gepa":
            for name in inner.signature.parameters:
                assert name in inner.types or inner.refused.get(name), f"{stage}.{name}"


@pytest.mark.parametrize("optimizer", [name for name in ENGINES if name != "gepa"])
def test_a_refused_argument_is_refused_by_name(optimizer: str) -> None:
    table = arguments_of(optimizer)
    for name in table.refused:
        if name in table.signature.parameters:
            with pytest.raises(InputError, match=f"--arg {name} is refused: "):
                table.check({name: 1})


def test_versions_that_decide_a_search_are_known() -> None:
    assert "not installed" not in versions(NEEDED["mipro"]).values()
    assert set(NEEDED) == set(ENGINES) - {"gepa"}
