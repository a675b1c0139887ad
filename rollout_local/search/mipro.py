"""`dspy.MIPROv2` as an engine.

MIPROv2 collects demonstrations from train, asks the reflection model for instructions, and tries combinations on
val. In minibatches, the best combination that has no score on all of val yet gets one in the end; a pass over val is
kept back from the budget for that. Needs optuna and numpy: the extra `[optimizers]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dspy

from rollout_local.search.engine import SearchResult, SearchSpec, Signals
from rollout_local.search.optimizer_arguments import mipro_table, split_arguments
from rollout_local.search.program_search import search_with, task_model
from rollout_local.search.program_trials import Trials
from rollout_local.search.prompt_model import prompt_model

DEFAULT_MINIBATCH = 35


def search(spec: SearchSpec, signals: Signals) -> SearchResult:
    """Run MIPROv2 over the spec. Returns the best candidate by val mean, the first of equals."""

    def optimized(trials: Trials) -> object:
        optimizer, rest = mipro_of(spec, trials, mipro_table().loaded(spec.arguments))
        sets = {"trainset": trials.examples("train"), "valset": trials.examples("val")}
        return optimizer.compile(trials.student(), **sets, **rest)

    def kept(trials: Trials, made: dspy.Module) -> Iterable[int]:
        if made is None:
            return trials.best_on_part_of_val()
        return [trials.number_of(made), *trials.best_on_part_of_val()]

    return search_with(spec, signals, optimized, kept)


def mipro_of(spec: SearchSpec, trials: Trials, arguments: dict[str, object]) -> tuple[Any, dict[str, object]]:
    """MIPROv2 with its own arguments, and those that its `compile` takes."""
    assert spec.program is not None
    given, rest = split_arguments(dspy.MIPROv2, arguments)
    if given.get("num_candidates") is not None or rest.get("num_trials") is not None:
        given.setdefault("auto", None)  # MIPROv2 takes one or the other
    rest.setdefault("minibatch_size", min(DEFAULT_MINIBATCH, len(spec.val)))
    model = prompt_model(spec, trials.signals.reflect)
    optimizer = dspy.MIPROv2(
        metric=trials.metric(), prompt_model=model, task_model=task_model(spec.program.module),
        num_threads=spec.concurrency, seed=spec.seed, **given,
    )  # fmt: skip
    return optimizer, rest
