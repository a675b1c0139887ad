"""What an optimizer is handed of a target: a module, its examples and a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollout_local.domain.target import Candidate
from rollout_local.search.engine import Graded, SearchSpec, Signals, Ticket
from rollout_local.search.program_adapter import ProgramMetric, journaled, ticketed
from rollout_local.search.text_adapter import Student, Tickets, metric, texts_of


@dataclass(frozen=True)
class OptimizerInputs:
    """`metric` takes DSPy's five arguments; `train` and `val` hand out tickets."""

    module: Any
    train: Tickets
    val: Tickets
    metric: Any


def inputs_of(spec: SearchSpec, signals: Signals) -> OptimizerInputs:
    """The program of the spec, or its text as a program of one predictor per component."""
    first = spec.first_occurrence
    if spec.program is None:
        return OptimizerInputs(
            module=Student(spec.baseline, signals.evaluate),
            train=Tickets("train", spec.train, first["train"]),
            val=Tickets("val", spec.val, first["val"]),
            metric=metric,
        )
    example = ticketed(spec.program)

    def ask(module: object, ticket: Ticket) -> Graded:
        return signals.evaluate(Candidate(components=texts_of(module)), ticket)

    return OptimizerInputs(
        module=journaled(spec.program, ask),
        train=Tickets("train", spec.train, first["train"], example),
        val=Tickets("val", spec.val, first["val"], example),
        metric=ProgramMetric(spec.program, signals.judge),
    )
