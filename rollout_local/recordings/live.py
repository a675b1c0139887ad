"""The recording that is open in this process, and where in a run the code that asks is.

Invariant: at most one recording is open. The scope is a context variable: it belongs to the thread or task that set
it. A request that a client makes while it answers a request that is already being recorded (one HTTP library on
top of another) is not recorded twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from rollout_local.errors import RecordingError

if TYPE_CHECKING:
    from rollout_local.recordings.session import Recording

_scope: ContextVar[str] = ContextVar("rollout_recording_scope", default="")
_passing: ContextVar[bool] = ContextVar("rollout_recording_passing", default=False)
_open: list[Recording] = []


def current() -> Recording | None:
    """The recording that this request belongs to; None where there is none, or it is already being recorded."""
    return _open[0] if _open and not _passing.get() else None


def enter(recording: Recording) -> None:
    """Make this the process's recording. Raises `RecordingError` where one is open."""
    if _open:
        raise RecordingError(
            f"A recording is open already ({_open[0].path}); close it first: there is one per process."
        )
    _open.append(recording)


def leave(recording: Recording) -> None:
    """No recording is open any more."""
    _open.remove(recording)


def scope_name() -> str:
    """Where the running code is; "" outside any scope."""
    return _scope.get()


@contextmanager
def scope(name: str, *, restart: bool = False) -> Iterator[None]:
    """Say where in a run the requests of this block are asked; innermost wins.

    With `restart` the scope starts anew: what was recorded under this name before is void for replay.
    A thread that is started inside the block does not inherit it.
    """
    if restart and _open:
        _open[0].restart(name)
    token = _scope.set(name)
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Requests of this block pass by the recording (and are stopped by its guard, in replay)."""
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)
