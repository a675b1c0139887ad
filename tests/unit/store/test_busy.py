"""A wait for another program's transaction is told, names its process, and ends by Ctrl-C, a stop, or its own limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout_local import locks
from rollout_local.errors import Paused, StoreError
from rollout_local.store import schema, shm_locks
from rollout_local.store.schema import open_store

WRITES = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode=" + sys.argv[2])
db.execute("BEGIN IMMEDIATE")
db.execute("PRAGMA user_version = 7")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_store(tmp_path / "rollout.db").close()
    return tmp_path / "rollout.db"


@pytest.fixture(params=["normal", "exclusive"])
def writer(path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """The process number of a program that has a write transaction open."""
    command = [sys.executable, "-c", WRITES, str(path), request.param]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield child.pid
    child.communicate()


@pytest.mark.usefixtures("writer")
def test_ctrl_c_ends_the_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOLD_AFTER_S", 0.2)
    told: list[str] = []

    def press(sentence: str) -> None:
        told.append(sentence)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), open_store(path, tell=press) as store, store.write():
        pass
    assert len(told) == 1
    assert told[0].startswith("waiting for ")


@pytest.mark.parametrize("writer", ["normal"], indirect=True)
def test_a_stop_ends_the_wait_and_the_writer_is_named(path: Path, writer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOLD_AFTER_S", 0.1)
    told: list[str] = []

    def stop() -> None:
        raise Paused("enough", reason="error")

    with open_store(path, tell=told.append) as store:
        store.heed_in_waits(stop)
        with pytest.raises(Paused, match="enough"), store.write():
            pass
        store.heed_in_waits(lambda: None)
        store.wait_at_most(0.01)
        with pytest.raises(StoreError, match=r"database is locked \(a connection that writes to it does not") as said:
            store.write().__enter__()
    if shm_locks.LOCKS.exists():
        assert told[0].startswith(f"waiting for process {writer} (python")
        assert told[0].endswith(f", which has {path} locked")
        assert f"process {writer} (python" in str(said.value)


@pytest.mark.parametrize("writer", ["exclusive"], indirect=True)
@pytest.mark.usefixtures("writer")
def test_who_only_reads_is_told_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOLD_AFTER_S", 0.1)
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.4)
    told: list[str] = []
    with pytest.raises(StoreError, match="database is locked"):
        open_store(path, tell=told.append, reads=True)
    assert len(told) == 1
