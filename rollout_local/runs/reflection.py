"""Reflections, paid for once: the journal's reply where it holds one, otherwise asked, retried, committed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout_local.errors import Paused, StopSearch
from rollout_local.recordings import Exchange, scope
from rollout_local.runs.clock import now
from rollout_local.runs.execution import Wire
from rollout_local.runs.history import History
from rollout_local.runs.provider import Health, Patience, Progress, failure_in, failure_on_the_wire
from rollout_local.runs.spans import build_trace
from rollout_local.runs.stop import StopFlag
from rollout_local.store.journal import Journal


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
    step: int = 0

    def reflect(self, input_hash: str, occurrence: int, produce: Callable[[], Any], kind: str = "reflection") -> Any:
        """What `produce()` returned for this input, now or before. Pauses the run where the provider is down.

        `kind` names the recording scope: `reflection`, or `judgement` for a program's own metric.
        """
        self.stop.check()
        known = self.journal.find_reflection(input_hash, occurrence)
        if known is not None:
            return known
        self.history.require_new(self.step, f"a {kind}")
        name = f"{kind}/{input_hash[7:23]}/{occurrence}"
        tries, progress = 0, Progress()
        while True:
            tries += 1
            started, begun = time.time(), time.perf_counter()
            reply, error = self._ask(name, produce, again=tries > 1)
            exchanges = self.wire.take(name)
            self.health.heard(exchanges)
            if error is None:
                seconds = time.perf_counter() - begun
                trace = build_trace(kind, exchanges, self.make_id, self.prices, started=started, seconds=seconds)
                record = trace.record if exchanges or kind == "reflection" else None
                self.journal.add_reflection(input_hash, occurrence, reply, record, now(), self.step)
                return reply
            if tries == 1 and not self.replaying and any(exchange.replayed for exchange in exchanges):
                continue  # it failed before the run was paused, and is only remembered: asked anew now
            progress.tried(exchanges)
            self._wait_or_pause(kind, exchanges, error, progress)

    def _ask(self, name: str, produce: Callable[[], Any], *, again: bool) -> tuple[Any, Exception | None]:
        try:
            with scope(name, restart=again):
                return produce(), None
        except StopSearch:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a client raises is classified by the caller
            return None, error

    def _wait_or_pause(self, kind: str, exchanges: Sequence[Exchange], error: Exception, progress: Progress) -> None:
        failure, answers = failure_on_the_wire(exchanges) or failure_in(error), self.health.answers
        pause = None if failure is None else self.patience.wait(progress.fruitless, failure, self.dice, answers=answers)
        if pause is None:
            words = failure.words if failure else f"{type(error).__name__}: {error}"
            self.stop.stop(Paused(f"{kind}: {words}", reason="error"))
            self.stop.check()
        else:
            self.stop.sleep(0.0 if self.replaying else pause)
