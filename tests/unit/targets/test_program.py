"""A DSPy program as a target: its texts, its examples, its answers as JSON and back."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Literal

import dspy
import pytest
from dspy.utils import DummyLM
from pydantic import BaseModel

from rollout_local.domain.dataset import Task
from rollout_local.domain.program import ProgramAnswer, ProgramResult
from rollout_local.domain.target import Candidate
from rollout_local.errors import GradingError, InputError
from rollout_local.targets.program import ProgramTarget, apply, ensemble_of, saved
from rollout_local.targets.program_examples import dataset_of
from rollout_local.tracing import Collector, collecting


class Person(BaseModel):
    name: str
    born: date


class Extract(dspy.Signature):
    """Find the person."""

    text: str = dspy.InputField()
    history: dspy.History = dspy.InputField()
    person: Person = dspy.OutputField()
    mood: Literal["glad", "sad"] = dspy.OutputField()


class Reader(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = [dspy.Predict(Extract)]

    def forward(self, text: str) -> Any:
        history = dspy.History(messages=[{"text": "before", "mood": "sad"}])
        return self.steps[0](text=text, history=history)


def lookup(word: str) -> str:
    """Look a word up."""
    return f"{word} means nothing"


def react() -> Any:
    return dspy.ReAct("question -> answer", tools=[lookup], max_iters=2)


@pytest.fixture
def answers() -> Any:
    """`answers(*replies)`: what the model says, reply by reply."""

    def say(*replies: dict[str, Any]) -> Any:
        return dspy.context(lm=DummyLM(list(replies)), adapter=dspy.ChatAdapter())

    return say


def run(target: ProgramTarget, context: Any, task: Task) -> ProgramResult:
    with context:
        return target.run(task, target.baseline)


READ = {"person": '{"name": "Ada", "born": "1815-12-10"}', "mood": "glad"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_typed_fields_and_history_survive_the_way_through_json(answers: Any) -> None:
    target = ProgramTarget(Reader, id="reader")
    result = run(target, answers(READ), Task(name="a", input={"text": "Ada, 1815"}))
    again = target.recall(json.loads(json.dumps(result.record)), target.baseline)
    assert again == result.answer
    assert again.calls[0].outputs["person"] == Person(name="Ada", born=date(1815, 12, 10))
    assert again.calls[0].inputs["history"].messages[0]["text"] == "before"
    assert result.output == {"person": {"name": "Ada", "born": "1815-12-10"}, "mood": "glad"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_agent_with_tools_is_a_program_with_two_texts(answers: Any) -> None:
    target = ProgramTarget(react, id="agent")
    assert list(target.baseline.components) == ["react", "extract.predict"]
    replies = (
        {"next_thought": "I look", "next_tool_name": "lookup", "next_tool_args": '{"word": "fen"}'},
        {"next_thought": "done", "next_tool_name": "finish", "next_tool_args": "{}"},
        {"reasoning": "so", "answer": "a bog"},
    )
    result = run(target, answers(*replies), Task(name="a", input={"question": "What is a fen?"}))
    answer: ProgramAnswer = result.answer
    assert [call.predictor for call in answer.calls] == ["react", "react", "extract.predict"]
    assert "fen means nothing" in answer.calls[2].inputs["trajectory"]
    assert target.recall(json.loads(json.dumps(result.record)), target.baseline) == answer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_call_of_a_predictor_is_a_span(answers: Any) -> None:
    target = ProgramTarget(Reader, id="reader")
    with collecting(Collector()) as collector:
        run(target, answers(READ), Task(name="a", input={"text": "Ada"}))
    assert [(span.name, span.type) for span in collector.spans] == [("steps[0]", "predictor")]
    assert collector.spans[0].output["mood"] == "glad"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reply_that_cannot_be_read_is_kept_with_the_calls_before_it(answers: Any) -> None:
    target = ProgramTarget(Reader, id="reader")
    unreadable = {"person": "nobody", "mood": "glad"}  # asked a second time as JSON
    result = run(target, answers(unreadable, unreadable), Task(name="a", input={"text": "Ada"}))
    assert result.verdict is not None
    assert result.verdict.score == 0
    assert "could not be read by predictor steps[0]" in result.verdict.feedback
    again = target.recall(json.loads(json.dumps(result.record)), target.baseline)
    assert again == result.answer
    assert "nobody" in again.unparsed.reply  # type: ignore[union-attr]


def test_the_default_example_has_the_input_as_inputs_and_the_rest_as_labels() -> None:
    target = ProgramTarget(Reader, id="reader")
    task = Task(name="a", input={"text": "t"}, metadata={"hard": True}, expected_output={"mood": "sad"})
    example = target.example(task)
    assert (example.inputs().toDict(), example.labels().toDict()) == ({"text": "t"}, {"hard": True, "mood": "sad"})
    plain = target.example(Task(name="b", instruction="Do it.", expected_output="done"))
    assert (plain.inputs().toDict(), plain.expected_output) == ({"instruction": "Do it."}, "done")


def test_an_example_of_the_users_own_making_is_taken() -> None:
    def example(task: Task) -> Any:
        return dspy.Example(text=task.instruction).with_inputs("text")

    assert ProgramTarget(Reader, id="r", example=example).example(Task(name="a", instruction="x")).text == "x"


def test_a_candidate_is_put_into_a_copy_and_demonstrations_too() -> None:
    target = ProgramTarget(Reader, id="reader")
    demo = json.dumps([{"text": "Bo", "mood": "sad"}])
    candidate = Candidate(components={"steps[0]": "Look well.", "steps[0].demos": demo})
    program = target.with_texts(candidate)
    assert program.steps[0].signature.instructions == "Look well."
    assert program.steps[0].demos[0].mood == "sad"
    assert target.module.steps[0].signature.instructions == "Find the person."
    assert target.with_texts(candidate) is program
    assert '"mood": "sad"' in saved(target, candidate)
    assert len(ensemble_of(target, [candidate, target.baseline], None, None).programs) == 2


def test_a_text_for_a_predictor_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"no predictor 'other' \(it has steps\[0\]\)"):
        apply(Reader(), Candidate(components={"other": "x"}))


def test_a_program_that_runs_code_of_a_model_is_refused() -> None:
    def flexible() -> Any:
        program = Reader()
        program.flexible = dspy.Flex("question -> answer")
        return program

    with pytest.raises(InputError, match=r"dspy\.Flex"):
        _ = ProgramTarget(flexible, id="flexible").module


class Modular(dspy.Module):  # as dspy.SemanticF1 is
    def forward(self, example: Any, pred: Any, trace: Any = None) -> float:
        assert trace is None
        return 0.5


def _two(gold: Any, pred: Any) -> float:
    return 0.5


def _three(gold: Any, pred: Any, trace: Any = None) -> float:
    return 0.5 if trace is None else 1.0


def _with_a_setting(example: Any, pred: Any, trace: Any = None, frac: float = 1.0) -> float:  # answer_exact_match
    return frac / 2


def _pair(gold: Any, pred: Any, trace: Any, name: Any, pred_trace: Any) -> tuple[float, str]:
    return 0.5, f"{name}: half of it"


def _open(*given: Any) -> float:
    return len(given) / 10


@pytest.mark.parametrize("metric", [_two, _three, _with_a_setting, Modular(), _pair, _open])
def test_a_metric_of_any_of_dspys_forms_is_called_as_it_is(metric: Any) -> None:
    scored = ProgramTarget(Reader, id="reader", metric=metric).metric
    assert scored is not None
    assert scored.verdict(dspy.Example(), dspy.Prediction())[0].score == 0.5
    said = scored.feedback(dspy.Example(), dspy.Prediction(), ["a trace"], "steps[0]", ["its part"])
    assert said["score"] == 0.5
    assert said["feedback"] == ("steps[0]: half of it" if metric is _pair else "This trajectory got a score of 0.5.")


def _keyword(gold: Any, pred: Any, *, strict: bool) -> float:
    return 0.5


@pytest.mark.parametrize("metric", [lambda gold: 1, 5, lambda: 1, _keyword], ids=["one", "a number", "none", "more"])
def test_a_metric_that_cannot_be_called_with_two_arguments_is_refused(metric: Any) -> None:
    with pytest.raises(InputError, match="must take"):
        ProgramTarget(Reader, id="reader", metric=metric)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_further_scores_are_kept_and_a_metric_that_exits_is_no_score(answers: Any) -> None:
    def metric(gold: Any, pred: Any, trace: Any = None, name: Any = None, pred_trace: Any = None) -> Any:
        return dspy.Prediction(score=True, feedback="ok", objective_scores={"short": 0.5})

    target = ProgramTarget(Reader, id="reader", metric=metric)
    result = run(target, answers(READ), Task(name="a", input={"text": "Ada"}))
    assert result.answer.objectives == {"short": 0.5}
    assert result.verdict is not None
    assert (result.verdict.score, result.verdict.passed) == (1.0, True)

    def leaves(gold: Any, pred: Any, trace: Any = None, name: Any = None, pred_trace: Any = None) -> Any:
        raise SystemExit(3)

    with pytest.raises(GradingError, match="SystemExit"):
        run(ProgramTarget(Reader, id="r", metric=leaves), answers(READ), Task(name="a", input={"text": "Ada"}))


def examples(*texts: str) -> list[Any]:
    return [dspy.Example(text=text, mood="sad").with_inputs("text") for text in texts]


def test_examples_become_a_dataset_named_by_content() -> None:
    dataset, splits = dataset_of(examples("a", "b"), "reader")
    more, _ = dataset_of(examples("c", "a", "b"), "reader")
    assert splits is None
    assert {task.name for task in dataset.tasks} < {task.name for task in more.tasks}
    assert (dataset.tasks[0].input, dataset.tasks[0].expected_output) == ({"text": "a"}, {"mood": "sad"})


def test_examples_by_split_bring_their_splits() -> None:
    given = {"trainset": examples("a"), "valset": examples("b"), "testset": examples("c")}
    dataset, splits = dataset_of(lambda: given, "reader")
    assert splits is not None
    assert [len(splits[name]) for name in ("train", "val", "holdout")] == [1, 1, 1]
    assert len(dataset.tasks) == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([dspy.Example(text="a")], "no dspy.Example with inputs"),
        (["text"], "no dspy.Example with inputs"),
        ([dspy.Example(text=object()).with_inputs("text")], "JSON cannot hold"),
        (examples("a", "a"), r"examples\[1\] is the same as"),
        ({"training": []}, "its keys are train, val and holdout"),
    ],
)
def test_examples_that_cannot_be_tasks_are_named(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        dataset_of(given, "reader")


def test_each_trial_of_a_program_that_counts_its_failures_begins_to_count_anew(answers: Any) -> None:
    def always() -> Any:
        return dspy.Refine(
            dspy.Predict("question -> answer"), N=2, reward_fn=lambda *_: 1.0, threshold=1.0, fail_count=1
        )

    target = ProgramTarget(always, id="refined")
    task = Task(name="t", instruction="", input={"question": "which?"})
    with answers({"answer": "this"}, {"answer": "this"}):
        assert [target.run(task, target.baseline).output for _ in range(2)] == ["this", "this"]
    copies = [target._ready(target.baseline) for _ in range(2)]
    copies[0].fail_count -= 1
    assert copies[1].fail_count == target.module.fail_count == 1
