"""Whether an optimizer can work on a target at all; said when the run is created, with the reason."""

from __future__ import annotations

import importlib.util

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.errors import InputError
from rollout_local.targets.program import ProgramTarget

_BRING_ONE = "; bring a DSPy program with @rollout.optimize_program, or use --optimizer gepa"
ONLY_PROGRAMS = {
    "mipro": "MIPROv2 needs predictors to put demonstrations in, which only a DSPy program has" + _BRING_ONE,
    "simba": "SIMBA changes demonstrations, which only a DSPy program has: this target would never see them"
    + _BRING_ONE,
    "bettertogether": "BetterTogether needs predictors with models of their own, which only a DSPy program has"
    + _BRING_ONE,
}
NEEDS = {"mipro": ("optuna", "numpy"), "simba": ("numpy",)}
"""Packages of the extra `[optimizers]` that an optimizer, or a stage, imports."""
MOST_SEED = 2**32 - 1


def require_fit(config: RunConfig, target: Target) -> None:
    """Raise `InputError` where the optimizer cannot work on this target, or not with these settings."""
    name = config.optimizer
    if config.strategy is not None and name != "bettertogether":
        msg = f"--strategy names the stages of --optimizer bettertogether; {name} has none"
        raise InputError(msg)
    if name == "gepa":
        return
    if not isinstance(target, ProgramTarget):
        raise InputError(ONLY_PROGRAMS[name])
    stages = _stages(config) if name == "bettertogether" else [name]
    for stage in stages:
        _require_packages(stage)
    _require_settings(config, stages)
    _require_model(config, target)


def _stages(config: RunConfig) -> list[str]:
    from rollout_local.search.optimizer_arguments import OF_STAGES, read_strategy

    stages = read_strategy(config.strategy)
    for name in config.arguments:
        if name in OF_STAGES and name not in stages:
            msg = f"--arg {name}.… is for a stage that --strategy does not have ({' -> '.join(stages)})"
            raise InputError(msg)
    return stages


def _require_packages(stage: str) -> None:
    missing = [package for package in NEEDS.get(stage, ()) if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"{stage} needs {' and '.join(missing)}; `pip install 'rollout-local[optimizers]'`"
        raise InputError(msg)


def _require_settings(config: RunConfig, stages: list[str]) -> None:
    if config.no_improvement is not None:
        msg = "--no-improvement counts the iterations of gepa; here give --stop-at, or a smaller --max-metric-calls"
        raise InputError(msg)
    if config.reuse and config.optimizer != "mipro":
        msg = "--reuse would give every sample of a program the same answer; leave it out"
        raise InputError(msg)
    if {"mipro", "simba"} & set(stages) and not 0 <= config.seed <= MOST_SEED:
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
