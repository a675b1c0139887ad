"""One runner per run: a lease with a fencing token, checked in the same transaction as every write.

Whoever runs a run holds its lease, from the moment that a worker claims it. Taking it gives a higher token; a holder
whose token no longer fits can write nothing: no trial, no status. A lease is lost by a process that is gone at once,
by one that is stopped after `STOPPED_S` without a beat, by one that is there and hangs after `HUNG_S`, and by one that
cannot be seen from here after its count of beats stood still for `SILENT_S` under our eyes. Time is the monotonic
clock, never the wall clock, which may jump: a beat carries its reading, which processes of one boot share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout_local.errors import LeaseLost, Paused, Refused
from rollout_local.store.holders import Holder, HolderState, Machine
from rollout_local.store.row_types import CommandRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import HeldColumns, Token

BEAT_EVERY_S = 1.0
STOPPED_S = 2 * BEAT_EVERY_S + 0.5
"""Two missed beats."""
SILENT_S = 10 * BEAT_EVERY_S
HUNG_S = 60 * BEAT_EVERY_S
"""One call in C may keep the interpreter, and with it the beats, for long: a process that is there is left in peace."""


@dataclass(frozen=True)
class LeaseHolder:
    """A lease as its row says it."""

    token: int
    holder: Holder
    beats: int
    beat_s: float


class Lease:
    """The right to write a run's rows, as long as the token in the database is ours.

    `from_stopped`: it was taken from a process that may still exist and wake up, with its files open.
    """

    def __init__(
        self, store: Store, run_id: str, token: int, machine: Machine | None = None, *, from_stopped: bool = False
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.token = token
        self.from_stopped = from_stopped
        self._machine = machine or Machine()
        self._beaten = self._machine.clock()
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

    def beat(self, at: str) -> list[CommandRow]:
        """Say that the holder is alive; returns the requests that wait for it, oldest first."""
        now = self._machine.clock()
        with self.store.write() as db:
            db.execute("UPDATE leases SET beats = beats + 1, beat_s = ? WHERE run_id = ?", (now, self.run_id))
            db.execute("UPDATE runs SET heartbeat_at = ? WHERE id = ?", (at, self.run_id))
        self._beaten = now
        return self.requests()

    def requests(self) -> list[CommandRow]:
        """What others ask of the holder and nobody has heard yet, oldest first."""
        sql = "SELECT * FROM run_commands WHERE run_id = ? AND handled_at IS NULL ORDER BY id"
        return self.store.select(CommandRow, sql, (self.run_id,))

    def require(self) -> None:
        """Before a paid call: after a gap in the beats, look whether the run is still ours."""
        if self._machine.clock() - self._beaten > STOPPED_S:
            row = self.store.first(Token, "SELECT token FROM leases WHERE run_id = ?", (self.run_id,))
            if row is None or row["token"] != self.token:
                raise LeaseLost(f"another runner has taken over run {self.run_id}; nothing more is paid for here")

    def release(self) -> None:
        """Give the run back, if it is still ours."""
        self.store.fence = None
        with self.store.write() as db:
            db.execute("UPDATE leases SET pid = NULL WHERE run_id = ? AND token = ?", (self.run_id, self.token))


def acquire(store: Store, run_id: str, machine: Machine | None = None, *, at: str = "", anew: bool = False) -> Lease:
    """Take the lease of a run, at `at`, to go on with it or (`anew`) to begin it from the start.

    Raises `Refused`, naming the holder, where it is held: at once, or after a beat of a holder that cannot be seen from
    here, which is watched for as long as it may be silent.
    """
    machine = machine or Machine()
    watched = _watched(store, run_id, machine)
    with store.write() as db:
        held = held_in(db, run_id)
        from_stopped = held is not None and _require_lost(run_id, held, machine, still=held == watched)
        void_requests(db, run_id, ("pause", "cancel") if anew else ("pause",), at)
        token = take(db, run_id, machine)
    return Lease(store, run_id, token, machine, from_stopped=from_stopped)


def take(db: sqlite3.Connection, run_id: str, machine: Machine) -> int:
    """Write the lease of this process inside a transaction that saw that nobody holds it. Returns its token."""
    me = machine.this()
    row = db.execute("SELECT token FROM leases WHERE run_id = ?", (run_id,)).fetchone()
    token = 1 if row is None else int(row[0]) + 1
    db.execute(
        "INSERT OR REPLACE INTO leases (run_id, token, pid, host, boot, process, beats, beat_s)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
        (run_id, token, me.pid, me.host, me.boot, me.process, machine.clock()),
    )
    return token


def void_requests(db: sqlite3.Connection, run_id: str, actions: Sequence[str], at: str) -> None:
    """Mark requests that nobody has heard as void: somebody has the run go on, or begin anew, after them."""
    marks = ", ".join("?" * len(actions))
    db.execute(
        "UPDATE run_commands SET handled_at = ?, note = 'void: it was begun again after that'"
        f" WHERE run_id = ? AND handled_at IS NULL AND action IN ({marks})",
        (at, run_id, *actions),
    )


def require_free(store: Store, run_id: str, machine: Machine | None = None) -> None:
    """Raise `Refused`, naming the holder, where a run is certainly held: asked before work that would be in vain."""
    machine = machine or Machine()
    held = _held(store, run_id)
    if held is not None and machine.state(held.holder) is not HolderState.ELSEWHERE:
        _require_lost(run_id, held, machine, still=False)


def holder_of(store: Store, run_id: str) -> Holder | None:
    """Who holds a run now, as far as its row says; None where nobody does."""
    held = _held(store, run_id)
    return None if held is None else held.holder


def is_lost(held: LeaseHolder, machine: Machine, *, still: bool) -> bool:
    """Whether a lease may be taken from its holder. `still`: its beats stood still for `SILENT_S` as we watched."""
    silent = machine.clock() - held.beat_s
    match machine.state(held.holder):
        case HolderState.GONE:
            return True
        case HolderState.STOPPED:
            return silent > STOPPED_S
        case HolderState.THERE:
            return silent > HUNG_S
        case HolderState.ELSEWHERE:
            return still


def held_in(db: sqlite3.Connection, run_id: str) -> LeaseHolder | None:
    """The lease of a run inside a transaction; None where nobody holds it."""
    row = db.execute(f"SELECT {HELD} FROM leases WHERE run_id = ? AND pid IS NOT NULL", (run_id,)).fetchone()
    return None if row is None else LeaseHolder(row[0], Holder(*row[1:5]), row[5], row[6])


def held_of(row: HeldColumns) -> LeaseHolder | None:
    """The lease that a row with the columns `HELD` names; None where nobody holds it."""
    if row["pid"] is None:
        return None
    return LeaseHolder(
        row["token"], Holder(row["pid"], row["host"], row["boot"], row["process"]), row["beats"], row["beat_s"]
    )


HELD = "token, pid, host, boot, process, beats, beat_s"


def _held(store: Store, run_id: str) -> LeaseHolder | None:
    with store.reading() as db:
        return held_in(db, run_id)


def _watched(store: Store, run_id: str, machine: Machine) -> LeaseHolder | None:
    """The lease of a holder that cannot be seen from here, if its beats stood still for long enough; None otherwise."""
    seen = _held(store, run_id)
    if seen is None or machine.state(seen.holder) is not HolderState.ELSEWHERE:
        return None
    deadline = machine.clock() + SILENT_S
    while machine.clock() < deadline:
        machine.wait(0.05)
        if _held(store, run_id) != seen:
            return None
    return seen


def _require_lost(run_id: str, held: LeaseHolder, machine: Machine, *, still: bool) -> bool:
    """Raise where the holder still has the lease; True where it has lost it and yet may be there."""
    if is_lost(held, machine, still=still):
        return machine.state(held.holder) is not HolderState.GONE
    msg = f"run {run_id} is being run by process {held.holder.pid} on {held.holder.host}"
    raise Refused(msg)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
