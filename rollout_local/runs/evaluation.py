"""One candidate × one task → a trial, graded, in the journal.

Asked for a key that the journal holds, the evaluator answers from it. Otherwise it executes the target,
tries again while a provider is in the way, grades what came, commits, and only then hands the grade on. The grade is
of the output as it came; what is committed and handed on is the journal's text of it, without secrets, so that no
secret of the target's reaches the reflection model, and a resume or a replay hands on the same. What
ends without a score is committed too; in the search the run then waits, since a failure is not a zero.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace

from rollout_local.clock import iso, now
from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.kept import kept_metadata, kept_output, words_of
from rollout_local.domain.program import ProgramAnswer, ProgramResult
from rollout_local.domain.run import TARGET_FAILED, UNREADABLE, Phase, TrialKey, TrialOutcome
from rollout_local.domain.target import AgentResult, Candidate
from rollout_local.domain.verdict import Verdict, VerifierSpec
from rollout_local.errors import GradingError, InputError, Paused, ProviderError, StopSearch, TargetError
from rollout_local.providers.concurrency import SLOWED_BY, Pace
from rollout_local.providers.cost import Spend
from rollout_local.providers.failures import Health, Patience, ProviderFailure, failure_in, failure_on_the_wire
from rollout_local.providers.retry import Retry, Tried
from rollout_local.recordings import Exchange
from rollout_local.runs.divergence import History
from rollout_local.runs.execution import Execution, Executor
from rollout_local.runs.grading import Grader, Grading
from rollout_local.runs.traces import trace_of
from rollout_local.search.engine import Graded
from rollout_local.stop import StopFlag
from rollout_local.store.journal import Journal, TrialRecord
from rollout_local.store.row_types import TrialRow
from rollout_local.targets.program import ProgramTarget


@dataclass(frozen=True)
class Ask:
    """One trial that is wanted. `must_score`: without a score the run has to wait (the search, the val pass)."""

    key: TrialKey
    candidate: Candidate
    task: Task
    phase: Phase
    must_score: bool = True
    step: int = 0


@dataclass
class Evaluator:
    """Runs asks. Safe to call from many threads; the same ask in flight twice is executed once."""

    executor: Executor
    specs: Sequence[VerifierSpec]
    journal: Journal
    stop: StopFlag
    on_trial: Callable[[TrialRecord], None]
    make_id: Callable[[str], str]
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    health: Health = field(default_factory=Health)
    dice: random.Random = field(default_factory=random.Random)
    pace: Pace = field(default_factory=lambda: Pace(1_000_000))
    history: History = field(default_factory=lambda: History(0))
    spend: Spend = field(default_factory=lambda: Spend(None, 0.0, {}))
    replaying: bool = False
    reuse: bool = False
    retry_unscored: bool = True
    """False while a finished run is served: what it left unscored stays so."""
    model: str | None = None
    """The task model, whose key is asked for."""
    last_problem: str = ""
    """Why the last trial without a score has none."""
    _in_flight: dict[TrialKey, Future[Graded | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def evaluate(self, ask: Ask) -> Graded | None:
        """The grade of one trial, or None where it ended without a score and may. Raises `StopSearch` to end."""
        future, mine = self._claim(ask.key)
        if not mine:
            return future.result()
        try:
            graded = self._answer(ask)
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(graded)
            return graded
        finally:
            with self._lock:
                del self._in_flight[ask.key]

    def drain(self) -> None:
        """Wait for what is in flight: after a stop, DSPy's threads end by themselves, and were paid for."""
        while True:
            with self._lock:
                waiting = list(self._in_flight.values())
            if not waiting:
                return
            wait(waiting)

    def _claim(self, key: TrialKey) -> tuple[Future[Graded | None], bool]:
        with self._lock:
            if key in self._in_flight:
                return self._in_flight[key], False
            future: Future[Graded | None] = Future()
            self._in_flight[key] = future
            return future, True

    def _answer(self, ask: Ask) -> Graded | None:
        self.stop.check()
        row = self.journal.find(ask.key)
        if row is not None and (row["score"] is not None or not self.retry_unscored):
            return self._remembered(ask, row)
        if row is None:
            self.history.require_new(ask.step, f"task {ask.task.name!r} ({ask.key.split})")
        if self.reuse and (alike := self.journal.find_alike(ask.key)) is not None:
            return self._stand_in(ask, alike)
        with self.pace.turn(self.stop):
            self.stop.check()
            return self._execute(ask, tried_before=row is not None)

    def _remembered(self, ask: Ask, row: TrialRow) -> Graded | None:
        """The grade in a journal row, with a program's answer; one that JSON could not keep is had again."""
        graded = remembered(row)
        target = self.executor.target
        if graded is None or not isinstance(target, ProgramTarget) or ask.key.split == "holdout":
            return graded
        record = self.journal.find_answer(row["id"])
        if record is not None:
            return replace(graded, answer=target.recall(record, ask.candidate))
        if row["error"] is not None:
            return graded
        with self.pace.turn(self.stop):
            execution = self.executor.run(ask.key.scope, ask.task, ask.candidate, again=False)
        return replace(graded, answer=self._without_secrets(_answer(execution)))

    def _execute(self, ask: Ask, *, tried_before: bool) -> Graded | None:
        def once(number: int) -> Tried[Execution]:
            execution = self._paid(ask, again=number > 1 or tried_before)
            failure = failure_of(execution)
            self._adapt(failure)
            return Tried(execution, failure, execution.exchanges)

        retry = Retry(self.patience, self.health, self.dice, self.stop, self.replaying)
        tried, number = retry.until_done(once)
        return self._settle(ask, tried.result, tried.failure, number, again=number > 1 or tried_before)

    def _paid(self, ask: Ask, *, again: bool) -> Execution:
        """One execution, with what the target itself reports of its cost counted against the limit."""
        scope = ask.key.scope
        try:
            self.spend.begin(scope)
        except StopSearch as reason:
            self.stop.stop(reason)
            raise
        execution = self.executor.run(scope, ask.task, ask.candidate, again=again)
        self.spend.report(scope, execution.result.cost_usd if execution.result and not self.replaying else None)
        return execution

    def _stand_in(self, ask: Ask, alike: TrialRow) -> Graded | None:
        """Write another run's trial as one of this run, marked `reused`: nothing was executed."""
        trial = TrialRecord(
            key=ask.key, phase=ask.phase, outcome=TrialOutcome.SCORED, passed=bool(alike["passed"]), created_at=now(),
            metadata=json.loads(alike["metadata_json"]), latency_ms=alike["latency_ms"], reused=True,
            trace_id=alike["trace_id"], step=ask.step, answer=self.journal.find_answer(alike["id"]),
            score=alike["score"], feedback=alike["feedback"], output=alike["output"], output_kind=alike["output_kind"],
            checks_json=alike["checks_json"], error=alike["error"], error_kind=alike["error_kind"],
        )  # fmt: skip
        self.journal.add_trial(trial, None)
        row = self.journal.find(ask.key)
        assert row is not None, "it was just written"
        return self._remembered(ask, row)

    def _adapt(self, failure: ProviderFailure | None) -> None:
        if failure is None:
            self.pace.speed_up()
        elif failure.kind in SLOWED_BY:
            self.pace.slow_down()

    def _settle(
        self, ask: Ask, execution: Execution, failure: ProviderFailure | None, tries: int, *, again: bool
    ) -> Graded | None:
        trial, grading = self._graded(ask, execution, failure, tries, again=again)
        if grading is not None:
            self._adapt(grading.failure)
            failure = failure or grading.failure
            execution = replace(execution, exchanges=[*execution.exchanges, *grading.exchanges])
        name = f"optimize:{self.executor.target.id}"
        trace = trace_of(name, execution, self.make_id, self.prices, self._attributes(ask))
        cost = (execution.result.cost_usd if execution.result else None) or trace.cost_usd
        raw = replace(trial, trace_id=trace.record.id, cost_usd=cost)
        trial = self.journal.clean(raw)
        self.journal.add_trial(trial, trace.record)
        self.on_trial(trial)
        if trial.score is None:
            self.last_problem = trial.error or "" if failure is None else failure.told(self.model)
            self._unscored(ask, failure)
            return None
        return Graded(trial.output or "", trial.score, trial.feedback, self._clean_answer(ask, execution, raw, trial))

    def _attributes(self, ask: Ask) -> dict[str, object]:
        """What a trace says of the trial that it is of."""
        return {"run_id": self.journal.run_id, "phase": ask.phase.value, **ask.key.model_dump()}

    def _clean_answer(
        self, ask: Ask, execution: Execution, raw: TrialRecord, kept: TrialRecord
    ) -> ProgramAnswer | None:
        """A program's answer without secrets: where there was one, as it is read back from the journal."""
        target = self.executor.target
        if kept.answer is None or kept.answer == raw.answer or not isinstance(target, ProgramTarget):
            return self._without_secrets(_answer(execution))
        return target.recall(kept.answer, ask.candidate)

    def _without_secrets(self, answer: ProgramAnswer | None) -> ProgramAnswer | None:
        """The same answer where its texts hold no secret; values that JSON cannot say are taken as they are."""
        if answer is None:
            return None
        document = self.journal.store.redactor.document
        calls = tuple(
            replace(call, inputs=document(call.inputs), outputs=document(call.outputs)) for call in answer.calls
        )
        unparsed = answer.unparsed and replace(answer.unparsed, reply=document(answer.unparsed.reply))
        cleaned = replace(answer, value=document(answer.value), calls=calls, unparsed=unparsed)
        return answer if cleaned == answer else cleaned

    def _unscored(self, ask: Ask, failure: ProviderFailure | None) -> None:
        at_once = failure is not None and not failure.policy.retried
        if ask.must_score or at_once:
            self.stop.stop(Paused(f"task {ask.task.name!r}: {self.last_problem}", reason="error"))
            self.stop.check()

    def _graded(
        self, ask: Ask, execution: Execution, failure: ProviderFailure | None, tries: int, *, again: bool
    ) -> tuple[TrialRecord, Grading | None]:
        base = TrialRecord(
            key=ask.key,
            phase=ask.phase,
            outcome=TrialOutcome.SCORED,
            score=None,
            feedback="",
            output=None,
            created_at=iso(execution.started + execution.seconds),
            latency_ms=_latency(execution),
            tries=tries,
            step=ask.step,
        )
        if failure is not None and not failure.policy.candidates_doing:
            outcome = TrialOutcome.TIMEOUT if failure.kind == "timeout" else TrialOutcome.PROVIDER_ERROR
            return replace(base, outcome=outcome, error=failure.words, error_kind=failure.kind), None
        own_fault = _own_fault(execution, failure, self.executor.timeout)
        if own_fault is not None:
            kind = TARGET_FAILED if failure is None else failure.kind
            failed = replace(
                base, score=0.0, passed=False, feedback=own_fault, output="", error=own_fault, error_kind=kind
            )
            return failed, None
        if isinstance(execution.error, GradingError):  # of a program's own metric
            return _ungraded(base, str(execution.error)), None
        assert execution.result is not None
        return self._verified(base, ask, execution.result, again=again)

    def _verified(
        self, base: TrialRecord, ask: Ask, result: AgentResult, *, again: bool
    ) -> tuple[TrialRecord, Grading | None]:
        stored = kept_output(result.output)
        assert stored is not None, "an output that cannot be kept is the target's own fault"
        kind, text = stored
        base = replace(base, output=text, output_kind=kind, metadata=kept_metadata(result.metadata))
        if isinstance(result, ProgramResult):
            base = replace(base, answer=result.record, error=result.error, error_kind=result.error and UNREADABLE)
            if result.verdict is not None:
                return _scored(base, result.verdict), None
        grader = Grader(
            self.specs, self.executor.wire, self.stop, self.patience, self.health, self.dice, self.replaying
        )
        grading = grader.grade(f"{ask.key.scope}/verdict", ask.task, result, again=again)
        if grading.verdict is not None:
            return _scored(base, grading.verdict), grading
        failure = grading.failure
        if failure is None or failure.policy.candidates_doing:  # the judge's own limits say nothing of the output
            return _ungraded(base, grading.error), grading
        return replace(base, outcome=TrialOutcome.PROVIDER_ERROR, error=grading.error, error_kind=failure.kind), grading


