"""The arguments of MIPROv2, SIMBA, BetterTogether and its stages: constructor and `compile` in one table each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt import BootstrapFewShot, BootstrapFewShotWithRandomSearch

from rollout_local.search import gepa_arguments
from rollout_local.search.arguments import Count, Literal, Share, Size, Table
from rollout_local.search.optimizers import STEPS

_TASK_MODEL = "the program is its own teacher, and asks the model of --task-model"
_SETS = dict.fromkeys(("student", "trainset", "valset"), "the run gives the program and the tasks of its splits")
_SHARED = {
    **_SETS,
    "metric": "the target's own metric or --verifier grades",
    "teacher": _TASK_MODEL,
    "teacher_settings": _TASK_MODEL,
    "num_threads": "give --concurrency",
    "seed": "give --seed",
    "max_errors": "a failed task is a result here; where it is the provider's doing, the run waits",
    "provide_traceback": "what a task raised is kept with its trial",
}
_MODELS = {
    "prompt_model": "give --reflection-model, whose calls are recorded",
    "task_model": "give --task-model, whose calls are recorded",
}

MIPRO_TYPES: dict[str, object] = {
    "auto": Literal["light", "medium", "heavy"] | None,
    "num_candidates": Size | None,
    "num_trials": Size | None,
    "max_bootstrapped_demos": Count,
    "max_labeled_demos": Count,
    "init_temperature": float,
    "track_stats": bool,
    "metric_threshold": Share | None,
    "minibatch": bool,
    "minibatch_size": Size,
    "minibatch_full_eval_steps": Size,
    "program_aware_proposer": bool,
    "data_aware_proposer": bool,
    "view_data_batch_size": Size,
    "tip_aware_proposer": bool,
    "fewshot_aware_proposer": bool,
}
MIPRO_REFUSED = {
    **_SHARED,
    **_MODELS,
    "log_dir": "every program is kept as a candidate of the run; give --log-dir for the run's own files",
    "verbose": "everything that it would print is kept: candidates, trials, and what the models were asked",
    "requires_permission_to_run": "DSPy has removed it",
}

SIMBA_TYPES: dict[str, object] = {
    "bsize": Size,
    "num_candidates": Size,
    "max_steps": Size,
    "max_demos": Count,
    "demo_input_field_maxlen": Size,
    "temperature_for_sampling": float,
    "temperature_for_candidates": float,
}
SIMBA_REFUSED = {**_SHARED, **_MODELS}

BOOTSTRAP_TYPES: dict[str, object] = {
    "metric_threshold": Share | None,
    "max_bootstrapped_demos": Size,
    "max_labeled_demos": Count,
    "max_rounds": Size,
    "num_candidate_programs": Count,
    "stop_at_score": float | None,
    "labeled_sample": bool,
}

PLAIN_STAGES: dict[str, Any] = {
    "bootstrap": BootstrapFewShotWithRandomSearch,
    "random_search": BootstrapFewShotWithRandomSearch,
    "few_shot": BootstrapFewShot,
}
"""`bootstrap` is what DSPy's practice calls so in `BetterTogether(bootstrap=…)`; its other name says what it does."""

TOGETHER_REFUSED = {
    **_SHARED,
    "valset_ratio": "the run's splits say what val is",
    "strategy": "give --strategy",
    "optimizer_compile_args": "give the arguments of a stage by its name, such as --arg bootstrap.max_labeled_demos=2",
    "optimizers": "the stages are known by name; give --strategy",
}


def mipro_table() -> Table:
    """Arguments of MIPROv2."""
    return Table(_both(dspy.MIPROv2), MIPRO_TYPES, MIPRO_REFUSED, {})


def simba_table() -> Table:
    """Arguments of SIMBA."""
    return Table(_both(dspy.SIMBA), SIMBA_TYPES, SIMBA_REFUSED, {})


def together_table(stages: Sequence[str] | None = None) -> Table:
    """Arguments of BetterTogether, those of a stage as `stage.name`; of all stages where none are named."""
    inner = {name: _stage_table(name) for name in stages or STEPS}
    own = list(_both(dspy.BetterTogether).parameters.values())
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in inner]
    types = {"shuffle_trainset_between_steps": bool, **dict.fromkeys(inner, dict[str, object])}
    return Table(inspect.Signature([*own, *named]), types, TOGETHER_REFUSED, inner)


def _stage_table(name: str) -> Table:
    if name == "mipro":
        return mipro_table()
    if name == "simba":
        return simba_table()
    if name == "gepa":
        table = gepa_arguments.table()
        refused = {key: why for key, why in table.refused.items() if key != "max_metric_calls"}
        return Table(table.signature, {**table.types, "max_metric_calls": Size}, refused, table.inner, table.code)
    return Table(_both(PLAIN_STAGES[name]), BOOTSTRAP_TYPES, {**_SHARED, "restrict": "give num_candidate_programs"}, {})


def split_arguments(optimizer: Any, arguments: Mapping[str, Any]) -> tuple[dict[str, object], dict[str, object]]:
    """Arguments of an optimizer's constructor, and the others, which its `compile` takes."""
    own = inspect.signature(optimizer.__init__).parameters
    made = {name: value for name, value in arguments.items() if name in own}
    return made, {name: value for name, value in arguments.items() if name not in own}


def _both(optimizer: Any) -> inspect.Signature:
    """Constructor and `compile` as one signature; what both take once."""
    found: dict[str, inspect.Parameter] = {}
    for function in (optimizer.__init__, optimizer.compile):
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                found.setdefault(name, parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return inspect.Signature(list(found.values()))
