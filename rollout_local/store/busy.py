"""Waiting for another connection that has the file locked: in short steps, told, and ended by Ctrl-C or a stop.

SQLite's own wait is one call in C, in which Python hears no signal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rollout_local.locks import Wait
from rollout_local.store.shm_locks import WRITE_LOCK, lockers

Result = TypeVar("Result")

STEP_S = 0.1
"""How long SQLite itself waits, at most."""


class BusyWait:
    """How one connection waits. `timeout` is in seconds; `heed` is asked again and again in a wait, and may end it."""

    def __init__(self, path: Path, timeout: float, tell: Callable[[str], None]) -> None:
        self._path = path
        self.timeout = timeout
        self._tell = tell
        self.heed: Callable[[], None] = lambda: None

    def until_free(self, statement: Callable[[], Result]) -> Result:
        """What `statement` gives, tried again while another connection is in its way. Raises as it does in the end."""
        wait = Wait(self.timeout, self._tell, self.heed, min(STEP_S, self.timeout) / 10)
        while True:
            try:
                return statement()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or "locking protocol" in str(error) or wait.is_over:
                    raise
            wait.step(lambda: f"{holder(self._path) or 'another program'}, which has {self._path} locked")


def holder(path: Path) -> str:
    """Who writes to the file and does not come to an end; empty where it cannot be seen."""
    return " and ".join(one.words for one in lockers(path, WRITE_LOCK))
