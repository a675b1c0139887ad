"""What a DSPy program did on one task: its answer, call by call of its predictors, and how its own metric graded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from rollout_local.domain.target import AgentResult
from rollout_local.domain.verdict import Verdict

DEMOS = ".demos"
"""Ends the name of the component that holds a predictor's demonstrations, as JSON."""


@dataclass(frozen=True)
class PredictorCall:
    """One call of a predictor that was answered. `inputs` and `outputs` by field, as the program saw them."""

    predictor: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Unparsed:
    """The reply of a model that its predictor could not read; it ended the program."""

    predictor: str
    adapter: str
    reply: str
    parsed: Mapping[str, object] | None = None


@dataclass(frozen=True)
class ProgramAnswer:
    """What came of one execution of a program.

    `value` is what it returned, by field where it returned a `dspy.Prediction` (`is_prediction`). `objectives`
    are further scores of its metric, by name. `unparsed` is set where a reply ended it; `value` is then None.
    `bare`: its metric gave a number alone, and that is what an optimizer is given.
    """

    value: Any
    is_prediction: bool
    calls: tuple[PredictorCall, ...]
    objectives: Mapping[str, float] = field(default_factory=dict)
    unparsed: Unparsed | None = None
    bare: bool = False


class ProgramResult(AgentResult):
    """What one execution of a program gave back.

    `verdict` is set where it was graded already: by the program's own metric, or because a reply could not be
    read. `record` is the answer as JSON, or None where the answer does not survive the way through JSON.
    """

    verdict: Verdict | None = None
    error: str | None = None
    record: dict[str, Any] | None = None
    answer: Any = Field(default=None, exclude=True, repr=False)
    """The `ProgramAnswer` itself, with the objects that the program made."""
