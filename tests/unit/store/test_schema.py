"""Opening: new files, our files, everybody else's files; and write transactions."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlite_utils import Database

import rollout_local
from rollout_local.errors import Paused, StoreError
from rollout_local.locks import FileLock
from rollout_local.store import schema
from rollout_local.store.schema import APPLICATION_ID, open_store

ROOT = Path(rollout_local.__file__).parent.parent


def pragma(store, name):
    return next(iter(store.row(f"PRAGMA {name}").values()))


def refusal(path, **options):
    with pytest.raises(StoreError) as refused:
        open_store(path, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def applied(store):
    return [row["name"] for row in store.rows("SELECT name FROM _sqlite_migrations ORDER BY id")]


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_a_new_file_is_ours_and_safe(store):
    assert pragma(store, "application_id") == APPLICATION_ID
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2
    assert pragma(store, "foreign_keys") == 1
    assert pragma(store, "integrity_check") == "ok"
    with contextlib.closing(Database(memory=True)) as nothing:
        assert applied(store) == [migration.name for migration in schema.migrations.pending(nothing)]
    assert applied(store)[0] == "0001_the_whole_path"


def test_every_table_of_ours_is_strict(store):
    tables = store.rows("SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE '%sqlite_%'")
    assert len(tables) > 15
    assert [row["name"] for row in tables if not row["strict"]] == []


def test_a_file_is_opened_again_with_what_is_in_it(tmp_path):
    path = tmp_path / "rollout.db"
    with open_store(path) as store, store.write() as db:
        db.execute("INSERT INTO texts VALUES ('h', 't')")
    with open_store(path, create=False) as store:
        assert store.rows("SELECT * FROM texts") == [{"hash": "h", "text": "t"}]
        assert len(applied(store)) == len(set(applied(store)))


def test_closing_folds_everything_into_the_one_file(tmp_path):
    path = tmp_path / "rollout.db"
    with open_store(path) as store, store.write() as db:
        db.execute("INSERT INTO texts VALUES ('h', 't')")
    assert not path.with_name("rollout.db-wal").exists()
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    with open_store(copy) as store:
        assert store.row("SELECT text FROM texts") == {"text": "t"}


def test_an_empty_file_is_a_new_one(tmp_path):
    (tmp_path / "rollout.db").touch()
    with open_store(tmp_path / "rollout.db") as store:
        assert pragma(store, "application_id") == APPLICATION_ID


def test_a_file_without_migrations_is_migrated(tmp_path):
    path = tmp_path / "rollout.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute("CREATE TABLE notes (text)")
    with open_store(path) as store:
        assert store.rows("SELECT * FROM trials") == []


def test_what_must_exist_is_not_created(tmp_path):
    said = refusal(tmp_path / "none.db", create=False)
    assert said == f"there is no database at {tmp_path / 'none.db'}; give --db, or create a run first"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path):
    said = refusal(tmp_path / "no" / "rollout.db")
    assert said == f"the folder of the database does not exist: {tmp_path / 'no'}; make it, or give another --db"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path):
    (tmp_path / "folder").mkdir()
    assert "cannot be written (unable to open database file); check its permissions" in refusal(tmp_path / "folder")
    assert digests(tmp_path / "folder") == {}


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("application_id", [0, 1, APPLICATION_ID + 1])
def test_a_database_of_another_program_is_refused_and_not_a_byte_of_it_changes(tmp_path, mode, application_id):
    path = tmp_path / "theirs.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute(f"PRAGMA application_id={application_id}")
        db.execute("CREATE TABLE runs (id)")
    before = digests(tmp_path)
    assert refusal(path) == f"{path} is a database of another program; give another --db"
    assert digests(tmp_path) == before


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "rollout.db"
    with open_store(path) as store, store.write() as db:
        db.execute("INSERT INTO _sqlite_migrations VALUES (99, 'rollout_local', '0042_later', '2030')")
    before = path.read_bytes()
    assert refusal(path) == f"{path} was written by a newer rollout-local (it has '0042_later'); upgrade to open it"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough" * 40, b"SQLite format 3\0" + b"\1" * 200]
)
def test_what_is_no_database_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "rollout.db"
    path.write_bytes(content)
    assert f"{path} is not a SQLite database, or a damaged one (" in refusal(path)
    assert digests(tmp_path) == {"rollout.db": hashlib.sha256(content).hexdigest()}


def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "rollout.db"
    open_store(path).close()
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)
    assert "is not a SQLite database, or a damaged one (" in refusal(path)


def test_any_other_fault_of_sqlite_is_one_sentence_too(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "rollout.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert refusal(path).startswith(f"{path} cannot be used: database is locked (a connection that writes")


def test_who_was_waited_for_in_vain_is_not_waited_for_as_long_again(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 2.0)
    monkeypatch.setattr(schema, "BUSY_AGAIN_S", 0.01)

    def wait() -> float:
        begun = time.monotonic()
        with contextlib.closing(sqlite3.connect(tmp_path / "rollout.db", isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError, match="database is locked"), store.write():
                pass
        return time.monotonic() - begun

    with open_store(tmp_path / "rollout.db") as store:
        assert wait() >= 2.0
        assert wait() < 2.0
        with store.write():
            pass
        assert wait() >= 2.0


@pytest.mark.skipif(sqlite3.sqlite_version_info >= schema.WAL_FAULT_FIXED_IN, reason="no lock is taken there")
def test_a_lock_that_cannot_be_taken_is_one_sentence(tmp_path):
    (tmp_path / "rollout.db.lock").mkdir()
    assert "rollout.db cannot be written (" in refusal(tmp_path / "rollout.db")


READ_ONLY = """
import os, sys
from pathlib import Path
from rollout_local.errors import Paused, StoreError
from rollout_local.locks import FileLock
from rollout_local.store.schema import open_store
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
try:
    open_store(Path(sys.argv[1]))
