"""The trials of an optimizer that takes plain lists of examples: which candidate, which occurrence, and how many.

An occurrence has to be the same in every replay, whatever the order in which threads arrive. So everything that
happens in the optimizer's own thread gets the next number of one count: each copy of the program when it is made,
each batch when it begins. `dspy.Evaluate` runs one program over a batch: its trials have the batch's number. Pairs
for `dspy.Parallel` have the number of the copy, since every pair that has to differ has a copy of its own. Anything
else runs alone, a batch of one.

The budget is kept where a batch begins: it is refused where it would pass the budget, or leave less than it takes to
score on val what the search would then want to keep (`reserve` passes over val; none is kept back from a pass over
val itself). After the search the kept candidates are scored on val; the best is the one with the best mean there.
The baseline's own pass over val is paid for already, and served once more to an optimizer that begins with it.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import fsum
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from rollout_local.domain.dataset import SplitName, Task
from rollout_local.domain.target import Candidate
from rollout_local.errors import BudgetSpent, InputError, StopSearch
from rollout_local.search.components import candidate_of, changed, demos_of, models_of
from rollout_local.search.engine import (
    Began,
    Budget,
    Graded,
    Judged,
    Program,
    ProposalFailed,
    Proposed,
    SearchSpec,
    Signals,
    Ticket,
    Validated,
)
from rollout_local.search.isolation import SignalFailed, heard
from rollout_local.search.program_adapter import ProgramMetric, Trace, journaled, ticketed
from rollout_local.search.text_adapter import Tickets

OPEN = -1
"""The occurrence of a ticket that is to get its own when it runs."""


class ScoreReached(StopSearch):
    """A candidate has reached the mean that was asked for."""


@dataclass
class Batch:
    """Trials that begin together. `occurrence` is None where each copy brings its own."""

    occurrence: int | None
    scores: dict[int, list[float]] = field(default_factory=dict)

    def mean(self, number: int | None = None) -> float | None:
        """Mean score of a candidate in this batch, or of all; None where there is none."""
        chosen = self.scores.values() if number is None else [self.scores.get(number, [])]
        found = [score for scores in chosen for score in scores]
        return fsum(found) / len(found) if found else None


class Trials(BaseCallback):  # type: ignore[misc]
    """Stands between an optimizer and `signals`. Everything but `ask` is called in the optimizer's own thread."""

    def __init__(self, spec: SearchSpec, signals: Signals) -> None:
        assert spec.program is not None, "only a program has demonstrations and predictors"
        self.spec = spec
        self.signals = signals
        self.program: Program = spec.program
        self.budget = Budget(spec.budget)
        self.reserve: Callable[[], int] = lambda: 1
        self.iteration = 0
        self.best = 0
        self.batch = Batch(0)
        self._own_demos = demos_of(self.program.module)
        self._count = itertools.count(1)
        self._candidates: list[Candidate] = [candidate_of(self.program.module, self._own_demos)]
        self._numbers: dict[str, int] = {self._candidates[0].content_hash: 0}
        self._passes: dict[int, list[float]] = {}
        self._parts: dict[int, list[float]] = {}
        self._judged: set[int] = {0}
        self._pairs = 0
        self._pair_batches: dict[tuple[int, str], Batch] = {}
        self._is_open = False
        self._baseline_served = False
        self._pass_of: int | None = None
        self._part_of: int | None = None
        self._refused: BaseException | None = None
        self._lock = threading.RLock()

    # -- what an optimizer is given

    def student(self) -> dspy.Module:
        """The program, to be optimized."""
        module = journaled(self.program, self.ask, self._copied)
        module._rollout_number, module._rollout_from = self.tick(), 0  # noqa: SLF001 - without underscore: the user's
        return module

    def examples(self, split: SplitName) -> list[object]:
        """The tasks of a split as examples that get their occurrence when they run."""
        make = ticketed(self.program)
        tasks = self.spec.train if split == "train" else self.spec.val
        return [make(Ticket(task, split, OPEN)) for task in tasks]

    def metric(self) -> Any:
        """Hands on the verdicts, as a number where the program's own metric gives one."""
        return Verdicts(self.program, self.signals.judge)

    def tick(self) -> int:
        """The next number of the one count."""
        return next(self._count)

    def _copied(self, source: dspy.Module, made: dspy.Module) -> None:
        made._rollout_number = self.tick()  # noqa: SLF001
        known = self._numbers.get(self._candidate(source).content_hash)
        made._rollout_from = source._rollout_from if known is None else known  # noqa: SLF001

    # -- candidates

    def _candidate(self, module: dspy.Module) -> Candidate:
        try:
            return candidate_of(module, self._own_demos)
        except InputError as error:
            raise SignalFailed(error) from error

    def number_of(self, module: dspy.Module, feedback: Sequence[Mapping[str, object]] = ()) -> int:
        """The number of the candidate that a copy is; a new one is told of, with what it was made from."""
        candidate = self._candidate(module)
        with self._lock:
            number = self._numbers.get(candidate.content_hash)
            if number is not None:
                return number
            number = len(self._candidates)
            self._candidates.append(candidate)
            self._numbers[candidate.content_hash] = number
        parent = module._rollout_from  # noqa: SLF001
        components = changed(candidate, self._candidates[parent])
        self.signals.emit(Proposed(number, candidate, (parent,), self.iteration, components, feedback))
        return number

    def failed(self, component: str, reason: str, parent: int = 0) -> None:
        """A proposal came to nothing."""
        self.signals.emit(ProposalFailed(self.iteration, parent, component, reason, []))

    def judge(self, number: int, *, accepted: bool, reason: str, before: float | None, after: float | None) -> None:
        """Say, once, what became of a candidate."""
        if number not in self._judged:
            self._judged.add(number)
            self.signals.emit(Judged(number, accepted, reason, before, after))

    def judge_rest(self, reason: str, numbers: Iterable[int] = ()) -> None:
        """Reject the candidates that were not judged so far."""
        for number in numbers or range(len(self._candidates)):
            self.judge(number, accepted=False, reason=reason, before=None, after=None)

    # -- batches

    def on_evaluate_start(self, call_id: str, instance: dspy.Evaluate, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A program is about to be run over examples."""
        tickets = [example._rollout_ticket for example in inputs.get("devset") or instance.devset]  # noqa: SLF001
        self._require_going_on()
        self.iteration += 1
        number = self.number_of(inputs["program"])
        on_val = all(ticket.split == "val" for ticket in tickets)
        whole = on_val and {t.task.name for t in tickets} == {task.name for task in self.spec.val}
        if number == 0 and on_val and not self._baseline_served:
            self._baseline_served = True
            self._begin(len(tickets), 0)
        else:
            self._admit(len(tickets), 0 if whole else self.reserve())
            self._begin(len(tickets), self.tick())
            self._pass_of = number if whole else None
            self._part_of = number if on_val and not whole else None
        self._is_open = True

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """It was run; where that was all of val, the candidate has a score that counts."""
        number, part, self._is_open = self._pass_of, self._part_of, False
        self._pass_of = self._part_of = None
        if outputs is None or (number is None and part is None):
            return
        scores = [float(score) for *_, score in outputs.results]
        if number is not None:
            self._validated(number, fsum(scores) / len(scores))
        elif part is not None:
            self._parts.setdefault(part, []).extend(scores)

    def best_on_part_of_val(self) -> list[int]:
        """The candidate with the best mean among those that were only tried on some of val, if there is one."""
        means = {n: fsum(found) / len(found) for n, found in self._parts.items() if n not in self._passes}
        return [max(means, key=lambda n: means[n])] if means else []

    def pair(self) -> None:
        """One more pair will be run by the next `dspy.Parallel`."""
        self._pairs += 1

    @property
    def is_pairing(self) -> bool:
        """Pairs are being put together that have not begun to run."""
        return self._pairs > 0

    def ask(self, module: dspy.Module, ticket: Ticket) -> Graded:
        """One trial of a copy of the program. Called from many threads."""
        batch = self._batch_of(module, ticket)
        number = self.number_of(module)
        occurrence = ticket.occurrence
        if occurrence == OPEN:
            occurrence = module._rollout_number if batch.occurrence is None else batch.occurrence  # noqa: SLF001
        with self.program.sampled(models_of(module, self.program.module)):
            graded = self._trial(number, Ticket(ticket.task, ticket.split, occurrence))
        with self._lock:
            batch.scores.setdefault(number, []).append(graded.score)
        return graded

    def _batch_of(self, module: dspy.Module, ticket: Ticket) -> Batch:
        pair = (module._rollout_number, ticket.task.name)  # noqa: SLF001
        with self._lock:
            self._require_going_on()
            if pair in self._pair_batches:  # DSPy asks again for a straggler
                return self._pair_batches[pair]
            if self._pairs:
                size, self._pairs = self._pairs, 0
                self._admit(size, self.reserve())
                self._begin(size, None)
                self._is_open = True
            elif not self._is_open:
                self._admit(1, self.reserve())
                self._begin(1, self.tick())
            if self.batch.occurrence is None:
                self._pair_batches[pair] = self.batch
            return self.batch

    def _begin(self, size: int, occurrence: int | None) -> None:
        self.signals.should_stop()
        self.signals.emit(Began(size))
        self.batch = Batch(occurrence)

    def _admit(self, size: int, passes: int) -> None:
        kept = passes * len(self.spec.val)
        try:
            if self.budget.spent + size + kept > self.budget.limit:
                msg = f"a batch of {size} would leave less than the {kept} calls kept back for val"
                raise BudgetSpent(msg)
            self.budget.admit(size)
        except BudgetSpent as spent:
            self._refused = spent
            raise

    def _require_going_on(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self.has_reached_score:
            self._refused = ScoreReached("the score asked for is reached")
            raise self._refused

    # -- val

    def close(self) -> None:
        """The optimizer has ended: threads of its that are still on their way get nothing more."""
        with self._lock:
            self._refused = self._refused or BudgetSpent("the optimizer has ended")

    def baseline_pass(self) -> None:
        """Take the baseline's trials on val, which are paid for, for its score."""
        self._pass_over_val(0, 0)

    def validate(self, numbers: Iterable[int]) -> bool:
        """Score candidates on val, those first that come first; False where the budget did not reach for all."""
        for number in numbers:
            if number in self._passes:
                continue
            if self.has_reached_score:
                return True
            try:
                self.budget.admit(len(self.spec.val))
            except BudgetSpent:
                return False
            self._pass_over_val(number, self.tick())
        return True

    @property
    def has_reached_score(self) -> bool:
        """The best mean on val is what was asked for."""
        best = self._mean(self.best)
        return self.spec.stop_at is not None and best is not None and best >= self.spec.stop_at

    def is_validated(self, number: int) -> bool:
        """It has a score on all of val."""
        return number in self._passes

    def _pass_over_val(self, number: int, occurrence: int) -> None:
        self._begin(len(self.spec.val), occurrence)

        def run(task: Task) -> float:
            return self._trial(number, Ticket(task, "val", occurrence)).score

        with ThreadPoolExecutor(self.spec.concurrency, thread_name_prefix="rollout") as pool:
            futures = [pool.submit(contextvars.copy_context().run, run, task) for task in self.spec.val]
        scores = [future.result() for future in futures]
        self._validated(number, fsum(scores) / len(scores))

    def _trial(self, number: int, ticket: Ticket) -> Graded:
        with heard():
            return self.signals.evaluate(self.spec.baseline if number == 0 else self._candidates[number], ticket)

    def _mean(self, number: int) -> float | None:
        passes = self._passes.get(number)
        return fsum(passes) / len(passes) if passes else None

    def _validated(self, number: int, mean: float) -> None:
        before = self._mean(self.best)
        self._passes.setdefault(number, []).append(mean)
        means = {n: fsum(found) / len(found) for n, found in self._passes.items()}
        best = max(means, key=lambda n: means[n])  # the first of equals
        leads = best == number and (best != self.best or before is None)
        self.best = best
        self.signals.emit(Validated(number, means[number], leads, self.budget.spent))
        better = before is None or mean > before
        reason = f"{mean:.3f} on val, where the best had {before or 0.0:.3f}"
        self.judge(number, accepted=better, reason=reason, before=before, after=mean)


class Fetched(Tickets):
    """A loader whose every fetch has the next number of the one count, for GEPA as a stage among others."""

    def __init__(self, split: SplitName, tasks: Sequence[Task], trials: Trials) -> None:
        super().__init__(split, tasks, 0, ticketed(trials.program))
        self._trials = trials

    def _example(self, position: int) -> object:
        return self._make(Ticket(self.tasks[position], self.split, self._trials.tick()))


class Verdicts(ProgramMetric):
    """The metric that an optimizer is given, of the kind that the program's own metric is.

    DSPy takes a run for a demonstration where the metric's value is true: a number above 0, and any `Prediction`
    at all. A verifier's verdict is true where it is above 0.
    """

    def __call__(
        self,
        gold: dspy.Example,
        pred: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: Trace | None = None,
    ) -> dspy.Prediction | float:
        """DSPy's five arguments; a number, or a Prediction with score and feedback."""
        verdict = super().__call__(gold, pred, trace, pred_name, pred_trace)
        if self._own is None:
            return Verified(**dict(verdict.items()))
        return verdict.score if pred_name is None and pred._graded.answer.bare else verdict  # noqa: SLF001


class Verified(dspy.Prediction):  # type: ignore[misc]
    """A verifier's verdict, which is false at 0."""

    def __bool__(self) -> bool:
        return float(self.score) > 0
