"""The arguments of `dspy.GEPA`, and of `gepa.optimize` below it (`gepa_kwargs`)."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal

import dspy
import gepa
from pydantic import AfterValidator

from rollout_local.search.arguments import GIVEN_ABOVE, Code, Count, Share, Size, Table

OURS = "it is what a run keeps by itself"
SELECTIONS = Literal["pareto", "current_best", "epsilon_greedy", "top_k_pareto"]


def _kept(frontier: str) -> str:
    if frontier != "instance":
        msg = "a run keeps one score a trial and none per objective; weight the checks of a verifier, and use instance"
        raise ValueError(msg)
    return frontier


TYPES: dict[str, object] = {
    "reflection_minibatch_size": Size,
    "candidate_selection_strategy": SELECTIONS | Code,
    "skip_perfect_score": bool,
    "add_format_failure_as_feedback": bool,
    "instruction_proposer": Code,
    "component_selector": Literal["round_robin", "all"] | Code,
    "use_merge": bool,
    "max_merge_invocations": Count | None,
    "perfect_score": Share,
    "track_stats": bool,
    "track_best_outputs": bool,
    "warn_on_score_mismatch": bool,
    "use_wandb": bool,
    "wandb_init_kwargs": dict[str, object] | None,
    "use_mlflow": bool,
    "gepa_kwargs": dict[str, object],
}

REFUSED = {
    "metric": "the target's own metric or --verifier grades",
    "auto": "give --auto, which keeps the budget's promise",
    "max_full_evals": "give --max-full-evals, which keeps the budget's promise",
    "max_metric_calls": "give --max-metric-calls, which is never passed",
    "reflection_lm": "give --reflection-model, whose calls are recorded",
    "num_threads": "give --concurrency",
    "seed": "give --seed",
    "failure_score": "a target's own failure scores 0 here, and a provider's failure is never a score",
    "log_dir": "GEPA resumes from a pickle to another result; give --log-dir, which resumes to the same one",
    "code_proposer": "it writes code for dspy.Flex, and a run executes no text of a model",
    "wandb_api_key": "a key given here would be stored; set WANDB_API_KEY",
}

INNER_TYPES: dict[str, object] = {
    "frontier_type": Annotated[Literal["instance", "objective", "hybrid", "cartesian"], AfterValidator(_kept)],
    "batch_sampler": Literal["epoch_shuffled"] | Code,
    "merge_val_overlap_floor": Size,
    "val_evaluation_policy": Literal["full_eval"],
    "acceptance_criterion": Literal["strict_improvement", "improvement_or_equal"] | Code,
    "sampling_strategy": Code,
    "selection_strategy": Code,
    "use_cloudpickle": bool,
    "mlflow_tracking_uri": str,
    "mlflow_experiment_name": str,
    "mlflow_attach_existing": bool,
    "wandb_attach_existing": bool,
    "tracking_key_prefix": str,
}

_GIVEN_BY_DSPY = (
    "seed_candidate", "trainset", "valset", "adapter", "reflection_lm", "candidate_selection_strategy",
    "skip_perfect_score", "reflection_minibatch_size", "module_selector", "perfect_score", "use_merge",
    "max_merge_invocations", "max_metric_calls", "logger", "use_wandb", "wandb_api_key", "wandb_init_kwargs",
    "use_mlflow", "track_best_outputs", "display_progress_bar", "raise_on_exception", "seed",
)  # fmt: skip

INNER_REFUSED = {
    **dict.fromkeys(_GIVEN_BY_DSPY, GIVEN_ABOVE),
    "cache_evaluation": "in gepa 0.1.4 it takes train scores for val scores; --reuse lets equal trials stand in safely",
    "run_dir": REFUSED["log_dir"],
    "callbacks": "they are how a run hears of the search; `rollout optimize logs --json` and the tables have it all",
    "stop_callbacks": "give --stop-at, --no-improvement, --max-seconds or --max-cost, which survive a resume",
    "max_reflection_cost": "give --max-cost, which is reserved before each call",
    "reflection_prompt_template": "dspy.GEPA does not use it; give --arg instruction_proposer=module:function",
    "custom_candidate_proposer": "dspy.GEPA proposes by itself; give --arg instruction_proposer=module:function",
    "reflection_strategy": "dspy.GEPA proposes by itself; give --arg instruction_proposer=module:function",
    "task_lm": "the target calls its model; give --task-model",
    "evaluator": "the run evaluates; give --verifier, or a metric to the program",
    "reflection_lm_kwargs": "give --reflection-param",
}


CODE = frozenset({"instruction_proposer", "component_selector", "candidate_selection_strategy"})
INNER_CODE = frozenset({"batch_sampler", "acceptance_criterion", "sampling_strategy", "selection_strategy"})


def table() -> Table:
    """Both tables, over the installed signatures."""
    says = inspect.getdoc(gepa.optimize) or ""
    inner = Table(inspect.signature(gepa.optimize), INNER_TYPES, INNER_REFUSED, {}, INNER_CODE, says)
    own = inspect.signature(dspy.GEPA.__init__)
    return Table(own, TYPES, REFUSED, {"gepa_kwargs": inner}, CODE, inspect.getdoc(dspy.GEPA) or "")