except StoreError as refused:
    print(refused)
"""


@pytest.mark.parametrize("kind", ["file", "folder", "new file"])
def test_what_is_read_only_is_refused_before_anything_is_spent(kind):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        path = folder / "rollout.db"
        if kind != "new file":
            open_store(path).close()
            path.chmod(0o444 if kind == "file" else 0o666)
            path.with_name("rollout.db.lock").unlink(missing_ok=True)
        folder.chmod(0o777 if kind == "file" else 0o555)
        before = digests(folder)
        done = subprocess.run(
            [sys.executable, "-B", "-c", READ_ONLY, str(path)],
            capture_output=True, text=True, timeout=60, check=False, cwd="/tmp",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.stdout.startswith(f"{path} cannot be written ("), done.stderr
        assert digests(folder) == before
        folder.chmod(0o777)


TOGETHER = """
import sys
from pathlib import Path
from rollout_local.store import schema
if sys.argv[2] == "new":
    schema.WAL_FAULT_FIXED_IN = (0,)  # as on a SQLite that needs no lock for every write
print("ready", flush=True)
sys.stdin.readline()
with schema.open_store(Path(sys.argv[1])) as store, store.write() as db:
    db.execute("INSERT INTO texts VALUES (?, 't')", (sys.argv[3],))
