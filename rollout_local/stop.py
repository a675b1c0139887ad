"""The one flag that ends a run from inside, checked before every paid call.

DSPy's thread pool drains after an exception: what is queued still starts. Each start meets this flag first.
"""

from __future__ import annotations

import threading

from rollout_local.errors import StopSearch


class StopFlag:
    """Set once, by the first reason to stop; every later check raises that reason."""

    def __init__(self) -> None:
        self._children: list[StopFlag] = []
        self._reason: StopSearch | None = None
        self._set = threading.Event()
        self._lock = threading.Lock()

    @property
    def reason(self) -> StopSearch | None:
        """Why the run is to stop, or None."""
        return self._reason

    def stop(self, reason: StopSearch) -> bool:
        """Ask for the end; True where this was the first reason."""
        with self._lock:
            first = self._reason is None
            if first:
                self._reason = reason
                self._set.set()
            children = self._children
        for child in children if first else ():
            child.stop(reason)
        return first

    def child(self) -> StopFlag:
        """A flag of one run among several: what stops this one stops it too, and not the other way round."""
        flag = StopFlag()
        with self._lock:
            self._children = [*(child for child in self._children if child.reason is None), flag]
            reason = self._reason
        if reason is not None:
            flag.stop(reason)
        return flag

    def check(self) -> None:
        """Raise the reason if there is one."""
        if self._reason is not None:
            raise self._reason

    def wait(self, seconds: float) -> None:
        """Wait, but not past a stop; raises nothing."""
        self._set.wait(seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, but not past a stop; raises the reason if one comes."""
        self._set.wait(seconds)
        self.check()
