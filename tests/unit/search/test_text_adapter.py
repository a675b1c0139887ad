"""The student: any target as a DSPy module, with the user's words kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.search.engine import Graded, Ticket
from rollout_local.search.text_adapter import Student, Tickets, metric, restored, shown

AS_WRITTEN = "\n\n  \tAnswer.\n    - one\ttab\n  - trailing   \n\n\n"
TICKET = Ticket(Task(name="boat", instruction="How long?", metadata={"secret": 1}, expected_output="7 m"), "val", 0)


def student_of(baseline: Candidate) -> tuple[Student, list[tuple[Candidate, Ticket]]]:
    asked: list[tuple[Candidate, Ticket]] = []

    def evaluate(candidate: Candidate, ticket: Ticket) -> Graded:
        asked.append((candidate, ticket))
        return Graded("7 m", 0.5, "close")

    return Student(baseline, evaluate), asked


def proposed(student: Student, **texts: str) -> Student:
    """The student as GEPA builds one for a proposal (dspy/teleprompt/gepa/gepa_utils.py, `build_program`)."""
    program = student.deepcopy()
    for name, predictor in program.named_predictors():
        if name in texts:
            predictor.signature = predictor.signature.with_instructions(texts[name])
    return program


@pytest.mark.parametrize(
    "text",
    [
        AS_WRITTEN,
        "one line",
        "tabs\tinside\tand\n\tat the start",
        "\n\nleading blank lines",
        "trailing spaces   \nand lines\n\n",
        "    all\n    indented\n    alike",
        "windows\r\nline ends\r\n",
        "a form feed \x0c and a no-break\u00a0space",
        "{braces} and ${dollars} and %s",
    ],
)
def test_the_baseline_reaches_the_target_as_the_user_wrote_it(text: str) -> None:
    student, asked = student_of(Candidate(text=text))
    student(ticket=TICKET)
    seed = {name: predictor.signature.instructions for name, predictor in student.named_predictors()}
    proposed(student, **seed)(ticket=TICKET)  # GEPA puts the cleaned form back
    assert [candidate.text for candidate, _ in asked] == [text, text]


@pytest.mark.parametrize("text", ["new\n\ttext\twith tabs", "\n  indented\n    more", "ends with spaces   \n"])
def test_a_proposed_text_reaches_the_target_unchanged(text: str) -> None:
    student, asked = student_of(Candidate(text=AS_WRITTEN))
    proposed(student, instructions=text)(ticket=TICKET)
    assert asked[0][0].text == text


def test_a_candidate_of_several_texts_has_a_predictor_for_each() -> None:
    student, asked = student_of(Candidate(components={"system": AS_WRITTEN, "closing": "Bye.\n"}))
    proposed(student, closing="So long.")(ticket=TICKET)
    assert asked[0][0].components == {"system": AS_WRITTEN, "closing": "So long."}


@pytest.mark.parametrize("name", ["evaluate", "baseline", "forward", "candidate", "history", "named_predictors"])
def test_a_text_named_like_something_of_dspys_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"a text named '{name}'.*name it differently"):
        student_of(Candidate(components={name: "One."}))


@pytest.mark.parametrize("name", ["a b", "a.b", "class", "0", "é", "task", "a['b']"])
def test_any_other_name_will_do(name: str) -> None:
    student, asked = student_of(Candidate(components={name: "One."}))
    proposed(student, **{name: "Two."})(ticket=TICKET)
    assert asked[0][0].components == {name: "Two."}


def test_only_the_baselines_own_component_is_restored() -> None:
    baseline = Candidate(components={"a": "  one", "b": "two"})
    assert restored({"a": "two", "b": "one"}, baseline).components == {"a": "two", "b": "one"}
    assert restored({"a": "one", "b": "one", "c": "one"}, baseline).components == {"a": "  one", "b": "one", "c": "one"}


def test_a_copy_shares_what_evaluates() -> None:
    lock = threading.Lock()  # cannot be copied

    def evaluate(candidate: Candidate, ticket: Ticket) -> Graded:
        with lock:
            return Graded("", 0.0, "")

    student = Student(Candidate(text="x"), evaluate)
    copy = student.deepcopy()
    assert copy.evaluate.value is student.evaluate.value is evaluate
    assert copy.baseline.value is student.baseline.value
    assert copy.instructions is not student.instructions


def test_the_trace_has_an_entry_per_predictor_with_the_task_and_the_output() -> None:
    student, _ = student_of(Candidate(components={"a": "one", "b": "two"}))
    with dspy.context(trace=[]):
        student(ticket=TICKET)
        trace = list(dspy.settings.trace)
    assert [entry[0] for entry in trace] == [student.a, student.b]
    assert [entry[1] for entry in trace] == [{"task": {"instruction": "How long?"}}] * 2
    assert [entry[2].output for entry in trace] == ["7 m", "7 m"]


def test_without_a_trace_the_prediction_still_carries_the_verdict() -> None:
    student, _ = student_of(Candidate(text="one"))
    with dspy.context(trace=None):
        prediction = student(ticket=TICKET)
    assert (prediction.output, prediction.score, prediction.feedback) == ("7 m", 0.5, "close")


def test_the_metric_hands_on_the_verdict_of_the_trial() -> None:
    verdict = metric(None, dspy.Prediction(output="x", score=0.25, feedback="why"), [], "instructions", [])
    assert (verdict.score, verdict.feedback) == (0.25, "why")
    assert metric(None, dspy.Prediction(score=1.0, feedback="")).score == 1.0


def test_reflection_is_shown_neither_metadata_nor_the_expected_output() -> None:
    task = Task(name="t", instruction="Do.", input={"a": 1}, metadata={"m": 2}, expected_output=3)
    assert shown(task) == {"instruction": "Do.", "input": {"a": 1}}
    assert shown(Task(name="t", input={"a": 1})) == {"input": {"a": 1}}


# -- tickets


def tickets(size: int = 3, first: int = 0) -> Tickets:
    return Tickets("train", [Task(name=f"t{n}", instruction="x") for n in range(size)], first)


def fetched(loader: Tickets, *ids: int) -> list[tuple[str, int]]:
    return [(example.ticket.task.name, example.ticket.occurrence) for example in loader.fetch(ids)]


def test_every_fetch_of_a_task_has_the_next_occurrence() -> None:
    loader = tickets()
    assert fetched(loader, 0, 1) == [("t0", 0), ("t1", 0)]
    assert fetched(loader, 1, 2) == [("t1", 1), ("t2", 0)]


def test_the_same_task_twice_in_one_fetch_has_two_occurrences() -> None:
    assert fetched(tickets(first=5), 2, 2, 2) == [("t2", 5), ("t2", 6), ("t2", 7)]


def test_tickets_repeat_exactly_in_a_second_run() -> None:
    asked: list[list[int]] = [[0, 2, 2], [1, 0], [2], [0, 1, 2]]
    first, second = tickets(first=1), tickets(first=1)
    assert [fetched(first, *ids) for ids in asked] == [fetched(second, *ids) for ids in asked]


def test_no_ticket_is_given_twice_when_threads_fetch_at_once() -> None:
    loader = tickets(4)
    with ThreadPoolExecutor(8) as pool:
        batches: list[Any] = list(pool.map(lambda _: fetched(loader, 0, 1, 2, 3), range(200)))
    given = [ticket for batch in batches for ticket in batch]
    assert len(set(given)) == len(given) == 800


def test_a_loader_knows_its_ids_its_size_and_its_split() -> None:
    loader = tickets(3)
    assert (loader.all_ids(), len(loader)) == ([0, 1, 2], 3)
    example = loader.fetch([1])[0]
    assert example.ticket.split == "train"
    assert set(example.inputs().keys()) == {"ticket"}
