"""Whether an optimizer can work on a target, and a search on its scores: said before a run is made, with the reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import AgentResult, Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError, OutOfScale, RecordingMiss
from rollout_local.recordings import none_from_here
from rollout_local.search.optimizers import STEPS, Optimizer, Step, optimizer_named
from rollout_local.targets.program import ProgramTarget
from rollout_local.verifiers.grade import grade

MOST_SEED = 2**32 - 1


def require_fit(config: RunConfig, target: Target) -> None:
    """Raise `InputError` where the optimizer cannot work on this target, or not with these settings."""
    optimizer = optimizer_named(config.optimizer)
    if config.strategy is not None and not optimizer.has_stages:
        msg = f"--strategy names the stages of --optimizer bettertogether; {optimizer.name} has none"
        raise InputError(msg)
    if optimizer.only_programs and not isinstance(target, ProgramTarget):
        raise InputError(optimizer.only_programs)
    steps = optimizer.steps(config.strategy)
    if optimizer.has_stages:
        _require_stages(config, steps)
    for step in steps:
        _require_packages(step)
    _require_settings(config, optimizer, steps)
    if optimizer.samples and isinstance(target, ProgramTarget):
        _require_model(config, target)


def require_scale(target: Target, specs: Sequence[VerifierSpec], task: Task) -> None:
    """Raise `InputError` where the user's own metric or check gives the right answer a grade that is not from 0 to 1.

    A search would take the worst grade from 1 to 5 for a perfect score. What else goes wrong here says nothing: no
    model is asked, and the labels are no answer of the program's.
    """
    own = [spec for spec in specs if {check.type for check in spec.checks} == {"python"}]
    try:
        with none_from_here():
            if isinstance(target, ProgramTarget) and target.grades_itself:
                target.try_metric(task)
            elif own and task.expected_output is not None:
                grade(own, task, AgentResult(output=task.expected_output))
    except OutOfScale as error:
        msg = f"{error}. It is the grade of task {task.name!r}'s own right answer: give (grade - 1) / 4 of 1 to 5"
        raise InputError(msg) from error
    except (Exception, RecordingMiss):  # noqa: BLE001 - the user's code on an answer that nobody gave
        return


def _require_stages(config: RunConfig, steps: list[Step]) -> None:
    """Refuse arguments of a stage that does not run."""
    stages = [step.name for step in steps]
    for name in config.arguments:
        if name in STEPS and name not in stages:
            msg = f"--arg {name}.… is for a stage that --strategy does not have ({' -> '.join(stages)})"
            raise InputError(msg)


def _require_packages(step: Step) -> None:
    missing = [package for package in step.needs if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"{step.name} needs {' and '.join(missing)}; `pip install 'rollout-local[optimizers]'`"
        raise InputError(msg)


def _require_settings(config: RunConfig, optimizer: Optimizer, steps: list[Step]) -> None:
    if config.no_improvement is not None and not optimizer.counts_iterations:
        msg = "--no-improvement counts the iterations of gepa; here give --stop-at, or a smaller --max-metric-calls"
        raise InputError(msg)
    if config.reuse and not optimizer.takes_reuse:
        msg = "--reuse would give every sample of a program the same answer; leave it out"
        raise InputError(msg)
    if any(step.seeds_numpy for step in steps) and not 0 <= config.seed <= MOST_SEED:
        msg = f"--seed {config.seed}: numpy takes a seed of 0 to {MOST_SEED}"
        raise InputError(msg)


def _require_model(config: RunConfig, target: ProgramTarget) -> None:
    """An optimizer that samples has to know the one model that it samples."""
    own = {id(predictor.lm): predictor.lm for _, predictor in target.module.named_predictors()}
    if len(own) > 1:
        msg = f"target {target.id!r}: its predictors have models of their own; {config.optimizer} samples a single one"
        raise InputError(msg)
    if None in own.values() and config.task_model is None:
        msg = f"{config.optimizer} samples the program's model, and it has none of its own; give --task-model"
        raise InputError(msg)
