"""A Target that is text as a `dspy.Module`, and our tasks as GEPA's data.

The module has one predictor per component of the candidate; the predictors are never called, they carry the
text. DSPy cleans an instruction when it is read through `signature.instructions` (it strips blank lines and
expands tabs), so the text is read from the raw docstring, and the cleaned form of the baseline is mapped back
to what the user wrote.
"""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dspy

from rollout_local.domain.dataset import SplitName, Task
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.search.engine import Graded, Ticket

Evaluate = Callable[[Candidate, Ticket], Graded]


class Student(dspy.Module):  # type: ignore[misc]
    """Runs the target through `evaluate` with the text that DSPy has put into the predictors."""

    def __init__(self, baseline: Candidate, evaluate: Evaluate) -> None:
        super().__init__()
        self.baseline = _Shared(baseline)
        self.evaluate = _Shared(evaluate)
        for name, text in baseline.components.items():
            if hasattr(self, name):
                msg = (
                    f"the baseline has a text named {name!r}, which DSPy's modules use themselves; name it differently"
                )
                raise InputError(msg)
            setattr(self, name, dspy.Predict(dspy.Signature("task -> output", text)))

    def forward(self, ticket: Ticket) -> dspy.Prediction:
        """Execute one ticket; the trace gets an entry per predictor with the task and the output."""
        graded = self.evaluate.value(self.candidate(), ticket)
        if dspy.settings.trace is not None:
            for _, predictor in self.named_predictors():
                entry = (predictor, {"task": shown(ticket.task)}, dspy.Prediction(output=graded.output))
                dspy.settings.trace.append(entry)
        return dspy.Prediction(output=graded.output, score=graded.score, feedback=graded.feedback)

    def candidate(self) -> Candidate:
        """The candidate in the predictors, in the words of the user where it is the baseline."""
        return restored(texts_of(self), self.baseline.value)


def texts_of(module: dspy.Module) -> dict[str, str]:
    """The instructions of a module's predictors by name, as they were set."""
    return {name: predictor.signature.__doc__ for name, predictor in module.named_predictors()}


class _Shared:
    """Holds a value that `Module.deepcopy` must not copy."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, _memo: object) -> _Shared:
        return self


def restored(components: Mapping[str, str], baseline: Candidate) -> Candidate:
    """`components` as a Candidate, each text that is the cleaned baseline replaced by the baseline as written."""
    declared = baseline.components
    return Candidate(
        components={
            name: declared[name] if name in declared and text == inspect.cleandoc(declared[name]) else text
            for name, text in components.items()
        }
    )


def restored_text(predictor: dspy.Predict, component: str, baseline: Candidate) -> str:
    """The text of one predictor, in the words of the user where it is the baseline's `component`."""
    return restored({component: predictor.signature.__doc__}, baseline).components[component]


def shown(task: Task) -> dict[str, object]:
    """What the reflection model sees of a task: never its metadata or expected output."""
    return {key: value for key, value in task.question.items() if value}


def metric(
    _gold: dspy.Example,
    prediction: dspy.Prediction,
    _trace: object = None,
    _pred_name: object = None,
    _pred_trace: object = None,
) -> dspy.Prediction:
    """DSPy's five-argument metric: hands on the verdict that the trial came with, so no trial is graded twice."""
    return dspy.Prediction(score=prediction.score, feedback=prediction.feedback)


class Tickets:
    """A GEPA `DataLoader` over the tasks of one split. Every fetch gives each task its next occurrence number.

    GEPA may fetch the same task twice in one batch (it pads a minibatch) and asks again in later epochs; what
    tells these asks apart is the position of the fetch, which a replay repeats, never the order in which
    threads arrive.
    """

    def __init__(
        self,
        split: SplitName,
        tasks: Sequence[Task],
        first_occurrence: int,
        example: Callable[[Ticket], dspy.Example] | None = None,
    ) -> None:
        self.split = split
        self.tasks = tuple(tasks)
        self._make = example or _with_ticket
        self._fetched: Counter[int] = Counter()
        self._first = first_occurrence
        self._lock = threading.Lock()

    def all_ids(self) -> list[int]:
        """Positions of the tasks."""
        return list(range(len(self.tasks)))

    def fetch(self, ids: Iterable[int]) -> list[dspy.Example]:
        """One example per id, each with a fresh ticket."""
        with self._lock:
            return [self._example(position) for position in ids]

    def __len__(self) -> int:
        return len(self.tasks)

    def _example(self, position: int) -> dspy.Example:
        occurrence = self._first + self._fetched[position]
        self._fetched[position] += 1
        return self._make(Ticket(self.tasks[position], self.split, occurrence))


def _with_ticket(ticket: Ticket) -> dspy.Example:
    return dspy.Example(ticket=ticket).with_inputs("ticket")
