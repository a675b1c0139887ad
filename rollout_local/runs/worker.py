"""Claim a queued run, run it, settle it; repeat. Several workers may work on one file.

Between runs a worker carries out what was asked on a page. A request is marked as handled in the transaction that
carries it out: of several workers one does it, and none does it twice after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from rollout_local.clock import now
from rollout_local.domain.kept import words_of
from rollout_local.domain.run import RunStatus
from rollout_local.errors import LeaseLost, ModuleMissing, NotConfirmed, Refused, RolloutError
from rollout_local.planning import trust
from rollout_local.runs.heartbeat import holding
from rollout_local.runs.progress import Silent, Watch
from rollout_local.runs.runner import Outcome, execute
from rollout_local.stop import StopFlag
from rollout_local.store import lifecycle, queue, reads
from rollout_local.store.holders import Machine
from rollout_local.store.row_types import CommandRow, RunRow
from rollout_local.store.schema import Store, open_store

LOOK_EVERY_S = 0.5
MOST_RESTARTS = 3
"""How often a run is taken up again after its worker died."""


Heed = Callable[[Store, CommandRow], None]
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
    trusted: bool = False,
    ended: Callable[[Store, str], None] | None = None,
) -> list[Outcome]:
    """Run what is queued until stopped, or (`once`) until nothing waits. Returns the outcomes in order.

    Each run gets a database connection of its own, so that its fence binds nobody else. `heeds` says by action what
    else to carry out beside `retry`. `trusted`: runs that were made elsewhere are confirmed, and told of. `ended` is
    called with the id of each run that ended or waits.
    """
    done: list[Outcome] = []
    machine, unfit = Machine(), set[str]()
    silence = queue.Silence(machine)
    while stop.reason is None:
        with open_store(database, create=False) as store:
            queue.reap(store, most_restarts, now(), silence, machine)
            _heed_requests(store, {"retry": _retry, **(heeds or {})}, project)
            claimed = queue.claim(store, project, but=unfit, machine=machine)
            if claimed is not None:
                if watch is not None:
                    watch.note("info", f"run {claimed.run['id']} of {claimed.run['target_id']}")
                if trusted:
                    _confirm(store, claimed.run, watch or Silent())
                done.append(run_claimed(store, claimed, folder, stop, watch))
                if done[-1].status is RunStatus.QUEUED:
                    unfit.add(claimed.run["id"])
                elif ended is not None:
                    ended(store, claimed.run["id"])
        if claimed is None:
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


def _retry(store: Store, request: CommandRow) -> None:
    retry(store, request["run_id"], request["id"])


def run_claimed(
    store: Store, claimed: queue.Claim, folder: Path, stop: StopFlag, watch: Watch | None = None
) -> Outcome:
    """Run one claimed run to its end. What keeps it from starting fails it, with the reason as its message.

    Whatever one run does, it ends itself and not its worker. It waits again where this worker is stopped, and where
    its module is not to be found from here: another worker may stand in the right folder. Who has lost its lease says
    so and writes nothing. A run from elsewhere that nobody here has confirmed waits: nothing of it is contacted.
    """
    run, flag = claimed.run, stop.child()
    home = Path(run["folder"]) if run["folder"] and Path(run["folder"]).is_dir() else folder
    with holding(claimed.lease, flag):
        try:
            return execute(
                store, run["id"], folder=home, watch=watch or Silent(), fresh=bool(run["wants_fresh"]), stop=flag,
                lease=claimed.lease, interrupted=RunStatus.QUEUED,
            )  # fmt: skip
        except LeaseLost as lost:
            return Outcome(run["id"], RunStatus(reads.run(store, run["id"])["status"]), None, str(lost), 0)
        except NotConfirmed as unknown:
            return _settled(claimed, RunStatus.PAUSED, str(unknown))
        except ModuleMissing as missing:
            return _settled(claimed, RunStatus.QUEUED, f"it waits for another worker: {missing}")
        except BaseException as error:  # a target may raise anything, and ends its own run
            if stop.reason is not None and not isinstance(error, Exception):
                _settled(claimed, RunStatus.QUEUED, "its worker was stopped")
                raise
            said = str(error) if isinstance(error, RolloutError) else f"{type(error).__name__}: {words_of(error)}"
            return _settled(claimed, RunStatus.FAILED, said)


def _confirm(store: Store, run: RunRow, watch: Watch) -> None:
    found = trust.unconfirmed(store, run)
    if found:
        watch.note("warning", f"run {run['id']} was made elsewhere and will {trust.said(found)} (--trust)")
        trust.confirm(store, run)


def _settled(claimed: queue.Claim, status: RunStatus, message: str) -> Outcome:
    queue.settle(claimed, status, message, now())
    return Outcome(claimed.run["id"], status, "error" if status.is_terminal() else None, message, 0)


def submit(store: Store, run_id: str, folder: Path | None = None) -> None:
    """Queue a new run; its modules and relative paths are those of `folder`, or else of its worker's."""
    queue.enqueue(store, run_id, RunStatus.CREATED, now(), folder=None if folder is None else str(folder.resolve()))


def retry(store: Store, reference: str, request: int | None = None) -> str:
    """Queue a new attempt of a run that has ended; the old one's evidence is kept. Returns its id.

    `request` is the request that this carries out. Raises `Refused` for a run that has not ended: it is resumed, not
    tried anew; `NotConfirmed` for one from elsewhere, which stays what it is.
    """
    row = reads.run(store, reference)
    status = RunStatus(row["status"])
    if status.is_terminal():
        trust.require(store, row)
    if not status.is_terminal() or not queue.enqueue(store, row["id"], status, now(), fresh=True, request=request):
        msg = f"run {row['id']} is {status}; only a run that has ended is tried anew (`rollout optimize run` goes on)"
        raise Refused(msg)
    return str(row["id"])


def wait_for(store: Store, run_id: str, on_change: Callable[[RunRow], None], seconds: float | None) -> str:
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
