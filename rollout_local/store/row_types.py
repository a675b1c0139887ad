"""The rows of every table and view as types: what a select gives, by name.

A test holds each of them against the columns of a migrated database, and every select of the package names the type
of its rows (`Store.select`, `Store.first`), so that a misspelt column fails mypy. Selects of other columns have their
types in `selected_types`.
"""

from __future__ import annotations

from typing import TypedDict


class DatasetRow(TypedDict):
    """A version of a dataset."""

    id: int
    slug: str
    version: int
    name: str
    content_hash: str
    task_count: int
    created_at: str
    confirmed: str | None


class TaskRow(TypedDict):
    """A task of a dataset."""

    id: int
    dataset_id: int
    position: int
    name: str
    instruction: str
    input_json: str
    metadata_json: str
    expected_output_json: str | None
    expected_output_schema_json: str | None


class VerifierRow(TypedDict):
    """A registered verifier."""

    id: int
    name: str
    content_hash: str
    spec_json: str
    created_at: str
    confirmed: str | None


class TargetRow(TypedDict):
    """A synced target: one row per source and baseline."""

    row_id: int
    id: str
    kind: str
    description: str
    baseline: str
    baseline_json: str
    source: str
    source_hash: str
    modules_json: str
    synced_at: str


class RunRow(TypedDict):
    """A run: its set-up, where it stands, what it spent."""

    id: str
    name: str | None
    project: str
    run_ref: str | None
    tags_json: str
    status: str
    phase: str | None
    stop_reason: str | None
    message: str | None
    target_id: str
    target_row_id: int
    dataset_id: int
    val_dataset_id: int | None
    verifier_ids_json: str
    split_json: str
    optimizer: str
    seed: int
    config_json: str
    fingerprint: str
    fingerprint_json: str
    metric_call_budget: int
    metric_calls: int
    trial_count: int
    error_count: int
    cost_usd: float | None
    attempt: int
    baseline_candidate_id: int | None
    best_candidate_id: int | None
    degraded: int
    heartbeat_at: str | None
    last_event_at: str | None
    rev: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    log_dir: str | None
    recording: str | None
    active_s: float
    concurrency_now: int | None
    queued: int
    wants_fresh: int
    restarts: int
    folder: str | None
    confirmed: str | None


class AttemptRow(TypedDict):
    """One go at a run from the beginning."""

    run_id: str
    number: int
    pid: int | None
    host: str | None
    started_at: str
    ended_at: str | None
    outcome: str | None


class PhaseCallsRow(TypedDict):
    """Executions of one phase of an attempt."""

    run_id: str
    attempt: int
    phase: str
    asked: int
    spent: int
    errors: int
    cost_usd: float | None


class CandidateRow(TypedDict):
    """A text that was tried, with its means by split."""

    id: int
    run_id: str
    attempt: int
    number: int
    status: str
    text: str
    components_json: str
    content_hash: str
    train_sum: float
    train_mean: float | None
    train_n: int
    val_sum: float
    val_mean: float | None
    val_n: int
    val_best: float | None
    holdout_sum: float
    holdout_mean: float | None
    holdout_n: int
    created_at: str


class CandidateParentRow(TypedDict):
    """An edge of the lineage."""

    candidate_id: int
    parent_id: int


class CandidateTaskRow(TypedDict):
    """A candidate's scores on one task, summed up."""

    candidate_id: int
    split: str
    task_name: str
    run_id: str
    n: int
    score_sum: float
    best: float
    last_trial_id: int


class ProposalRow(TypedDict):
    """A reflection and what became of it."""

    id: int
    run_id: str
    attempt: int
    iteration: int
    parent_candidate_id: int | None
    component: str
    candidate_id: int | None
    accepted: int | None
    reason: str
    feedback_json: str
    minibatch_before: float | None
    minibatch_after: float | None
    created_at: str


class ReflectionRow(TypedDict):
    """A reply of the reflection model."""

    id: int
    run_id: str
    attempt: int
    input_hash: str
    occurrence: int
    reply_json: str
    trace_id: str | None
    created_at: str
    step: int


class TrialRow(TypedDict):
    """One candidate on one task, ended."""

    id: int
    run_id: str
    attempt: int
    candidate_id: int
    candidate_hash: str
    task_name: str
    split: str
    phase: str
    occurrence: int
    outcome: str
    score: float | None
    passed: int | None
    feedback: str
    output: str | None
    output_kind: str
    error: str | None
    error_kind: str | None
    checks_json: str | None
    metadata_json: str
    latency_ms: float | None
    cost_usd: float | None
    reused: int
    tries: int
    superseded_by: int | None
    trace_id: str | None
    created_at: str
    step: int


