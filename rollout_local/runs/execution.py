"""One execution of a target under the recording: its result or error, what crossed the wire, how long it took.

The recording scope is set here, in the thread that executes, so that a replay finds the calls of this trial
and no other. With a time limit the target runs in a thread of its own: Python cannot end it, so a target that
overruns is left behind and its later result is dropped; one in a child process is ended with that.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult, Candidate, Target
from rollout_local.errors import StopSearch
from rollout_local.isolation.target import seated
from rollout_local.isolation.values import inert
from rollout_local.recordings import Exchange, Recording, scope
from rollout_local.targets.registry import raised_by_us
from rollout_local.tracing import Collector, Span, collecting


@dataclass(frozen=True)
class Execution:
    """What one run of the target gave. `overrun`: the time limit passed; `in_flight`: with a model call under way."""

    result: AgentResult | None
    error: BaseException | None
    exchanges: Sequence[Exchange]
    spans: Sequence[Span]
    started: float
    seconds: float
    overrun: bool = False
    in_flight: bool = False


class Wire:
    """Sorts what crosses the wire by the scope that asked. It is the recording's sink.

    `listeners` are told of every exchange too: who counts the money, who looks at what answers say of themselves.
    """

    def __init__(self, *listeners: Callable[[Exchange], None]) -> None:
        self._listeners = listeners
        self._by_scope: dict[str, list[Exchange]] = {}
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        """Take one exchange, from any thread."""
        for listener in self._listeners:
            listener(exchange)
        with self._lock:
            self._by_scope.setdefault(exchange.scope, []).append(exchange)

    def take(self, name: str) -> list[Exchange]:
        """Hand over (and forget) what a scope asked, in the order in which it was answered."""
        with self._lock:
            return self._by_scope.pop(name, [])


@dataclass(frozen=True)
class Executor:
    """Executes a target under a recording."""

    target: Target
    recording: Recording
    wire: Wire
    timeout: float | None = None
    clock: Callable[[], float] = field(default=time.time)

    def run(self, name: str, task: Task, candidate: Candidate, *, again: bool) -> Execution:
        """Execute once under the scope `name`; `again` starts the scope anew, for a second try of the same trial."""
        with seated(self.target) as target, collecting(Collector()) as collector, scope(name, restart=again):
            started, begun = self.clock(), time.perf_counter()
            outcome = self._bounded(target, task, candidate) if self.timeout else self._call(target, task, candidate)
            busy = outcome is None and self.recording.in_flight(name) > 0
            self.recording.require_answered(name)
        result, error = outcome or (None, None)
        return Execution(
            result=result,
            error=error,
            exchanges=self.wire.take(name),
            spans=collector.spans,
            started=started,
            seconds=time.perf_counter() - begun,
            overrun=outcome is None,
            in_flight=busy,
        )

    def _call(
        self, target: Target, task: Task, candidate: Candidate
    ) -> tuple[AgentResult | None, BaseException | None]:
        process = os.getpid()
        try:
            return self._called(target, task, candidate)
        finally:
            if os.getpid() != process:  # a child that the target forked, and let return into our code
                os._exit(70)

    def _called(
        self, target: Target, task: Task, candidate: Candidate
    ) -> tuple[AgentResult | None, BaseException | None]:
        mine = task.model_copy(deep=True)  # what the target changes in it reaches no verifier and no later trial
        try:
            return target.run(mine, candidate), None
        except BaseException as error:
            kind = type(error)  # `isinstance` would ask the error
            if issubclass(kind, StopSearch) and raised_by_us(error):
                raise
            if issubclass(kind, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # a person's
            return None, inert(error)

    def _bounded(
        self, target: Target, task: Task, candidate: Candidate
    ) -> tuple[AgentResult | None, BaseException | None] | None:
        outcome: list[tuple[AgentResult | None, BaseException | None]] = []
        stopped: list[BaseException] = []
        context = contextvars.copy_context()

        def work() -> None:
            try:
                outcome.append(context.run(self._call, target, task, candidate))
            except BaseException as error:  # noqa: BLE001 - a StopSearch is raised again in the caller's thread
                stopped.append(error)

        thread = threading.Thread(target=work, daemon=True, name="rollout-trial")
        thread.start()
        thread.join(self.timeout)
        if stopped:
            raise stopped[0]
        return outcome[0] if outcome else None
