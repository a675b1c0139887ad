"""The contract of MIPROv2, SIMBA and BetterTogether: the same candidates and scores as plain DSPy's, paid for once."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy
import pytest

from rollout_local.domain.run import StopReason
from rollout_local.errors import Paused
from rollout_local.search.engine import Began, ProposalFailed, Proposed, SearchSpec, Validated
from rollout_local.search.optimizers import OPTIMIZERS
from rollout_local.simulator import Simulator
from tests.contracts.plain_optimizers import (
    Journal,
    candidates_of,
    components,
    metric,
    number,
    ours,
    plain_mipro,
    plain_simba,
    plain_together,
    spec_of,
    task_lm,
    validated,
)
from tests.unit.search.conftest import Model

Simulate = Callable[..., Simulator]


@dataclass(frozen=True)
class Case:
    """One way to run an optimizer; `own` is the program's metric, `paid` trials and replies come to this much."""

    optimizer: str
    plain: Callable[..., Any]
    given: dict[str, Any]
    own: Any = metric


CASES = {
    "mipro": Case(
        "mipro", plain_mipro,
        {"arguments": {"num_candidates": 4, "num_trials": 7, "minibatch": False, "max_bootstrapped_demos": 2,
                       "max_labeled_demos": 2}},
    ),
    "mipro in minibatches": Case(
        "mipro", plain_mipro,
        {"seed": 3, "arguments": {"num_candidates": 5, "num_trials": 9, "minibatch_size": 3,
                                  "minibatch_full_eval_steps": 3, "max_labeled_demos": 1}}, number,
    ),
    "mipro without demonstrations": Case(
        "mipro", plain_mipro,
        {"arguments": {"auto": "light", "max_bootstrapped_demos": 0, "max_labeled_demos": 0}}, number,
    ),
    "simba": Case(
        "simba", plain_simba, {"arguments": {"bsize": 4, "num_candidates": 3, "max_steps": 3, "max_demos": 2}},
    ),
    "simba with a number": Case(
        "simba", plain_simba, {"seed": 5, "arguments": {"bsize": 3, "num_candidates": 4, "max_steps": 2}}, number,
    ),
    "simba without demonstrations": Case(
        "simba", plain_simba, {"arguments": {"bsize": 5, "num_candidates": 2, "max_steps": 3, "max_demos": 0}},
    ),
    "few shots, then gepa": Case(
        "bettertogether", plain_together,
        {"strategy": "few_shot -> gepa", "arguments": {
            "few_shot": {"max_bootstrapped_demos": 2, "max_labeled_demos": 1, "max_rounds": 2},
            "gepa": {"max_metric_calls": 60}}},
    ),
    "bootstrap, then simba": Case(
        "bettertogether", plain_together,
        {"strategy": "bootstrap -> simba", "seed": 2, "arguments": {
            "bootstrap": {"max_bootstrapped_demos": 2, "max_labeled_demos": 2, "num_candidate_programs": 2,
                              "max_rounds": 2},
            "simba": {"bsize": 4, "num_candidates": 2, "max_steps": 2}}}, number,
    ),
    "few shots, then mipro": Case(
        "bettertogether", plain_together,
        {"strategy": "few_shot -> mipro", "seed": 1, "arguments": {
            "few_shot": {"max_bootstrapped_demos": 1, "max_labeled_demos": 1},
            "mipro": {"num_candidates": 3, "num_trials": 3, "minibatch": False, "max_bootstrapped_demos": 1,
                      "max_labeled_demos": 1}}},
    ),
}  # fmt: skip
ELSEWHERE = {"gepa": "test_engine.py"}
"""Optimizers with a contract of their own, and the file that it is in."""
LONG = {
    "few shots, then mipro",
    "mipro in minibatches",
    "mipro without demonstrations",
    "simba with a number",
    "simba without demonstrations",
}
"""Cases that differ from another in their settings alone."""


@pytest.fixture(autouse=True)
def fickle() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with contextlib.redirect_stdout(io.StringIO()), dspy.context(lm=task_lm()):
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def made(case: Case, simulator: Simulator, **given: Any) -> SearchSpec:
    return spec_of(simulator, own=case.own, **{**case.given, **given})


@pytest.mark.filterwarnings("ignore:.*multivariate")
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in CASES]
)
def test_candidates_and_scores_are_those_of_the_plain_optimizer(simulate: Simulate, name: str) -> None:
    case = CASES[name]
    spec = made(case, simulate())
    result, journal = ours(case.optimizer, spec)
    his = case.plain(spec, case.own)
    known = list(candidates_of(spec, journal).values())
    found = [components(one["program"]) for one in his.candidate_programs]
    assert result.stop_reason is StopReason.PLAN_DONE
    assert [one for one in found if one not in known] == []
    assert len(known) > 2
    if "demonstrations" not in name:
        assert any(key.endswith(".demos") for one in known for key in one)
    if case.optimizer == "simba":
        assert {str(one) for one, _ in validated(spec, journal)} == {str(one) for one in [known[0], *found]}
        return
    scores = {str(one): 100 * mean for one, mean in validated(spec, journal)}
    assert [one["score"] for one in his.candidate_programs] == pytest.approx(
        [scores[str(one)] for one in found], abs=0.01
    )
    best = max(scores.values())
    assert scores[str(candidates_of(spec, journal)[result.best])] == pytest.approx(best)


