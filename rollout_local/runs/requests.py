"""Asking a run to end or to wait. Processes talk through the database alone: the runner reads it at its heartbeat.

Every request is a row that says who asked; where nobody runs the run it is carried out at once, and the row says so.
"""

from __future__ import annotations

import getpass
from typing import TypedDict

from rollout_local.clock import now
from rollout_local.domain.run import RunStatus, StopReason
from rollout_local.errors import Refused
from rollout_local.store import lifecycle, reads
from rollout_local.store.lease import holder_of
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store


class RequestOutcome(TypedDict):
    """What became of a request."""

    run_id: str
    status: RunStatus
    message: str


def ask(store: Store, reference: str, action: str, actor: str | None = None) -> RequestOutcome:
    """Cancel or pause a run, for `actor` (default: the user of this machine); asking twice changes nothing.

    Returns `{"run_id", "status", "message"}`.

    Raises `Refused` for a pause of a run that does not run.
    """
    run, actor = reads.run(store, reference), actor or getpass.getuser()
    status = RunStatus(run["status"])
    if status.is_terminal():
        return _said(run, status, f"run {run['id']} is {status} already")
    if _is_dead(store, run["id"]):
        return _at_once(store, run, status, action, actor)
    if not lifecycle.is_asked(store, run["id"], action):
        lifecycle.add_command(store, run["id"], action, actor, now())
    return _said(run, status, f"asked the runner of {run['id']} to {action}; it does so when its calls in flight end")


def _at_once(store: Store, run: RunRow, status: RunStatus, action: str, actor: str) -> RequestOutcome:
    """Nobody runs it: the row itself is changed, unless somebody began to run it just now."""
    if action == "pause":
        if status is not RunStatus.RUNNING:
            msg = f"run {run['id']} does not run (status {status}); there is nothing to pause"
            if status in (RunStatus.QUEUED, RunStatus.CREATED):
                msg += f" (`rollout optimize cancel {run['id']}` ends it)"
            raise Refused(msg)
        to, note, changes = RunStatus.PAUSED, "paused: its runner was gone", {"message": "its runner was gone"}
    else:
        to, note = RunStatus.CANCELLED, "cancelled"
        changes = {"message": "cancelled on request", "stop_reason": StopReason.CANCELLED, "finished_at": now()}
    if not lifecycle.move(store, run["id"], [status], to, **changes):
        return ask(store, run["id"], action, actor)
    command = lifecycle.add_command(store, run["id"], action, actor, now())
    lifecycle.handle_command(store, command, now(), f"{to}: nobody was working on it")
    return _said(run, to, f"run {run['id']} is {note}")


def _is_dead(store: Store, run_id: str) -> bool:
    holder = holder_of(store, run_id)
    return holder is None or holder.is_gone()


def _said(run: RunRow, status: RunStatus, message: str) -> RequestOutcome:
    return {"run_id": run["id"], "status": status, "message": message}
