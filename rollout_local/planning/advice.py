"""Which optimizer fits a target and its metric, in the words of DSPy's practice.

Feedback in words: GEPA reads it. A bare number: MIPROv2 searches instructions and demonstrations by score. A quick
pass: SIMBA. All but GEPA change what only a DSPy program has (demonstrations, predictors).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.planning import environment
from rollout_local.planning.target import find_target
from rollout_local.search.optimizers import OPTIMIZERS, Optimizer
from rollout_local.store.schema import Store
from rollout_local.targets.program import ProgramTarget


@dataclass(frozen=True)
class Advice:
    """One optimizer: `verdict` is `fits`, `possible` or `refused`."""

    optimizer: str
    verdict: str
    why: str


def advise(config: RunConfig, folder: Path, store: Store | None) -> list[Advice]:
    """Every optimizer, those that fit first."""
    with environment.for_target(config, offline_keys=True):
        target = find_target(config, folder, store)
        found = [_of(optimizer, target) for optimizer in OPTIMIZERS.values()]
    order = {"fits": 0, "possible": 1, "refused": 2}
    return sorted(found, key=lambda one: order[one.verdict])


def _of(optimizer: Optimizer, target: Target) -> Advice:
    name = optimizer.name
    if not isinstance(target, ProgramTarget):
        if optimizer.only_programs:
            return Advice(name, "refused", optimizer.only_programs)
        return Advice(name, "fits", optimizer.does)
    number_only = target.metric is not None and not speaks(target.metric.function)
    feedback = any(step.reads_feedback for step in optimizer.steps(None))
    if number_only and feedback and not optimizer.has_stages:
        why = "the metric gives a bare number, so there are no words to reflect on; return feedback with the score"
        return Advice(name, "possible", why)
    fits = optimizer.by_score if number_only else feedback and not optimizer.has_stages
    return Advice(name, "fits" if fits else "possible", optimizer.does)


def speaks(metric: object) -> bool:
    """The metric's source mentions feedback: whether a metric gives it cannot be seen without running it."""
    try:
        return "feedback" in inspect.getsource(metric)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return True
