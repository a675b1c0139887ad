"""What is in the WAL beside a database, and whose reading keeps it there.

A commit is appended to the WAL, and moved into the file once no reader needs the older pages. A reader that stands in
an open transaction keeps all that was committed since, however long.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollout_local.store.schema import Store
from rollout_local.store.shm_locks import READ_LOCKS, Locker, lockers


@dataclass(frozen=True)
class Wal:
    """`size` in bytes. `pages` are in it, `waiting` of them for a reader to end; None while somebody writes."""

    size: int
    pages: int | None
    waiting: int | None
    readers: tuple[Locker, ...]


def look(store: Store) -> Wal:
    """The WAL of an open database, after moving what can be moved into the file."""
    readers = lockers(store.path, READ_LOCKS)
    found = store.fold()
    pages, moved = found if found is not None else (None, None)
    waiting = None if pages is None or moved is None else pages - moved
    try:
        size = store.path.with_name(store.path.name + "-wal").stat().st_size
    except OSError:
        size = 0
    return Wal(size, pages, waiting, readers)
