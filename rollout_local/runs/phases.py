"""The work of one attempt, phase by phase: baseline → search → evaluate best → finalize."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollout_local.clock import now
from rollout_local.domain.dataset import SPLITS, SplitName
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import TARGET_FAILED, CandidateStatus, Phase, StopReason, TrialKey
from rollout_local.domain.target import Candidate
from rollout_local.errors import Paused, TargetFailed
from rollout_local.models import key_of
from rollout_local.planning.practice_warnings import asks_for_no_proposal
from rollout_local.planning.readiness import may_ask
from rollout_local.planning.secrets import connected
from rollout_local.planning.setup import Setup
from rollout_local.reports import doubts, failures, promotion
from rollout_local.runs.evaluation import Ask, Evaluator
from rollout_local.runs.executors import in_threads
from rollout_local.runs.log_dir import LogDir
from rollout_local.runs.progress import Meter, told_while
from rollout_local.runs.reflection import Reflector
from rollout_local.runs.run_log import RunLog
from rollout_local.search import reflection_check
from rollout_local.search.engine import (
    Began,
    Event,
    Graded,
    Judged,
    ProposalFailed,
    Proposed,
    ReflectionModel,
    SearchResult,
    SearchSpec,
    Signals,
    Ticket,
    Validated,
)
from rollout_local.search.optimizers import optimizer_named
from rollout_local.store import chain, lifecycle, reads
from rollout_local.store.journal import Journal
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import NumberedTrial
from rollout_local.targets.program import ProgramTarget

FAILURES_IN_A_ROW = 3
"""So many unscored trials of a baseline or holdout pass in a row mean that the provider is down: the run waits."""


@dataclass
class Attempt:
    """One attempt of a run at work."""

    store: Store
    run_id: str
    setup: Setup
    journal: Journal
    evaluator: Evaluator
    reflector: Reflector
    log: RunLog
    meter: Meter
    log_dir: LogDir
    _ids: dict[int, int] = field(default_factory=dict)
    _proposals: dict[int, list[int]] = field(default_factory=dict)
    _step: int = 0
    _failed_in_a_row: int = 0
    _judgements: Counter[bool] = field(default_factory=Counter)

    def run(self) -> SearchResult:
        """All four phases; raises `StopSearch` where the run has to wait or end."""
        self._ids[0] = self.journal.add_candidate(
            self.setup.target.baseline, CandidateStatus.BASELINE, (), now(), number=0
        )
        lifecycle.set_candidates(self.store, self.run_id, baseline=self._ids[0])
        self.log_dir.write_run(reads.run(self.store, self.run_id), self.setup, self.journal.attempt)
        if not self.evaluator.replaying:
            for sentence in filter(None, [*self.setup.lookalikes(), self.setup.alike()]):
                self.log.caution(sentence)
        self._check_reflection()
        self._baseline_pass()
        result = self._search()
        self._tell_of_scores()
        best = self._ids[result.best]
        lifecycle.set_candidates(self.store, self.run_id, best=best)
        lifecycle.set_stop_reason(self.store, self.run_id, result.stop_reason)
        self._best_pass(result.best)
        self._finalize()
        return result

    # -- phases

    def _check_reflection(self) -> None:
        """Where the search will not come to a reflection, see whether its model answers, before all else is paid."""
        config = self.setup.config
        if not asks_for_no_proposal(self.setup) or "instruction_proposer" in config.arguments:
            return
        spec = self._spec()
        asked = reflection_check.question_hash(spec)
        if not may_ask(config, config.reflection_api_base) or not self.reflector.may_ask_first(asked, "check"):
            return
        self.reflector.reflect(asked, 0, lambda: reflection_check.ask(spec), "check", step=self._step)
        budget = f"a search budget of {self.setup.budget} buys no proposal"
        self.log.tell(f"{budget}; the reflection model {config.reflection_model} was asked, and answers")

    def _baseline_pass(self) -> None:
        sizes = self.setup.split.sizes()
        self._enter(Phase.BASELINE, sum(sizes.values()))
        for split in SPLITS:
            self._score_split(self.setup.target.baseline, split, Phase.BASELINE)
        mean = reads.candidate(self.store, self._ids[0])["val_mean"]
        self.meter.show(baseline=mean, best=mean)
        if self._has_no_words():
            self.log.caution(
                "the metric gave a bare number: GEPA has no words to reflect on; return "
                "dspy.Prediction(score=…, feedback=…), with what was wrong and what good looks like",
            )
        self._require_some_output()
        self._require_some_spread()

    def _has_no_words(self) -> bool:
        """Whether an algorithm that reads feedback got bare scores from the program's metric."""
        target, config = self.setup.target, self.setup.config
        if target.metric is None or not target.metric.gave_no_feedback:
            return False
        return any(step.reads_feedback for step in optimizer_named(config.optimizer).steps(config.strategy))

    def _require_some_output(self) -> None:
        """Say what the target itself failed on; where that is every task, no search begins on it."""
        baseline = self._baseline_trials()
        found = failures.of_trials(baseline)
        if found is None:
            return
        raised = failures.of_trials(baseline, [TARGET_FAILED])  # what could not be read, another text may mend
        if raised is not None and raised["trials"] == raised["of"] and not self.setup.config.allow_failing_baseline:
            raise TargetFailed(failures.of_every_task(raised))
        self.log.caution(f"baseline: {failures.sentence(found)}")

    def _baseline_trials(self) -> list[NumberedTrial]:
        trials = reads.final_trials(self.store, self.run_id, self.journal.attempt)
        return [trial for trial in trials if trial["phase"] == Phase.BASELINE]

    def _require_some_spread(self) -> None:
        """Wait where every task of the baseline has one score: there is nothing that a search could learn from."""
        if self.setup.config.allow_constant_score or self.evaluator.replaying:
            return
        trials = self._baseline_trials()
        sentence = doubts.constant(trials, "trials of the baseline")
        if not sentence:
            return
        tasks = {task.name: task for split in SPLITS for task in self.setup.tasks(split)}
        shown = "; ".join(doubts.examples(trials, tasks))
        msg = f"{sentence}: {shown}. Look at the verifier, or go on with --allow-constant-score"
        raise Paused(msg, reason=StopReason.CONSTANT_SCORE)

    def _search(self) -> SearchResult:
        self._enter(Phase.SEARCH, self.setup.budget)
        signals = Signals(
            evaluate=self._evaluate, reflect=self._reflect, emit=self._heard,
            should_stop=self.evaluator.stop.check, judge=self._judge,
        )  # fmt: skip
        try:
            return optimizer_named(self.setup.config.optimizer).engine()(self._spec(), signals)
        finally:
            self.evaluator.drain()

    def _tell_of_scores(self) -> None:
        """GEPA's own warning of a metric that gives predictors scores of their own (`warn_on_score_mismatch`)."""
        target, arguments = self.setup.target, self.setup.config.arguments
        wanted = {**arguments, **arguments.get("gepa", {})}.get("warn_on_score_mismatch", True)
        if wanted and target.metric and target.metric.disagreed:
            self.log.caution(
                "the metric gave a predictor another score than the program: GEPA takes the program's and reads the "
                "words alone; silence this with --arg warn_on_score_mismatch=false",
            )

    def _best_pass(self, number: int) -> None:
        self._step += 1
        self._enter(Phase.BEST, 0 if number == 0 else len(self.setup.split.holdout))
        if number != 0:  # where the baseline stays best, its holdout trials serve
            components = json.loads(reads.candidate(self.store, self._ids[number])["components_json"])
            self._score_split(Candidate(components=components), "holdout", Phase.BEST)

    def _finalize(self) -> None:
        self._enter(Phase.FINALIZE, 0)
        if reads.newest_report(self.store, self.run_id, self.journal.attempt) is not None:
            return  # a finished run is served: what it reported then is what it reported
        report = promotion.build(self.store, reads.run(self.store, self.run_id))
        lifecycle.set_degraded(self.store, self.run_id, degraded=report["degraded"])
        lifecycle.add_report(self.store, self.run_id, self.journal.attempt, canonical_json(report), now())
        if "target_failures" in report:
            self.log.caution(failures.sentence(report["target_failures"]))

    def _enter(self, phase: Phase, total: int) -> None:
        self.evaluator.stop.check()
        done = reads.scored_trials(self.store, self.run_id, self.journal.attempt, phase)
        lifecycle.set_phase(self.store, self.run_id, phase)
        self.log.tell(phase.replace("_", " "))
        self.meter.show(phase=phase, total=total, done=done)
        self._checkpoint()

    # -- trials

    def _score_split(self, candidate: Candidate, split: SplitName, phase: Phase) -> None:
        """Score every task of a split once. Only val must score: the search stands on it."""
        asks = [
            Ask(
                self._key(candidate, task.name, split, 0),
                candidate,
                task,
                phase,
                must_score=split == "val",
                step=self._step,
            )
            for task in self.setup.tasks(split)
        ]
        self._failed_in_a_row = 0
        in_threads(self._tolerant, asks, self.setup.config.concurrency)

    def _tolerant(self, ask: Ask) -> None:
        graded = self.evaluator.evaluate(ask)
        self._failed_in_a_row = 0 if graded is not None else self._failed_in_a_row + 1
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            last = self.evaluator.last_problem
            msg = f"{self._failed_in_a_row} trials in a row ended without a score; the last: {last}"
            self.evaluator.stop.stop(Paused(msg, reason=StopReason.ERROR))
            self.evaluator.stop.check()

    def _evaluate(self, candidate: Candidate, ticket: Ticket) -> Graded:
        key = self._key(candidate, ticket.task.name, ticket.split, ticket.occurrence)
        graded = self.evaluator.evaluate(Ask(key, candidate, ticket.task, Phase.SEARCH, step=self._step))
        assert graded is not None, "in the search a trial scores or the run waits"
        return graded

    def _reflect(self, input_hash: str, occurrence: int, produce: Callable[[], Any]) -> object:
        self._step += 1
        self.meter.show("reflecting")
        with told_while(self._tell_of_waiting):
            reply = self.reflector.reflect(input_hash, occurrence, produce, step=self._step)
        self.meter.show()
        return reply

    def _tell_of_waiting(self, seconds: float) -> None:
        model = self.setup.config.reflection_model
        self.log.watch.note(
            "info", f"the reflection model {model} was asked {seconds:.0f} s ago and has not answered yet"
        )

    def _judge(self, input_hash: str, occurrence: int, produce: Callable[[], object]) -> Any:
        return self.reflector.reflect(input_hash, occurrence, produce, "judgement", step=self._step)

    def _began(self, _event: Began) -> None:
        self._step += 1
        self._checkpoint()

    def _checkpoint(self) -> None:
        stands = self.meter.shown
        position = {"phase": stands.phase, "step": self._step, "executed": stands.done, "best_val": stands.best}
        entries, head = chain.head(self.store, self.run_id)
        self.log_dir.write_checkpoint(
            {"at": now(), **position, "attempt": self.journal.attempt, "entries": entries, "chain": head}
        )

    def _key(self, candidate: Candidate, task: str, split: SplitName, occurrence: int) -> TrialKey:
        return TrialKey(
            attempt=self.journal.attempt, candidate=candidate.content_hash, task=task, split=split,
            occurrence=occurrence,
        )  # fmt: skip

    # -- what the search tells

    def _heard(self, event: Event) -> None:
        _HEARD[type(event)](self, event)

    def _proposed(self, event: Proposed) -> None:
        parents = [self._ids[number] for number in event.parents]
        row_id = self.journal.add_candidate(
            event.candidate, CandidateStatus.PROPOSED, parents, now(), number=event.number
        )
        self._ids[event.number] = row_id
        self.log_dir.write_candidate(self.store, row_id)
        self._proposals[event.number] = [
            self.journal.add_proposal(
                {
                    "iteration": event.iteration,
                    "parent_candidate_id": parents[0],
                    "component": component,
                    "candidate_id": row_id,
                    "feedback_json": canonical_json(event.feedback),
                    "created_at": now(),
                }
            )
            for component in event.components
        ]

    def _failed(self, event: ProposalFailed) -> None:
        self.journal.add_proposal(
            {
                "iteration": event.iteration,
                "parent_candidate_id": self._ids[event.parent],
                "component": event.component,
                "candidate_id": None,
                "accepted": 0,
                "reason": event.reason,
                "feedback_json": canonical_json(event.feedback),
                "created_at": now(),
            }
        )
        self.log.caution(f"iteration {event.iteration}: {event.reason}")

    def _judged(self, event: Judged) -> None:
        status = CandidateStatus.ACCEPTED if event.accepted else CandidateStatus.REJECTED
        self.journal.judge(self._ids[event.number], status)
        self.log_dir.write_candidate(self.store, self._ids[event.number])
        for proposal in self._proposals.get(event.number, []):
            self.journal.judge_proposal(
                proposal, accepted=event.accepted, reason=event.reason, before=event.before, after=event.after
            )
        self._judgements[event.accepted] += 1
        calls = reads.run(self.store, self.run_id)["metric_calls"]
        for name, value in (
            ("accepted", self._judgements[True]),
            ("rejected", self._judgements[False]),
            ("calls", calls),
        ):
            self.journal.add_point(name, self._judgements.total(), value, now())

    def _validated(self, event: Validated) -> None:
        self.journal.add_point("val_mean", event.number, event.mean, now())
        frontier = reads.frontier(self.store, self.run_id, self.journal.attempt)
        self.journal.add_point("frontier", event.spent, len(frontier), now())
        self.log_dir.write_candidate(self.store, self._ids[event.number])
        if event.best:
            self.journal.add_point("best_val", event.spent, event.mean, now())
            self.log.tell(f"candidate {event.number} leads with {event.mean:.3f} on val")
            self.meter.show(best=event.mean)

    # -- saying so

    def _spec(self) -> SearchSpec:
        config, target = connected(self.setup.config, os.environ), self.setup.target
        model = config.reflection_model
        assert model is not None
        return SearchSpec(
            kind=target.kind, description=target.description, objective=config.objective, baseline=target.baseline,
            train=self.setup.tasks("train"), val=self.setup.tasks("val"), budget=self.setup.budget, seed=config.seed,
            concurrency=config.concurrency,
            reflection=ReflectionModel(
                model, config.reflection_api_base, key_of(model), config.reflection_params,
                config.reflection_timeout,
            ),
            first_occurrence={"train": 1, "val": 0, "holdout": 1}, arguments=config.arguments, stop_at=config.stop_at,
            no_improvement=config.no_improvement, strategy=config.strategy,
            program=target if isinstance(target, ProgramTarget) else None,
        )  # fmt: skip


_HEARD: dict[type, Callable[[Attempt, Any], None]] = {
    Began: Attempt._began,  # noqa: SLF001 - the table of this class's own methods
    Proposed: Attempt._proposed,  # noqa: SLF001
    ProposalFailed: Attempt._failed,  # noqa: SLF001
    Judged: Attempt._judged,  # noqa: SLF001
    Validated: Attempt._validated,  # noqa: SLF001
}
