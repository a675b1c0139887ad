"""RunConfig, the states and the table of moves."""

import itertools
import re

import pytest
from pydantic import ValidationError

from rollout_local.domain.run import (
    DEFAULT_REFLECTION_PARAMS,
    MOVES,
    OPERATIONAL,
    Phase,
    RunConfig,
    RunStatus,
    TrialKey,
    reflection_params,
)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"auto": "light", "max_metric_calls": 10}, "--auto and --max-metric-calls"),
        ({"auto": "heavy", "max_full_evals": 2}, "--auto and --max-full-evals"),
        ({"max_metric_calls": 5, "max_full_evals": 2}, "--max-metric-calls and --max-full-evals"),
    ],
)
def test_two_budgets_are_refused_by_the_names_of_their_flags(given, flags):
    with pytest.raises(ValidationError, match=f"{flags} are both given; a run has exactly one budget"):
        RunConfig(**given)


@pytest.mark.parametrize("given", [{}, {"auto": "light"}, {"max_metric_calls": 2}, {"max_full_evals": 1}])
def test_one_budget_or_none_is_fine(given):
    assert RunConfig(**given).model_dump(include=set(given)) == given


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_metric_calls": 0},
        {"max_tasks": 0},
        {"max_cost": 0},
        {"max_seconds": -1},
        {"no_improvement": 0},
        {"stop_at": 1.1},
        {"min_holdout_improvement": -0.1},
        {"confidence": 1},
        {"concurrency": 0},
        {"timeout": 0},
        {"auto": "extreme"},
        {"record_mode": "always"},
        {"nosuchflag": 1},
        {"seed": "x"},
    ],
)
def test_values_out_of_range_and_unknown_fields_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RunConfig(**wrong)


def test_the_documented_defaults_hold_and_are_not_shared():
    config = RunConfig()
    assert (config.concurrency, config.seed, config.optimizer, config.record_mode) == (4, 0, "gepa", "new_episodes")
    assert config.reflection_params == {"temperature": 1.0, "max_tokens": 32000}
    config.reflection_params["temperature"] = 0
    assert DEFAULT_REFLECTION_PARAMS["temperature"] == 1.0
    assert RunConfig().reflection_params["temperature"] == 1.0


def test_what_is_given_goes_before_the_defaults_under_either_name_of_the_limit():
    assert reflection_params({"temperature": 0}) == {"temperature": 0, "max_tokens": 32000}
    assert reflection_params({"max_completion_tokens": 9}) == {"temperature": 1.0, "max_completion_tokens": 9}


def test_a_config_is_frozen_and_comes_back_from_its_json():
    config = RunConfig(modules=("app",), prices={"m": (1.0, 2.0)}, tags=("a", "b"), max_metric_calls=7)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1


def test_every_operational_field_is_a_field():
    assert set(RunConfig.model_fields) >= OPERATIONAL
    assert not OPERATIONAL & {"seed", "optimizer", "target", "max_metric_calls", "reflection_model", "arguments"}


LEGAL = {
    "created": "queued running cancelled",
    "queued": "running cancelled",
    "running": "paused completed failed cancelled queued",
    "paused": "running queued cancelled",
    "completed": "queued running",
    "failed": "queued running",
    "cancelled": "queued running",
}


@pytest.mark.parametrize(("start", "to"), list(itertools.product(RunStatus, RunStatus)))
def test_the_table_of_moves_says_what_may_follow_what(start, to):
    assert (to in MOVES[start]) == (to.value in LEGAL[start].split())


def test_no_status_follows_itself_and_none_is_forgotten():
    assert set(MOVES) == set(RunStatus)
    assert all(status not in MOVES[status] for status in RunStatus)


def test_three_states_are_terminal():
    assert {status.value for status in RunStatus if status.is_terminal()} == {"completed", "failed", "cancelled"}


def test_the_phases_have_their_documented_names_in_order():
    assert " ".join(Phase) == "evaluating_baseline searching evaluating_best finalizing"


def key(**changes):
    given = {"attempt": 1, "candidate": "sha256:" + "0123456789abcdef" * 4, "task": "t", "split": "val"}
    return TrialKey(**{**given, "occurrence": 0, **changes})


def test_a_scope_names_candidate_split_task_and_occurrence():
    assert key(task="leak", occurrence=2).scope == "trial/0123456789abcdef/val/leak/2"


def test_a_scope_does_not_know_the_attempt_so_that_a_replay_finds_it():
    assert key(attempt=1).scope == key(attempt=2).scope
    assert key(attempt=1) != key(attempt=2)


def test_everything_else_that_tells_trials_apart_tells_scopes_apart():
    other = "sha256:" + "f" * 64
    scopes = [key(), key(task="u"), key(split="train"), key(occurrence=1), key(candidate=other)]
    assert len({each.scope for each in scopes}) == len(scopes) == len(set(scopes))
    assert all(re.fullmatch(r"trial/[0-9a-f]{16}/\w+/\w/\d", each.scope) for each in scopes)


def test_a_split_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="split"):
        key(split="test")
