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
from rollout_local.runs import environment
from rollout_local.runs.fitness import ONLY_PROGRAMS
from rollout_local.runs.target import find_target
from rollout_local.search.engines import ENGINES
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
        found = [_of(name, target) for name in ENGINES]
    order = {"fits": 0, "possible": 1, "refused": 2}
    return sorted(found, key=lambda one: order[one.verdict])


def _of(name: str, target: Target) -> Advice:
    if not isinstance(target, ProgramTarget):
        if name == "gepa":
            return Advice(name, "fits", "the verifier says in words what is wrong with each output, and GEPA reads it")
        return Advice(name, "refused", ONLY_PROGRAMS[name])
    number_only = target.metric is not None and not speaks(target.metric.function)
    if name == "gepa":
        if number_only:
            why = "the metric gives a bare number, so GEPA has no words to reflect on; return feedback with the score"
            return Advice(name, "possible", why)
        return Advice(name, "fits", "the feedback says in words what is wrong, and GEPA reads it")
    return Advice(name, "fits" if number_only and name == "mipro" else "possible", _WHY[name])


_WHY = {
    "mipro": "searches instructions and demonstrations by the score alone; it needs no feedback, and more calls",
    "simba": "a quick pass: adds rules and demonstrations from the tasks whose samples differ most",
    "bettertogether": "runs stages one after the other (--strategy), such as demonstrations first, then GEPA",
}


def speaks(metric: object) -> bool:
    """The metric's source mentions feedback: whether a metric gives it cannot be seen without running it."""
    try:
        return "feedback" in inspect.getsource(metric)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return True
