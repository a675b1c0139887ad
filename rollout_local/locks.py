"""Locks between processes on files: held by one process, told by whom, never kept alive by a forked child.

A `flock` belongs to the open file that a forked child shares with its parent: it would be held for as long as any
child lives. So every locked file is closed in a forked child before anything else runs there, and a lock is given up by
name, not by closing. What runs no Python between fork and exec (`subprocess`) closes these files by itself.

Nobody waits for ever, and nobody without a word: who holds the lock writes its process and host into the file.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 0.005
TOLD_AFTER_S = 1.0

_guard = threading.Lock()
_open: set[int] = set()
"""Every file of ours that may be locked, of all threads."""


def _in_child() -> None:
    for file in _open:
        os.close(file)
    _open.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_in_child)


def open_to_lock(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file that is closed in every forked child. Close it with `close`; raises `OSError`."""
    with _guard:
        file = os.open(path, flags | os.O_CLOEXEC, mode)
        _open.add(file)
    return file


def close(file: int) -> None:
    """Give up whatever lock is held on a file of `open_to_lock`, and close it."""
    with _guard:
        _open.discard(file)
        try:
            fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            os.close(file)


def try_lock(file: int) -> bool:
    """Take the lock on an open file if nobody has it; `OSError` where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Held(Exception):
    """The lock was not to be had in time; the message says who holds it."""


class Wait:
    """A wait for somebody else, in steps: told once it is long, ended by what `heed` raises, over after `timeout`."""

    def __init__(self, timeout: float, tell: Callable[[str], None], heed: Callable[[], None], step: float) -> None:
        self._timeout = timeout
        self._tell = tell
        self._heed = heed
        self._step = step
        self._begun = time.monotonic()
        self._told = False

    @property
    def seconds(self) -> float:
        """How long it lasts already."""
        return time.monotonic() - self._begun

    @property
    def is_over(self) -> bool:
        """Its time is up."""
        return self.seconds >= self._timeout

    def step(self, for_whom: Callable[[], str]) -> None:
        """One step of the wait; `for_whom` says in words who is waited for."""
        if self.seconds > TOLD_AFTER_S:
            if not self._told:
                self._tell(f"waiting for {for_whom()}")
            self._told = True
            self._heed()
        time.sleep(self._step)


class FileLock:
    """A lock file, re-entrant in a process; threads of it are kept apart by the caller."""

    def __init__(self, path: Path, timeout: float, tell: Callable[[str], None] = lambda _: None) -> None:
        self._path = path
        self.timeout = timeout
        self._tell = tell
        self.heed: Callable[[], None] = lambda: None
        """Asked again and again in a wait of more than `TOLD_AFTER_S`: what it raises ends the wait."""
        self._depth = 0
        self._file = -1

    def __enter__(self) -> FileLock:
        """Take it, waiting at most `timeout` seconds; raises `Held`, or `OSError` where there can be no such file."""
        if self._depth == 0:
            self._file = open_to_lock(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._wait()
            except BaseException:
                close(self._file)
                raise
            os.pwrite(self._file, b"%-12d%-100b\n" % (os.getpid(), socket.gethostname().encode()[:100]), 0)
        self._depth += 1
        return self

    def __exit__(self, *_exc: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            close(self._file)

    def try_enter(self) -> bool:
        """Take it if nobody else holds it; then `__exit__` gives it back."""
        waiting, self.timeout = self.timeout, 0.0
        try:
            self.__enter__()
        except Held:
            return False
        finally:
            self.timeout = waiting
        return True

    def _wait(self) -> None:
        wait = Wait(self.timeout, self._tell, self.heed, LOOK_EVERY_S)
        while not try_lock(self._file):
            if wait.is_over:
                raise Held(f"{self._holder()} has held it for {wait.seconds:.0f} s")
            wait.step(lambda: f"{self._holder()} ({self._path})")

    def _holder(self) -> str:
        words = os.pread(self._file, 113, 0).decode("utf-8", "replace").split()
        return f"process {words[0]} on {words[1]}" if len(words) == 2 else "another process"
