"""What a target may ask about the run that executes it: `rollout.current_run()`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class CurrentRun:
    """The run in whose service the target is executed."""

    run_id: str
    attempt: int
    task_model: str | None = None
    task_api_base: str | None = None


_current: ContextVar[CurrentRun | None] = ContextVar("rollout_current_run", default=None)


def current_run() -> CurrentRun | None:
    """The run that executes the calling target, or None outside any run."""
    return _current.get()


@contextmanager
def running_in(run: CurrentRun) -> Iterator[None]:
    """Make `run` the answer of `current_run()` inside the block (this thread and what copies its context)."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)
