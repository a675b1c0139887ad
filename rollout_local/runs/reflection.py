"""Reflections, paid for once: the journal's reply where it holds one, otherwise asked, retried, committed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout_local.clock import now
from rollout_local.errors import Paused, StopSearch
from rollout_local.providers.failures import (
    Health,
    Patience,
    ProviderFailure,
    failure_in,
    failure_on_the_wire,
    of_models,
)
from rollout_local.providers.retry import Retry, Tried
from rollout_local.recordings import scope
from rollout_local.runs.divergence import History
from rollout_local.runs.execution import Wire
from rollout_local.runs.traces import build_trace
from rollout_local.stop import StopFlag
from rollout_local.store.journal import Journal


@dataclass(frozen=True)
class _Asked:
    """One question and its reply, or what was raised instead. A reply may be no answer: a client swallows failures."""

    reply: Any
    error: Exception | None
    started: float
    seconds: float
    is_answered: bool


@dataclass
class Reflector:
    """Asks the reflection model under a recording scope of its own."""

    journal: Journal
    wire: Wire
    stop: StopFlag
    make_id: Callable[[str], str]
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    health: Health = field(default_factory=Health)
    dice: random.Random = field(default_factory=random.Random)
    history: History = field(default_factory=lambda: History(0))
    replaying: bool = False
    model: str | None = None
    """Whose key is asked for."""
    timeout: float | None = None
    """Seconds that an answer may take."""
    answerable: Callable[[str], bool] = lambda _: True
    """Whether a request in a scope has anybody to answer it: not in a replay of a recording that lacks it."""

    def reflect(
        self, input_hash: str, occurrence: int, produce: Callable[[], object], kind: str = "reflection", *, step: int
    ) -> Any:
        """What `produce()` returned for this input, now or before. Pauses the run where the provider is down.

        `kind` names the recording scope: `reflection`, `judgement` for a program's own metric, or `check` for the
        question whether the model answers.
        """
        self.stop.check()
        known = self.journal.find_reflection(input_hash, occurrence)
        if known is not None:
            return known
        self.history.require_new(step, f"a {kind}")
        name = _scope_name(kind, input_hash, occurrence)
        retry = Retry(self.patience, self.health, self.dice, self.stop, self.replaying)
        tried, _ = retry.until_done(lambda number: self._once(name, produce, number))
        asked = tried.result
        if not asked.is_answered:
            self._pause(kind, tried.failure, asked.error)
        seconds = asked.seconds
        trace = build_trace(kind, tried.exchanges, self.make_id, self.prices, started=asked.started, seconds=seconds)
        record = trace.record if tried.exchanges or kind == "reflection" else None
        return self.journal.add_reflection(input_hash, occurrence, asked.reply, record, now(), step)

    def _once(self, name: str, produce: Callable[[], object], number: int) -> Tried[_Asked]:
        started, begun = time.time(), time.perf_counter()
        reply, error = self._ask(name, produce, again=number > 1)
        exchanges = self.wire.take(name)
        swallowed = None if error else of_models(exchanges)
        answered = error is None and (swallowed is None or swallowed.policy.candidates_doing)
        asked = _Asked(reply, error, started, time.perf_counter() - begun, is_answered=answered)
        if answered:
            return Tried(asked, None, exchanges)
        failure = swallowed or failure_on_the_wire(exchanges) or (failure_in(error) if error else None)
        # what failed before the run was paused is only remembered: it is asked anew
        remembered = number == 1 and not self.replaying and any(exchange.replayed for exchange in exchanges)
        return Tried(asked, failure, exchanges, at_once=remembered)

    def may_ask_first(self, input_hash: str, kind: str) -> bool:
        """Whether a question before all others can be asked, or was: not where the attempt went on without it."""
        if self.journal.find_reflection(input_hash, 0) is not None:
            return True
        return not self.journal.has_trials() and self.answerable(_scope_name(kind, input_hash, 0))

    def _ask(self, name: str, produce: Callable[[], object], *, again: bool) -> tuple[object, Exception | None]:
        try:
            with scope(name, restart=again):
                return produce(), None
        except StopSearch:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a client raises is classified by the caller
            return None, error

    def _pause(self, kind: str, failure: ProviderFailure | None, error: Exception | None) -> None:
        words = failure.told(self.model) if failure else f"{type(error).__name__}: {error}"
        if failure is not None and failure.kind == "timeout" and self.timeout is not None:
            words += f"; one answer may take {self.timeout:g} s (--reflection-timeout)"
        words = self.journal.store.redactor.text(words)
        self.stop.stop(Paused(f"{_ASKED.get(kind, kind)}: {words}", reason="error"))
        self.stop.check()


_ASKED = {"check": "the reflection model was asked whether it answers"}
"""What was done, where its kind does not say so."""


def _scope_name(kind: str, input_hash: str, occurrence: int) -> str:
    return f"{kind}/{input_hash[7:23]}/{occurrence}"
