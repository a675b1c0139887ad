"""The table of optimizers: one record says everything that the rest of the system asks about one of them.

To add an optimizer: a module with its `search` (an `engine.Engine`), and a row in `OPTIMIZERS`. Modules are named, and
imported when they are asked for: DSPy takes a while to load.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout_local.errors import InputError
from rollout_local.search.arguments import Table
from rollout_local.search.engine import Engine

_HERE = "rollout_local.search"
_BRING_ONE = "; bring a DSPy program with @rollout.optimize_program, or use --optimizer gepa"


@dataclass(frozen=True)
class Step:
    """One algorithm: an optimizer's own, or a stage of `--strategy`."""

    name: str
    needs: tuple[str, ...] = ()
    """Packages of the extra `[optimizers]` that it imports."""
    reads_feedback: bool = False
    """It reflects on feedback in words; a bare score tells it nothing."""
    collects_demonstrations: bool = False
    """It keeps runs that the metric accepts as demonstrations (from `metric_threshold` on, where that is given)."""
    seeds_numpy: bool = False
    """Its seed goes to numpy: 0 to 2**32 - 1."""


@dataclass(frozen=True)
class Optimizer:
    """What is behind `--optimizer NAME`. `search` and `arguments` are `module:attribute`."""

    name: str
    search: str
    arguments: str
    does: str
    """In one sentence, why one would choose it."""
    step: Step | None = None
    """Its own algorithm; None where it runs the stages of `--strategy`."""
    only_programs: str = ""
    """Why it cannot work on a target that is no DSPy program; empty where it can."""
    by_score: bool = False
    """It fits a metric that gives a bare number."""
    samples: bool = True
    """It samples the program's model, and so has to know the one model that the program asks."""
    counts_iterations: bool = False
    """It has iterations that `--no-improvement` can count, and a budget that buys proposals."""
    takes_reuse: bool = False
    """`--reuse` of a trial's result leaves its search what it was."""

    @property
    def has_stages(self) -> bool:
        """Whether `--strategy` says what it does."""
        return self.step is None

    def engine(self) -> Engine:
        """What searches."""
        engine: Engine = _imported(self.search)
        return engine

    def table(self) -> Table:
        """Its arguments for `--arg`."""
        table: Table = _imported(self.arguments)()
        return table

    def steps(self, strategy: str | None) -> list[Step]:
        """The algorithms that it runs, in order. Raises `InputError` where the strategy names none that there is."""
        return [self.step] if self.step is not None else [STEPS[name] for name in read_strategy(strategy)]

    def arguments_by_step(
        self, strategy: str | None, given: Mapping[str, Any]
    ) -> list[tuple[Step, Mapping[str, object]]]:
        """Each algorithm that it runs, with what `--arg` gave to it."""
        return [(step, given if self.step is not None else given.get(step.name) or {}) for step in self.steps(strategy)]

    @property
    def decisive_packages(self) -> tuple[str, ...]:
        """Packages whose versions may decide its search, whatever its stages are."""
        steps = (self.step,) if self.step is not None else STEPS.values()
        return tuple(sorted({package for step in steps for package in step.needs}))


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"{_HERE}.{module}"), name)


_GEPA = Step("gepa", reads_feedback=True)
_MIPRO = Step("mipro", needs=("optuna", "numpy"), collects_demonstrations=True, seeds_numpy=True)
_SIMBA = Step("simba", needs=("numpy",), seeds_numpy=True)
STEPS = {
    step.name: step
    for step in (
        Step("bootstrap", collects_demonstrations=True),
        Step("random_search", collects_demonstrations=True),
        Step("few_shot", collects_demonstrations=True),
        _GEPA,
        _MIPRO,
        _SIMBA,
    )
}
"""The stages that a strategy may have."""
WEIGHT_STAGES = ("finetune", "grpo")
DEFAULT_STRATEGY = "random_search -> gepa"

OPTIMIZERS = {
    one.name: one
    for one in (
        Optimizer(
            "gepa", "gepa:search", "gepa_arguments:table",
            "the feedback says in words what is wrong, and GEPA reads it",
            step=_GEPA, samples=False, counts_iterations=True, takes_reuse=True,
        ),
        Optimizer(
            "mipro", "mipro:search", "optimizer_arguments:mipro_table",
            "searches instructions and demonstrations by the score alone; it needs no feedback, and more calls",
            step=_MIPRO, by_score=True, takes_reuse=True,
            only_programs="MIPROv2 needs predictors to put demonstrations in, which only a DSPy program has"
            + _BRING_ONE,
        ),
        Optimizer(
            "simba", "simba:search", "optimizer_arguments:simba_table",
            "a quick pass: adds rules and demonstrations from the tasks whose samples differ most",
            step=_SIMBA,
            only_programs="SIMBA changes demonstrations, which only a DSPy program has: this target would never see "
            "them" + _BRING_ONE,
        ),
        Optimizer(
            "bettertogether", "bettertogether:search", "optimizer_arguments:together_table",
            "runs stages one after the other (--strategy), such as demonstrations first, then GEPA",
            only_programs="BetterTogether needs predictors with models of their own, which only a DSPy program has"
            + _BRING_ONE,
        ),
    )
}  # fmt: skip
"""Optimizers by name."""
GIVEN = Optimizer(
    "given", "given:search", "given:table", "compares a given text with the baseline (`optimize judge`)",
    step=Step("given"), samples=False, by_score=True, takes_reuse=True,
)  # fmt: skip
"""The optimizer of runs that search nothing."""


def optimizer_named(name: str) -> Optimizer:
    """The optimizer behind `--optimizer NAME`; raises `InputError` naming those there are."""
    if name == GIVEN.name:
        return GIVEN
    if name not in OPTIMIZERS:
        msg = f"there is no optimizer {name!r}; use one of {', '.join(OPTIMIZERS)}"
        raise InputError(msg)
    return OPTIMIZERS[name]


def read_strategy(strategy: str | None) -> list[str]:
    """The names of the stages. Raises `InputError` naming a stage that there is not, or that cannot run here."""
    steps = [step.strip() for step in (strategy or DEFAULT_STRATEGY).split("->")]
    for step in steps:
        if step in WEIGHT_STAGES:
            msg = f"--strategy: {step} trains a model's weights, which no recording repeats; use {', '.join(STEPS)}"
            raise InputError(msg)
        if step not in STEPS:
            msg = f"--strategy: there is no stage {step!r}; join {', '.join(STEPS)} by ' -> '"
            raise InputError(msg)
    return steps