"""


@pytest.mark.parametrize("sqlite", ["new", "old"])
def test_six_processes_open_one_new_file_at_once(tmp_path, sqlite):
    path = tmp_path / "rollout.db"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(path), sqlite, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(6)
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in started]
    assert [(process.returncode, error) for process, (_, error) in zip(started, ended, strict=True)] == [(0, "")] * 6
    with open_store(path) as store:
        assert sorted(row["hash"] for row in store.rows("SELECT * FROM texts")) == list("012345")
        assert len(applied(store)) == len(set(applied(store)))


@pytest.mark.parametrize("fixed_in", [(0,), (99,)])
def test_threads_with_stores_of_their_own_open_one_new_file_at_once(tmp_path, monkeypatch, fixed_in):
    monkeypatch.setattr(schema, "WAL_FAULT_FIXED_IN", fixed_in)
    for turn in range(8):
        together = threading.Barrier(6)

        def go(_, path=tmp_path / f"{turn}.db", together=together):
            together.wait()
            open_store(path).close()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(go, range(6)))


INSERT = "INSERT INTO texts VALUES ('h', 't')"


def write(store, *statements, then=None):
    """One transaction of these statements that ends with the error `then`, if given."""
    with store.write() as db:
        for statement in statements:
            db.execute(statement)
        if then is not None:
            raise then


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_transaction_that_raises_is_undone(store, error):
    with pytest.raises(type(error)):
        write(store, INSERT, then=error)
    assert store.rows("SELECT * FROM texts") == []
    write(store, INSERT)
    assert len(store.rows("SELECT * FROM texts")) == 1


def test_a_commit_that_is_refused_is_undone_and_the_next_one_works(store):
    """Deferred references are checked at the commit."""
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        write(store, "PRAGMA defer_foreign_keys=ON", "INSERT INTO candidate_parents VALUES (1, 2)")
    write(store, INSERT)
    assert store.rows("SELECT * FROM candidate_parents") == []


def test_what_sqlite_has_undone_itself_is_not_undone_twice(store):
    with pytest.raises(StoreError, match="the disk is full"):
        write(store, INSERT, "ROLLBACK", then=sqlite3.OperationalError("the disk is full"))
    write(store, INSERT)
    assert len(store.rows("SELECT * FROM texts")) == 1


def write_inside_a_write(store):
    with store.write() as db:
        db.execute(INSERT)
        write(store, "DELETE FROM texts")


@pytest.mark.parametrize("fixed_in", [(0,), (99,)])
def test_a_transaction_inside_a_transaction_is_refused_and_both_are_undone(tmp_path, monkeypatch, fixed_in):
    monkeypatch.setattr(schema, "WAL_FAULT_FIXED_IN", fixed_in)
    with open_store(tmp_path / "rollout.db") as store:
        with pytest.raises(StoreError, match="cannot start a transaction within a transaction"):
            write_inside_a_write(store)
        assert store.rows("SELECT * FROM texts") == []
        write(store, INSERT)


def test_a_write_is_seen_by_another_connection_when_it_returns(store):
    with store.write() as db:
        db.execute("INSERT INTO texts VALUES ('h', 't')")
    with contextlib.closing(sqlite3.connect(store.path)) as other:
        assert other.execute("SELECT text FROM texts").fetchall() == [("t",)]


def test_a_foreign_key_is_held(store):
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        write(store, "INSERT INTO candidate_parents VALUES (1, 2)")


@pytest.mark.parametrize("fixed_in", [(0,), (99,)])
def test_rows_come_as_dicts_and_a_missing_row_as_none(tmp_path, monkeypatch, fixed_in):
    monkeypatch.setattr(schema, "WAL_FAULT_FIXED_IN", fixed_in)
    with open_store(tmp_path / "rollout.db") as store:
        with store.write() as db:
            db.executemany("INSERT INTO texts VALUES (?, ?)", [("a", "1"), ("b", "2")])
        assert store.rows("SELECT * FROM texts ORDER BY hash") == [
            {"hash": "a", "text": "1"},
            {"hash": "b", "text": "2"},
        ]
        assert store.row("SELECT text FROM texts WHERE hash = :h", {"h": "b"}) == {"text": "2"}
        assert store.row("SELECT text FROM texts WHERE hash = 'c'") is None


def test_a_reader_in_the_middle_of_a_transaction_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "rollout.db"
    open_store(path).close()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchone()
    for _ in range(3):
        with open_store(path) as store, store.write() as db:  # a wait would be one of BUSY_TIMEOUT_S
            db.execute("INSERT INTO texts VALUES (hex(randomblob(8)), 'x')")
    assert path.with_name("rollout.db-wal").stat().st_size > 0
    reader.execute("COMMIT")
    with open_store(path) as store, store.write() as db:
        db.execute("INSERT INTO texts VALUES ('y', 'y')")
    assert not path.with_name("rollout.db-wal").exists() or path.with_name("rollout.db-wal").stat().st_size == 0
    reader.close()


def test_reading_takes_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "rollout.db"
    open_store(path).close()
    with FileLock(path.with_name("rollout.db.lock"), 0), open_store(path, create=False) as store:
        assert store.rows("SELECT * FROM runs") == []


def test_a_file_that_somebody_holds_is_told_with_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(schema, "WAL_FAULT_FIXED_IN", (99,))
    path = tmp_path / "rollout.db"
    open_store(path).close()
    with FileLock(path.with_name("rollout.db.lock"), 0), open_store(path) as store:
        with pytest.raises(StoreError, match=f"process {os.getpid()} on .* has held it for 0 s; continue that process"):
            store.write().__enter__()
        store.fence = lambda _db: None
        with pytest.raises(Paused, match="has held it"):
            store.write().__enter__()


def test_a_path_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("rollout.db")
    (tmp_path / "elsewhere").mkdir()
    with open_store(Path("rollout.db")) as store, open_store(Path("link.db")) as linked:
        assert store.path == linked.path == tmp_path / "rollout.db"
        monkeypatch.chdir(tmp_path / "elsewhere")
        with store.write() as db:
            db.execute("INSERT INTO texts VALUES ('x', 'x')")
        assert linked.row("SELECT text FROM texts") == {"text": "x"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_snapshot_is_one_state_of_the_file_and_keeps_no_writer_waiting(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as writer, open_store(tmp_path / "a.db") as reader:
        with writer.write() as db:
            db.execute("CREATE TABLE seen (n)")
        with reader.snapshot():
            assert reader.rows("SELECT count(*) AS n FROM seen") == [{"n": 0}]
            with writer.write() as db:
                db.execute("INSERT INTO seen VALUES (1)")
            assert reader.rows("SELECT count(*) AS n FROM seen") == [{"n": 0}]
        assert reader.rows("SELECT count(*) AS n FROM seen") == [{"n": 1}]
