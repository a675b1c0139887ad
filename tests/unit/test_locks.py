"""A lock between processes: told who holds it, bounded, and never kept alive by a child of a fork."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout_local.errors import Paused, StoreError
from rollout_local.locks import FileLock, Held
from rollout_local.recordings.file import Tape
from rollout_local.store.schema import Store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lock"


@pytest.fixture
def another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    code = (
        "import pathlib, sys, time; from rollout_local.locks import FileLock\n"
        "with FileLock(pathlib.Path(sys.argv[1]), 5): print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_it_is_reentrant_and_free_afterwards(path: Path) -> None:
    lock = FileLock(path, 0)
    with lock, lock:
        assert not FileLock(path, 0).try_enter()
    assert lock.try_enter()
    lock.__exit__()


def test_who_holds_it_is_named_and_the_wait_is_bounded_and_told(
    path: Path, another: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout_local.locks.TOLD_AFTER_S", 0.05)
    told: list[str] = []
    with (
        pytest.raises(Held, match=f"process {another.pid} on {socket.gethostname()} has held it"),
        FileLock(path, 0.2, told.append),
    ):
        pass
    assert told == [f"waiting for process {another.pid} on {socket.gethostname()} ({path})"]


def test_a_signal_ends_the_wait(path: Path, another: subprocess.Popen[str]) -> None:
    class Ended(Exception):
        pass

    def end(*_given: object) -> None:
        raise Ended

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(Ended), FileLock(path, 600):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_stop_ends_the_wait_once_it_is_a_long_one(
    path: Path, another: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise Paused("stopped")

    monkeypatch.setattr("rollout_local.locks.TOLD_AFTER_S", 0.05)
    lock = FileLock(path, 600)
    lock.heed = stop
    with pytest.raises(Paused), lock:
        pass


def test_it_is_free_when_its_holder_was_killed(path: Path, another: subprocess.Popen[str]) -> None:
    another.kill()
    another.wait()
    with FileLock(path, 5):
        pass


def forked() -> int:
    """A child that lives until it is killed."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


def test_a_child_that_was_forked_while_it_was_held_does_not_hold_it(path: Path) -> None:
    lock = FileLock(path, 0)
    with lock:
        child = forked()
    try:
        assert FileLock(path, 0).try_enter()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_nor_does_the_orphan_of_a_holder_that_was_killed(path: Path, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys, time; from rollout_local.locks import FileLock\n"
        "with FileLock(pathlib.Path(sys.argv[1]), 5):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
        try:
            with FileLock(path, 5):
                os.kill(orphan, 0)
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_a_child_keeps_no_recording_locked_and_writes_none(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "recording.yaml", {})
    child = forked()
    try:
        tape.close()
        Tape(tmp_path / "recording.yaml", {}).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _write_in_child(store: Store, tape: Tape, said: multiprocessing.queues.SimpleQueue[str]) -> None:
    for work, error in ((store.write().__enter__, StoreError), (lambda: tape.append(b"- x"), Paused)):
        try:
            work()
        except error as problem:
            said.put(str(problem))
    store.close()


def test_a_child_can_write_nothing_and_reads_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    said = context.SimpleQueue()
    tape = Tape(tmp_path / "recording.yaml", {})
    with open_store(tmp_path / "rollout.db") as store:
        child = context.Process(target=_write_in_child, args=(store, tape, said))
        child.start()
        child.join()
        assert "a process forked from it can neither read nor write it" in said.get()
        assert "a forked process cannot write the recording of its parent" in said.get()
        with store.write() as db:
            db.execute("CREATE TABLE mine (a)")
    tape.close()
    said.close()
