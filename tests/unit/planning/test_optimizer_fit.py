"""Whether an optimizer can work on a target: said with the reason, before a run is created."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import dspy
import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import InputError
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.optimizer_fit import require_fit, require_scale
from rollout_local.planning.readiness import require_callable
from rollout_local.search.bettertogether import STAGES
from rollout_local.search.optimizer_arguments import PLAIN_STAGES
from rollout_local.search.optimizers import OPTIMIZERS, STEPS, Optimizer, optimizer_named, read_strategy
from rollout_local.targets.function import FunctionTarget
from rollout_local.targets.program import ProgramTarget
from rollout_local.verifiers.grade import parse_spec

PROGRAM = ProgramTarget(lambda: dspy.ChainOfThought("question -> answer"), id="qa")


def config(optimizer: str, **settings: Any) -> RunConfig:
    return RunConfig(optimizer=optimizer, **{"task_model": "openai/some", **settings})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
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
    assert set(STAGES) == set(STEPS) > set(PLAIN_STAGES)
    assert read_strategy(" -> ".join(STEPS)) == list(STEPS)
    assert read_strategy("bootstrap->gepa") == ["bootstrap", "gepa"]
    assert read_strategy(None) == ["random_search", "gepa"]


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "gepa"])
def test_every_argument_is_typed_or_refused_with_a_reason(optimizer: str) -> None:
    table = optimizer_named(optimizer).table()
    for name in table.signature.parameters:
        assert name in table.types or table.refused.get(name), name
    for stage, inner in table.inner.items():
        if stage != "gepa":
            for name in inner.signature.parameters:
                assert name in inner.types or inner.refused.get(name), f"{stage}.{name}"


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "gepa"])
def test_a_refused_argument_is_refused_by_name(optimizer: str) -> None:
    table = optimizer_named(optimizer).table()
    for name in table.refused:
        if name in table.signature.parameters:
            with pytest.raises(InputError, match=f"--arg {name} is refused: "):
                table.check({name: 1})


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_versions_that_decide_a_search_are_known(optimizer: Optimizer) -> None:
    packages = optimizer.decisive_packages
    assert {package for step in optimizer.steps(None) for package in step.needs} <= set(packages)
    assert "not installed" not in versions(packages).values()


def test_a_stages_arguments_are_its_own_and_an_optimizers_are_all() -> None:
    given = {"bootstrap": {"max_rounds": 2}, "gepa": {"use_merge": False}}
    steps = optimizer_named("bettertogether").arguments_by_step("bootstrap->gepa", given)
    assert [(step.name, own) for step, own in steps] == list(given.items())
    assert [own for _, own in optimizer_named("mipro").arguments_by_step(None, {"minibatch": True})] == [
        {"minibatch": True}
    ]


TASK = Task(name="a", input={"question": "How long?"}, expected_output="7 m")


def _graded(gold: Any, pred: Any, best: float, worst: float) -> float:
    return best if pred.answer == gold.expected_output else worst


@pytest.mark.parametrize("best", [5, 100])
def test_a_metric_of_another_scale_is_refused_before_its_worst_grade_is_taken_for_a_perfect_score(best: int) -> None:
    program = ProgramTarget(PROGRAM.function, id="qa", metric=lambda gold, pred: _graded(gold, pred, best, 1))
    with pytest.raises(InputError, match=rf"a score of {best}; scores are in \[0, 1\]. It is the grade of task 'a'"):
        require_scale(program, [], TASK)


def test_a_metric_that_cannot_grade_the_labels_or_asks_a_model_is_left_to_the_run() -> None:
    asked = []

    def asks(gold: Any, pred: Any) -> float:
        asked.append(pred.answer)
        with socket.create_connection(("127.0.0.1", 9)):
            return 5.0

    for metric in (lambda gold, pred: 1.0, lambda gold, pred: pred.no_such_field, asks):
        require_scale(ProgramTarget(PROGRAM.function, id="qa", metric=metric), [], TASK)
    require_scale(PROGRAM, [], TASK)
    assert asked == ["7 m"]


def test_so_is_a_check_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grades_of_five.py").write_text("def grade(task, output): return 5 if output == '7 m' else 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    check = {"id": "g", "type": "python", "params": {"function": "grades_of_five:grade"}}
    spec = parse_spec({"id": "v", "name": "v", "kind": "native", "checks": [check]}, "v", "v.json")
    with pytest.raises(InputError, match=r"gave the score 5; a score is a number from 0 to 1\. It is the grade"):
        require_scale(PROGRAM, [spec], TASK)


def test_a_model_that_cannot_be_called_is_refused_but_for_a_target_that_calls_it_itself() -> None:
    reflects = RunConfig(reflection_model="my-model", task_model="its-own")
    baseline = Candidate(text="Answer.")  # type: ignore[call-arg]
    function = FunctionTarget(lambda *_: "", id="f", kind=TargetKind.PROMPT, description="", baseline=baseline)
    with pytest.raises(InputError, match="no provider is known for my-model"):
        require_callable(reflects, function, ["my-model", "its-own"])
    known = reflects.model_copy(update={"reflection_model": "openai/one"})
    require_callable(known, function, ["openai/one", "its-own"])
    with pytest.raises(InputError, match="no provider is known for its-own"):
        require_callable(known, PROGRAM, ["openai/one", "its-own"])
