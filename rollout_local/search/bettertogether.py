"""`dspy.BetterTogether` as an engine: stages one after the other, each from what the one before it made.

Every stage works as it does on its own, on the same journal and budget; BetterTogether scores what each of them made
on val. A pass over val is kept back from the budget, for the best that a stage had when the budget ended it. GEPA's
plan is an equal share of the budget unless `--arg gepa.max_metric_calls` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dspy
from dspy.teleprompt import BootstrapFewShotWithRandomSearch
from dspy.teleprompt.teleprompt import Teleprompter

from rollout_local.search.component_order import components_in_order
from rollout_local.search.engine import SearchResult, SearchSpec, Signals
from rollout_local.search.gepa import reflection_lm, told_to_reflection
from rollout_local.search.isolation import SignalFailed
from rollout_local.search.mipro import mipro_of
from rollout_local.search.optimizer_arguments import PLAIN_STAGES, split_arguments, together_table
from rollout_local.search.optimizers import read_strategy
from rollout_local.search.program_search import search_with, task_model
from rollout_local.search.program_trials import Fetched, Trials
from rollout_local.search.proposer import proposer_of
from rollout_local.search.simba import Stepwise, simba_of


def search(spec: SearchSpec, signals: Signals) -> SearchResult:
    """Run the stages of `spec.strategy`. Returns the best candidate by val mean, the first of equals."""
    steps = read_strategy(spec.strategy)
    arguments = together_table(steps).loaded(spec.arguments)
    stages: dict[str, Stage] = {}

    def optimized(trials: Trials) -> dspy.Module:
        assert spec.program is not None
        student = trials.student()
        student.set_lm(task_model(spec.program.module).copy())
        own = {name: value for name, value in arguments.items() if name not in steps}
        share = spec.budget // len(steps)
        for name in dict.fromkeys(steps):
            stages[name] = Stage(STAGES[name], spec, trials, {**arguments.get(name, {})}, share)
        return dspy.BetterTogether(metric=trials.metric(), **stages).compile(
            student, trainset=trials.examples("train"), valset=trials.examples("val"), num_threads=spec.concurrency,
            seed=spec.seed, strategy=" -> ".join(steps), **own,
        )  # fmt: skip

    def kept(trials: Trials, made: dspy.Module) -> Iterable[int]:
        if made is not None:
            return []
        simba = [stage.running for stage in stages.values() if isinstance(stage.running, Stepwise)]
        return [*(number for one in simba for number in one.winners_by_mean()), *trials.best_on_part_of_val()][:1]

    return search_with(spec, signals, optimized, kept)


Examples = list[dspy.Example]
Run = Callable[["Stage", dspy.Module, Examples, Examples | None], dspy.Module]
"""What a stage makes of a program, train and val."""


class Stage(Teleprompter):  # type: ignore[misc]
    """One stage. Its errors end the run: BetterTogether would log them and go on with what it has."""

    def __init__(self, run: Run, spec: SearchSpec, trials: Trials, arguments: dict[str, object], share: int) -> None:
        super().__init__()
        self._run = run
        self._spec = spec
        self._trials = trials
        self._arguments = arguments
        self._share = share
        self.running: object = None

    def compile(self, student: dspy.Module, *, trainset: Examples, valset: Examples | None = None) -> dspy.Module:
        """What the stage makes of the program so far."""
        reserve = self._trials.reserve
        try:
            return self._run(self, student, trainset, valset)
        except Exception as error:
            self._trials.signals.should_stop()
            raise SignalFailed(error) from error
        finally:
            self._trials.reserve = reserve

    @property
    def given(self) -> tuple[SearchSpec, Trials, dict[str, Any]]:
        """The spec, the trials, and a copy of the stage's arguments."""
        return self._spec, self._trials, dict(self._arguments)

    @property
    def share(self) -> int:
        """Trials that one stage gets where all get the same."""
        return self._share


def _bootstrap(name: str) -> Run:
    def run(stage: Stage, student: dspy.Module, trainset: Examples, valset: Examples | None) -> dspy.Module:
        spec, trials, arguments = stage.given
        made, rest = split_arguments(PLAIN_STAGES[name], arguments)
        if PLAIN_STAGES[name] is BootstrapFewShotWithRandomSearch:
            made["num_threads"], rest["valset"] = spec.concurrency, valset
        return PLAIN_STAGES[name](metric=trials.metric(), **made).compile(student, trainset=trainset, **rest)

    return run


def _mipro(stage: Stage, student: dspy.Module, trainset: Examples, valset: Examples | None) -> dspy.Module:
    optimizer, rest = mipro_of(*stage.given)
    return optimizer.compile(student, trainset=trainset, valset=valset, **rest)


def _simba(stage: Stage, student: object, trainset: Examples, _valset: list[object] | None) -> object:
    spec = stage.given[0]
    stage.running = simba_of(*stage.given)
    return stage.running.compile(student, trainset=trainset, seed=spec.seed)


def _gepa(stage: Stage, student: object, trainset: Examples, valset: Examples | None) -> dspy.Module:
    spec, trials, arguments = stage.given
    proposer = proposer_of(
        arguments.pop("instruction_proposer", None), trials.signals.reflect, trials.failed, told_to_reflection(spec)
    )
    calls = arguments.pop("max_metric_calls", None) or max(stage.share, len(spec.val) + 1)
    optimizer = dspy.GEPA(
        **arguments, metric=trials.metric(), max_metric_calls=calls, reflection_lm=reflection_lm(spec),
        instruction_proposer=proposer, num_threads=spec.concurrency, seed=spec.seed,
    )  # fmt: skip
    train = Fetched("train", [example._rollout_ticket.task for example in trainset], trials)  # noqa: SLF001
    val = Fetched("val", [example._rollout_ticket.task for example in valset or ()], trials)  # noqa: SLF001
    with components_in_order():
        return optimizer.compile(student, trainset=train, valset=val)


STAGES: dict[str, Callable[[Stage, object, list[object], list[object] | None], object]] = {
    **{name: _bootstrap(name) for name in PLAIN_STAGES},
    "gepa": _gepa,
    "mipro": _mipro,
    "simba": _simba,
}
"""The stages of a strategy."""
