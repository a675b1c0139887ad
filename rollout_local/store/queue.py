"""The queue of runs: who waits, who may be taken, who was left behind by a dead worker.

A claim is one statement: it names the state that it starts from and takes the oldest that fits, so two workers
never get the same run.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from rollout_local.domain.run import RunStatus
from rollout_local.store.lease import Holder
from rollout_local.store.lifecycle import mark_handled
from rollout_local.store.schema import Store


def enqueue(
    store: Store, run_id: str, expected: RunStatus, at: str, *, fresh: bool = False, request: int | None = None
) -> bool:
    """Let a run wait for a worker, if it is `expected`; `fresh` asks for a new attempt. True if it happened.

    `request` is the request that this carries out: both happen or neither, so that of several workers one does it.
    """
    with store.write() as db:
        if not _is(db, run_id, expected):
            return False
        if request is not None and not mark_handled(db, request, at, "queued"):
            return False
        db.execute(
            "UPDATE runs SET status = 'queued', queued = 1, wants_fresh = ?, heartbeat_at = ?, rev = rev + 1"
            " WHERE id = ? AND status = ?",
            (int(fresh), at, run_id, expected),
        )
    return True


def _is(db: sqlite3.Connection, run_id: str, status: RunStatus) -> bool:
    return db.execute("SELECT 1 FROM runs WHERE id = ? AND status = ?", (run_id, status)).fetchone() is not None


def claim(store: Store, project: str | None = None) -> dict[str, Any] | None:
    """Take the oldest queued run (of a project, where one is given); None where none waits. Returns its row."""
    with store.write() as db:
        row = db.execute(
            "UPDATE runs SET status = 'running', rev = rev + 1 WHERE rowid = (SELECT rowid FROM runs"
            " WHERE status = 'queued' AND (?1 IS NULL OR project = ?1) ORDER BY heartbeat_at, rowid LIMIT 1)"
            " RETURNING id",
            (project,),
        ).fetchone()
    return None if row is None else store.row("SELECT * FROM runs WHERE id = ?", (row[0],))


def settle(store: Store, run_id: str, status: RunStatus, message: str, at: str) -> bool:
    """End a claimed run that could not even be started. True if it happened."""
    with store.write() as db:
        changed = db.execute(
            "UPDATE runs SET status = ?, stop_reason = 'error', message = ?, finished_at = ?, rev = rev + 1"
            " WHERE id = ? AND status = 'running'",
            (status, message, at, run_id),
        ).rowcount
    return bool(changed)


def reap(store: Store, most_restarts: int, at: str) -> list[tuple[str, RunStatus]]:
    """Put runs of dead workers back into the queue, or fail them when they died too often. Returns what changed."""
    changed = []
    for row in store.rows(
        "SELECT r.id, l.pid, l.host, l.boot, l.process, l.token FROM runs r JOIN leases l ON l.run_id = r.id"
        " WHERE r.status = 'running' AND r.queued AND l.pid IS NOT NULL"
    ):
        holder = Holder(row["pid"], row["host"], row["boot"], row["process"])
        if holder.is_gone():
            status = RunStatus.QUEUED if row["token"] < most_restarts else RunStatus.FAILED
            if _put_back(store, row["id"], row["token"], status, at):
                changed.append((row["id"], status))
    return changed


def _put_back(store: Store, run_id: str, token: int, status: RunStatus, at: str) -> bool:
    with store.write() as db:
        taken = db.execute(
            "UPDATE leases SET pid = NULL WHERE run_id = ? AND token = ? AND pid IS NOT NULL", (run_id, token)
        ).rowcount
        if taken:
            db.execute(
                "UPDATE runs SET status = ?, message = 'its worker died', heartbeat_at = ?, rev = rev + 1 WHERE id = ?",
                (status, at, run_id),
            )
    return bool(taken)
