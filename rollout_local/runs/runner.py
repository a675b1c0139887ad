"""Run a stored run to its end, or to where it has to wait; and say how it stands.

Every start begins the search from the beginning with the same seed; what the journal holds is answered from
it. So a run that goes on is the run that would have been, and a finished one is served without a call.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rollout_local.clock import new_id, now
from rollout_local.domain.run import SPLITS, RunStatus, StopReason
from rollout_local.errors import Cancelled, LeaseLost, Paused, RecordingMiss, Refused, StopSearch, TargetFailed
from rollout_local.isolation.target import placed
from rollout_local.library_logs import library_logs_off
from rollout_local.planning import endpoint, environment, model_server
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.module_import import asked_at_import
from rollout_local.planning.setup import Setup, accept_inputs, check_unchanged, load, require_runnable
from rollout_local.providers.concurrency import Pace
from rollout_local.providers.cost import Spend
from rollout_local.providers.failures import Patience
from rollout_local.recordings import Gate, Recording, RecordMode, open_recording
from rollout_local.redaction import Redactor
from rollout_local.runs.answers import Answers
from rollout_local.runs.divergence import History
from rollout_local.runs.evaluation import Evaluator
from rollout_local.runs.execution import Executor, Wire
from rollout_local.runs.heartbeat import heed, holding
from rollout_local.runs.log_dir import LogDir
from rollout_local.runs.phases import Attempt
from rollout_local.runs.process_state import Surroundings, surroundings
from rollout_local.runs.progress import Meter, Silent, Watch
from rollout_local.runs.reflection import Reflector
from rollout_local.runs.run_log import RunLog
from rollout_local.stop import StopFlag
from rollout_local.store import lifecycle, reads
from rollout_local.store.journal import BYPASS, STRAY, Journal, TrialRecord
from rollout_local.store.lease import Lease, acquire, require_free
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.whole_file import replaced


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
    changes: Mapping[str, object] | None = None,
    fresh: bool = False,
    accepted: Sequence[str] = (),
    stop: StopFlag | None = None,
    strict: bool = False,
    lease: Lease | None = None,
    interrupted: RunStatus = RunStatus.PAUSED,
) -> Outcome:
    """Run `reference` from where it stands. `changes` replace operational settings for this time; `strict`
    refuses a replay that leaves recorded calls unasked; `interrupted` is what becomes of the run where `stop` ends it.
    `lease` is that of a run that the caller holds already; else it is taken once the run is known to be runnable.

    Raises `InputError` where an input changed or a key is missing, `Refused` where the run is not to be
    started; neither changes anything. Raises `LeaseLost` where another runner has taken over.
    """
    watch, stop = watch or Silent(), stop or StopFlag()
    store.heed_in_waits(stop.check)
    store.redactor = Redactor(os.environ)  # until it is known what the run names
    run = reads.run(store, reference)
    stored = StoredRun(run).config
    config = stored.model_copy(update=dict(changes or {}))
    if lease is None:
        require_free(store, run["id"])
    with environment.for_target(config, offline_keys=config.record_mode == "none"), contextlib.ExitStack() as held:
        setup = load(store, run, folder, changes or {})
        if not _is_served(run, fresh=fresh):
            setup = replace(setup, target=endpoint.as_now(setup.target, config, or_as_before=True))
        taken_over = check_unchanged(store, run, setup, accepted)
        require_runnable(setup, folder)
        if not _is_served(run, fresh=fresh):
            model_server.require_room(config, setup.target, [task for split in SPLITS for task in setup.tasks(split)])
        if lease is None:
            anew = fresh or run["attempt"] == 0
            lease = held.enter_context(holding(acquire(store, run["id"], at=now(), anew=anew), stop))
        held.callback(setup.target.close)
        run = reads.run(store, run["id"])
        _require_startable(run, fresh=fresh)
        runner = _Runner(store, run, setup, folder, watch, stop, lease, strict=strict, interrupted=interrupted)
        return runner.run(fresh=fresh, taken_over=taken_over)


class _Runner:
    """One stretch of work on a run, from its start or resume to where it ends or waits."""

    def __init__(
        self,
        store: Store,
        run: RunRow,
        setup: Setup,
        folder: Path,
        watch: Watch,
        stop: StopFlag,
        lease: Lease,
        *,
        strict: bool,
        interrupted: RunStatus,
    ) -> None:
        self.interrupted = interrupted
        self.store = store
        store.redactor = setup.redactor(os.environ)
        self.row = run
        self.run_id: str = run["id"]
        self.setup = setup
        self.folder = folder
        self.watch = watch
        self.stop = stop
        self.lease = lease
        self.strict = strict
        self.executed = 0
        self.begun = time.monotonic()

    def run(self, *, fresh: bool, taken_over: Sequence[str]) -> Outcome:
        anew = fresh or self.row["attempt"] == 0
        attempt = int(self.row["attempt"]) + anew
        log = RunLog(Journal(self.store, self.run_id, attempt), self.watch)
        spend = self._spend(log, fresh=anew)
        wire = Wire(spend.settle, Answers(log.caution).heard)
        with self._recording(log.journal, wire, self._gate(spend), fresh=anew) as recording:
            self._begin(attempt, anew=anew)
            if taken_over:
                accept_inputs(self.store, self.run_id, self.setup)
            for name in taken_over:
                log.caution(f"went on although the {name} changed (--accept-changed {name})")
            at, files = (self.run_id, attempt), filter(None, (self.store.path, recording.path))
            with (
                environment.during(self.setup.config, *at), library_logs_off(), surroundings(files) as before,
                placed(self.setup, self.folder, recording, self.stop, at) as self.target,
            ):  # fmt: skip
                attempted = self._attempt(log, recording, wire, spend, fresh=anew)
                outcome = self._work(attempted, before, fresh=anew)
            self._tell_strays(log, recording.strays)
            if outcome.status is not RunStatus.COMPLETED:
                recording.break_off()
        return outcome

    def _begin(self, attempt: int, *, anew: bool) -> None:
        here: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname(), "at": now()}
        if anew:
            lifecycle.begin_attempt(self.store, self.run_id, **here)
        lifecycle.take(self.store, self.run_id, attempt, **here)

    @contextlib.contextmanager
    def _recording(self, journal: Journal, wire: Wire, gate: Gate, *, fresh: bool) -> Iterator[Recording]:
        config = self.setup.config
        name = None if config.no_recording else self._recording_name(journal.attempt)
        path = None if name is None else self.folder / name
        if path is not None and config.record_mode != "none":
            _make_place(path, held_by_another=self.lease.from_stopped)
        with open_recording(
            path, RecordMode(config.record_mode), ignore_fields=config.ignore_fields, engine="litellm",
            versions=versions(), allow_hosts=config.allow_hosts if config.offline else None, sink=wire,
            gate=gate, partial=not fresh and journal.has_trials(), lease=str(self.lease.token), strict=self.strict,
            redactor=self.store.redactor,
        ) as recording:  # fmt: skip
            lifecycle.set_recording(self.store, self.run_id, name)
            recording.adopt(asked_at_import(self.folder))
            yield recording

    def _log_dir(self) -> LogDir:
        return LogDir(self.folder / (self.setup.config.log_dir or self.row["log_dir"] or "."), self.store.redactor)

    def _recording_name(self, attempt: int) -> str:
        """Where the recording is, relative to the run's folder unless the user said otherwise."""
        config = self.setup.config
        if config.recording is not None:
            return config.recording
        name = "recording.yaml" if attempt <= 1 else f"recording-{attempt}.yaml"
        return f"{config.log_dir or self.row['log_dir']}/{name}"

    def _work(self, attempt: Attempt, before: Surroundings, *, fresh: bool) -> Outcome:
        log = attempt.log
        try:
            if not _is_served(self.row, fresh=fresh):
                endpoint.record_description(self.setup.target)
            result = attempt.run()
        except StopSearch as reason:
            attempt.evaluator.drain()
            return self._stopped(log.journal, before.closed() or reason)
        except Exception as error:
            changed = before.put_back()
            attempt.evaluator.drain()
            if changed:
                msg = (
                    f"the target changed {changed}, which the run itself works with ({type(error).__name__}: {error}); "
                    "it was put back: let the target leave it as it is, and go on"
                )
                return self._stopped(log.journal, Paused(msg, reason="error"))
            self._settle(log.journal, RunStatus.FAILED, StopReason.ERROR, f"{type(error).__name__}: {error}")
            raise
        return self._settle(log.journal, RunStatus.COMPLETED, result.stop_reason, _ENDINGS[result.stop_reason])

    def _spend(self, log: RunLog, *, fresh: bool) -> Spend:
        config = self.setup.config
        spent = 0.0 if fresh else self.row["cost_usd"] or 0.0
        return Spend(config.max_cost, spent, config.prices, partial(self._unpriced, log), partial(_estimated, log))

    def _attempt(self, log: RunLog, recording: Recording, wire: Wire, spend: Spend, *, fresh: bool) -> Attempt:
        """Everything that one attempt needs, put together."""
        config, journal, meter = self.setup.config, log.journal, Meter(self.watch)
        shared: dict[str, Any] = {
            "journal": journal, "stop": self.stop, "make_id": new_id, "prices": config.prices,
            "replaying": config.record_mode == "none", "patience": Patience(outage=config.patience),
            "history": History(journal.last_step()),
        }  # fmt: skip
        evaluator = Evaluator(
            executor=Executor(self.target, recording, wire, config.timeout), specs=self.setup.specs,
            retry_unscored=not _is_served(self.row, fresh=fresh), pace=self._pace(log),
            on_trial=self._counting(log, meter, recording), reuse=config.reuse, spend=spend,
            model=config.task_model, **shared,
        )  # fmt: skip
        reflector = Reflector(
            wire=wire, answerable=recording.can_answer, model=config.reflection_model,
            timeout=config.reflection_timeout, **shared,
        )  # fmt: skip
        return Attempt(self.store, self.run_id, self.setup, journal, evaluator, reflector, log, meter, self._log_dir())

    def _gate(self, spend: Spend) -> Gate:
        """What every request passes before it is sent, and paid for."""

        def gate(scope: str, request: object, url: str) -> None:
            self.stop.check()
            try:
                self.lease.require()
                heed(self.lease, self.stop, self.lease.requests())
                self.stop.check()
                self._require_time()
                spend.reserve(scope, request, url)
            except StopSearch as reason:
                self.stop.stop(reason)
                raise

        return gate

    def _require_time(self) -> None:
        limit = self.setup.config.max_seconds
        if limit is not None and self.row["active_s"] + time.monotonic() - self.begun > limit:
            msg = f"--max-seconds {limit:g} have passed; raise it and go on"
            raise Paused(msg, reason="time_limit")

    def _pace(self, log: RunLog) -> Pace:
        def changed(allowed: int) -> None:
            lifecycle.set_concurrency(self.store, self.run_id, allowed)
            log.tell(f"{allowed} trials at once (the provider asks for fewer, or recovered)")

        return Pace(self.setup.config.concurrency, changed)

    def _unpriced(self, log: RunLog, model: str) -> None:
        if self.setup.config.max_cost is not None:
            log.caution(f"the price of {model} is not known, so its calls count nothing; give --price {model}=IN,OUT")

    def _counting(self, log: RunLog, meter: Meter, recording: Recording) -> Callable[[TrialRecord], None]:
        def count(trial: TrialRecord) -> None:
            self.executed += 1
            if trial.score is None:
                log.caution(f"{trial.key.task} ({trial.key.split}): {trial.error}")
            meter.count(trial.score, trial.cost_usd)
            for sentence in recording.bypasses.news():
                log.caution(sentence, about=BYPASS)

        return count

    def _tell_strays(self, log: RunLog, strays: Sequence[str]) -> None:
        if strays:
            message = (
                f"{len(strays)} requests that no trial made were not recorded, and failed: {', '.join(strays[:3])}"
            )
            log.caution(message, about=STRAY)

    def _stopped(self, journal: Journal, reason: StopSearch) -> Outcome:
        if isinstance(reason, LeaseLost):
            raise reason
        if isinstance(reason, Cancelled):
            return self._settle(journal, RunStatus.CANCELLED, StopReason.CANCELLED, str(reason))
        if isinstance(reason, TargetFailed):
            return self._settle(journal, RunStatus.FAILED, StopReason.ERROR, str(reason))
        if isinstance(reason, RecordingMiss):
            return self._settle(journal, RunStatus.PAUSED, StopReason.ERROR, str(reason))
        if isinstance(reason, Paused):
            why = StopReason(reason.reason) if reason.reason else None
            status = self.interrupted if reason.interrupted else RunStatus.PAUSED
            return self._settle(journal, status, why, str(reason), interrupted=reason.interrupted)
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
        """Write how the run stands. Where even that cannot be written, it is said all the same: the lease runs out."""
        at, message = now(), self.store.redactor.text(message)
        with contextlib.suppress(Paused):
            lifecycle.add_active_time(self.store, self.run_id, time.monotonic() - self.begun)
            moved = lifecycle.move(
                self.store, self.run_id, [RunStatus.RUNNING], status, stop_reason=reason, message=message,
                finished_at=at if status.is_terminal() else None, heartbeat_at=at,
            )  # fmt: skip
            if not moved:
                now_is = reads.run(self.store, self.run_id)["status"]
                msg = (
                    f"run {self.run_id} was made {now_is} while it ran, and stays so; it had ended {status}: {message}"
                )
                raise Refused(msg)
            lifecycle.end_attempt(self.store, self.run_id, journal.attempt, status, at)
            journal.add_event(at, "info" if status is RunStatus.COMPLETED else "warning", f"{status}: {message}")
        return Outcome(self.run_id, status, reason, message, self.executed, interrupted)


