"""The metric of a DSPy program, in any of DSPy's forms, read strictly: a score has one unit, [0, 1].

DSPy's metrics take two arguments (`gold, pred`), three (`trace`) or GEPA's five (`pred_name, pred_trace`), or are
modules. One that cannot be told which predictor is meant is called the same for each of them. A float or a bool alone
is accepted and told of: it leaves GEPA without words to reflect on. A dict with `score` and `feedback`, or a pair of
them, is taken as the Prediction that was meant; DSPy itself would fail to add it up.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from rollout_local.domain.verdict import Verdict
from rollout_local.errors import GradingError, InputError, OutOfScale, StopSearch

Metric = Callable[..., Any]


class ScoredBy:
    """A program's own metric. `gave_no_feedback` becomes true where it returned a bare number, `disagreed` where it
    gave a predictor another score than the program: GEPA reads the words, and passes over that score.
    """

    def __init__(self, metric: Metric, target: str) -> None:
        self._taken = _taken_by(metric)
        if self._taken < 2:
            name = getattr(metric, "__name__", repr(metric))
            msg = (
                f"target {target!r}: metric {name} must take (gold, pred), (gold, pred, trace=None) or "
                "(gold, pred, trace=None, pred_name=None, pred_trace=None)"
            )
            raise InputError(msg)
        self.function = metric
        self.gave_no_feedback = False
        self.disagreed = False

    def verdict(self, example: object, prediction: object) -> tuple[Verdict, dict[str, float], bool]:
        """The verdict on a prediction of the whole program, further scores by name, and whether it was a bare number.

        Raises `GradingError` where the metric fails, or gives no score in [0, 1]; what a provider raises in a
        metric that asks a model comes through as the error that caused it.
        """
        score, feedback, objectives, bare = self._called(example, prediction, None, None, None)
        return Verdict(score=score, passed=score >= 1.0, feedback=feedback), objectives, bare

    def feedback(
        self, example: object, prediction: object, trace: object, pred_name: str, pred_trace: object
    ) -> dict[str, Any]:
        """What the metric says to one predictor: `{"score": …, "feedback": …}`. Raises as `verdict` does."""
        if self._taken < 4:  # a trace alone would tell it that demonstrations are collected
            trace = None
        score, feedback, _, _ = self._called(example, prediction, trace, pred_name, pred_trace)
        return {"score": score, "feedback": feedback}

    def _called(self, *arguments: object) -> tuple[float, str, dict[str, float], bool]:
        try:
            returned = self.function(*arguments[: self._taken])
        except (Exception, SystemExit) as error:
            msg = f"the program's metric raised {type(error).__name__}: {error}"
            raise GradingError(msg) from error
        except StopSearch:
            raise
        return self._read(returned)

    def _read(self, returned: object) -> tuple[float, str, dict[str, float], bool]:
        fields = _fields(returned)
        if fields is None:
            self.gave_no_feedback = True
            score = _unit(returned)
            return score, f"This trajectory got a score of {returned}.", {}, True
        if "score" not in fields:
            msg = f"the program's metric returned no score, only {', '.join(map(str, fields)) or 'nothing'}"
            raise GradingError(msg)
        score = _unit(fields["score"])
        feedback = fields.get("feedback")
        if feedback is None:
            self.gave_no_feedback = True
            feedback = f"This trajectory got a score of {fields['score']}."
        objectives = {str(name): float(value) for name, value in (fields.get("objective_scores") or {}).items()}
        return score, str(feedback), objectives, False


def _taken_by(metric: Any) -> int:
    """How many of DSPy's five arguments a metric is called with; 0 where it cannot be called with two.

    A parameter that has a default of its own, such as `frac=1.0`, is none of them.
    """
    try:
        signature = inspect.signature(getattr(metric, "forward", metric))
        places = list(signature.parameters.values())
        plain = [p for p in places if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:5]
        meant = list(takewhile(lambda p: p in plain[:2] or p.default in (None, p.empty), plain))
        taken = 5 if any(p.kind is p.VAR_POSITIONAL for p in places) else len(meant)
        signature.bind(*[None] * taken)
    except (TypeError, ValueError):
        return 0
    return taken


def _fields(returned: Any) -> Mapping[str, Any] | None:
    """The fields of what a metric returned, or None for a bare number."""
    if isinstance(returned, Mapping):
        return returned
    if isinstance(returned, tuple) and len(returned) == 2:
        return {"score": returned[0], "feedback": returned[1]}
    if hasattr(returned, "toDict"):  # a dspy.Prediction
        return dict(returned.items())
    return None


def _unit(score: object) -> float:
    if not isinstance(score, bool | int | float) and not hasattr(score, "__float__"):
        msg = f"the program's metric gave {score!r} for a score; give a number in [0, 1]"
        raise GradingError(msg)
    value = float(score)
    if math.isnan(value) or not 0.0 <= value <= 1.0:
        msg = f"the program's metric gave a score of {value:g}; scores are in [0, 1]"
        raise OutOfScale(msg)
    return value
