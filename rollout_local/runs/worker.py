"""Claim a queued run, run it, settle it; repeat. Several workers may work on one file.

Between runs a worker carries out what was asked on a page. A request is marked as handled in the transaction that
carries it out: of several workers one does it, and none does it twice after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused, RolloutError
from rollout_local.runs.clock import now
from rollout_local.runs.lifecycle import Outcome, execute
from rollout_local.runs.stop import StopFlag
from rollout_local.runs.watch import Silent, Watch
from rollout_local.store import lifecycle, queue, reads
from rollout_local.store.schema import Store, open_store

LOOK_EVERY_S = 0.5
MOST_RESTARTS = 3
"""How often a run is taken up again after its worker died."""


Heed = Callable[[Store, Mapping[str, Any]], None]
"""Carries out a request (a row of `run_commands`) and marks it in one transaction; what it raises is its refusal."""


def work(
    database: Path,
    folder: Path,
    stop: StopFlag,
    *,
    once: bool = False,
    project: str | None = None,
    most_restarts: int = MOST_RESTARTS,
    watch: Watch | None = None,
    heeds: Mapping[str, Heed] | None = None,
) -> list[Outcome]:
    """Run what is queued until stopped, or (`once`) until nothing waits. Returns the outcomes in order.

    Each run gets a database connection of its own, so that its fence binds nobody else. `heeds` says by action what
    else to carry out beside `retry`.
    """
    done: list[Outcome] = []
    while stop.reason is None:
        with open_store(database, create=False) as store:
            queue.reap(store, most_restarts, now())
            _heed_requests(store, {"retry": _retry, **(heeds or {})}, project)
            row = queue.claim(store, project)
            if row is not None:
                if watch is not None:
                    watch.note("info", f"run {row['id']} of {row['target_id']}")
                done.append(run_claimed(store, row, folder, stop, watch))
        if row is None:
            if once:
                break
            stop.wait(LOOK_EVERY_S)
    return done


def _heed_requests(store: Store, heeds: Mapping[str, Heed], project: str | None) -> None:
    """Carry out what somebody asked for on a page."""
    for request in lifecycle.waiting_commands(store, heeds, project):
        try:
            heeds[request["action"]](store, request)
        except RolloutError as refusal:
            lifecycle.handle_command(store, request["id"], now(), f"refused: {refusal}")


def _retry(store: Store, request: Mapping[str, Any]) -> None:
    retry(store, request["run_id"], request["id"])


def run_claimed(
    store: Store, row: Mapping[str, Any], folder: Path, stop: StopFlag, watch: Watch | None = None
) -> Outcome:
    """Run one claimed run to its end; what keeps it from starting fails it, with the reason as its message."""
    try:
        return execute(
            store, row["id"], folder=folder, watch=watch or Silent(), fresh=bool(row["wants_fresh"]), stop=stop.child()
        )
    except RolloutError as error:
        if reads.run(store, row["id"])["status"] == RunStatus.CANCELLED:
            return Outcome(row["id"], RunStatus.CANCELLED, "cancelled", "cancelled before it began", 0)
        queue.settle(store, row["id"], RunStatus.FAILED, str(error), now())
        return Outcome(row["id"], RunStatus.FAILED, "error", str(error), 0)


def submit(store: Store, run_id: str) -> None:
    """Queue a new run."""
    queue.enqueue(store, run_id, RunStatus.CREATED, now())


def retry(store: Store, reference: str, request: int | None = None) -> str:
    """Queue a new attempt of a run that has ended; the old one's evidence is kept. Returns its id.

    `request` is the request that this carries out. Raises `Refused` for a run that has not ended: it is resumed, not
    tried anew.
    """
    row = reads.run(store, reference)
    status = RunStatus(row["status"])
    if not status.is_terminal() or not queue.enqueue(store, row["id"], status, now(), fresh=True, request=request):
        msg = f"run {row['id']} is {status}; only a run that has ended is tried anew (`rollout optimize run` goes on)"
        raise Refused(msg)
    return str(row["id"])


def wait_for(store: Store, run_id: str, on_change: Callable[[Mapping[str, Any]], None], seconds: float | None) -> str:
    """Follow a run until it has ended or waits for somebody; returns its status. `seconds` bounds the wait."""
    clock, seen = threading.Event(), -1
    waited = 0.0
    while True:
        row = reads.run(store, run_id)
        if row["rev"] != seen:
            seen = row["rev"]
            on_change(row)
        status = RunStatus(row["status"])
        if status.is_terminal() or status is RunStatus.PAUSED or (seconds is not None and waited >= seconds):
            return status
        clock.wait(LOOK_EVERY_S)
        waited += LOOK_EVERY_S
