"""`open_store()` and every migration.

The file is WAL with STRICT tables and foreign keys. A commit returns when the row is on the disk
(`synchronous=FULL`), since what it holds was paid for. SQLite before 3.51.3 can lose commits when several
connections write and checkpoint at once (its WAL-reset fault), so every write transaction, checkpoint and
migration of ours is held under one file lock there.

Migrations are numbered functions; nobody edits one that has landed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations

from rollout_local.errors import StoreError
from rollout_local.store.ddl import TABLES, TRIGGERS, VIEWS

APPLICATION_ID = 0x524F4C4F  # "ROLO": tells our files from other programs'
BUSY_TIMEOUT_S = 30.0
WAL_FAULT_FIXED_IN = (3, 51, 3)

migrations = Migrations("rollout_local")


@migrations(name="0001_the_whole_path")
def _the_whole_path(db: Database) -> None:
    for statement in (*TABLES, *TRIGGERS, *VIEWS):
        db.execute(statement)


class Store:
    """One open database file. Safe to share between threads: a lock serialises use of its connection."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._file_lock = _FileLock(path) if sqlite3.sqlite_version_info < WAL_FAULT_FIXED_IN else None

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed (and on the disk) when the block ends, undone when it raises."""
        with self._lock, self._file_lock or contextlib.nullcontext():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite undoes some itself: a full disk, an I/O error
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """All rows of a select, as dicts."""
        with self._lock:
            cursor = self._connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> dict[str, Any] | None:
        """The first row of a select, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def close(self) -> None:
        """Fold the WAL back into the file and close."""
        with self._lock, self._file_lock or contextlib.nullcontext(), contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_store(path: Path, *, create: bool = True) -> Store:
    """Open (and create, and migrate) a rollout database.

    Raises `StoreError` where the file is missing and `create` is false, belongs to another program, was made
    by a newer version, is damaged, or cannot be written.
    """
    if not create and not path.exists():
        msg = f"there is no database at {path}; give --db, or create a run first"
        raise StoreError(msg)
    if not path.parent.is_dir():
        msg = f"the folder of the database does not exist: {path.parent}; make it, or give another --db"
        raise StoreError(msg)
    if path.exists() and not os.access(path, os.W_OK):
        msg = f"{path} cannot be written (it is read-only); check its permissions, or give another --db"
        raise StoreError(msg)
    with contextlib.ExitStack() as undo:
        try:
            connection = _connect(path)
            undo.callback(connection.close)
            store = Store(path, connection)
            _prepare(store, connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(_explain(path, error)) from error
        undo.pop_all()
    return store


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _prepare(store: Store, connection: sqlite3.Connection) -> None:
    """Refuse a foreign file before anything is written to it; then bring ours up to date."""
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    # In this order: another process that makes the file now sets its application_id before its first table.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application_id != APPLICATION_ID:
        msg = f"{store.path} is a database of another program; give another --db"
        raise StoreError(msg)
    database = Database(connection)
    _refuse_newer(store.path, database)
    if migrations.pending(database):
        with store._file_lock or _FileLock(store.path):  # noqa: SLF001 - the same lock, one module
            if not tables:
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute("PRAGMA journal_mode=WAL")
            migrations.apply(database)
    connection.execute("PRAGMA wal_autocheckpoint=0" if store._file_lock else "PRAGMA wal_autocheckpoint=1000")  # noqa: SLF001


def _refuse_newer(path: Path, database: Database) -> None:
    known = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - it has no public list
    newer = [applied.name for applied in migrations.applied(database) if applied.name not in known]
    if newer:
        msg = f"{path} was written by a newer rollout-local (it has {newer[0]!r}); upgrade to open it"
        raise StoreError(msg)


def _explain(path: Path, error: sqlite3.Error | OSError) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return f"{path} is not a SQLite database, or a damaged one ({text}); give another --db"
    if isinstance(error, OSError) or "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written ({text}); check its permissions, or give another --db"
    return f"{path} cannot be used: {text}"


class _FileLock:
    """An advisory lock between processes, re-entrant in a thread; the threads are kept apart by the Store."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._depth = 0
        self._file: Any = None

    def __enter__(self) -> _FileLock:
        if self._depth == 0:
            self._file = self._path.open("a")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1
        return self

    def __exit__(self, *_exc: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._file.close()
            self._file = None
