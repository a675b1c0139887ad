"""The queue of runs: who waits, who may be taken, who was left behind by a dead worker.

A claim is the lease: one transaction takes the oldest run that fits and writes who holds it, so that there is no moment
at which a run is `running` and nobody's. Two workers never get the same run, and one that dies at any moment after its
claim leaves a lease that says so. What was asked of a run (a pause, a cancel) holds for whichever worker takes it
next, until a person has it run again. What a worker writes of the run's status it writes under the token of its claim.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from rollout_local.domain.run import RunStatus
from rollout_local.store.holders import Machine
from rollout_local.store.lease import HELD, SILENT_S, Lease, LeaseHolder, held_in, held_of, is_lost, take, void_requests
from rollout_local.store.lifecycle import mark_handled
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import LeftBehind


@dataclass(frozen=True)
class Claim:
    """A run that a worker has taken: its row as it was then, and the lease."""

    run: RunRow
    lease: Lease


class Silence:
    """How long the beats of holders stood still under our eyes: the only thing to go by where they cannot be seen."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen: dict[str, tuple[LeaseHolder, float]] = {}

    def is_long(self, run_id: str, held: LeaseHolder) -> bool:
        """Whether this lease has looked the same for `SILENT_S`."""
        now = self._machine.clock()
        before, since = self._seen.get(run_id, (held, now))
        self._seen[run_id] = (held, since if before == held else now)
        return before == held and now - since > SILENT_S


def enqueue(
    store: Store,
    run_id: str,
    expected: RunStatus,
    at: str,
    *,
    fresh: bool = False,
    request: int | None = None,
    folder: str | None = None,
) -> bool:
    """Let a run wait for a worker, if it is `expected`; `fresh` asks for a new attempt. True if it happened.

    `request` is the request that this carries out: both happen or neither, so that of several workers one does it.
    `folder` is where the run's modules and relative paths are looked for; None leaves what the row says. A run that was
    put away is listed again.
    """
    with store.write() as db:
        if not _is(db, run_id, expected):
            return False
        if request is not None and not mark_handled(db, request, at, "queued"):
            return False
        db.execute(
            "UPDATE runs SET status = 'queued', queued = 1, wants_fresh = ?, restarts = 0, heartbeat_at = ?,"
            " folder = coalesce(?, folder), archived_at = NULL, rev = rev + 1 WHERE id = ? AND status = ?",
            (int(fresh), at, folder, run_id, expected),
        )
        void_requests(db, run_id, ("pause", "cancel"), at)
    return True


def _is(db: sqlite3.Connection, run_id: str, status: RunStatus) -> bool:
    return db.execute("SELECT 1 FROM runs WHERE id = ? AND status = ?", (run_id, status)).fetchone() is not None


def claim(
    store: Store, project: str | None = None, *, but: Collection[str] = (), machine: Machine | None = None
) -> Claim | None:
    """Take the oldest queued run (of a project, where one is given) that is not among `but`; None where none waits."""
    machine, marks = machine or Machine(), ", ".join("?" * len(but))
    with store.write() as db:
        row = db.execute(
            "UPDATE runs SET status = 'running', rev = rev + 1 WHERE rowid = (SELECT rowid FROM runs"
            f" WHERE status = 'queued' AND coalesce(?, project) = project AND id NOT IN ({marks})"
            " ORDER BY heartbeat_at, rowid LIMIT 1) RETURNING id",
            (project, *but),
        ).fetchone()
        if row is None:
            return None
        token = take(db, row[0], machine)
    run = store.first(RunRow, "SELECT * FROM runs WHERE id = ?", (row[0],))
    assert run is not None
    return Claim(run, Lease(store, run["id"], token, machine))


def settle(claimed: Claim, status: RunStatus, message: str, at: str) -> bool:
    """End a claimed run that could not even be started, or let it wait again. True if it happened.

    Raises `LeaseLost`, as every write of its holder does, where the run is somebody else's now.
    """
    ended = at if status.is_terminal() else None
    message = claimed.lease.store.redactor.text(message)
    with claimed.lease.store.write() as db:
        changed = db.execute(
            "UPDATE runs SET status = ?, stop_reason = ?, message = ?, finished_at = ?, rev = rev + 1"
            " WHERE id = ? AND status = 'running'",
            (status, "error" if ended else None, message, ended, claimed.run["id"]),
        ).rowcount
    return bool(changed)


def reap(
    store: Store, most_restarts: int, at: str, silence: Silence | None = None, machine: Machine | None = None
) -> list[tuple[str, RunStatus]]:
    """Put runs of dead workers back into the queue, or fail them when they died too often. Returns what changed.

    Dead is a worker whose process is gone, or that lost its lease by silence. A run is put back under the token that
    was seen: one that was taken over meanwhile is left alone.
    """
    machine = machine or Machine()
    silence = silence or Silence(machine)
    changed = []
    for row in store.select(LeftBehind, _LEFT_BEHIND):
        held = held_of(row)
        if held is not None and not is_lost(held, machine, still=silence.is_long(row["id"], held)):
            continue
        status = RunStatus.QUEUED if row["restarts"] < most_restarts else RunStatus.FAILED
        if _put_back(store, row["id"], held, status, at):
            changed.append((row["id"], status))
    return changed


_LEFT_BEHIND = (
    f"SELECT r.id, r.restarts, {', '.join('l.' + column.strip() for column in HELD.split(','))}"
    " FROM runs r LEFT JOIN leases l ON l.run_id = r.id WHERE r.status = 'running' AND r.queued"
)


def _put_back(store: Store, run_id: str, held: LeaseHolder | None, status: RunStatus, at: str) -> bool:
    with store.write() as db:
        if held_in(db, run_id) != held or not _is(db, run_id, RunStatus.RUNNING):
            return False
        db.execute("UPDATE leases SET pid = NULL, token = token + 1 WHERE run_id = ?", (run_id,))
        db.execute(
            "UPDATE runs SET status = ?1, restarts = restarts + 1, heartbeat_at = ?2, rev = rev + 1,"
            " message = CASE WHEN ?1 = 'failed' THEN 'its worker died ' || (restarts + 1) || ' times'"
            " ELSE 'its worker died' END, stop_reason = CASE WHEN ?1 = 'failed' THEN 'error' END,"
            " finished_at = CASE WHEN ?1 = 'failed' THEN ?2 END WHERE id = ?3",
            (status, at, run_id),
        )
    return True
