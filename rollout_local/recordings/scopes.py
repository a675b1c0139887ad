"""Where in a run the code that asks is: the scope of its thread or task, and whether it is anybody's at all.

The scope is a context variable: it belongs to the thread or task that set it. A request that a client makes while it
answers a request that is already being recorded (one HTTP library on top of another) is not recorded twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

IMPORT = "import"
"""The scope of what the user's modules ask while they are imported."""
_scope: ContextVar[str | None] = ContextVar("rollout_recording_scope", default=None)
_passing: ContextVar[bool] = ContextVar("rollout_recording_passing", default=False)
_astray: ContextVar[bool | None] = ContextVar("rollout_recording_astray", default=None)
"""Whether the thread that is asked for is astray, where it is one of another process."""
_entered: list[str] = []
"""The scopes that some thread is in; a list, because its `append` and `remove` need no lock."""


os.register_at_fork(after_in_child=_entered.clear)


def in_a_scope() -> bool:
    """Whether what happens now may belong to a scope: its thread is in one, or some thread is and this one in none.

    A thread that a target starts is in no scope of its own. False while a covered client sends.
    """
    return bool(_entered) and not _passing.get()


def scope_name() -> str:
    """Where the running code is; "" outside any scope."""
    return _scope.get() or ""


def is_astray() -> bool:
    """Whether this is a thread that someone started, and nobody put into a scope: an exporter's, a cache's.

    asyncio looks names up in threads of its own, for a task that may be in a scope.
    """
    told = _astray.get()
    if told is not None:
        return told
    thread = threading.current_thread()
    started = thread is not threading.main_thread() and not thread.name.startswith("asyncio_")
    return started and _scope.get() is None


def is_passing() -> bool:
    """Whether a covered client is sending: what it asks below is recorded already."""
    return _passing.get()


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Be in this scope until the block ends."""
    token = _scope.set(name)
    _entered.append(name)
    try:
        yield
    finally:
        _scope.reset(token)
        if name in _entered:  # not in a forked child
            _entered.remove(name)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Requests of this block pass by the recording (and are stopped by its guard, in replay)."""
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)


@contextmanager
def on_behalf(scope: str, *, astray: bool) -> Iterator[None]:
    """Ask for a thread of another process: one that is in `scope` ("" for none), or `astray`."""
    named, led = _scope.set(scope or None), _astray.set(astray)
    try:
        yield
    finally:
        _astray.reset(led)
        _scope.reset(named)
