"""The recording that is open in this process.

Invariant: at most one recording is open, and a forked child has none: the file is its parent's. A request that a
client makes while it answers a request that is already being recorded (one HTTP library on top of another) belongs to
none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rollout_local.errors import RecordingError
from rollout_local.recordings.scopes import entered, is_passing, unrecorded
from rollout_local.recordings.session import Recording

__all__ = ["enter", "is_open", "leave", "recording", "scope", "unrecorded"]

_open: list[Recording] = []

os.register_at_fork(after_in_child=_open.clear)


def recording() -> Recording | None:
    """The recording that this request belongs to; None where there is none, or it is already being recorded."""
    return _open[0] if _open and not is_passing() else None


def enter(recording: Recording) -> None:
    """Make this the process's recording. Raises `RecordingError` where one is open."""
    if _open:
        raise RecordingError(
            f"A recording is open already ({_open[0].path}); close it first: there is one per process."
        )
    _open.append(recording)


def leave(recording: Recording) -> None:
    """No recording is open any more."""
    if recording in _open:  # not in a forked child
        _open.remove(recording)


def is_open() -> bool:
    """Whether a recording is open."""
    return bool(_open)


@contextmanager
def scope(name: str, *, restart: bool = False) -> Iterator[None]:
    """Say where in a run the requests of this block are asked; innermost wins.

    With `restart` the scope starts anew: what was recorded under this name before is void for replay.
    What the block hands to a thread pool or a thread that is no daemon is in it, too, while a recording is open.
    """
    if restart and _open:
        _open[0].restart(name)
    with entered(name):
        yield
