"""`open_store()` and the store that it gives: selects, and the one write transaction.

The file is WAL with STRICT tables and foreign keys. A commit returns when the row is on the disk
(`synchronous=FULL`), since what it holds was paid for. SQLite before 3.51.3 can lose commits when several
connections write and checkpoint at once (its WAL-reset fault), so every write transaction, checkpoint and
migration of ours is held under one file lock there.

What executions and models said is written without secrets: the row makers of this package pass it through the store's
`redactor`. Whoever composes a run sets one that knows the values; nothing here reads an environment. What names
things (ids, hashes, tasks) and what the user wrote for the run (dataset, verifiers) is kept as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlite_utils import Database

from rollout_local import locks
from rollout_local.errors import Paused, StoreError
from rollout_local.redaction import Redactor
from rollout_local.store import fixed
from rollout_local.store.busy import STEP_S, BusyWait, holder
from rollout_local.store.migrations import migrations

Tell = Callable[[str], None]
Row = TypeVar("Row")
Result = TypeVar("Result")
Parameters = Sequence[object] | Mapping[str, object]


def _untold(_sentence: str) -> None:
    """Nobody is there to be told."""


APPLICATION_ID = 0x524F4C4F  # "ROLO": tells our files from other programs'
BUSY_TIMEOUT_S = 30.0
BUSY_AGAIN_S = 1.0
"""The same, once a connection was waited for in vain."""
WAL_FAULT_FIXED_IN = (3, 51, 3)
CHECKPOINT_EVERY = 1000
"""Write transactions between two checkpoints, where SQLite may not make them by itself."""


class Store:
    """One open database file. Safe to share between threads: a lock serialises use of its connection."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, tell: Tell = _untold, *, is_fixed: bool = False
    ) -> None:
        self.path = path
        self.is_fixed = is_fixed
        """Nobody may write the file here: it is only read."""
        self._connection = connection
        self._lock = threading.RLock()
        locked = sqlite3.sqlite_version_info < WAL_FAULT_FIXED_IN and not is_fixed
        self._file_lock = _file_lock(path, tell) if locked else None
        self._writes = 0
        self._pid = os.getpid()
        self.fence: Callable[[sqlite3.Connection], None] | None = None
        """Set by whoever runs a run: called first in every write transaction, raises where the run is not theirs."""
        self._busy = BusyWait(path, BUSY_TIMEOUT_S, tell)
        self._patience = BUSY_TIMEOUT_S
        self._lost: Exception | None = None
        """Why this connection is of no use any more."""
        self.redactor = Redactor({})
        """Takes secrets out of what is written; set by whoever knows which values are secret."""

    def heed_in_waits(self, heed: Callable[[], None]) -> None:
        """Let what `heed` raises (a stop) end a long wait for another process."""
        self._busy.heed = heed
        if self._file_lock is not None:
            self._file_lock.heed = heed

    def until_free(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, tried again while another connection has the file locked, as long as is waited for one."""
        return self._busy.until_free(work)

    def wait_at_most(self, seconds: float) -> None:
        """How long to wait for another process that writes: less, where somebody sits in front of it."""
        self._patience = self._busy.timeout = seconds
        if self._file_lock is not None:
            self._file_lock.timeout = seconds

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed (and on the disk) when the block ends, undone when it raises.

        Where the file cannot be written (a full disk, a file that vanished), raises `Paused` while a run is being
        run through this store, since DSPy would make a score of 0 of any `Exception`; `StoreError` otherwise.
        """
        self._require_own_process()
        if self.is_fixed:
            raise StoreError(_read_only(self.path))
        with self._lock, self._explained(), self._file_lock or contextlib.nullcontext():
            self._busy.until_free(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                if self.fence is not None:
                    self.fence(self._connection)
                yield self._connection
                self._connection.execute("COMMIT")
                self._busy.timeout = self._patience
            except BaseException:
                if self._connection.in_transaction:  # SQLite undoes some itself: a full disk, an I/O error
                    self._connection.execute("ROLLBACK")
                raise
            self._checkpoint_now_and_then()

    @contextlib.contextmanager
    def write_unlinked(self) -> Iterator[sqlite3.Connection]:
        """The same, with references checked once, at the end; raises `StoreError` where one is loose."""
        with self._lock:
            self._connection.execute("PRAGMA foreign_keys=OFF")  # nothing but outside of a transaction
            try:
                with self.write() as db:
                    yield db
                    loose = db.execute("PRAGMA foreign_key_check").fetchone()
                    if loose is not None:
                        msg = (
                            f"a row of {loose[0]} would refer to a row of {loose[2]} that is not there; nothing was"
                            " changed (`rollout db check` says what is not as it was)"
                        )
                        raise StoreError(msg)
            finally:
                self._connection.execute("PRAGMA foreign_keys=ON")

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Nobody writes while the block reads."""
        if self.is_fixed:
            yield
            return
        with self.write():
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """The block reads one state of the file, whatever others write meanwhile. Nobody waits; nothing is written."""
        with self.reading() as db:
            db.execute("BEGIN")
        try:
            yield
        finally:
            with self.reading() as db:
                db.execute("ROLLBACK")

    def _require_own_process(self) -> None:
        if os.getpid() != self._pid:
            msg = (
                f"{self.path} was opened by process {self._pid}; a process forked from it can neither read nor write it"
            )
            raise StoreError(msg)

    def _checkpoint_now_and_then(self) -> None:
        """Move what is committed from the WAL into the file, as far as no reader needs it there. Nobody waits."""
        self._writes += 1
        if self._file_lock is not None and self._writes % CHECKPOINT_EVERY == 0:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            if self._lost is not None:
                raise self._lost
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError, locks.Held) as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            if "locking protocol" in str(error):  # after 10 s: its files are closed under SQLite's hands
                self._lost = error
            if "locked" in str(error):  # every thread of a run has something to write: they need not wait as long
                self._busy.timeout = BUSY_AGAIN_S
            if self.fence is not None:
                raise Paused(f"{_explain(self.path, error)}; mend that and go on", reason="error") from error
            raise StoreError(_explain(self.path, error)) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for selects that a function makes of several statements."""
        self._require_own_process()
        with self._lock, self._explained():
            yield self._connection

    def select(self, kind: type[Row], sql: str, parameters: Parameters = ()) -> list[Row]:  # noqa: ARG002
        """All rows of a select as values of `kind`, a TypedDict that names its columns.

        Mypy reads `kind`; the tests hold it against every row that they see.
        """
        return cast("list[Row]", self.rows(sql, parameters))

    def first(self, kind: type[Row], sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of a select, or None."""
        found = self.select(kind, sql, parameters)
        return found[0] if found else None

    def has(self, sql: str, parameters: Parameters = ()) -> bool:
        """Whether a select gives anything."""
        return bool(self.rows(sql, parameters))

    def rows(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """All rows of a select whose columns are not known before, as those of a whole table are; see `select`."""
        with self.reading() as db:
            cursor = self._busy.until_free(lambda: db.execute(sql, parameters))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, parameters: Parameters = ()) -> dict[str, Any] | None:
        """The first of them, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def copy_into(self, other: sqlite3.Connection) -> None:
        """SQLite's own backup, page by page, into an open connection."""
        with self._lock:
            self._connection.backup(other)

    def vacuum(self) -> None:
        """Rewrite the file without its free pages."""
        with self._lock, self._explained(), self._file_lock or contextlib.nullcontext():
            self._connection.execute("VACUUM")

    def fold(self) -> tuple[int, int] | None:
        """Move what no reader needs from the WAL into the file: pages in the WAL, and those of them that are moved.

        None where another process writes or moves just now, or the file is only read. Nobody waits.
        """
        with self._lock, self._explained(), contextlib.ExitStack() as stack:
            if self.is_fixed or (self._file_lock is not None and not self._file_lock.try_enter()):
                return None
            if self._file_lock is not None:
                stack.push(self._file_lock)
            _, pages, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return (pages, moved) if pages >= 0 else None

    def close(self) -> None:
        """Close; fold the WAL back into the file where this store has written, and nobody is in the way."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._writes:
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._truncate()
            self._connection.close()

    def _truncate(self) -> None:
        """Empty the WAL if no reader and no writer has to be waited for."""
        self._connection.execute("PRAGMA busy_timeout=0")
        if self._file_lock is None:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        elif self._file_lock.try_enter():
            with contextlib.ExitStack() as stack:
                stack.push(self._file_lock)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_store(path: Path, *, create: bool = True, tell: Tell = _untold, reads: bool = False) -> Store:
    """Open (and create, and migrate) a rollout database. Its path is looked up once: a later change of folder is not
    followed. `tell` hears of waits for other processes. Who only `reads` is given a file that cannot be written, too.

    Raises `StoreError` where the file is missing and `create` is false, belongs to another program, was made
    by a newer version, is damaged, or cannot be written.
    """
    path = path.resolve() if path.is_symlink() else path.absolute()  # a link has no second lock file
    if not create and not path.exists():
        msg = f"there is no database at {path}; give --db, or create a run first"
        raise StoreError(msg)
    if not path.parent.is_dir():
        msg = f"the folder of the database does not exist: {path.parent}; make it, or give another --db"
        raise StoreError(msg)
    is_fixed = path.exists() and not (fixed.can_write(path) and fixed.can_write(path.parent))
    if is_fixed and not reads:
        raise StoreError(_read_only(path))
    with contextlib.ExitStack() as undo:
        try:
            connection = _connect_to_read(path) if is_fixed else _connect(path)
            undo.callback(connection.close)
            store = Store(path, connection, tell, is_fixed=is_fixed)
            store.until_free(lambda: _prepare(store, connection, create=create))
        except (sqlite3.Error, OSError, locks.Held) as error:
            raise StoreError(_explain(path, error)) from error
        undo.pop_all()
    return store


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():  # for its owner alone; SQLite gives the files beside it the same mode
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return sqlite3.connect(path, timeout=STEP_S, isolation_level=None, check_same_thread=False)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    connection = fixed.connect(path, STEP_S, immutable=fixed.must_be_immutable(path))
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        msg = (
            f"{path} cannot be read where it is ({error}): part of it is in its -wal file, and to read that SQLite has "
            "to write beside it; copy all of its files to another folder, and give that --db"
        )
        raise StoreError(msg) from error
    return connection


PAGE_SIZE = 512
"""Bytes of a page of a new file: the fewest that SQLite knows. A trial's commit changes some 25 pages by a row or an
entry each, and a WAL holds every changed page whole; queries take as long as with pages of 1 or 4 KiB.
"""


def _read_only(path: Path) -> str:
    what = "its folder" if fixed.can_write(path) else "it"
    return f"{path} cannot be written ({what} is read-only); check its permissions, copy it, or give another --db"


def _prepare(store: Store, connection: sqlite3.Connection, *, create: bool) -> None:
    """Refuse a foreign file before anything is written to it; then bring ours up to date."""
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    # In this order: another process that makes the file now sets its application_id before its first table.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application_id != APPLICATION_ID:
        msg = f"{store.path} is a database of another program; give another --db"
        raise StoreError(msg)
    if not tables and not create:
        msg = f"{store.path} is empty: no run was ever in it; give another --db, or create a run first"
        raise StoreError(msg)
    database = Database(connection)
    _refuse_newer(store.path, database)
    if migrations.pending(database):
        if store.is_fixed:
            msg = f"{store.path} is of an earlier version, and has to be brought up to date: {_read_only(store.path)}"
            raise StoreError(msg)
        with store._file_lock or _file_lock(store.path, _untold):  # noqa: SLF001 - the same lock, one module
            if not tables:
                connection.execute(f"PRAGMA page_size={PAGE_SIZE}")  # before the first write
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=OFF")  # a table that is made anew is gone for a moment
            migrations.apply(database)
            connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0" if store._file_lock else "PRAGMA wal_autocheckpoint=1000")  # noqa: SLF001


def _refuse_newer(path: Path, database: Database) -> None:
    known = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - it has no public list
    newer = [applied.name for applied in migrations.applied(database) if applied.name not in known]
    if newer:
        msg = f"{path} was written by a newer rollout-local (it has {newer[0]!r}); upgrade to open it"
        raise StoreError(msg)


def _file_lock(path: Path, tell: Tell) -> locks.FileLock:
    return locks.FileLock(path.with_name(path.name + ".lock"), BUSY_TIMEOUT_S, tell)


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    if isinstance(error, locks.Held):
        return f"{path} cannot be written: {text}; continue that process or end it"
    if "not a database" in text or "malformed" in text:
        return f"{path} is not a SQLite database, or a damaged one ({text}); give another --db"
    if isinstance(error, OSError) or "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written ({text}); check its permissions, or give another --db"
    if "no such module" in text:
        text = f"{text}, which its full-text index needs; `rollout db index --off` takes the index away"
    if "locked" in text:
        seen = holder(path)
        who = f"{seen}; another program" if seen else "another program's"
        text = f"{text} (a connection that writes to it does not end: {who}, or the target's)"
    return f"{path} cannot be used: {text}"
