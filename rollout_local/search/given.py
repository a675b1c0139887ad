"""No search: a text that is given is scored on val, and is the best. What `optimize judge` runs."""

from __future__ import annotations

import inspect
import math
from concurrent.futures import ThreadPoolExecutor

from rollout_local.domain.run import StopReason
from rollout_local.domain.target import Candidate
from rollout_local.search.arguments import Table
from rollout_local.search.engine import (
    Began,
    Budget,
    Graded,
    Judged,
    Proposed,
    SearchResult,
    SearchSpec,
    Signals,
    Ticket,
    Validated,
)

COMPONENTS = "components"
"""The argument that holds the text, by component."""
_NUMBER = 1


def search(spec: SearchSpec, signals: Signals) -> SearchResult:
    """Score the given text on val. Raises what a signal raised, and `BudgetSpent` where val is more than the budget."""
    candidate = Candidate(components=spec.arguments[COMPONENTS])
    changed = [name for name, text in candidate.components.items() if spec.baseline.components.get(name) != text]
    signals.emit(Proposed(_NUMBER, candidate, (0,), 1, tuple(changed), ()))
    budget = Budget(spec.budget)
    budget.admit(len(spec.val))
    signals.emit(Began(len(spec.val)))
    occurrence = spec.first_occurrence["val"]

    def graded(position: int) -> Graded:
        return signals.evaluate(candidate, Ticket(spec.val[position], "val", occurrence))

    with ThreadPoolExecutor(spec.concurrency) as pool:
        scores = [one.score for one in pool.map(graded, range(len(spec.val)))]
    signals.should_stop()
    mean = math.fsum(scores) / len(scores)
    signals.emit(Judged(_NUMBER, accepted=True, reason="the text was given", before=None, after=mean))
    signals.emit(Validated(_NUMBER, mean, best=True, spent=budget.spent))
    return SearchResult(best=_NUMBER, stop_reason=StopReason.PLAN_DONE)


def table() -> Table:
    """Its arguments."""

    def arguments(components: object) -> None: ...

    return Table(inspect.signature(arguments), {COMPONENTS: dict[str, str]}, {}, {})