def failure_of(execution: Execution) -> ProviderFailure | None:
    """What a provider did to this execution, or None: read from the wire first, then from the exception.

    A target behind a URL is on the wire itself, so what it says of its failure is believed before the status.
    """
    if execution.overrun and execution.in_flight:
        return ProviderFailure("timeout", "the trial's time limit passed during a call")
    if isinstance(execution.error, TargetError):
        return None
    if isinstance(execution.error, ProviderError):
        return _with_wait(failure_in(execution.error), execution.exchanges)
    on_wire = failure_on_the_wire(execution.exchanges)
    if on_wire is not None:
        return on_wire
    return failure_in(execution.error) if execution.error is not None else None


def _with_wait(failure: ProviderFailure | None, exchanges: Sequence[Exchange]) -> ProviderFailure | None:
    """The failure with the wait that the last answer asked for."""
    asked = exchanges[-1].retry_after if exchanges else None
    return failure if failure is None or asked is None else replace(failure, retry_after=asked)


def remembered(row: TrialRow) -> Graded | None:
    """The grade in a journal row, or None for a trial without a score."""
    if row["score"] is None:
        return None
    return Graded(row["output"] or "", row["score"], row["feedback"])


def _own_fault(execution: Execution, failure: ProviderFailure | None, timeout: float | None) -> str | None:
    """In words, what the candidate or the target did wrong, or None."""
    if failure is not None:
        return failure.words
    if execution.overrun:
        return f"the target ran past its time limit of {timeout:g} s"
    if isinstance(execution.error, TargetError):
        return f"the target failed: {execution.error}"
    if isinstance(execution.error, InputError):  # of ours: a sentence on what it returned
        return str(execution.error)
    if execution.result is not None and kept_output(execution.result.output) is None:
        kind = type(execution.result.output).__name__
        return f"the target's output is a {kind}, which JSON cannot say; return a text, or what JSON can say"
    if execution.error is not None and not isinstance(execution.error, GradingError):
        return f"the target raised {type(execution.error).__name__}: {words_of(execution.error)}"
    if execution.error is None and (execution.result is None or execution.result.output is None):
        return "the target returned nothing"
    return None


def _answer(execution: Execution) -> ProgramAnswer | None:
    result = execution.result
    return result.answer if isinstance(result, ProgramResult) else None


def _scored(base: TrialRecord, verdict: Verdict) -> TrialRecord:
    checks = [check.model_dump() for check in verdict.checks]
    return replace(
        base, score=verdict.score, passed=verdict.passed, feedback=verdict.feedback, checks_json=canonical_json(checks)
    )


def _ungraded(base: TrialRecord, why: str) -> TrialRecord:
    return replace(base, outcome=TrialOutcome.VERIFIER_ERROR, error=why, error_kind="verifier")


def _latency(execution: Execution) -> float:
    given = execution.result.latency_ms if execution.result else None
    return given if given is not None else execution.seconds * 1000
