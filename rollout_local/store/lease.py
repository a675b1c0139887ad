"""One runner per run: a lease with a fencing token, checked in the same transaction as every write.

Time is judged by the machine's monotonic clock (beats carry its reading and the boot it belongs to), never by
the wall clock, which may jump; a holder on another machine is judged by whether its count of beats grows. A
holder whose process is gone, or whose beats stopped for longer than `EXPIRES_AFTER_S`, has lost the lease to
whoever takes it; should it wake up, its token no longer fits and its writes are refused.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rollout_local.errors import LeaseLost, Paused, Refused
from rollout_local.store.schema import Store

BEAT_EVERY_S = 1.0
EXPIRES_AFTER_S = 2 * BEAT_EVERY_S + 0.5
"""Two missed beats."""


@dataclass(frozen=True)
class Holder:
    """A process, told apart from a later one with the same number."""

    pid: int
    host: str
    boot: str
    process: str

    @classmethod
    def this(cls) -> Holder:
        """The calling process."""
        return cls(os.getpid(), socket.gethostname(), _boot(), _process_start(os.getpid()))

    def is_here(self) -> bool:
        """It ran on this machine, in this boot or an earlier one."""
        return self.host == socket.gethostname()

    def is_gone(self) -> bool:
        """It certainly does not run any more."""
        return self.is_here() and (self.boot != _boot() or _process_start(self.pid) != self.process)


class Lease:
    """The right to write a run's rows, as long as the token in the database is ours.

    `from_stopped`: it was taken from a process that still exists and may wake up, with its files open.
    """

    def __init__(self, store: Store, run_id: str, token: int, *, from_stopped: bool = False) -> None:
        self.store = store
        self.run_id = run_id
        self.token = token
        self.from_stopped = from_stopped
        self._beaten = time.monotonic()
        self._file = _identity(store.path)
        store.fence = self.check

    def check(self, db: sqlite3.Connection) -> None:
        """Inside a transaction: raise `LeaseLost` where another runner holds the run now, `Paused` where what is
        written would be lost, since the file is no longer the one that its path names.
        """
        if _identity(self.store.path) != self._file:
            msg = (
                f"{self.store.path} has vanished, or is another file now; put it back, or rebuild the run from its "
                "log_dir with `rollout optimize run --log-dir DIR`"
            )
            raise Paused(msg, reason="error")
        row = db.execute("SELECT token FROM leases WHERE run_id = ?", (self.run_id,)).fetchone()
        if row is None or row[0] != self.token:
            raise LeaseLost(f"another runner has taken over run {self.run_id}; nothing more is written here")

    def beat(self, at: str) -> list[dict[str, Any]]:
        """Say that the holder is alive; returns the requests that wait for it, oldest first."""
        now = time.monotonic()
        with self.store.write() as db:
            db.execute("UPDATE leases SET beats = beats + 1, beat_s = ? WHERE run_id = ?", (now, self.run_id))
            db.execute("UPDATE runs SET heartbeat_at = ? WHERE id = ?", (at, self.run_id))
        self._beaten = now
        return self.requests()

    def requests(self) -> list[dict[str, Any]]:
        """What others ask of the holder and nobody has heard yet, oldest first."""
        return self.store.rows(
            "SELECT * FROM run_commands WHERE run_id = ? AND handled_at IS NULL ORDER BY id", (self.run_id,)
        )

    def require(self) -> None:
        """Before a paid call: after a gap in the beats, look whether the run is still ours."""
        if time.monotonic() - self._beaten > EXPIRES_AFTER_S:
            row = self.store.row("SELECT token FROM leases WHERE run_id = ?", (self.run_id,))
            if row is None or row["token"] != self.token:
                raise LeaseLost(f"another runner has taken over run {self.run_id}; nothing more is paid for here")

    def release(self) -> None:
        """Give the run back, if it is still ours."""
        self.store.fence = None
        with self.store.write() as db:
            db.execute("UPDATE leases SET pid = NULL WHERE run_id = ? AND token = ?", (self.run_id, self.token))


def acquire(store: Store, run_id: str) -> Lease:
    """Take the lease of a run; raises `Refused`, naming the holder, where it is held: at once, or after a beat of a
    holder on another machine, which is watched for as long as it may be silent.
    """
    me = Holder.this()
    stood_still = _watched(store, run_id)
    with store.write() as db:
        row = db.execute(f"SELECT {_HELD} FROM leases WHERE run_id = ?", (run_id,)).fetchone()
        from_stopped = row is not None and row[1] is not None and _require_lost(run_id, row, stood_still)
        token = 1 if row is None else int(row[0]) + 1
        db.execute(
            "INSERT OR REPLACE INTO leases (run_id, token, pid, host, boot, process, beats, beat_s)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
            (run_id, token, me.pid, me.host, me.boot, me.process, time.monotonic()),
        )
    return Lease(store, run_id, token, from_stopped=from_stopped)


def require_free(store: Store, run_id: str) -> None:
    """Raise `Refused` where a process on this machine holds the run: said before anything slow is done."""
    row = _held(store, run_id)
    if row is not None and Holder(*row[1:5]).is_here():
        _require_lost(run_id, row, None)


def holder_of(store: Store, run_id: str) -> Holder | None:
    """Who holds a run now, as far as its row says; None where nobody does."""
    row = store.row("SELECT pid, host, boot, process FROM leases WHERE run_id = ?", (run_id,))
    return None if row is None or row["pid"] is None else Holder(**row)


_HELD = "token, pid, host, boot, process, beat_s, beats"


def _held(store: Store, run_id: str) -> tuple[Any, ...] | None:
    row = store.row(f"SELECT {_HELD} FROM leases WHERE run_id = ? AND pid IS NOT NULL", (run_id,))
    return None if row is None else tuple(row.values())


def _watched(store: Store, run_id: str) -> tuple[Any, ...] | None:
    """The row of a holder on another machine, whose clock is not ours, if its beats stood still long enough."""
    seen = _held(store, run_id)
    if seen is None or Holder(*seen[1:5]).is_here():
        return None
    deadline = time.monotonic() + EXPIRES_AFTER_S
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if _held(store, run_id) != seen:
            return None
    return seen


def _require_lost(run_id: str, row: tuple[Any, ...], stood_still: tuple[Any, ...] | None) -> bool:
    """Raise where the holder still has the lease; True where it has lost it and yet may be there."""
    holder, beat_s = Holder(*row[1:5]), row[5]
    if holder.is_gone():
        return False
    if row == stood_still or (holder.is_here() and time.monotonic() - beat_s > EXPIRES_AFTER_S):
        return True
    msg = f"run {run_id} is being run by process {holder.pid} on {holder.host}"
    raise Refused(msg)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@cache
def _boot() -> str:
    """What tells this boot of the machine from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        command = ["/usr/sbin/sysctl", "-n", "kern.boottime"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a constant
        return done.stdout.strip()


def _process_start(pid: int) -> str:
    """When a process began, as the system says it; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
        command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a number
        return done.stdout.strip()
    after_name = stat.rpartition(")")[2].split()
    return "" if after_name[0] in "ZX" else after_name[19]
