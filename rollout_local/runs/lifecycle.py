"""Run a stored run to its end, or to where it has to wait; and say how it stands.

Every start begins the search from the beginning with the same seed; what the journal holds is answered from
it. So a run that goes on is the run that would have been, and a finished one is served without a call.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout_local.domain.run import RunConfig, RunStatus, StopReason
from rollout_local.errors import Cancelled, Paused, RecordingMiss, Refused, StopSearch
from rollout_local.recordings import Recording, RecordMode, open_recording
from rollout_local.runs import environment
from rollout_local.runs.clock import new_id, now
from rollout_local.runs.evaluation import Evaluator
from rollout_local.runs.execution import Executor, Wire
from rollout_local.runs.fingerprint import versions
from rollout_local.runs.passes import Attempt
from rollout_local.runs.reflection import Reflector
from rollout_local.runs.setup import Setup, check_unchanged, load, require_runnable
from rollout_local.runs.stop import StopFlag
from rollout_local.runs.watch import Silent, Watch
from rollout_local.store import lifecycle, reads
from rollout_local.store.journal import Journal
from rollout_local.store.schema import Store

STARTABLE = (RunStatus.CREATED, RunStatus.QUEUED, RunStatus.PAUSED, RunStatus.FAILED, RunStatus.COMPLETED)


@dataclass(frozen=True)
class Outcome:
    """How a run stands when its runner leaves it. `executed` counts the trials that were really executed."""

    run_id: str
    status: RunStatus
    stop_reason: str | None
    message: str
    executed: int
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 done, 1 failed or no proposals, 3 paused, 130 interrupted."""
        if self.interrupted:
            return 130
        if self.status is RunStatus.PAUSED:
            return 3
        return int(self.status is not RunStatus.COMPLETED or self.stop_reason == StopReason.NO_PROPOSALS)


def execute(
    store: Store,
    reference: str,
    *,
    folder: Path,
    watch: Watch | None = None,
    changes: Mapping[str, Any] | None = None,
    fresh: bool = False,
    accepted: Sequence[str] = (),
    stop: StopFlag | None = None,
) -> Outcome:
    """Run `reference` from where it stands. `changes` replace operational settings for this time.

    Raises `InputError` where an input changed or a key is missing, `Refused` where the run is not to be
    started; neither changes anything.
    """
    run = reads.run(store, reference)
    stored = RunConfig.model_validate_json(run["config_json"])
    config = stored.model_copy(update=dict(changes or {}))
    replaying = config.record_mode == "none"
    with environment.for_target(config, offline_keys=replaying):
        setup = load(store, run, folder, changes or {})
        taken_over = check_unchanged(store, run, setup, accepted)
        _require_startable(store, run, fresh=fresh)
        require_runnable(config, folder)
        runner = _Runner(store, run, setup, folder, watch or Silent(), stop or StopFlag())
        return runner.run(fresh=fresh, taken_over=taken_over)