class TextRow(TypedDict):
    """A text of a span, by its hash."""

    hash: str
    text: str


class TraceRow(TypedDict):
    """One execution, or one reflection."""

    id: str
    name: str
    run_id: str | None
    trial_id: int | None
    attributes_json: str
    started_at: str
    duration_s: float


class SpanRecordRow(TypedDict):
    """A step of an execution as it is kept: its input by hashes."""

    id: str
    trace_id: str
    parent_id: str | None
    type: str
    name: str
    model: str | None
    input_hashes_json: str
    output: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    started_at: str
    duration_s: float
    error: str | None
    replayed: int


class EventRow(TypedDict):
    """A line of a run's log."""

    id: int
    run_id: str
    attempt: int
    at: str
    level: str
    message: str
    data_json: str


class MetricRow(TypedDict):
    """A point of a series."""

    id: int
    run_id: str
    attempt: int
    name: str
    step: int
    value: float
    at: str


class ReportRow(TypedDict):
    """A promotion report as the run wrote it."""

    id: int
    run_id: str
    attempt: int
    report_json: str
    created_at: str


class LeaseRow(TypedDict):
    """Who holds a run."""

    run_id: str
    token: int
    pid: int | None
    host: str
    boot: str
    process: str
    beats: int
    beat_s: float


class CommandRow(TypedDict):
    """A request to a run's runner."""

    id: int
    run_id: str
    action: str
    actor: str
    created_at: str
    handled_at: str | None
    note: str


class JournalEntryRow(TypedDict):
    """A link of a run's chain."""

    run_id: str
    seq: int
    kind: str
    row_id: int
    row_hash: str
    chain: str
    format: int


class CapabilityRow(TypedDict):
    """A capability."""

    name: str
    description: str
    created_at: str


class CapabilityVersionRow(TypedDict):
    """A published version of a capability."""

    id: int
    name: str
    version: str
    major: int
    minor: int
    patch: int
    description: str
    content_hash: str
    manifest_json: str
    agents_json: str
    files_json: str
    promoted_from_run: str | None
    created_at: str


class NewPromotion(TypedDict):
    """A promotion before it has a row of its own."""

    run_id: str
    attempt: int
    target_id: str
    capability: str | None
    agent: str | None
    from_version: str | None
    to_version: str | None
    to_path: str | None
    text: str
    text_hash: str
    former_text: str
    former_hash: str
    forced: int
    reason: str | None
    unmet_json: str
    actor: str
    at: str
    reverts: int | None
    pending: str | None


class PromotionRow(NewPromotion):
    """A text that took its place."""

    id: int
    reverted_by: int | None


class ProgramAnswerRow(TypedDict):
    """What a DSPy program answered."""

    trial_id: int
    run_id: str
    answer_json: str


class SpanRow(TypedDict):
    """A step of an execution with its input."""

    id: str
    trace_id: str
    parent_id: str | None
    type: str
    name: str
    model: str | None
    input: str
    output: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    started_at: str
    duration_s: float
    error: str | None
    replayed: int


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


TABLES: dict[str, type] = {
    "datasets": DatasetRow,
    "tasks": TaskRow,
    "verifiers": VerifierRow,
    "targets": TargetRow,
    "runs": RunRow,
    "attempts": AttemptRow,
    "phase_calls": PhaseCallsRow,
    "candidates": CandidateRow,
    "candidate_parents": CandidateParentRow,
    "candidate_tasks": CandidateTaskRow,
    "proposals": ProposalRow,
    "reflections": ReflectionRow,
    "trials": TrialRow,
    "texts": TextRow,
    "traces": TraceRow,
    "span_records": SpanRecordRow,
    "events": EventRow,
    "metrics": MetricRow,
    "reports": ReportRow,
    "leases": LeaseRow,
    "run_commands": CommandRow,
    "journal_entries": JournalEntryRow,
    "capabilities": CapabilityRow,
    "capability_versions": CapabilityVersionRow,
    "promotions": PromotionRow,
    "program_answers": ProgramAnswerRow,
}
"""The type of a row, by table."""

VIEWS: dict[str, type] = {
    "spans": SpanRow,
    "run_summary": RunSummaryRow,
    "leaderboard": LeaderboardRow,
    "trial_feed": TrialFeedRow,
    "errors": ErrorRow,
}
"""The type of a row, by view."""
