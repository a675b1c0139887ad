"""The Engine protocol and what an engine is handed: a SearchSpec, a Budget and Signals.

`dspy.GEPA.compile` blocks until it is done, so everything that travels back does so through `Signals`:
`evaluate` and `reflect` are the two paid acts (each answered from the journal where it holds the answer),
`emit` tells what happened, `should_stop` raises where the search has to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rollout_local.domain.dataset import SplitName, Task
from rollout_local.domain.program import ProgramAnswer
from rollout_local.domain.run import StopReason
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import BudgetSpent


@dataclass(frozen=True)
class Ticket:
    """One position that the optimizer fetched: a task and how many times its split's task was fetched before."""

    task: Task
    split: SplitName
    occurrence: int


@dataclass(frozen=True)
class Graded:
    """What a trial gave: the output as text, a score in [0, 1], and the verifier's words."""

    output: str
    score: float
    feedback: str
    answer: ProgramAnswer | None = None
    """What a program answered; None for another target, and where the program raised."""


class Program(Protocol):
    """A DSPy program under optimization."""

    @property
    def module(self) -> Any:
        """The program with its own instructions."""
        ...

    @property
    def metric(self) -> Any:
        """Its own metric, with a method `feedback` that speaks to one predictor; None where a verifier grades."""
        ...

    def example(self, task: Task) -> Any:
        """A task as a `dspy.Example`."""
        ...

    def sampled(self, models: Mapping[str, object]) -> AbstractContextManager[None]:
        """Inside the block the predictors that are named ask these models instead of their own."""
        ...


@dataclass(frozen=True)
class ReflectionModel:
    """The model that proposes. `name` is litellm's; `params` go with every call; `timeout` is in seconds."""

    name: str
    api_base: str | None = None
    api_key: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None


@dataclass(frozen=True)
class SearchSpec:
    """Everything that decides a search.

    `budget` is the number of target executions promised beyond the seed pass over `val`, which the baseline
    pass has paid for already. `first_occurrence` gives, by split, the ticket that the first fetch gets.
    """

    kind: TargetKind
    description: str
    objective: str | None
    baseline: Candidate
    train: Sequence[Task]
    val: Sequence[Task]
    budget: int
    seed: int
    concurrency: int
    reflection: ReflectionModel
    first_occurrence: Mapping[SplitName, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    stop_at: float | None = None
    no_improvement: int | None = None
    strategy: str | None = None
    """The stages of BetterTogether, as in `bootstrap -> gepa`."""
    program: Program | None = None
    """The target, where it is a DSPy program."""


@dataclass(frozen=True)
class Began:
    """A batch of trials begins; no other runs at the same time."""

    size: int


@dataclass(frozen=True)
class Proposed:
    """A new text. `feedback` is what the reflection model read: one record per example, with the task's name."""

    number: int
    candidate: Candidate
    parents: tuple[int, ...]
    iteration: int
    components: tuple[str, ...]
    feedback: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ProposalFailed:
    """A reflection that gave no usable text, and why."""

    iteration: int
    parent: int
    component: str
    reason: str
    feedback: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Judged:
    """A proposal was accepted or rejected. `before` and `after` are means over its minibatch, in [0, 1]."""

    number: int
    accepted: bool
    reason: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Validated:
    """A candidate was scored on the whole val split. `mean` in [0, 1]; `best` says whether it leads now."""

    number: int
    mean: float
    best: bool
    spent: int


Event = Began | Proposed | ProposalFailed | Judged | Validated


@dataclass(frozen=True)
class Signals:
    """The ways back from a search.

    `evaluate(candidate, ticket)` runs one trial and returns its grade. `reflect(input hash,
    occurrence, produce)` returns what `produce()` returned, now or when it was first asked; `judge` does the same
    for what a program's own metric says to one predictor. Each raises a `StopSearch` instead of returning where
    the search has to end.
    """

    evaluate: Callable[[Candidate, Ticket], Graded]
    reflect: Callable[[str, int, Callable[[], Any]], Any]
    emit: Callable[[Event], None]
    should_stop: Callable[[], None]
    judge: Callable[[str, int, Callable[[], Any]], Any] = lambda _hash, _occurrence, produce: produce()


@dataclass(frozen=True)
class SearchResult:
    """How a search ended: the number of the best candidate, by val mean, and why no more was tried."""

    best: int
    stop_reason: StopReason


class Engine(Protocol):
    """One optimizer."""

    def __call__(self, spec: SearchSpec, signals: Signals) -> SearchResult:
        """Search until the budget is spent or a stopping rule holds; raises `StopSearch` where told to stop."""
        ...


class Budget:
    """A promise: no batch is begun that would pass `limit` executions. Counts asks, so a replay counts alike."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self._lock = threading.Lock()

    def admit(self, size: int) -> None:
        """Count a batch of `size` executions before it begins, or raise `BudgetSpent`."""
        with self._lock:
            if self.spent + size > self.limit:
                msg = f"a batch of {size} would pass the budget of {self.limit} calls ({self.spent} spent)"
                raise BudgetSpent(msg)
            self.spent += size
