"""Reading a file that somebody else is writing: own read-only connections on own threads.

Datasette's three threads are shared with its table pages, and four slow ones hold up everything behind them, so
the live pages have their own. Every visit reads one snapshot and lets go of it at once: a reader that holds its
transaction keeps the writer's WAL from being folded back. A file that was replaced is opened anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rollout_local.store import fixed
from rollout_local.store.schema import APPLICATION_ID, BUSY_TIMEOUT_S, Store, open_store

THREADS = 3
PATIENCE_S = 3.0
"""How long a button waits for another process that writes; who pressed it is told who that is."""
LONGEST_SHOWN, LONGEST_READ = 16 << 20, 256 << 20
"""Bytes of one value: in Datasette's pages, whose statements anybody makes; in ours, which show parts of long texts."""
_REACHING_OUT = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "fsdir", "lsdir"})
"""Functions that SQLite may have: they load code, tell addresses of the process, read and write files."""
Result = TypeVar("Result")


@contextmanager
def writing(path: Path) -> Iterator[Store]:
    """Open a file to write what a page asked for. Raises `StoreError`, soon, where another process has it."""
    with open_store(path, create=False) as store:
        store.wait_at_most(PATIENCE_S)
        yield store


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
            if fixed.application_id(connection) == APPLICATION_ID:
                return True
    return False


class Readers:
    """Read-only connections, one per thread and file, on a few threads of their own."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rollout-ui")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rollout-ui-writes")
        self._mine = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], Result], *, writes: bool = False) -> Result:
        """Do `work` on one of the threads: what `writes` may wait for others, and keeps nobody from reading."""
        return await asyncio.get_running_loop().run_in_executor(self._writer if writes else self._pool, work)

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
        self._writer.shutdown(wait=True)
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


def restrict(connection: sqlite3.Connection, longest: int) -> None:
    """Refuse values of more than `longest` bytes, other files, and functions that reach out of the database.

    The file may come from somebody else, and so may the views in it.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
    connection.set_authorizer(_judged)


def _judged(action: int, _: str | None, name: str | None, *_more: str | None) -> int:
    refused = action == sqlite3.SQLITE_ATTACH or (
        action == sqlite3.SQLITE_FUNCTION and (name or "").lower() in _REACHING_OUT
    )
    return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK


def _connect(source: Source) -> sqlite3.Connection:
    connection = fixed.connect(source.path, BUSY_TIMEOUT_S, immutable=source.immutable)
    restrict(connection, LONGEST_READ)
    return connection
