"""The rows of a run's tables as types: what a select gives, by name.

Those of the tables that runs share are in `catalog_rows`, those of the views in `view_rows`, and those of selects that
give other columns in `selected_types`. A test holds the types of tables and views against the columns of a migrated
database, and every select of the package names the type of its rows (`Store.select`, `Store.first`), so that a misspelt
column fails mypy.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ShortRun(TypedDict):
    """A run without its set-up: the columns `reads.RUN_COLUMNS`."""

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
    dataset_id: int
    optimizer: str
    seed: int
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
    fingerprint: str


class RunRow(ShortRun):
    """A run: its set-up, where it stands, what it spent."""

    target_row_id: int
    val_dataset_id: int | None
    verifier_ids_json: str
    split_json: str
    config_json: str
    fingerprint_json: str
    active_s: float
    concurrency_now: int | None
    queued: int
    wants_fresh: int
    restarts: int
    folder: str | None
    confirmed: str | None
    note: str | None
    archived_at: str | None


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


class NewProposal(TypedDict):
    """A reflection's outcome before it has a row; one that failed is judged already."""

    iteration: int
    parent_candidate_id: int
    component: str
    candidate_id: int | None
    accepted: NotRequired[int]
    reason: NotRequired[str]
    feedback_json: str
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


class SpanColumns(TypedDict):
    """A step of an execution without its input."""

    id: str
    trace_id: str
    parent_id: str | None
    type: str
    name: str
    model: str | None
    output: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    started_at: str
    duration_s: float
    error: str | None
    replayed: int


class SpanRecordRow(SpanColumns):
    """A step of an execution as it is kept: its input by hashes."""

    input_hashes_json: str


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


class ProgramAnswerRow(TypedDict):
    """What a DSPy program answered."""

    trial_id: int
    run_id: str
    answer_json: str


class DeletedRunRow(TypedDict):
    """A run that was here: the end of its chain, who deleted it and when."""

    run_id: str
    entries: int
    chain: str
    actor: str
    at: str
    deleting: int


RUN_TABLES: dict[str, type] = {
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
    "program_answers": ProgramAnswerRow,
    "deleted_runs": DeletedRunRow,
}
"""The type of a row, by table."""