class _Runner:
    def __init__(
        self, store: Store, run: Mapping[str, Any], setup: Setup, folder: Path, watch: Watch, stop: StopFlag
    ) -> None:
        self.store = store
        self.row = run
        self.run_id: str = run["id"]
        self.setup = setup
        self.folder = folder
        self.watch = watch
        self.stop = stop
        self.executed = 0

    def run(self, *, fresh: bool, taken_over: Sequence[str]) -> Outcome:
        first = self.row["attempt"] == 0
        with self._recording(self.row["attempt"] + (first or fresh)) as (recording, wire):
            attempt = self._begin(fresh=first or fresh)
            journal = Journal(self.store, self.run_id, attempt)
            for name in taken_over:
                journal.add_event(now(), "warning", f"went on although the {name} changed (--accept-changed {name})")
            with environment.during(self.setup.config, self.run_id, attempt):
                outcome = self._work(journal, recording, wire, fresh=fresh)
        lifecycle.end_attempt(self.store, self.run_id, attempt, outcome.status, now())
        return outcome

    def _begin(self, *, fresh: bool) -> int:
        number = int(self.row["attempt"])
        if fresh:
            number = lifecycle.begin_attempt(
                self.store, self.run_id, pid=os.getpid(), host=socket.gethostname(), at=now()
            )
        status = RunStatus(self.row["status"])
        if status is not RunStatus.RUNNING and not lifecycle.move(
            self.store, self.run_id, [status], RunStatus.RUNNING, started_at=self.row["started_at"] or now(),
            heartbeat_at=now(), stop_reason=None, message=None, finished_at=None,
        ):  # fmt: skip
            msg = f"run {self.run_id} was changed by another process just now; try again"
            raise Refused(msg)
        return number

    @contextlib.contextmanager
    def _recording(self, attempt: int) -> Any:
        config, wire = self.setup.config, Wire()
        name = None if config.no_recording else self._recording_name(attempt)
        path = None if name is None else self.folder / name
        if path is not None and config.record_mode != "none":
            path.parent.mkdir(parents=True, exist_ok=True)
        with open_recording(
            path, RecordMode(config.record_mode), ignore_fields=config.ignore_fields, engine="litellm",
            versions=versions(), allow_hosts=config.allow_hosts if config.offline else None, sink=wire,
        ) as recording:  # fmt: skip
            recording.gate = self.stop.check
            lifecycle.set_recording(self.store, self.run_id, name)
            yield recording, wire

    def _recording_name(self, attempt: int) -> str:
        """Where the recording is, relative to the run's folder unless the user said otherwise."""
        config = self.setup.config
        if config.recording is not None:
            return config.recording
        name = "recording.yaml" if attempt <= 1 else f"recording-{attempt}.yaml"
        return f"{config.log_dir or self.row['log_dir']}/{name}"

    def _work(self, journal: Journal, recording: Recording, wire: Wire, *, fresh: bool) -> Outcome:
        config, replaying = self.setup.config, self.setup.config.record_mode == "none"
        shared: dict[str, Any] = {
            "journal": journal, "stop": self.stop, "make_id": new_id, "prices": config.prices, "replaying": replaying,
        }  # fmt: skip
        evaluator = Evaluator(
            executor=Executor(self.setup.target, recording, wire, config.timeout), specs=self.setup.specs,
            retry_unscored=fresh or self.row["status"] != RunStatus.COMPLETED,
            on_trial=self._count, **shared,
        )  # fmt: skip
        reflector = Reflector(wire=wire, **shared)
        attempt = Attempt(self.store, self.run_id, self.setup, journal, evaluator, reflector, self.watch)
        self._attempt = attempt
        try:
            result = attempt.run()
        except StopSearch as reason:
            evaluator.drain()
            return self._stopped(journal, reason)
        except Exception as error:
            evaluator.drain()
            self._settle(journal, RunStatus.FAILED, StopReason.ERROR, f"{type(error).__name__}: {error}")
            raise
        message = _ENDINGS[result.stop_reason]
        return self._settle(journal, RunStatus.COMPLETED, result.stop_reason, message)

    def _count(self, trial: Any) -> None:
        self.executed += 1
        self._attempt.on_trial(trial)

    def _stopped(self, journal: Journal, reason: StopSearch) -> Outcome:
        if isinstance(reason, Cancelled):
            return self._settle(journal, RunStatus.CANCELLED, StopReason.CANCELLED, str(reason))
        if isinstance(reason, RecordingMiss):
            return self._settle(journal, RunStatus.PAUSED, StopReason.ERROR, str(reason))
        if isinstance(reason, Paused):
            why = StopReason(reason.reason) if reason.reason else None
            return self._settle(journal, RunStatus.PAUSED, why, str(reason), interrupted=reason.interrupted)
        raise reason

    def _settle(
        self,
        journal: Journal,
        status: RunStatus,
        reason: StopReason | None,
        message: str,
        *,
        interrupted: bool = False,
    ) -> Outcome:
        finished = now() if status.is_terminal() else None
        lifecycle.move(
            self.store, self.run_id, [RunStatus.RUNNING], status, stop_reason=reason, message=message,
            finished_at=finished, heartbeat_at=now(),
        )  # fmt: skip
        journal.add_event(now(), "info" if status is RunStatus.COMPLETED else "warning", f"{status}: {message}")
        return Outcome(self.run_id, status, reason, message, self.executed, interrupted)


_ENDINGS: dict[StopReason, str] = {
    StopReason.BUDGET_SPENT: "the budget is spent",
    StopReason.SCORE_REACHED: "the score asked for (--stop-at) is reached",
    StopReason.NO_IMPROVEMENT: "no improvement for as long as --no-improvement allows",
    StopReason.NO_PROPOSALS: "the reflection model never gave a usable text three times in a row; "
    "look at `rollout optimize logs`, or name another --reflection-model",
}


def _require_startable(store: Store, run: Mapping[str, Any], *, fresh: bool) -> None:
    status = RunStatus(run["status"])
    if status is RunStatus.RUNNING:
        _require_dead_runner(store, run)
        return
    if status is RunStatus.CANCELLED and not fresh:
        msg = f"run {run['id']} was cancelled; start a new attempt with --fresh"
        raise Refused(msg)


def _require_dead_runner(store: Store, run: Mapping[str, Any]) -> None:
    row = store.row("SELECT * FROM attempts WHERE run_id = ? AND number = ?", (run["id"], run["attempt"]))
    if row is not None and row["host"] == socket.gethostname() and _alive(row["pid"]):
        msg = f"run {run['id']} is being run by process {row['pid']} on {row['host']}"
        raise Refused(msg)


def _alive(pid: int | None) -> bool:
    if pid is None or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