@pytest.mark.parametrize(
    "name",
    [
        "mipro",
        "few shots, then gepa",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("simba", "few shots, then mipro")),
    ],
)
def test_a_search_that_was_stopped_goes_on_to_the_same_end_and_pays_nothing_twice(
    simulate: Simulate, name: str
) -> None:
    case = CASES[name]
    simulator = simulate()
    spec = made(case, simulator, concurrency=4)
    whole, journal = ours(case.optimizer, spec)
    events, asked = journal.events, sorted(journal.asked)
    halves = Journal()
    for limit in (journal.paid // 5, journal.paid // 2, journal.paid * 9 // 10):
        halves.limit = limit
        with pytest.raises(Paused):
            ours(case.optimizer, made(case, simulator, concurrency=4), halves)
    halves.limit = None
    again, halves = ours(case.optimizer, made(case, simulator, concurrency=1), halves)
    assert again == whole
    assert halves.events == events
    assert sorted(halves.asked) == asked
    assert halves.paid == journal.paid
    assert halves.trials.keys() == journal.trials.keys()


@pytest.mark.parametrize(
    "name",
    [
        "few shots, then gepa",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("mipro in minibatches", "simba")),
    ],
)
def test_four_threads_find_what_one_finds(simulate: Simulate, name: str) -> None:
    case = CASES[name]
    simulator = simulate()
    one, by_one = ours(case.optimizer, made(case, simulator, concurrency=1))
    four, by_four = ours(case.optimizer, made(case, simulator, concurrency=4))
    assert (one, by_one.events, by_one.trials) == (four, by_four.events, by_four.trials)


@pytest.mark.parametrize("budget", [1, *(pytest.param(number, marks=pytest.mark.long) for number in (9, 30, 52)), 47])
@pytest.mark.parametrize("name", ["mipro", "mipro in minibatches", "simba", "few shots, then gepa"])
def test_the_budget_is_never_passed_and_the_best_has_a_score_on_val(simulate: Simulate, name: str, budget: int) -> None:
    case = CASES[name]
    spec = made(case, simulate(), budget=budget, concurrency=4)
    result, journal = ours(case.optimizer, spec)
    beyond = [key for key in journal.trials if key[3] != 0]
    scored = [event for event in journal.events if isinstance(event, Validated)]
    assert len(beyond) <= budget
    assert scored[0].number == 0
    assert result.best in {event.number for event in scored}
    assert all(event.spent <= budget for event in scored)
    assert result.stop_reason is StopReason.BUDGET_SPENT
    if budget >= 47:
        assert len(scored) > 1, "some of the budget is kept back for val"


def test_a_score_that_was_asked_for_ends_the_search(simulate: Simulate) -> None:
    case = CASES["mipro"]
    spec = made(case, simulate())
    _, journal = ours("mipro", spec)
    first = next(event for event in journal.events if isinstance(event, Validated) and event.number)
    result, shorter = ours("mipro", replace(spec, stop_at=min(first.mean, 1.0)))
    assert result.stop_reason is StopReason.SCORE_REACHED
    assert shorter.paid <= journal.paid


def test_a_reflection_model_that_cannot_be_read_ends_the_search_with_what_there_is(simulate: Simulate) -> None:
    server = Model(lambda _: "No.")
    try:
        spec = made(CASES["mipro"], simulate())
        result, journal = ours("mipro", replace(spec, reflection=replace(spec.reflection, api_base=server.url)))
    finally:
        server.stop()
    assert (result.best, result.stop_reason) == (0, StopReason.NO_PROPOSALS)
    failed = [event.reason for event in journal.events if isinstance(event, ProposalFailed)]
    assert failed == ["the reflection model's reply has no usable text; it begins 'No.'"]


def test_a_batch_begins_before_its_first_trial_and_a_candidate_is_told_of_before(simulate: Simulate) -> None:
    case = CASES["simba"]
    spec = made(case, simulate(), concurrency=4)
    _, journal = ours("simba", spec)
    sizes = [event.size for event in journal.events if isinstance(event, Began)]
    assert sum(sizes) == len(journal.asked)
    proposed = [event for event in journal.events if isinstance(event, Proposed)]
    assert [event.number for event in proposed] == list(range(1, len(proposed) + 1))
    assert all(event.parents[0] < event.number for event in proposed)
    assert all({"task", "run", "score"} <= set(event.feedback[0]) for event in proposed)


def test_every_optimizer_of_the_table_is_held_against_plain_dspy() -> None:
    assert all((Path(__file__).parent / file).is_file() for file in ELSEWHERE.values())
    assert {case.optimizer for case in CASES.values()} | set(ELSEWHERE) == set(OPTIMIZERS)
