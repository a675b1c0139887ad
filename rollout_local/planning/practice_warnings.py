"""What DSPy's practice advises against, told when a run is created: it may be meant, and is not refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollout_local.models import are_one, price
from rollout_local.planning.advice import speaks
from rollout_local.planning.setup import Setup
from rollout_local.reports.forecast import MINIBATCH, proposals_bought
from rollout_local.search.optimizers import optimizer_named
from rollout_local.store import reads
from rollout_local.store.schema import Store

BARE_NUMBER = (
    "the metric gives a bare number, so GEPA has no words to reflect on; return "
    "dspy.Prediction(score=…, feedback=…), or take --optimizer mipro"
)
CHEAPER = "--max-tasks is what makes a whole run cheap"
NOT_ASKED = f"the reflection model is asked once whether it answers, and nothing else; {CHEAPER}"
NOT_JUDGED = f"the reflection model is asked, and there is nothing left to try its text with; {CHEAPER}"
UNTRIED = (
    "--auto heavy on a target and a metric that no run has tried yet; a run with --auto light shows first whether "
    "the scores can be believed"
)
WEAKER = "a weaker model writes weaker prompts"
SAMPLE = 1_000
"""Tokens in and out, to compare what two models cost."""


def cautions(setup: Setup, store: Store | None) -> Iterator[tuple[str, str]]:
    """A sentence for each, `(what it is about, sentence)`. `store` tells whether the target was ever run."""
    config, target = setup.config, setup.target
    optimizer = optimizer_named(config.optimizer)
    reflects = any(step.reads_feedback for step in optimizer.steps(config.strategy))
    if reflects and target.metric and not speaks(target.metric.function):
        yield "metric", BARE_NUMBER
    if reflects and (smaller := _smaller_reflection(setup)):
        yield "reflection", smaller
    bought = proposals_bought(setup.budget, setup.split.sizes()["val"], _minibatch(setup))
    if optimizer.counts_iterations and bought[1] == 0:
        why = NOT_ASKED if asks_for_no_proposal(setup) else NOT_JUDGED
        yield "budget", f"a search budget of {setup.budget} buys no proposal: {why}"
    if config.auto == "heavy" and not (store and reads.runs(store, status="completed", target=target.id, limit=1)):
        yield "budget", UNTRIED


def asks_for_no_proposal(setup: Setup) -> bool:
    """Whether the search has not the budget to come to its first reflection."""
    return optimizer_named(setup.config.optimizer).counts_iterations and setup.budget < _minibatch(setup)


def _minibatch(setup: Setup) -> int:
    return int(setup.config.arguments.get("reflection_minibatch_size") or MINIBATCH)


def _smaller_reflection(setup: Setup) -> str:
    """Where the reflection model costs less than the task model, or is smaller by its name: it ought to be stronger."""
    model, other, prices = setup.config.reflection_model, setup.config.task_model, setup.config.prices
    if model is None or other is None or are_one(model, other):
        return ""
    costs = [price(name, SAMPLE, SAMPLE, prices) for name in (model, other)]
    sizes = [_billions(name) for name in (model, other)]
    if costs[0] is not None and costs[1] is not None and costs[0] != costs[1]:
        what = "costs less" if costs[0] < costs[1] else ""
    else:
        what = "is smaller" if sizes[0] and sizes[1] and sizes[0] < sizes[1] else ""
    return f"--reflection-model {model} {what} than the task model {other}; {WEAKER}" if what else ""


def _billions(model: str) -> float:
    """The parameters that a model's name tells, as in `llama3.1:8b` and `mixtral-8x7b`; 0 where it tells none."""
    found = _SIZE.search(model.lower())
    return int(found[1] or 1) * float(found[2]) if found else 0.0


_SIZE = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])")
