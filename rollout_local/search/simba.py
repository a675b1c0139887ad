"""`dspy.SIMBA` as an engine.

SIMBA samples the program on minibatches of train, adds demonstrations and rules, and picks by score on train. Here
the best of each of its steps, and in the end the programs that it would choose among, are scored on val as well,
and the best is the one with the best mean there; a pass over val for each of them, as far as there are
`num_candidates`, is kept back from the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dspy

from rollout_local.search.engine import SearchResult, SearchSpec, Signals
from rollout_local.search.optimizer_arguments import simba_table, split_arguments
from rollout_local.search.program_search import search_with, task_model
from rollout_local.search.program_trials import Trials
from rollout_local.search.prompt_model import prompt_model

DEFAULT_BATCH = 32


def search(spec: SearchSpec, signals: Signals) -> SearchResult:
    """Run SIMBA over the spec. Returns the best candidate by val mean, the first of equals."""
    stage: list[Stepwise] = []

    def optimized(trials: Trials) -> object:
        assert spec.program is not None
        task_model(spec.program.module)
        stage.append(simba_of(spec, trials, simba_table().loaded(spec.arguments)))
        trials.reserve = stage[0].reserve
        return stage[0].compile(trials.student(), trainset=trials.examples("train"), seed=spec.seed)

    def kept(trials: Trials, made: dspy.Module) -> Iterable[int]:
        if made is None:
            return stage[0].winners_by_mean() if stage else []
        return [trials.number_of(found["program"]) for found in made.candidate_programs]

    return search_with(spec, signals, optimized, kept)


def simba_of(spec: SearchSpec, trials: Trials, arguments: dict[str, object]) -> Stepwise:
    """SIMBA with the arguments given; a minibatch is no larger than train."""
    given, _ = split_arguments(dspy.SIMBA, arguments)
    settings = {"bsize": min(DEFAULT_BATCH, len(spec.train)), **given}
    model = prompt_model(spec, trials.signals.reflect)
    return Stepwise(trials, metric=trials.metric(), prompt_model=model, num_threads=spec.concurrency, **settings)


class Stepwise(dspy.SIMBA):  # type: ignore[misc]
    """SIMBA that tells where its steps, its pairs and its new programs begin.

    It reads `self.metric` once for every pair that it is going to run, before it runs any; a strategy is called
    once for every new program.
    """

    def __init__(self, trials: Trials, **settings: object) -> None:
        self._trials = trials
        self._given_metric: object = None
        super().__init__(**settings)
        strategies: list[Any] = vars(self)["strategies"]
        self.strategies = [self._watched(strategy) for strategy in strategies]
        self._phase = "sampling"
        self._new: list[int] = []
        self._winners: dict[int, float] = {}
        self._sampled: float | None = None

    @property
    def metric(self) -> Any:
        """The metric, for one more pair."""
        if not self._trials.is_pairing:
            self._before_batch()
        self._trials.pair()
        return self._given_metric

    @metric.setter
    def metric(self, metric: object) -> None:
        self._given_metric = metric

    def winners_by_mean(self) -> list[int]:
        """The best program of each step, by its mean on the step's minibatch."""
        if self._phase == "testing":
            self._end_step()
        return sorted(self._winners, key=lambda number: -self._winners[number])

    def reserve(self) -> int:
        """Passes over val to keep back: one for each best of a step, and one more."""
        open_ones = sum(not self._trials.is_validated(number) for number in self._winners)
        return min(open_ones + 1, int(self.num_candidates))

    def _before_batch(self) -> None:
        if self._phase == "proposing" and self._new:
            self._phase = "testing"
            return
        if self._phase == "testing":
            self._end_step()
        self._phase = "sampling"
        self._trials.iteration += 1

    def _end_step(self) -> None:
        batch = self._trials.batch
        means = {number: mean for number in self._new if (mean := batch.mean(number)) is not None}
        if len(means) == len(set(self._new)):  # else it was stopped before all of them were tried
            best = max((number for number in means if number != 0), key=lambda number: means[number], default=0)
            if best != 0:
                self._winners[best] = means[best]
            for number, mean in means.items():
                self._judge(number, mean, is_best=number == best)
        self._new = []

    def _judge(self, number: int, mean: float, *, is_best: bool) -> None:
        reason = "the best new program of its step" if is_best else "another new program of its step did better"
        self._trials.judge(number, accepted=is_best, reason=reason, before=self._sampled, after=mean)

    def _watched(self, strategy: Callable[..., Any]) -> Callable[..., Any]:
        def watched(bucket: Any, system: dspy.Module, **given: Any) -> object:
            if self._phase == "sampling":
                self._phase, self._new, self._sampled = "proposing", [], self._trials.batch.mean()
            seen = [_told(bucket[0], "better"), _told(bucket[-1], "worse")]  # a strategy changes its bucket
            try:
                returned = strategy(bucket, system, **given)
            except Exception as error:
                name, _ = system.named_predictors()[0]
                self._trials.failed(name, f"{watched.__name__}: {type(error).__name__}: {' '.join(str(error).split())}")
                raise
            self._new.append(self._trials.number_of(system, seen))
            return returned

        watched.__name__ = strategy.__name__
        return watched


def _told(run: dict[str, Any], which: str) -> dict[str, Any]:
    """One run of a bucket, as feedback: its task, score, and what the metric said."""
    told = {"task": run["example"]._rollout_ticket.task.name, "run": which, "score": run["score"]}  # noqa: SLF001
    said = run["output_metadata"].get("feedback")
    return told if said is None else {**told, "feedback": said}
