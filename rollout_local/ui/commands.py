"""What a signed-in reader asks of a run: one row in `run_commands`, which runner or command line carries out.

Beside the form for a new job this is the one place of the pages that writes. A run that nobody works on is moved at
once, as the command line does it: a created or paused run is queued, a waiting one (or one whose runner is gone) is
cancelled. Retry and promotion wait for a worker. A run from elsewhere that nobody here has confirmed is not started.
"""

from __future__ import annotations

from pathlib import Path

from rollout_local.clock import now
from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused
from rollout_local.planning import trust
from rollout_local.runs import requests
from rollout_local.store import lifecycle, queue, reads
from rollout_local.ui.readers import writing

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


def ask(path: Path, run_id: str, action: str, actor: str) -> None:
    """Record the request, and carry it out where nobody has to. Raises `Refused` where the status does not allow it."""
    with writing(path) as store:
        status = RunStatus(reads.run(store, run_id)["status"])
        if action not in OFFERED[status]:
            msg = f"A run that is {status} cannot be asked to {action}."
            raise Refused(msg)
        if action in ("cancel", "pause"):
            requests.ask(store, run_id, action, actor)
            return
        if action in ("start", "retry"):
            trust.require(store, reads.run(store, run_id))
        command = lifecycle.add_command(store, run_id, action, actor, now())
        if action == "start":
            queue.enqueue(store, run_id, status, now(), request=command)