def _estimated(log: RunLog, model: str) -> None:
    log.caution(f"{model} tells no usage (a stream needs include_usage), so its cost is estimated from characters")


_ENDINGS: dict[StopReason, str] = {
    StopReason.BUDGET_SPENT: "the budget is spent",
    StopReason.PLAN_DONE: "the optimizer has done all that it had planned; the rest of the budget was not needed",
    StopReason.SCORE_REACHED: "the score asked for (--stop-at) is reached",
    StopReason.NO_IMPROVEMENT: "no improvement for as long as --no-improvement allows",
    StopReason.NO_PROPOSALS: "the reflection model gave no usable text, or the same to the same question; "
    "look at `rollout optimize logs`, or name another --reflection-model",
}


def _make_place(path: Path, *, held_by_another: bool) -> None:
    """The folder of a recording. A runner that was stopped still holds the file: it keeps it, we go on with a copy.

    So what that runner writes when it wakes up reaches nobody.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if held_by_another and path.exists():
            with replaced(path) as draft:
                shutil.copyfile(path, draft)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror or error}); mend that and go on"
        raise Paused(msg, reason="error") from error


def _is_served(run: RunRow, *, fresh: bool) -> bool:
    """A run that has completed is served from its journal: nothing is asked of anybody."""
    return not fresh and bool(run["status"] == RunStatus.COMPLETED)


def _require_startable(run: RunRow, *, fresh: bool) -> None:
    if run["status"] == RunStatus.CANCELLED and not fresh:
        msg = f"run {run['id']} was cancelled; start a new attempt with --fresh"
        raise Refused(msg)
