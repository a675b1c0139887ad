"""Who watches a run: told of progress and of what is worth a line; decides nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

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


class Silent:
    """Watches nothing."""

    def progress(self, progress: Progress) -> None:
        """Ignored."""

    def note(self, level: str, message: str) -> None:
        """Ignored."""
