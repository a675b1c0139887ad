"""Ctrl-C, once to pause."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rollout_local.errors import Paused

if TYPE_CHECKING:
    from types import FrameType

    from rollout_local.stop import StopFlag


@contextmanager
def interruptible(
    stop: StopFlag, *, signals: Sequence[signal.Signals], advice: str, say: Callable[[str], None],
    at_once: Callable[[], object],
) -> Iterator[None]:  # fmt: skip
    """Inside the block a signal pauses the run with `advice`, said by `say`; a second one calls `at_once`.

    A child that a target forked is ended by it. In a thread that is not the main one nothing is changed: Python hands
    signals to that one alone.
    """
    process = os.getpid()

    def handler(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:  # a pool ends its workers so, and waits until they are gone
            os._exit(128 + number)
        if not stop.stop(Paused(f"interrupted; {advice}", interrupted=True)):
            at_once()
            return
        say("pausing; the calls in flight are finished first (again to stop at once)")

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in signals if is_main}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
