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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations

from rollout_local.errors import Paused, StoreError
from rollout_local.store import ddl_durable, ddl_programs, ddl_releases
from rollout_local.store.ddl import TABLES, TRIGGERS, VIEWS

APPLICATION_ID = 0x524F4C4F  # "ROLO": tells our files from other programs'
BUSY_TIMEOUT_S = 30.0
WAL_FAULT_FIXED_IN = (3, 51, 3)
CHECKPOINT_EVERY = 1000
"""Write transactions between two checkpoints, where SQLite may not make them by itself."""

migrations = Migrations("rollout_local")


@migrations(name="0001_the_whole_path")
def _the_whole_path(db: Database) -> None:
    for statement in (*TABLES, *TRIGGERS, *VIEWS):
        db.execute(statement)


@migrations(name="0002_durable_runs")
def _durable_runs(db: Database) -> None:
    for statement in ddl_durable.STATEMENTS:
        db.execute(statement)


@migrations(name="0003_releases")
def _releases(db: Database) -> None:
    for statement in ddl_releases.TABLES:
        db.execute(statement)


@migrations(name="0004_reuse")
def _reuse(db: Database) -> None:
    db.execute("CREATE INDEX trials_alike ON trials (candidate_hash, task_name) WHERE score IS NOT NULL AND NOT reused")


@migrations(name="0005_programs")
def _programs(db: Database) -> None:
    for statement in ddl_programs.STATEMENTS:
        db.execute(statement)


class Store:
    """One open database file. Safe to share between threads: a lock serialises use of its connection."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._file_lock = _FileLock(path) if sqlite3.sqlite_version_info < WAL_FAULT_FIXED_IN else None
        self._writes = 0
        self.fence: Callable[[sqlite3.Connection], None] | None = None
        """Set by whoever runs a run: called first in every write transaction, raises where the run is not theirs."""

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed (and on the disk) when the block ends, undone when it raises.

        Where the file cannot be written (a full disk, a file that vanished), raises `Paused` while a run is being
        run through this store, since DSPy would make a score of 0 of any `Exception`; `StoreError` otherwise.
        """
        with self._lock, self._file_lock or contextlib.nullcontext(), self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self.fence is not None:
                    self.fence(self._connection)
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite undoes some itself: a full disk, an I/O error
                    self._connection.execute("ROLLBACK")
                raise
            self._checkpoint_now_and_then()

    def _checkpoint_now_and_then(self) -> None:
        self._writes += 1
        if self._file_lock is not None and self._writes % CHECKPOINT_EVERY == 0:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            if self.fence is not None:
                raise Paused(f"{_explain(self.path, error)}; mend that and go on", reason="error") from error
            raise StoreError(_explain(self.path, error)) from error

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """All rows of a select, as dicts."""
        with self._lock, self._explained():
            cursor = self._connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> dict[str, Any] | None:
        """The first row of a select, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def copy_into(self, other: sqlite3.Connection) -> None:
        """SQLite's own backup, page by page, into an open connection."""
        with self._lock:
            self._connection.backup(other)

    def vacuum(self) -> None:
        """Rewrite the file without its free pages."""
        with self._lock, self._file_lock or contextlib.nullcontext(), self._explained():
            self._connection.execute("VACUUM")

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
