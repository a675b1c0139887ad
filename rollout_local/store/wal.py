"""What is in the WAL beside a database, and whose reading keeps it there.

A commit is appended to the WAL, and moved into the file once no reader needs the older pages. A reader that stands in
an open transaction keeps all that was committed since, however long. SQLite's readers lock bytes of the `-shm` file
(sqlite.org/walformat.html, 2.3), and Linux says in /proc/locks which process does. The file itself is not opened: to
close it would give up the locks that this process has on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout_local.clock import iso
from rollout_local.store.schema import Store

READ_LOCKS = range(123, 128)
"""Bytes of the `-shm` file that readers lock: five marks, shared by all of them."""
LOCKS = Path("/proc/locks")


@dataclass(frozen=True)
class WalReader:
    """A process in an open read transaction; `name` and `began` are empty where they cannot be told."""

    pid: int
    name: str = ""
    began: str = ""

    @property
    def words(self) -> str:
        """Who it is."""
        name, began = f" ({self.name})" if self.name else "", f", which began at {self.began}" if self.began else ""
        return f"process {self.pid}{name}{began}"


@dataclass(frozen=True)
class Wal:
    """`size` in bytes. `pages` are in it, `waiting` of them for a reader to end; None while somebody writes."""

    size: int
    pages: int | None
    waiting: int | None
    readers: tuple[WalReader, ...]


def look(store: Store) -> Wal:
    """The WAL of an open database, after moving what can be moved into the file."""
    readers = tuple(_seen(pid) for pid in readers_of(_table(), _place(store.path)))
    found = store.fold()
    pages, moved = found if found is not None else (None, None)
    waiting = None if pages is None or moved is None else pages - moved
    try:
        size = store.path.with_name(store.path.name + "-wal").stat().st_size
    except OSError:
        size = 0
    return Wal(size, pages, waiting, readers)


def readers_of(table: str, place: str) -> list[int]:
    """Processes that lock read marks of the file at `place` (`MAJOR:MINOR:INODE`); `table` as in /proc/locks."""
    return sorted(set(_readers(table, place)) - {os.getpid()})


def _readers(table: str, place: str) -> Iterator[int]:
    for line in table.splitlines():
        words = line.split()
        if len(words) != 8 or words[1] != "POSIX" or words[5] != place or int(words[4]) <= 0:
            continue
        last = READ_LOCKS.stop if words[7] == "EOF" else int(words[7])
        if last >= READ_LOCKS.start and int(words[6]) < READ_LOCKS.stop:
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


def _seen(pid: int) -> WalReader:
    """A process by the name of its program (not its arguments, which may hold anything), and when it began."""
    folder = Path("/proc") / str(pid)
    try:
        name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        ticks = int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return WalReader(pid)
    age = up - ticks / os.sysconf("SC_CLK_TCK")
    return WalReader(pid, name, iso(time.time() - age))
