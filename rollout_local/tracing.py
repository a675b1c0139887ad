"""Spans of one rollout: the steps that user code marks.

A trace knows no database: who collects it decides where it goes. It stands below `targets`, since a program tells
the collector of its predictors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Span:
    """A step that user code marked with `rollout.trace(name)`. `started` in Unix seconds, `duration` in seconds."""

    name: str
    type: str
    started: float
    duration: float = 0.0
    input: Any = None
    output: Any = None
    error: str | None = None

    def record_input(self, value: object) -> None:
        """Keep what went in."""
        self.input = value

    def record_output(self, value: object) -> None:
        """Keep what came out."""
        self.output = value


@dataclass
class Collector:
    """Receives the spans of the code that runs while it is the current one."""

    spans: list[Span] = field(default_factory=list)


_current: ContextVar[Collector | None] = ContextVar("rollout_trace_collector", default=None)


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    """Make `collector` the one that spans of this context go to."""
    token = _current.set(collector)
    try:
        yield collector
    finally:
        _current.reset(token)


def current_collector() -> Collector | None:
    """The collector of this context, or None outside any rollout."""
    return _current.get()
