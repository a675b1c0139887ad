"""Which processes lock bytes of the `-shm` file beside a database: who reads, and who writes.

SQLite's connections lock bytes of that file (sqlite.org/walformat.html, 2.3), and Linux says in /proc/locks which
process does. The file itself is not opened: to close it would give up the locks that this process has on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout_local.clock import iso

WRITE_LOCK = range(120, 121)
READ_LOCKS = range(123, 128)
"""Five marks, shared by all readers."""
LOCKS = Path("/proc/locks")


@dataclass(frozen=True)
class Locker:
    """A process in an open transaction; `name` and `began` are empty where they cannot be told."""

    pid: int
    name: str = ""
    began: str = ""

    @property
    def words(self) -> str:
        """Who it is."""
        name, began = f" ({self.name})" if self.name else "", f", which began at {self.began}" if self.began else ""
        return f"process {self.pid}{name}{began}"


def lockers(path: Path, locks: range) -> tuple[Locker, ...]:
    """The other processes that lock these bytes for the database at `path`."""
    return tuple(seen(pid) for pid in lockers_in(_table(), _place(path), locks))


def lockers_in(table: str, place: str, locks: range) -> list[int]:
    """The same from a `table` as in /proc/locks, for the file at `place` (`MAJOR:MINOR:INODE`)."""
    return sorted(set(_lockers(table, place, locks)) - {os.getpid()})


def _lockers(table: str, place: str, locks: range) -> Iterator[int]:
    for line in table.splitlines():
        words = line.split()
        if len(words) != 8 or words[1] != "POSIX" or words[5] != place or int(words[4]) <= 0:
            continue
        last = locks.stop if words[7] == "EOF" else int(words[7])
        if last >= locks.start and int(words[6]) < locks.stop:
            yield int(words[4])


def _table() -> str:
    try:
        return LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _place(path: Path) -> str:
    """How /proc/locks names the `-shm` file of a database; empty where there is none."""
    try:
        found = path.with_name(path.name + "-shm").stat()
    except OSError:
        return ""
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"


def seen(pid: int) -> Locker:
    """A process by the name of its program (not its arguments, which may hold anything), and when it began."""
    folder = Path("/proc") / str(pid)
    try:
        name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        ticks = int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return Locker(pid)
    age = up - ticks / os.sysconf("SC_CLK_TCK")
    return Locker(pid, name, iso(time.time() - age))
