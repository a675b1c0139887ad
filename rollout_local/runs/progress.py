"""Who watches a run: told of progress and of what is worth a line; decides nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rollout_local.domain.run import Phase


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `done` of `total` executions of this phase; scores are means in [0, 1]."""

    phase: Phase
    done: int
    total: int
    baseline: float | None
    best: float | None
    cost_usd: float | None
    errors: int
    doing: str = ""
    """What takes its time now, beside trials: `reflecting`."""


class Watch(Protocol):
    """A listener; called from any thread."""

    def progress(self, progress: Progress) -> None:
        """The run moved."""
        ...

    def note(self, level: str, message: str) -> None:
        """Something happened: `level` is debug, info, warning or error."""
        ...


TOLD_AFTER = (15.0, 60.0, 180.0, 300.0, 600.0)
"""Seconds after which somebody who watches is told that one thing still goes on."""


@contextmanager
def told_while(say: Callable[[float], None], after: Sequence[float] = TOLD_AFTER) -> Iterator[None]:
    """While the block lasts, `say` is called with the seconds that have passed, from a thread of its own."""
    done, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        for seconds in after:
            if done.wait(max(0.0, begun + seconds - time.monotonic())):
                return
            say(seconds)

    thread = threading.Thread(target=tell, name="rollout-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Meter:
    """Counts what a run has done in its phase, and shows it to who watches. Called from any thread."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._shown = Progress(Phase.BASELINE, 0, 0, None, None, None, 0)

    @property
    def shown(self) -> Progress:
        """Where the run stands."""
        return self._shown

    def show(self, doing: str = "", **changes: Any) -> None:
        """Say where the run stands, with `changes` to the fields of `Progress`."""
        with self._lock:
            self._shown = shown = replace(self._shown, doing=doing, **changes)
        self._watch.progress(shown)

    def count(self, score: float | None, cost_usd: float | None) -> None:
        """One more execution has ended, and what it cost; without a score it is an error."""
        with self._lock:
            before = self._shown
            self._shown = shown = replace(
                before,
                done=before.done + 1,
                errors=before.errors + (score is None),
                cost_usd=before.cost_usd if cost_usd is None else (before.cost_usd or 0.0) + cost_usd,
                doing="",
            )
        self._watch.progress(shown)


class Silent:
    """Watches nothing."""

    def progress(self, progress: Progress) -> None:
        """Ignored."""

    def note(self, level: str, message: str) -> None:
        """Ignored."""
