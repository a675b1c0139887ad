"""The rows that `queries` selects for the pages, as types: short columns, long texts cut."""

from __future__ import annotations

from typing import TypedDict

from rollout_local.store.row_types import ShortRun
from rollout_local.store.view_rows import SpanRow


class Pulse(ShortRun):
    """What the live page asks for each second."""

    target_row_id: int


class ShownCommand(TypedDict):
    """A request to a run's runner."""

    id: int
    action: str
    actor: str
    created_at: str
    handled_at: str | None
    note: str


class ShownPromotion(TypedDict):
    """What was made of a run's best text, without the texts."""

    capability: str | None
    to_version: str | None
    to_path: str | None
    actor: str
    at: str
    forced: int
    reason: str | None
    reverts: int | None
    reverted_by: int | None


class CandidateMeans(TypedDict):
    """The part of a candidate's row that has its means."""

    id: int
    train_mean: float | None
    train_n: int
    val_mean: float | None
    val_n: int
    holdout_mean: float | None
    holdout_n: int


class ShortCandidate(CandidateMeans):
    """A candidate without its texts."""

    number: int
    status: str
    val_best: float | None
    created_at: str
    length: int


class CandidateText(TypedDict):
    """A candidate's components and their hash."""

    id: int
    number: int
    components_json: str
    content_hash: str


class Moments(TypedDict):
    """Count, sum and sum of squares."""

    n: int
    one: float
    two: float


class CandidateCells(TypedDict):
    """A candidate's mean score by task, as a JSON object."""

    candidate_id: int
    means: str


class ShownTrial(TypedDict):
    """A trial of a list."""

    id: int
    attempt: int
    candidate: int
    task_name: str
    split: str
    phase: str
    outcome: str
    score: float | None
    feedback: str
    error: str | None
    error_kind: str | None
    trace_id: str | None
    reused: int
    superseded_by: int | None
    latency_ms: float | None
    created_at: str


class FeedTrial(ShownTrial):
    """The same with what was asked, cut."""

    instruction: str | None
    input_json: str | None


class TrialWithOutput(ShownTrial):
    """The same with its output, cut."""

    output: str | None


class MadeAt(TypedDict):
    """When a trial was made."""

    created_at: str


class TaskOfCandidate(TypedDict):
    """A task's roll-up for a candidate."""

    number: int
    status: str
    candidate_id: int
    n: int
    mean: float
    best: float
    last_trial_id: int


class ShownEvent(TypedDict):
    """A line of a log, cut."""

    id: int
    attempt: int
    at: str
    level: str
    message: str


class Job(ShortRun):
    """A run of the list of jobs."""

    candidate_count: int
    note: str | None
    archived_at: str | None


class Tagged(TypedDict):
    """The part of a run's row that has its tags."""

    tags_json: str


class Name(TypedDict):
    """What something is called."""

    id: str


class ProposedComponents(TypedDict):
    """The components that a candidate was proposed for, as a JSON array."""

    candidate_id: int
    names: str


class ReflectedText(TypedDict):
    """A text that a reflection gave, and its trace."""

    text: str | None
    trace_id: str


class DrawnSpan(SpanRow):
    """A step of an execution with its place in the drawing."""

    depth: int
    offset: float
    bar: str
    messages: list[dict[str, str]]
