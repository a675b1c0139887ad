"""What a signed-in reader asks of a run: one row in `run_commands`, which runner or command line carries out.

The pages read; this is the one place of theirs that writes. A run that nobody works on is moved at once, by the
same state-checked move that the command line makes: a created run is queued, a waiting one is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused
from rollout_local.store import lifecycle, reads
from rollout_local.store.schema import open_store

OFFERED: dict[RunStatus, tuple[str, ...]] = {
    RunStatus.CREATED: ("start", "cancel"),
    RunStatus.QUEUED: ("cancel",),
    RunStatus.RUNNING: ("pause", "cancel"),
    RunStatus.PAUSED: ("start", "cancel"),
    RunStatus.COMPLETED: ("promote", "retry"),
    RunStatus.FAILED: ("retry",),
    RunStatus.CANCELLED: ("retry",),
}
"""What may be asked of a run in each status."""

AT_ONCE: dict[str, tuple[tuple[RunStatus, ...], RunStatus]] = {
    "start": ((RunStatus.CREATED, RunStatus.PAUSED), RunStatus.QUEUED),
    "cancel": ((RunStatus.CREATED, RunStatus.QUEUED, RunStatus.PAUSED), RunStatus.CANCELLED),
}
"""What needs no runner: from which statuses, to which."""


def ask(path: Path, run_id: str, action: str, actor: str, now: Callable[[], str]) -> None:
    """Record the request, and carry it out where nobody has to. Raises `Refused` where the status does not allow it."""
    with open_store(path, create=False) as store:
        status = RunStatus(reads.run(store, run_id)["status"])
        if action not in OFFERED[status]:
            msg = f"A run that is {status} cannot be asked to {action}."
            raise Refused(msg)
        command = lifecycle.add_command(store, run_id, action, actor, now())
        expected, to = AT_ONCE.get(action, ((), RunStatus.QUEUED))
        ended = {"finished_at": now(), "stop_reason": "cancelled"} if to is RunStatus.CANCELLED else {}
        if status in expected and lifecycle.move(store, run_id, expected, to, **ended):
            lifecycle.handle_command(store, command, now(), f"{to}: nobody was working on it")
