"""Reading a file that somebody else is writing: own read-only connections on own threads.

Datasette's three threads are shared with its table pages, and four slow ones hold up everything behind them, so
the live pages have their own. Every visit reads one snapshot and lets go of it at once: a reader that holds its
transaction keeps the writer's WAL from being folded back. A file that was replaced is opened anew.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from rollout_local.store.schema import APPLICATION_ID, BUSY_TIMEOUT_S, Store

THREADS = 3
Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """One database file as Datasette knows it. `immutable`: nobody writes to it while it is shown."""

    name: str
    path: Path
    immutable: bool = False


def is_rollout_file(path: Path) -> bool:
    """Whether this is a database of ours, by the application id in its first page.

    SQLite is asked: a file that this process opens and closes by itself loses every lock that SQLite holds on it here.
    The next process that leaves then takes itself for the last, removes the WAL, and our readers see nothing new.
    """
    try:
        found = path.stat()
    except OSError:
        return False
    file = (path, found.st_dev, found.st_ino)
    if file not in _ours and _has_our_id(path):
        _ours.add(file)
    return file in _ours


_ours: set[tuple[Path, int, int]] = set()
"""Files that are ours. Those of others are looked into again: an empty one may become ours."""


def _has_our_id(path: Path) -> bool:
    """Read as it stands, which leaves nothing beside the file; then as other readers do, since a file that is being
    written to has no whole first page for whoever takes no lock.
    """
    for immutable in (True, False):
        with suppress(sqlite3.Error), closing(_connect(Source("", path, immutable))) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
                return True
    return False


def must_be_immutable(path: Path, writable: Callable[[Path], bool]) -> bool:
    """Whether a file can only be read as it stands: no WAL beside it, and a folder where SQLite cannot make one.

    Such a file fails with `mode=ro`, since reading a WAL database needs its -wal and -shm files.
    """
    beside = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    return not all(file.exists() for file in beside) and not writable(path.parent)


def can_write(folder: Path) -> bool:
    """Whether this process may create files there."""
    return os.access(folder, os.W_OK)


class Readers:
    """Read-only connections, one per thread and file, on a few threads of their own."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rollout-ui")
        self._mine = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do `work` on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @contextmanager
    def visit(self) -> Iterator[Callable[[Source], Store]]:
        """On one of the threads: a function that opens files, each read as one snapshot until the block ends."""
        opened: dict[str, Store] = {}
        with ExitStack() as undo:

            def open_(source: Source) -> Store:
                if source.name not in opened:
                    connection = self._connection(source)
                    connection.execute("BEGIN")
                    undo.callback(connection.rollback)
                    opened[source.name] = Store(source.path, connection)
                return opened[source.name]

            yield open_

    def close(self) -> None:
        """End the threads and close every connection."""
        self._pool.shutdown(wait=True)
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def _connection(self, source: Source) -> sqlite3.Connection:
        known: dict[Path, tuple[int, sqlite3.Connection]] = self._mine.__dict__.setdefault("connections", {})
        inode = source.path.stat().st_ino
        found = known.get(source.path)
        if found is not None and found[0] == inode:
            return found[1]
        if found is not None:
            self._forget(found[1])
        connection = _connect(source)
        with self._lock:
            self._opened.append(connection)
        known[source.path] = (inode, connection)
        return connection

    def _forget(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._opened.remove(connection)
        connection.close()


def _connect(source: Source) -> sqlite3.Connection:
    mode = "mode=ro&immutable=1" if source.immutable else "mode=ro"
    uri = f"file:{quote(str(source.path.absolute()))}?{mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
