"""Who keeps the WAL from being moved into the file is found, as far as this machine tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout_local.store import shm_locks, wal
from rollout_local.store.schema import open_store

LOCKS = """\
1: POSIX  ADVISORY  READ 4242 08:01:77 123 123
2: POSIX  ADVISORY  READ 4243 08:01:77 128 128
3: POSIX  ADVISORY  READ 4244 08:01:78 124 124
4: FLOCK  ADVISORY  WRITE 4245 08:01:77 0 EOF
5: POSIX  ADVISORY  READ 4246 08:01:77 126 127
5: -> POSIX  ADVISORY  WRITE 4247 08:01:77 123 127
6: POSIX  ADVISORY  READ -1 08:01:77 124 124
7: POSIX  ADVISORY  WRITE 4248 08:01:77 0 EOF
8: POSIX  ADVISORY  WRITE 4249 08:01:77 120 120
"""
READS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN")
print(db.execute("SELECT count(*) FROM runs").fetchone()[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[int]:
    """The process number of a reader that stands in an open transaction."""
    open_store(tmp_path / "rollout.db").close()
    child = subprocess.Popen(
        [sys.executable, "-c", READS, str(tmp_path / "rollout.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "0\n"
    yield child.pid
    child.communicate()


def test_readers_are_those_that_lock_a_read_mark_of_that_file() -> None:
    def readers(table: str, place: str) -> list[int]:
        return shm_locks.lockers_in(table, place, shm_locks.READ_LOCKS)

    assert readers(LOCKS, "08:01:77") == [4242, 4246, 4248]
    assert readers(LOCKS, "08:01:78") == [4244]
    assert readers(LOCKS, "") == readers("", "08:01:77") == []
    assert shm_locks.lockers_in(LOCKS, "08:01:77", shm_locks.WRITE_LOCK) == [4248, 4249]


@pytest.mark.skipif(not shm_locks.LOCKS.exists(), reason="there is no /proc/locks here")
def test_a_process_that_stands_in_a_read_transaction_is_named(tmp_path: Path, reader: int) -> None:
    with open_store(tmp_path / "rollout.db") as store:
        for value in range(3):
            with store.write() as db:
                db.execute(f"PRAGMA user_version = {value + 1}")
        found = wal.look(store)
    assert [one.pid for one in found.readers] == [reader]
    assert found.readers[0].words.startswith(f"process {reader} (python")
    assert "which began at 20" in found.readers[0].words
    assert found.pages
    assert found.waiting
    assert found.size > 0


def test_without_one_all_of_it_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm_locks, "LOCKS", tmp_path / "none")
    with open_store(tmp_path / "rollout.db") as store:
        with store.write() as db:
            db.execute("PRAGMA user_version = 1")
        found = wal.look(store)
    assert (found.waiting, found.readers) == (0, ())
    assert found.pages is not None


def test_while_another_process_writes_nothing_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rollout.db"
    with open_store(path) as store, open_store(path) as other, other.write():
        found = wal.look(store)
        assert store._file_lock is None or (found.pages, found.waiting) == (None, None)


def test_of_a_process_that_is_gone_only_its_number_is_known() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert shm_locks.seen(child.pid).words == f"process {child.pid}"
