"""Asking a run to end or to wait. Processes talk through the database alone: the runner reads it at its heartbeat."""

from __future__ import annotations

import getpass
from typing import Any

from rollout_local.domain.run import RunStatus, StopReason
from rollout_local.errors import Refused
from rollout_local.runs.clock import now
from rollout_local.store import lifecycle, reads
from rollout_local.store.lease import holder_of
from rollout_local.store.schema import Store

WAITING = (RunStatus.CREATED, RunStatus.QUEUED, RunStatus.PAUSED)


def ask(store: Store, reference: str, action: str) -> dict[str, Any]:
    """Cancel or pause a run; asking twice changes nothing. Returns `{"run_id", "status", "message"}`.

    Raises `Refused` for a pause of a run that does not run.
    """
    run = reads.run(store, reference)
    status = RunStatus(run["status"])
    if status.is_terminal():
        return _said(run, status, f"run {run['id']} is {status} already")
    if status in WAITING or _is_dead(store, run["id"]):
        return _at_once(store, run, status, action)
    waiting = store.row(
        "SELECT id FROM run_commands WHERE run_id = ? AND action = ? AND handled_at IS NULL", (run["id"], action)
    )
    if waiting is None:
        lifecycle.add_command(store, run["id"], action, getpass.getuser(), now())
    return _said(run, status, f"asked the runner of {run['id']} to {action}; it does so when its calls in flight end")


def _at_once(store: Store, run: dict[str, Any], status: RunStatus, action: str) -> dict[str, Any]:
    if action == "pause":
        if status is RunStatus.RUNNING:
            lifecycle.move(store, run["id"], [status], RunStatus.PAUSED, message="its runner was gone")
            return _said(run, RunStatus.PAUSED, f"run {run['id']} is paused: its runner was gone")
        msg = f"run {run['id']} does not run (status {status}); there is nothing to pause"
        raise Refused(msg)
    lifecycle.move(
        store, run["id"], [status], RunStatus.CANCELLED, stop_reason=StopReason.CANCELLED, finished_at=now(),
        message="cancelled on request",
    )  # fmt: skip
    return _said(run, RunStatus.CANCELLED, f"run {run['id']} is cancelled")


def _is_dead(store: Store, run_id: str) -> bool:
    holder = holder_of(store, run_id)
    return holder is None or holder.is_gone()


def _said(run: dict[str, Any], status: RunStatus, message: str) -> dict[str, Any]:
    return {"run_id": run["id"], "status": status, "message": message}
