"""Adaptive concurrency: additive increase, multiplicative decrease, as TCP does it.

A provider that limits or fails halves how many trials run at once, down to one; every success raises it a little,
back to what the user allowed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollout_local.stop import StopFlag

SLOWED_BY = frozenset({"rate_limit", "overload", "timeout", "connection"})
"""Kinds of failure (`rollout_local.providers.failures.KINDS`) that say: fewer at once."""


class Pace:
    """How many trials may run at once right now. `on_change` is told of every new whole number."""

    def __init__(self, most: int, on_change: Callable[[int], None] = lambda _: None) -> None:
        self.most = most
        self._allowed = float(most)
        self._running = 0
        self._changed = threading.Condition()
        self._on_change = on_change

    @property
    def allowed(self) -> int:
        """Trials that may run at once."""
        return int(self._allowed)

    @contextmanager
    def turn(self, stop: StopFlag) -> Iterator[None]:
        """Wait for a place; raises the reason to stop if one comes first."""
        with self._changed:
            while self._running >= self.allowed:
                stop.check()
                self._changed.wait(0.1)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def slow_down(self) -> None:
        """Half as many."""
        self._set(max(1.0, self._allowed / 2))

    def speed_up(self) -> None:
        """A little more: one whole more after as many successes as there are places."""
        if self._allowed < self.most:
            self._set(min(float(self.most), self._allowed + 1 / self._allowed))

    def _set(self, allowed: float) -> None:
        with self._changed:
            before, self._allowed = self.allowed, allowed
            now = self.allowed
            self._changed.notify_all()
        if now != before:
            self._on_change(now)
