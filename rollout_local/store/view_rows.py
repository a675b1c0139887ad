"""The rows of every view as types."""

from __future__ import annotations

from typing import TypedDict

from rollout_local.store.row_types import SpanColumns


class SpanRow(SpanColumns):
    """A step of an execution with its input."""

    input: str


class RunSummaryRow(TypedDict):
    """A run with the scores of its baseline and its best."""

    id: str
    name: str | None
    status: str
    phase: str | None
    stop_reason: str | None
    target_id: str
    project: str
    optimizer: str
    metric_calls: int
    metric_call_budget: int
    cost_usd: float | None
    attempt: int
    baseline_val: float | None
    best_val: float | None
    baseline_holdout: float | None
    best_holdout: float | None
    holdout_lift: float | None
    degraded: int
    created_at: str
    finished_at: str | None


class LeaderboardRow(TypedDict):
    """A candidate of a run's newest attempt, with its means."""

    run_id: str
    number: int
    status: str
    val_mean: float | None
    val_n: int
    val_best: float | None
    train_mean: float | None
    train_n: int
    holdout_mean: float | None
    holdout_n: int
    is_best: int | None
    text: str


class TrialFeedRow(TypedDict):
    """A trial as people read it."""

    id: int
    run_id: str
    candidate: int
    task_name: str
    split: str
    input: str | None
    expected: str | None
    phase: str
    outcome: str
    score: float | None
    feedback: str
    output: str | None
    error: str | None
    trace_id: str | None
    created_at: str


class ErrorRow(TypedDict):
    """A trial that went wrong."""

    id: int
    run_id: str
    attempt: int
    candidate: int
    task_name: str
    split: str
    outcome: str
    error_kind: str | None
    error: str | None
    was_retried: int
    created_at: str


VIEWS: dict[str, type] = {
    "spans": SpanRow,
    "run_summary": RunSummaryRow,
    "leaderboard": LeaderboardRow,
    "trial_feed": TrialFeedRow,
    "errors": ErrorRow,
}
"""The type of a row, by view."""
