"""A DSPy program whose executions are answered by `evaluate`, and everything else about it as the user wrote it.

An optimizer is handed a copy of the program in a class of its own: same predictors, same signatures, same source;
only `forward` asks for a trial and repeats what its predictors were asked and answered into DSPy's trace. So what
an optimizer reads of a program (trace, predictors, instructions, demonstrations) is what it would have read.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from rollout_local.domain.identity import content_hash
from rollout_local.domain.program import ProgramAnswer
from rollout_local.search.engine import Graded, Program, Ticket

Trace = Sequence[tuple[dspy.Predict, Mapping[str, object], dspy.Prediction]]
"""What predictors were asked and answered, call by call."""
Ask = Callable[[dspy.Module, Ticket], Graded]
"""Runs a copy of the program on a ticket."""
Copied = Callable[[dspy.Module, dspy.Module], None]
"""Told of each copy that is made: what was copied, and the copy."""
Judge = Callable[[str, int, Callable[[], object]], Any]

_ticket: ContextVar[Ticket] = ContextVar("rollout_ticket")
"""The ticket of the example that this thread runs the program on."""


class ProgramFailed(Exception):
    """The program raised on a task; DSPy gives it its own failure score, as it would have."""


class TicketedExample(dspy.Example):  # type: ignore[misc]
    """The user's example, which knows its ticket: DSPy asks for `inputs()` right before it runs the program."""

    def inputs(self) -> dspy.Example:
        """The input fields; the program that runs next in this thread answers for this example's ticket."""
        if hasattr(self, "_rollout_ticket"):
            _ticket.set(self._rollout_ticket)
        return super().inputs()

    def copy(self, **fields: object) -> dspy.Example:
        """A copy for the same ticket."""
        copied = super().copy(**fields)
        if hasattr(self, "_rollout_ticket"):
            copied._rollout_ticket = self._rollout_ticket  # noqa: SLF001 - its own
        return copied


class Answered(dspy.Prediction):  # type: ignore[misc]
    """What the program returned, with the grade of the trial."""


def ticketed(program: Program) -> Callable[[Ticket], dspy.Example]:
    """How a ticket becomes an example of this program."""

    def example(ticket: Ticket) -> dspy.Example:
        plain = program.example(ticket.task)
        made = TicketedExample(**dict(plain.items())).with_inputs(*plain.inputs().keys())
        made._rollout_ticket = ticket  # noqa: SLF001 - a field without an underscore would be the user's
        return made

    return example


def journaled(program: Program, ask: Ask, copied: Copied | None = None) -> dspy.Module:
    """A copy of the program for an optimizer. Where `copied` is given, it is told of each copy that is made of it."""
    module = program.module.deepcopy()
    theirs: dspy.Module = type(module)

    def forward(self: dspy.Module, **_inputs: object) -> dspy.Prediction:
        ticket = _ticket.get()
        return _replayed(self, ask(self, ticket))

    namespace = {
        "forward": forward, "__module__": theirs.__module__, "__qualname__": theirs.__qualname__,
        "__doc__": theirs.__doc__,
    }  # fmt: skip
    if copied is not None:
        namespace["deepcopy"] = _told(theirs.deepcopy, copied)
    metaclass: Any = type(theirs)
    module.__class__ = metaclass(theirs.__name__, (theirs,), namespace)
    return module


def _told(deepcopy: Callable[[dspy.Module], dspy.Module], copied: Copied) -> Callable[[dspy.Module], dspy.Module]:
    def told(self: dspy.Module) -> dspy.Module:
        made = deepcopy(self)
        copied(self, made)
        return made

    return told


def _replayed(module: dspy.Module, graded: Graded) -> dspy.Prediction:
    answer = graded.answer
    if answer is None:
        raise ProgramFailed(graded.feedback)
    predictors = dict(module.named_predictors())
    trace = dspy.settings.trace
    if trace is not None:
        flow = _Flow()
        for call in answer.calls:
            inputs = {sys.intern(name): flow.read(value) for name, value in call.inputs.items()}
            outputs = {sys.intern(name): flow.written(value) for name, value in call.outputs.items()}
            trace.append((predictors[call.predictor], inputs, dspy.Prediction(**outputs)))
    if answer.unparsed is not None:
        failed = answer.unparsed
        signature = predictors[failed.predictor].signature
        # without what was parsed: DSPy 3.4 would divide two lists by each other and lose the failure
        raise AdapterParseError(failed.adapter, signature, failed.reply)
    made = Answered(**answer.value) if answer.is_prediction else Answered(output=answer.value)
    made._graded = graded  # noqa: SLF001 - a field without an underscore would be the program's
    return made


class _Flow:
    """Makes the values of a trace the objects that they are where a program runs.

    `BootstrapFewShot` tosses a coin over the pickle of what it saw, which tells one object seen twice from two equal
    ones. A reply is parsed anew each time; an input is what the program was given or a predictor said before. So a
    trace from the journal tosses the coin as the one that was had, and as plain DSPy.
    """

    def __init__(self) -> None:
        self._seen: dict[object, object] = {}

    def read(self, value: Any) -> Any:
        """An input: the same object as the equal one before it."""
        return self._seen.setdefault(_key(value), value)

    def written(self, value: object) -> object:
        """An output: an object of its own."""
        made = "".join(value) if type(value) is str else value
        self._seen[_key(value)] = made
        return made


def _key(value: object) -> object:
    return value if isinstance(value, str) else (type(value), json.dumps(value, default=str, sort_keys=True))


def returned_by(prediction: dspy.Prediction) -> Any:
    """What the user's program returned, as it returned it."""
    answer: ProgramAnswer = prediction._graded.answer  # noqa: SLF001 - set by `_replayed`
    return dspy.Prediction(**answer.value) if answer.is_prediction else answer.value


class ProgramMetric:
    """The metric that an optimizer is given: hands on the trial's verdict, and asks the user's for each predictor.

    What the user's metric says to a predictor is journaled: it may itself ask a model.
    """

    def __init__(self, program: Program, judge: Judge) -> None:
        self._own = program.metric
        self._judge = judge
        self._asked: Counter[str] = Counter()

    def __call__(
        self,
        gold: dspy.Example,
        pred: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: Trace | None = None,
    ) -> dspy.Prediction:
        """DSPy's five arguments; a Prediction with score and feedback."""
        graded: Graded = pred._graded  # noqa: SLF001 - set by `_replayed`
        if pred_name is None or self._own is None:
            assert graded.answer is not None
            more = {"objective_scores": dict(graded.answer.objectives)} if graded.answer.objectives else {}
            return dspy.Prediction(score=graded.score, feedback=graded.feedback, **more)
        ticket: Ticket = gold._rollout_ticket  # noqa: SLF001
        key = content_hash(
            {
                "task": ticket.task.name, "split": ticket.split, "occurrence": ticket.occurrence,
                "predictor": pred_name, "asked_and_answered": [
                    [_plain(inputs), _plain(dict(outputs.items()))] for _, inputs, outputs in pred_trace or ()
                ],
            }
        )  # fmt: skip
        occurrence = self._asked[key]
        self._asked[key] += 1

        def produce() -> Any:
            return self._own.feedback(gold, returned_by(pred), trace, pred_name, pred_trace)

        said = self._judge(key, occurrence, produce)
        self._own.disagreed |= said["score"] != graded.score
        return dspy.Prediction(score=said["score"], feedback=said["feedback"])


def _plain(fields: Mapping[str, object]) -> object:
    return json.loads(json.dumps(dict(fields), default=str, sort_keys=True))
