"""Demonstrations as part of a candidate: kept as JSON, put back with their types, exported for DSPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from pydantic import BaseModel

from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.search.components import candidate_of, changed, demos_of, models_of
from rollout_local.targets.program import ProgramTarget, saved


class Place(BaseModel):
    city: str
    floors: list[int]


class Sort(dspy.Signature):
    """Say where it belongs."""

    message: str = dspy.InputField()
    seen: list[Place] = dspy.InputField()
    place: Place = dspy.OutputField()


class Sorter(dspy.Module):
    def __init__(self, *demos: dspy.Example) -> None:
        super().__init__()
        self.sort = dspy.Predict(Sort)
        self.say = dspy.ChainOfThought("place: Place -> reply", custom_types={"Place": Place})
        self.sort.demos = list(demos)

    def forward(self, message: str) -> Any:
        return self.say(place=self.sort(message=message, seen=[]).place)


BASEL = Place(city="Basel", floors=[1, 2])
DEMO = dspy.Example(augmented=True, message="It leaks.", seen=[BASEL], place=BASEL)
LABELLED = dspy.Example(message="It is cold.", place=Place(city="Chur", floors=[])).with_inputs("message")


def with_demos(*demos: dspy.Example) -> Candidate:
    program = Sorter()
    program.sort.demos = list(demos)
    return candidate_of(program, demos_of(Sorter()))


def prompt(program: Any) -> str:
    predictor = program.sort
    inputs = {"message": "Where?", "seen": [BASEL]}
    return str(dspy.ChatAdapter().format(predictor.signature, predictor.demos, inputs))


def test_a_program_with_its_own_demonstrations_is_the_baseline() -> None:
    target = ProgramTarget(lambda: Sorter(DEMO), id="sorter")
    assert candidate_of(Sorter(DEMO), demos_of(target.module)) == target.baseline


def test_demonstrations_are_a_component_and_come_back_with_their_types() -> None:
    candidate = with_demos(DEMO, LABELLED)
    assert list(candidate.components) == ["sort", "say.predict", "sort.demos"]
    program = ProgramTarget(Sorter, id="sorter").with_texts(candidate)
    assert [demo.place for demo in program.sort.demos] == [BASEL, Place(city="Chur", floors=[])]
    assert program.sort.demos[0].seen == [BASEL]
    assert prompt(program) == prompt(Sorter(DEMO, LABELLED))


def test_a_program_that_lost_its_own_demonstrations_says_so() -> None:
    target = ProgramTarget(lambda: Sorter(DEMO), id="sorter")
    candidate = candidate_of(Sorter(), demos_of(target.module))
    assert candidate.components["sort.demos"] == "[]"
    assert changed(candidate, target.baseline) == ("sort.demos",)
    assert target.with_texts(candidate).sort.demos == []


def test_a_demonstration_that_json_cannot_keep_is_refused_with_its_predictor() -> None:
    with pytest.raises(InputError, match="demonstration of predictor sort has a value that JSON cannot keep"):
        with_demos(dspy.Example(message=object()))


def test_what_is_exported_for_dspy_has_the_demonstrations(tmp_path: Path) -> None:
    candidate = with_demos(DEMO, LABELLED)
    path = tmp_path / "program.json"
    path.write_text(saved(ProgramTarget(Sorter, id="sorter"), candidate))
    program = Sorter()
    program.load(str(path))
    assert json.loads(demos_of(program)["sort.demos"]) == json.loads(candidate.components["sort.demos"])
    assert program.sort.signature.instructions == "Say where it belongs."


def test_only_models_other_than_the_programs_own_are_handed_on() -> None:
    model = dspy.LM("openai/some", api_key="x")
    own, copy = Sorter(), Sorter()
    with dspy.context(lm=model):
        assert models_of(copy, own) == {}
        copy.set_lm(model.copy())
        assert models_of(copy, own) == {}
        warm = model.copy(temperature=1.0, rollout_id=2)
        copy.set_lm(warm)
        assert models_of(copy, own) == {"sort": warm, "say.predict": warm}
        with dspy.context(lm=warm):
            assert models_of(copy, own) == {}


def test_a_trial_asks_the_models_that_it_is_given() -> None:
    target = ProgramTarget(Sorter, id="sorter")
    warm = dspy.LM("openai/some", api_key="x", temperature=1.0)
    shared = target.with_texts(target.baseline)
    with target.sampled({"sort": warm}):
        ready = target._ready(target.baseline)
        assert (ready.sort.lm, ready.say.predict.lm) == (warm, None)
        assert shared.sort.lm is None
    assert target._ready(target.baseline) is shared
