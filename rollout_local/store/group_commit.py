"""Group commit: what several threads write at the same time is one transaction, and one sync of the disk.

The first thread that comes leads: while it holds the turn, others gather, and whoever leads next writes all of them.
Each `write` returns when its work is on the disk, and raises what its work raised; the others of its group stay.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rollout_local.store.schema import Store

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]


class _Entry:
    """One thread's work: done once it is on the disk, or has failed."""

    def __init__(self, work: Work[object]) -> None:
        self.work = work
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None


class GroupCommit:
    """Write transactions of a store that threads share. Give it to writers that wait for one another anyway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathering = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Entry] = []

    def write(self, work: Work[Result]) -> Result:
        """Run `work` in a write transaction, with what other threads have to write; return its result when committed.

        Raises what `work` raises, having undone it alone; or what `Store.write` raises, having undone all.
        """
        entry = _Entry(work)
        with self._gathering:
            self._waiting.append(entry)
        with self._turn:
            if not entry.is_done:
                with self._gathering:
                    group, self._waiting = self._waiting, []
                self._commit(group)
        if entry.error is not None:
            raise entry.error
        result: Result = entry.result
        return result

    def _commit(self, group: list[_Entry]) -> None:
        try:
            with self._store.write() as db:
                for entry in group:
                    _work(db, entry, alone=len(group) == 1)
        except BaseException as error:  # noqa: BLE001 - each thread of the group raises it
            for entry in group:
                entry.error = entry.error or error
        finally:
            for entry in group:
                entry.is_done = True


def _work(db: sqlite3.Connection, entry: _Entry, *, alone: bool) -> None:
    """Do one thread's work; where it is not alone, undo it alone if it fails, but for a fault of the database."""
    if alone:
        entry.result = entry.work(db)
        return
    db.execute("SAVEPOINT member")
    try:
        entry.result = entry.work(db)
    except (sqlite3.OperationalError, sqlite3.InternalError):  # a full disk, an I/O error: nothing can be written
        raise
    except Exception as error:  # noqa: BLE001 - whatever this thread's work raised is this thread's
        entry.error = error
        db.execute("ROLLBACK TO member")
    db.execute("RELEASE member")
